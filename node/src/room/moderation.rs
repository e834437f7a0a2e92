//! What the hub does on its own behalf, as an external sender (draft-ietf-mimi-protocol, 5.5 and 7.2): it proposes to remove
//! the clients of a deleted user, a lost client, or the clients of a user whom the provider's moderators bar.
//!
//! openmls takes only Add, Remove and GroupContextExtensions of an external sender, and a GroupContextExtensions may not
//! touch the `app_data_dictionary` of a group that knows AppDataUpdate. So the hub cannot take anybody off the participant
//! list: it removes clients, and keeps a barred user from coming back by itself. A member commits the removals; a member with
//! `canBan` makes the ban one of the room.

use mimi_hub_proto::components::{SAFE_AAD, SafeAad};
use mimi_hub_proto::mls::{ExternalSender, MlsMessage, ProposalMessage};
use mimi_hub_proto::policy::{Actor, Change, authorize};
use mimi_hub_proto::tls::{self, Writer};
use mimi_hub_proto::uri::{ClientUri, UserUri};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tls_codec::Serialize as _;

use super::event::RoomEvent;
use super::handshake::{Hosting, UpdateRefusal};
use super::proposals::{self, ProposalsDecision};
use super::state::RoomState;
use crate::mls::hub_keys::HubKeys;

/// What the provider asks of a room that it hosts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum ModerationRequest {
    /// Propose to remove a user's clients, or one of them.
    Remove { user: UserUri, client: Option<ClientUri> },
    /// Keep a user out, and propose to remove its clients.
    Bar(UserUri),
    /// Keep it out no longer.
    Unbar(UserUri),
    /// A participant destroys the room.
    Destroy { by: UserUri },
}

/// Proposals of the hub to remove leaves, for an epoch.
///
/// # Errors
/// The hub is no external sender of the group, or has no key for it.
pub(super) fn remove_proposals(
    state: &RoomState,
    keys: &HubKeys,
    epoch: u64,
    leaves: impl IntoIterator<Item = u32>,
) -> Result<Vec<ProposalMessage>, UpdateRefusal> {
    let leaves: Vec<u32> = leaves.into_iter().collect();
    if leaves.is_empty() {
        return Ok(Vec::new());
    }
    let scheme = state.group.ciphersuite().signature_algorithm();
    let key = keys.public(scheme).map_err(UpdateRefusal::not_allowed)?;
    let extensions = state.group.group_context().extensions();
    let index = extensions
        .external_senders()
        .and_then(|senders| senders.iter().position(|sender| is_of(sender, key)))
        .and_then(|index| u32::try_from(index).ok())
        .ok_or_else(|| UpdateRefusal::not_allowed("the hub is not an external sender of this group"))?;
    let propose = |leaf: u32| {
        let content = removal(state, epoch, index, leaf);
        let signature = keys.sign(scheme, "FramedContentTBS", &content);
        let mut octets = Writer::new();
        octets.raw(&content);
        octets.opaque(&signature.map_err(UpdateRefusal::not_allowed)?);
        let message: MlsMessage = tls::decode_exact(&octets.into_vec()).map_err(UpdateRefusal::not_allowed)?;
        ProposalMessage::try_from(message).map_err(UpdateRefusal::not_allowed)
    };
    leaves.into_iter().map(propose).collect()
}

/// The FramedContentTBS (RFC 9420, 6.1) of an external sender's Remove proposal, which is also what the PublicMessage has
/// before its signature. Laid out here, since openmls makes no such proposal with a SafeAAD, which has to begin the
/// `authenticated_data` in groups that have the `safe_aad` component (draft-ietf-mls-extensions, 4.9).
fn removal(state: &RoomState, epoch: u64, sender: u32, leaf: u32) -> Vec<u8> {
    const MLS10: u16 = 1;
    const PUBLIC_MESSAGE: u16 = 1;
    const EXTERNAL: u8 = 2;
    const PROPOSAL: u8 = 2;
    const REMOVE: u16 = 3;
    let mut content = Writer::new();
    content.raw(&MLS10.to_be_bytes());
    content.raw(&PUBLIC_MESSAGE.to_be_bytes());
    content.opaque(state.group.group_id().as_slice());
    content.raw(&epoch.to_be_bytes());
    content.raw(&[EXTERNAL]);
    content.raw(&sender.to_be_bytes());
    let nothing = match state.dictionary.get(SAFE_AAD) {
        Some(_) => tls::encode(&SafeAad::default()),
        None => Vec::new(),
    };
    content.opaque(&nothing);
    content.raw(&[PROPOSAL]);
    content.raw(&REMOVE.to_be_bytes());
    content.raw(&leaf.to_be_bytes());
    content.into_vec()
}

