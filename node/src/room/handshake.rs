//! What Commits and Proposals have in common: epoch, sender, and openmls's own checks.

use mimi_hub_proto::ClientIdentity;
use mimi_hub_proto::mls::{PublicMessage, Sender};
use mimi_hub_proto::policy::{Actor, BANNED_ROLE_INDEX, BANNED_ROLE_NAME, Change, RoomPolicy};
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use openmls::framing::{ProcessedMessage, ProcessedMessageContent, ProtocolMessage, PublicMessageIn};
use openmls::group::{QueuedProposal, StagedCommit};
use openmls::messages::proposals::{Proposal, ProposalOrRefType};
use openmls::treesync::LeafNode;
use tls_codec::DeserializeBytes;

use super::credentials::{self, CredentialRefusal};
use super::state::RoomState;
use crate::mls::crypto;
use crate::mls::hub_keys::HubKeys;

/// What a decision needs beside the room and the request.
pub struct Hosting<'a> {
    /// The time of acceptance, in milliseconds since the UNIX epoch.
    pub at_ms: u64,
    /// Does this provider serve the domain?
    pub is_local: &'a dyn Fn(&ProviderDomain) -> bool,
    /// The hub's keys, by which it is an external sender of the room's group.
    pub keys: &'a HubKeys,
    /// The participants of the parent that are not banned, where they have been asked for.
    pub parent: Option<&'a [UserUri]>,
}

/// Why an update is not accepted: the draft's codes (draft-ietf-mimi-protocol, 5.3, UpdateResponseCode).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateRefusal {
    /// For another epoch than the current one.
    #[error("the room's epoch is {current}")]
    WrongEpoch {
        /// The room's epoch.
        current: u64,
    },
    /// It cannot be decided without the participants of this room's parent.
    #[error("the participants of {0} are needed")]
    NeedsParent(RoomUri),
    /// A credential has no place in this room.
    #[error(transparent)]
    Credential(#[from] CredentialRefusal),
    /// Policy or validity forbids it.
    #[error("{0}")]
    NotAllowed(String),
    /// A proposal is not valid.
    #[error("{reason}")]
    InvalidProposal {
        /// Why.
        reason: String,
        /// The ProposalRefs, where the proposals have any.
        proposals: Vec<Vec<u8>>,
    },
}

impl UpdateRefusal {
    pub(crate) fn not_allowed(reason: impl std::fmt::Display) -> Self {
        UpdateRefusal::NotAllowed(reason.to_string())
    }

    pub(crate) fn invalid(reason: impl std::fmt::Display) -> Self {
        UpdateRefusal::InvalidProposal {
            reason: reason.to_string(),
            proposals: Vec::new(),
        }
    }
}

/// A handshake is for the room's group and its current epoch.
pub(super) fn check_epoch(state: &RoomState, group_id: &[u8], epoch: u64) -> Result<(), UpdateRefusal> {
    if group_id != state.group.group_id().as_slice() {
        return Err(UpdateRefusal::not_allowed("the message is for another group"));
    }
    match state.epoch() {
        current if current == epoch => Ok(()),
        current => Err(UpdateRefusal::WrongEpoch { current }),
    }
}

/// Who sent a handshake: a member, or the client that joins by it. Not yet proven: the signature is checked by
/// [`process`].
pub(super) fn sender_identity(state: &RoomState, message: &PublicMessage) -> Result<ClientIdentity, UpdateRefusal> {
    match message.sender() {
        Sender::Member(leaf) => state
            .members
            .get(&leaf)
            .cloned()
            .ok_or_else(|| UpdateRefusal::not_allowed(format!("leaf {leaf} is blank"))),
        Sender::NewMemberCommit => {
            let leaf = match message.content() {
                mimi_hub_proto::mls::FramedContent::Commit { commit, .. } => commit.path_leaf(),
                mimi_hub_proto::mls::FramedContent::Proposal(_) => None,
            };
            let leaf = leaf.ok_or_else(|| UpdateRefusal::not_allowed("an external Commit has a path"))?;
            Ok(state
                .naming
                .admit(&state.policy, leaf.credential(), leaf.signature_key())?)
        }
        Sender::External(_) | Sender::NewMemberProposal => Err(UpdateRefusal::not_allowed(
            "only members and joining clients send handshakes to this hub",
        )),
    }
}

/// A client's handshakes come from its own provider.
pub(super) fn check_source(identity: &ClientIdentity, source: &ProviderDomain) -> Result<(), UpdateRefusal> {
    if identity.user().provider() == *source {
        return Ok(());
    }
    Err(UpdateRefusal::not_allowed(format!(
        "{} is not a client of {source}",
        identity.client()
    )))
}

/// Whose a leaf is that comes into the room, or takes the place of another there.
pub(super) fn identity_of(state: &RoomState, leaf: &LeafNode) -> Result<ClientIdentity, UpdateRefusal> {
    let credential = credentials::as_wire(leaf.credential());
    Ok(state
        .naming
        .admit(&state.policy, credential, leaf.signature_key().as_slice())?)
}

