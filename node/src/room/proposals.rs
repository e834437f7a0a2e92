//! `decide` for proposals that are sent ahead of a Commit: a leaving user's above all (draft-ietf-mimi-protocol, 3.5).
//!
//! The hub keeps them, tells everybody, and holds every later Commit of the epoch to them. So a bundle is accepted only if
//! all that is pending can be committed together; and from then on a user whose removal is pending may neither send nor
//! commit.

use std::collections::BTreeSet;

use mimi_hub_proto::mls::{ProposalMessage, Sender};
use mimi_hub_proto::policy::{Change, authorize_together};
use mimi_hub_proto::tls;
use mimi_hub_proto::uri::{ProviderDomain, UserUri};
use openmls::framing::ProcessedMessageContent;
use openmls::group::QueuedProposal;
use openmls::messages::proposals::Proposal;
use serde_bytes::ByteBuf;

use super::app_data;
use super::event::RoomEvent;
use super::external_senders;
use super::handshake::{self, Hosting, UpdateRefusal};
use super::state::{Pending, PendingEffect, Proposer, RoomState};
use crate::error::NodeError;
use crate::mls::store::GroupStore;

/// Proposals that are accepted, with all that [`advance_proposals`] needs.
pub struct ProposalsDecision {
    /// What goes into the log.
    pub event: RoomEvent,
    queued: Vec<(QueuedProposal, Pending)>,
    leaving: Vec<UserUri>,
}

/// Decides a bundle of proposals that `source` has sent.
///
/// # Errors
/// The draft's refusals; nothing of the bundle is kept then.
pub fn decide_proposals(
    state: &RoomState,
    hosting: &Hosting<'_>,
    source: &ProviderDomain,
    messages: &[ProposalMessage],
) -> Result<ProposalsDecision, UpdateRefusal> {
    decide(state, hosting, Origin::Provider(source), messages)
}

/// Decides a bundle of the hub's own proposals.
///
/// # Errors
/// Policy, which the hub is held to as well, or the limit forbids it.
pub(super) fn decide_own(
    state: &RoomState,
    hosting: &Hosting<'_>,
    messages: &[ProposalMessage],
) -> Result<ProposalsDecision, UpdateRefusal> {
    decide(state, hosting, Origin::Hub, messages)
}

/// Where a proposal comes from.
#[derive(Clone, Copy)]
enum Origin<'a> {
    /// A provider, whose own users' it must be.
    Provider(&'a ProviderDomain),
    /// The hub itself.
    Hub,
    /// The log: it was accepted before.
    Log,
}

fn decide(
    state: &RoomState,
    hosting: &Hosting<'_>,
    origin: Origin<'_>,
    messages: &[ProposalMessage],
) -> Result<ProposalsDecision, UpdateRefusal> {
    if state.pending.len() + messages.len() > state.limits.pending_proposals_max {
        return Err(UpdateRefusal::not_allowed(
            "too many proposals are pending: one of the members has to commit",
        ));
    }
    let mut queued = Vec::new();
    for message in messages {
        let (proposal, pending) = process_one(state, hosting.at_ms, origin, message)?;
        let reference = pending.reference.as_slice();
        let known = state.pending.iter().chain(queued.iter().map(|(_, pending)| pending));
        if known.into_iter().any(|known: &Pending| known.reference == reference) {
            return Err(invalid("this proposal is pending already", &pending.reference));
        }
        queued.push((proposal, pending));
    }
    let leaving = check_together(state, &queued)?;
    authorize_all(state, &queued)?;
    let event = RoomEvent::Proposals {
        messages: queued.iter().map(|(_, pending)| pending.message.clone()).collect(),
        fan_out: state
            .active_providers()
            .filter(|domain| !(hosting.is_local)(domain))
            .cloned()
            .collect(),
    };
    Ok(ProposalsDecision { event, queued, leaving })
}

/// Keeps proposals that were decided.
pub(crate) fn advance_proposals(state: &mut RoomState, decision: ProposalsDecision) -> Result<(), NodeError> {
    for (proposal, pending) in decision.queued {
        state.group.add_proposal(&GroupStore::forgetting(), proposal)?;
        state.pending.push(pending);
    }
    state.leaving.extend(decision.leaving);
    Ok(())
}

