//! What a provider's gateways are shown of a room that is hosted here.

use mimi_hub_proto::uri::{ClientUri, RoomUri, UserUri};
use serde::{Deserialize, Serialize};

use super::state::RoomState;

/// The hub's view of a room, for its provider's gateways.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoomView {
    room: RoomUri,
    epoch: u64,
    seq: u64,
    #[serde(with = "crate::front::base64")]
    tree_hash: Vec<u8>,
    #[serde(with = "crate::front::base64")]
    confirmed_transcript_hash: Vec<u8>,
    participants: Vec<ParticipantView>,
    clients: Vec<ClientView>,
    pending_proposals: usize,
    /// Users whom this provider keeps out.
    barred: Vec<UserUri>,
}

#[cfg(feature = "simulation")]
impl RoomView {
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct ParticipantView {
    user: UserUri,
    role: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientView {
    client: ClientUri,
    user: UserUri,
    leaf_index: u32,
}

impl RoomView {
    /// The room as it is after the event with this number.
    pub(super) fn of(state: &RoomState, seq: u64) -> Self {
        let context = state.group.group_context();
        let participants = &state.policy.participants().participants;
        Self {
            room: state.room.clone(),
            epoch: state.epoch(),
            seq,
            tree_hash: context.tree_hash().to_vec(),
            confirmed_transcript_hash: context.confirmed_transcript_hash().to_vec(),
            participants: participants
                .iter()
                .map(|participant| ParticipantView {
                    user: participant.user.clone(),
                    role: participant.role_index,
                })
                .collect(),
            clients: state
                .members
                .iter()
                .map(|(leaf, identity)| ClientView {
                    client: identity.client().clone(),
                    user: identity.user().clone(),
                    leaf_index: *leaf,
                })
                .collect(),
            pending_proposals: state.pending.len(),
            barred: state.records.barred.iter().cloned().collect(),
        }
    }
}
