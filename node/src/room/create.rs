//! `decide` for a new room: the group that its first client has made (draft-ietf-mimi-protocol, 3.1 and 7).

use mimi_hub_proto::FrankingAgentData;
use mimi_hub_proto::components::{AppDataDictionary, FRANKING_AGENT};
use mimi_hub_proto::mls::{ExtensionType, ExternalSender, GroupInfo, RatchetTree};
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use openmls::group::{ProposalStore, PublicGroup};
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::treesync::RatchetTreeIn;
use serde_bytes::ByteBuf;
use tls_codec::DeserializeBytes;

use super::event::RoomEvent;
use super::franking;
use super::state::{Checkpoint, RoomLimits, RoomState};
use crate::mls::crypto;
use crate::mls::hub_keys::HubKeys;
use crate::mls::store::GroupStore;

/// Why a room is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CreateRefusal(pub(crate) String);

/// Decides the creation of `room` by `creator` from its group.
///
/// # Errors
/// Says what is wrong with the group.
pub fn decide_create(
    room: &RoomUri,
    creator: &UserUri,
    limits: &RoomLimits,
    keys: &HubKeys,
    is_local: &dyn Fn(&ProviderDomain) -> bool,
    group_info: &GroupInfo,
    ratchet_tree: &RatchetTree,
) -> Result<(RoomEvent, RoomState), CreateRefusal> {
    let refuse = |reason: &dyn std::fmt::Display| CreateRefusal(reason.to_string());
    if group_info.has_ratchet_tree() {
        return Err(refuse(&"the GroupInfo contains the ratchet tree, which goes beside it"));
    }
    let group_id = room.group_uri();
    if group_info.group_context().group_id() != group_id.as_str().as_bytes() {
        return Err(refuse(&format!("the group's id is not {group_id}")));
    }
    let suite = crypto::supported(group_info.group_context().cipher_suite())
        .ok_or_else(|| refuse(&"the group's cipher suite is not supported"))?;

    let tree = RatchetTreeIn::tls_deserialize_exact_bytes(ratchet_tree.as_bytes()).map_err(|e| refuse(&e))?;
    let verifiable = VerifiableGroupInfo::tls_deserialize_exact_bytes(group_info.as_bytes()).map_err(|e| refuse(&e))?;
    let store = GroupStore::keeping(group_id.as_str().as_bytes());
    PublicGroup::from_external(crypto::provider(), &store, tree, verifiable, ProposalStore::new())
        .map_err(|error| refuse(&format!("the group is not valid: {error}")))?;

    // "That extension MUST contain at least the Certificate of the Hub."
    let hub = keys.public(suite.signature_algorithm()).map_err(|e| refuse(&e))?;
    let extensions = group_info.group_context().extensions();
    let senders: Option<Vec<ExternalSender>> = extensions
        .decode(ExtensionType::EXTERNAL_SENDERS)
        .map_err(|e| refuse(&e))?;
    // Others come with their participants, of which a new room has none yet.
    let only_hub = |senders: &[ExternalSender]| matches!(senders, [sender] if sender.signature_key.as_bytes() == hub);
    if !senders.as_deref().is_some_and(only_hub) {
        return Err(refuse(
            &"the group's external_senders do not hold this hub, and it alone",
        ));
    }

    // "When a valid `franking_agent` is present, the Hub can frank": one that is somebody else would be taken for the hub.
    if let Some(agent) = state_dictionary(group_info)
        .map_err(|e| refuse(&e))?
        .decode::<FrankingAgentData>(FRANKING_AGENT)
        .map_err(|e| refuse(&e))?
    {
        let ours = franking::agent(keys, group_info.group_context().cipher_suite(), room).map_err(|e| refuse(&e))?;
        if agent != ours {
            return Err(refuse(&"the group's franking_agent is not this hub"));
        }
    }

    let stored = store.into_stored().ok_or_else(|| refuse(&"the group was not stored"))?;
    let checkpoint = Checkpoint::first(stored, ByteBuf::from(group_info.as_bytes()));
    let state = RoomState::from_checkpoint(room.clone(), limits.clone(), checkpoint.clone()).map_err(|e| refuse(&e))?;
    state.naming.check_policy(&state.policy).map_err(|e| refuse(&e))?;
    if !state.is_active(creator) {
        return Err(refuse(&format!("{creator} has no client in the group")));
    }
    for user in state.active.keys() {
        if !is_local(&user.provider()) {
            // Their KeyPackages have not come through this hub: no Welcome could find its way.
            return Err(refuse(&format!(
                "{user} is of another provider: add it after the room is made"
            )));
        }
        if state.policy.role_of(user).is_none() {
            return Err(refuse(&format!(
                "{user} has clients in the group and is not on the participant list"
            )));
        }
    }
    if state.members.len() > limits.members_max {
        return Err(refuse(&format!("a room has at most {} clients", limits.members_max)));
    }
    let joined = state.active.keys().cloned().collect();
    Ok((
        RoomEvent::Created {
            checkpoint: Box::new(checkpoint),
            joined,
        },
        state,
    ))
}

/// The components that the group begins with.
fn state_dictionary(group_info: &GroupInfo) -> Result<AppDataDictionary, mimi_hub_proto::Error> {
    let extensions = group_info.group_context().extensions();
    let dictionary = extensions.decode(ExtensionType::APP_DATA_DICTIONARY)?;
    Ok(dictionary.unwrap_or_default())
}