/// Keeps again proposals that were accepted before.
pub(crate) fn replay_proposals(state: &mut RoomState, at_ms: u64, messages: &[ByteBuf]) -> Result<(), NodeError> {
    let refused = |refusal: UpdateRefusal| NodeError::Replay(refusal.to_string());
    let mut queued = Vec::new();
    for message in messages {
        let message: ProposalMessage = tls::decode_exact(message)?;
        queued.push(process_one(state, at_ms, Origin::Log, &message).map_err(refused)?);
    }
    let leaving = check_together(state, &queued).map_err(refused)?;
    let event = RoomEvent::Proposals {
        messages: Vec::new(),
        fan_out: Vec::new(),
    };
    advance_proposals(state, ProposalsDecision { event, queued, leaving })
}

/// One proposal: its sender, its validity, and whether its sender may make it.
fn process_one(
    state: &RoomState,
    at_ms: u64,
    origin: Origin<'_>,
    message: &ProposalMessage,
) -> Result<(QueuedProposal, Pending), UpdateRefusal> {
    handshake::check_epoch(state, message.group_id(), message.epoch())?;
    let proposer = match (message.sender(), origin) {
        (Sender::External(index), origin) => {
            let proposer = external_senders::proposer(state, index, message)?;
            match (origin, &proposer) {
                (Origin::Log, _) | (Origin::Hub, Proposer::Hub) => {}
                (Origin::Provider(source), Proposer::Follower(user)) if user.provider() == *source => {}
                _ => {
                    return Err(UpdateRefusal::not_allowed(
                        "an external sender's proposals come from that provider",
                    ));
                }
            }
            proposer
        }
        (_, origin) => {
            let sender = handshake::sender_identity(state, message)?;
            if let Origin::Provider(source) = origin {
                handshake::check_source(&sender, source)?;
            }
            Proposer::Client(sender)
        }
    };
    let processed = handshake::process(state, message.as_bytes())?;
    let ProcessedMessageContent::ProposalMessage(proposal) = processed.into_content() else {
        return Err(UpdateRefusal::not_allowed("not a member's proposal"));
    };
    let proposal = *proposal;
    let reference = proposal.proposal_reference_ref().as_slice().to_vec();
    let (effect, changes) = effect_of(state, &proposer, message, &proposal)?;
    // "MUST prevent it from sending any proposals except for Remove and SelfRemove for its users"
    let silenced = proposer.user().is_some_and(|user| state.is_silenced(user));
    if silenced && !matches!(effect, PendingEffect::RemoveLeaf(_)) {
        return Err(UpdateRefusal::not_allowed(
            "this user is leaving the room or barred from it",
        ));
    }
    let message = ByteBuf::from(tls::encode(message));
    Ok((
        proposal,
        Pending {
            message,
            reference,
            at_ms,
            effect,
            proposer,
            changes,
        },
    ))
}

/// Everybody may do what it has pending, with the new ones, and all of it together: taking oneself off the list is only
/// allowed along with the removal of all own clients, and what each may do alone can be too much in one Commit.
fn authorize_all(state: &RoomState, queued: &[(QueuedProposal, Pending)]) -> Result<(), UpdateRefusal> {
    let all = state.pending.iter().chain(queued.iter().map(|(_, pending)| pending));
    let parts = handshake::parts(all.map(|pending| (pending.proposer.actor(), pending.changes.as_slice())));
    let parts: Vec<_> = parts
        .iter()
        .map(|(actor, changes)| (*actor, changes.as_slice()))
        .collect();
    authorize_together(&state.policy, &parts).map_err(|denied| UpdateRefusal::InvalidProposal {
        reason: denied.to_string(),
        proposals: queued.iter().map(|(_, pending)| pending.reference.clone()).collect(),
    })
}