/// openmls does not show an external sender's key: it is read from the encoding.
fn is_of(sender: &openmls::extensions::ExternalSender, key: &[u8]) -> bool {
    let octets = sender.tls_serialize_detached().unwrap_or_default();
    tls::decode_exact::<ExternalSender>(&octets).is_ok_and(|sender| sender.signature_key.as_bytes() == key)
}

/// Decides to propose the removal of a user's clients, or of one. `None` where there is nothing to remove that is not
/// proposed already.
///
/// # Errors
/// Policy or the limit of pending proposals forbids it.
pub(super) fn decide_removal(
    state: &RoomState,
    hosting: &Hosting<'_>,
    user: &UserUri,
    client: Option<&ClientUri>,
) -> Result<Option<ProposalsDecision>, UpdateRefusal> {
    let leaves = state
        .members
        .iter()
        .filter(|(_, identity)| identity.user() == user && client.is_none_or(|client| identity.client() == client))
        .map(|(leaf, _)| *leaf)
        .filter(|leaf| !state.removes(*leaf));
    let messages = remove_proposals(state, hosting.keys, state.epoch(), leaves)?;
    if messages.is_empty() {
        return Ok(None);
    }
    proposals::decide_own(state, hosting, &messages).map(Some)
}

/// Decides to keep a user out. Where its clients cannot be proposed to be removed (as when a role would have too few
/// participants), it is kept from sending and receiving all the same.
pub(super) fn decide_bar(
    state: &RoomState,
    hosting: &Hosting<'_>,
    user: &UserUri,
) -> (RoomEvent, Option<ProposalsDecision>) {
    let removal = decide_removal(state, hosting, user, None).unwrap_or_else(|refusal| {
        tracing::warn!(room = %state.room, %user, %refusal, "the clients of a barred user stay for now");
        None
    });
    let (messages, fan_out) = match removal.as_ref().map(|removal| &removal.event) {
        Some(RoomEvent::Proposals { messages, fan_out }) => (messages.clone(), fan_out.clone()),
        _ => (Vec::new(), Vec::new()),
    };
    let event = RoomEvent::Barred {
        user: user.clone(),
        messages,
        fan_out,
    };
    (event, removal)
}

/// Decides to destroy the room (draft-ietf-mimi-room-policy, 8.6).
///
/// # Errors
/// The participant may not.
pub(super) fn decide_destroy(state: &RoomState, by: &UserUri) -> Result<RoomEvent, UpdateRefusal> {
    if state.is_silenced(by) {
        return Err(UpdateRefusal::not_allowed(
            "this user is leaving the room or barred from it",
        ));
    }
    authorize(&state.policy, Actor::Participant(by), &[Change::DestroyRoom]).map_err(UpdateRefusal::not_allowed)?;
    Ok(RoomEvent::Destroyed)
}

/// The hub's removals that an external Commit makes void, for the epoch after it: "the hub can staple regenerated proposals
/// to an external commit" (draft-ietf-mimi-protocol, 5.5).
///
/// # Errors
/// As for [`remove_proposals`].
pub(super) fn regenerated(state: &RoomState, keys: &HubKeys, removed: &[u32]) -> Result<Vec<ByteBuf>, UpdateRefusal> {
    let leaves = state.hub_removals().filter(|leaf| !removed.contains(leaf));
    let messages = remove_proposals(state, keys, state.epoch() + 1, leaves)?;
    Ok(messages
        .iter()
        .map(|message| ByteBuf::from(tls::encode(message)))
        .collect())
}