/// Has openmls check a PublicMessage (without MLSMessage header) against the group.
pub(super) fn process(state: &RoomState, octets: &[u8]) -> Result<ProcessedMessage, UpdateRefusal> {
    let message = PublicMessageIn::tls_deserialize_exact_bytes(octets).map_err(UpdateRefusal::not_allowed)?;
    state
        .group
        .process_message(crypto::provider(), ProtocolMessage::from(message))
        .map_err(|error| UpdateRefusal::not_allowed(format!("the message is not valid: {error}")))
}

/// The staged Commit in a processed message; `entries` are the components that its AppDataUpdates change, as they are
/// afterwards.
pub(super) fn into_staged(
    state: &RoomState,
    processed: ProcessedMessage,
    entries: Vec<(u16, Vec<u8>)>,
) -> Result<StagedCommit, UpdateRefusal> {
    match processed.into_content() {
        ProcessedMessageContent::StagedCommitMessage(staged) => Ok(*staged),
        ProcessedMessageContent::UnresolvedAppDataCommit(unresolved) => {
            let mut updater = state.group.app_data_dictionary_updater();
            for (component, data) in entries {
                updater.set(openmls::component::ComponentData::from_parts(component, data.into()));
            }
            state
                .group
                .stage_app_data_commit(crypto::provider(), *unresolved, updater.changes())
                .map_err(|error| UpdateRefusal::not_allowed(format!("the Commit is not valid: {error}")))
        }
        _ => Err(UpdateRefusal::not_allowed("not a Commit")),
    }
}

/// The leaves that a Commit takes out, by Remove and SelfRemove.
pub(super) fn removed_leaves(staged: &StagedCommit) -> impl Iterator<Item = u32> + '_ {
    staged
        .queued_proposals()
        .filter_map(|proposal| match (proposal.proposal(), proposal.sender()) {
            (Proposal::Remove(remove), _) => Some(remove.removed().u32()),
            (Proposal::SelfRemove, openmls::framing::Sender::Member(leaf)) => Some(leaf.u32()),
            _ => None,
        })
}

/// Is it the committer's own proposal, rather than one that was sent before?
pub(super) fn is_inline(proposal: &QueuedProposal) -> bool {
    matches!(proposal.proposal_or_ref_type(), ProposalOrRefType::Proposal)
}

/// The user whose clients must leave the group with this change, if there is one. `actor` made it, or the hub.
pub(super) fn taken_out<'a>(
    policy: &RoomPolicy,
    actor: Option<&'a UserUri>,
    change: &'a Change,
) -> Option<&'a UserUri> {
    match change {
        Change::RemoveParticipant { user } => Some(user),
        Change::RemoveSelf => actor,
        Change::ChangeRole { user, to, .. } if is_banned_role(policy, *to) => Some(user),
        _ => None,
    }
}

/// The changes of several proposals, gathered by who proposes them: what one actor does is judged together.
pub(super) fn parts<'a>(proposals: impl Iterator<Item = (Actor<'a>, &'a [Change])>) -> Vec<(Actor<'a>, Vec<Change>)> {
    let mut parts: Vec<(Actor<'a>, Vec<Change>)> = Vec::new();
    for (actor, changes) in proposals {
        match parts.iter_mut().find(|(known, _)| *known == actor) {
            Some((_, known)) => known.extend_from_slice(changes),
            None => parts.push((actor, changes.to_vec())),
        }
    }
    parts
}

/// "A parent-dependent room is always hosted on the same Hub as the parent room", and its participants "MUST be a strict
/// subset of the participants of the parent room" (draft-ietf-mimi-room-policy, 5).
pub(super) fn check_parent(policy: &RoomPolicy, hosting: &Hosting<'_>) -> Result<(), UpdateRefusal> {
    let Some(parent) = &policy.base().parent_room else {
        return Ok(());
    };
    if !(hosting.is_local)(&parent.provider()) {
        return Err(UpdateRefusal::not_allowed(format!(
            "the parent {parent} is hosted by another provider"
        )));
    }
    let participants = hosting
        .parent
        .ok_or_else(|| UpdateRefusal::NeedsParent(parent.clone()))?;
    if !policy.is_within(participants) {
        return Err(UpdateRefusal::not_allowed(format!(
            "the participants are not a strict subset of those of {parent}"
        )));
    }
    Ok(())
}

/// Is it the role of those who are banned (draft-ietf-mimi-room-policy, 7.1.3)?
pub(super) fn is_banned_role(policy: &RoomPolicy, role_index: u32) -> bool {
    role_index == BANNED_ROLE_INDEX
        && policy
            .roles()
            .get(role_index)
            .is_some_and(|role| role.role_name == BANNED_ROLE_NAME)
}