/// What the proposal will do, and what its sender must be authorised for.
fn effect_of(
    state: &RoomState,
    proposer: &Proposer,
    message: &ProposalMessage,
    proposal: &QueuedProposal,
) -> Result<(PendingEffect, Vec<Change>), UpdateRefusal> {
    match proposal.proposal() {
        Proposal::Remove(remove) => {
            let leaf = remove.removed().u32();
            let removed = state
                .members
                .get(&leaf)
                .ok_or_else(|| UpdateRefusal::invalid(format!("leaf {leaf} is blank")))?;
            let change = if proposer.user() == Some(removed.user()) {
                Change::RemoveOwnClient
            } else {
                Change::RemoveClient {
                    user: removed.user().clone(),
                }
            };
            Ok((PendingEffect::RemoveLeaf(leaf), vec![change]))
        }
        Proposal::SelfRemove => match message.sender() {
            Sender::Member(leaf) => Ok((PendingEffect::RemoveLeaf(leaf), vec![Change::RemoveOwnClient])),
            _ => Err(UpdateRefusal::invalid("only members remove themselves")),
        },
        Proposal::Update(update) => {
            let renamed = handshake::identity_of(state, update.leaf_node())?;
            if *proposer != Proposer::Client(renamed) {
                return Err(UpdateRefusal::invalid("the updated leaf names another client"));
            }
            match message.sender() {
                Sender::Member(leaf) => Ok((PendingEffect::UpdateLeaf(leaf), Vec::new())),
                _ => Err(UpdateRefusal::invalid("only members update themselves")),
            }
        }
        Proposal::AppDataUpdate(_) => {
            let update = app_data::app_data_update(message.proposal())?;
            let update = update.ok_or_else(|| UpdateRefusal::invalid("not an AppDataUpdate"))?;
            let changes = app_data::resolve(state, Vec::new(), vec![update.clone()])?.all;
            Ok((PendingEffect::AppData(update), changes))
        }
        // It reaches every member, as a message does.
        Proposal::AppEphemeral(_) => Ok((PendingEffect::Ephemeral, vec![Change::SendMessage])),
        other => Err(UpdateRefusal::not_allowed(format!(
            "{:?} proposals are not accepted here",
            other.proposal_type()
        ))),
    }
}

/// All that is pending must fit together: no leaf is removed or updated twice, no user changed twice, and no user goes off the list
/// while clients of it stay. Returns the users who leave.
fn check_together(state: &RoomState, queued: &[(QueuedProposal, Pending)]) -> Result<Vec<UserUri>, UpdateRefusal> {
    let mut removed = BTreeSet::new();
    let mut updated = BTreeSet::new();
    for pending in state.pending.iter().chain(queued.iter().map(|(_, pending)| pending)) {
        let fresh = match pending.effect {
            PendingEffect::RemoveLeaf(leaf) => removed.insert(leaf),
            PendingEffect::UpdateLeaf(leaf) => updated.insert(leaf),
            PendingEffect::AppData(_) | PendingEffect::Ephemeral => true,
        };
        if !fresh {
            let reason = "the same change of this client is pending already";
            return Err(invalid(reason, &pending.reference));
        }
    }
    let all = || state.pending.iter().chain(queued.iter().map(|(_, pending)| pending));
    let updates = all().filter_map(|pending| match &pending.effect {
        PendingEffect::AppData(update) => Some(update.clone()),
        PendingEffect::RemoveLeaf(_) | PendingEffect::UpdateLeaf(_) | PendingEffect::Ephemeral => None,
    });
    let resolved = app_data::resolve(state, updates.collect(), Vec::new())?;
    let policy = resolved.after.as_ref().map_or(&state.policy, |(_, policy)| policy);
    // No Commit could include it, and none could leave it out.
    state.naming.check_policy(policy)?;
    let mut leaving = Vec::new();
    for pending in all() {
        let taken_out = pending
            .changes
            .iter()
            .filter_map(|change| handshake::taken_out(policy, pending.proposer.user(), change));
        for user in taken_out {
            if let Some(leaf) = state.leaves_of(user).find(|leaf| !removed.contains(leaf)) {
                return Err(UpdateRefusal::invalid(format!(
                    "leaf {leaf} of {user} would stay in the group"
                )));
            }
            leaving.push(user.clone());
        }
        // Whom the hub, or the own provider, leaves no client can do nothing any more.
        if let (Proposer::Hub | Proposer::Follower(_), PendingEffect::RemoveLeaf(leaf)) =
            (&pending.proposer, &pending.effect)
            && let Some(identity) = state.members.get(leaf)
            && state.leaves_of(identity.user()).all(|leaf| removed.contains(&leaf))
        {
            leaving.push(identity.user().clone());
        }
    }
    Ok(leaving)
}

fn invalid(reason: &str, reference: &[u8]) -> UpdateRefusal {
    UpdateRefusal::InvalidProposal {
        reason: reason.to_owned(),
        proposals: vec![reference.to_vec()],
    }
}
