//! Who may send proposals to a room without being in it: the hub, and follower providers whose certificate is in the
//! group's `external_senders` (draft-ietf-mimi-protocol, 7.4).
//!
//! Invariants: the first entry is the hub's, for good. Each other one is a provider's that has a participant; only clients of
//! that provider put it in, so that nobody speaks in a provider's name; it goes with its last participant, or in the next
//! member's Commit where openmls allows of no other: an external Commit has no GroupContextExtensions, and an AppDataUpdate
//! that was waiting stands before them, in an order that openmls refuses. Such a provider proposes to remove clients of its
//! own users, and nothing else.

use std::collections::BTreeSet;

use mimi_hub_proto::mls::{CredentialType, ExternalSender, ProposalContent, ProposalMessage};
use mimi_hub_proto::policy::RoomPolicy;
use mimi_hub_proto::tls;
use mimi_hub_proto::uri::{ProviderDomain, UserUri};
use openmls::extensions::{Extension, ExtensionType, Extensions};
use openmls::group::{GroupContext, QueuedProposal, StagedCommit};
use openmls::messages::proposals::Proposal;
use tls_codec::Serialize as _;

use super::handshake::{self, UpdateRefusal};
use super::state::{Proposer, RoomState};

/// The hub's place in the list.
pub(super) const HUB: u32 = 0;

/// The list, in its order. openmls does not show what is in an entry: it is read from the encoding.
pub(super) fn of(extensions: &Extensions<GroupContext>) -> Result<Vec<ExternalSender>, UpdateRefusal> {
    let entries = extensions.external_senders().map(|entries| entries.as_slice());
    let read = |entry: &openmls::extensions::ExternalSender| {
        let octets = entry.tls_serialize_detached().map_err(UpdateRefusal::not_allowed)?;
        tls::decode_exact(&octets).map_err(UpdateRefusal::not_allowed)
    };
    entries.unwrap_or_default().iter().map(read).collect()
}

/// The provider in whose name an entry is: its credential is the provider's MIMI URI, as the hub's own is.
fn provider_of(entry: &ExternalSender) -> Option<ProviderDomain> {
    let credential = entry.credential.as_ref();
    if credential.credential_type != CredentialType::BASIC {
        return None;
    }
    let uri = std::str::from_utf8(credential.content).ok()?;
    uri.strip_prefix("mimi://")?.parse().ok()
}

/// In whose name the external sender at `index` proposes this: the hub's, or that of the user whose client is to go, for
/// which its provider speaks.
///
/// # Errors
/// There is no such entry, or the proposal is none that a follower may make.
pub(super) fn proposer(state: &RoomState, index: u32, message: &ProposalMessage) -> Result<Proposer, UpdateRefusal> {
    if index == HUB {
        return Ok(Proposer::Hub);
    }
    let entries = of(state.group.group_context().extensions())?;
    let provider = usize::try_from(index)
        .ok()
        .and_then(|index| entries.get(index))
        .and_then(provider_of)
        .ok_or_else(|| UpdateRefusal::not_allowed(format!("the group has no external sender {index}")))?;
    let removed = match message.proposal().content() {
        Ok(ProposalContent::Remove(leaf)) => state.members.get(&leaf),
        _ => None,
    };
    match removed {
        Some(identity) if identity.user().provider() == provider => Ok(Proposer::Follower(identity.user().clone())),
        _ => Err(UpdateRefusal::not_allowed(format!(
            "{provider} may propose to remove clients of its own users, and nothing else"
        ))),
    }
}

/// What a Commit makes of the list, and that it makes nothing else of the group's extensions.
///
/// # Errors
/// One of the rules above is broken.
pub(super) fn check(
    state: &RoomState,
    staged: &StagedCommit,
    committer: &UserUri,
    policy_after: &RoomPolicy,
    external: bool,
) -> Result<(), UpdateRefusal> {
    let extensions = state.group.group_context().extensions();
    for proposal in staged.queued_proposals() {
        if let Proposal::GroupContextExtensions(wanted) = proposal.proposal()
            && rest(wanted.extensions()) != rest(extensions)
        {
            return Err(UpdateRefusal::not_allowed(
                "GroupContextExtensions may change `external_senders`, and nothing else",
            ));
        }
    }
    let before = of(extensions)?;
    let after = of(staged.group_context().extensions())?;
    if after.first() != before.first() {
        return Err(UpdateRefusal::not_allowed(
            "the hub is the first of the external senders and stays it",
        ));
    }
    let participating: BTreeSet<ProviderDomain> = policy_after
        .participants()
        .participants
        .iter()
        .filter(|participant| !handshake::is_banned_role(policy_after, participant.role_index))
        .map(|participant| participant.user.provider())
        .collect();
    let waited = |proposal: &QueuedProposal| {
        matches!(proposal.proposal(), Proposal::AppDataUpdate(_)) && !handshake::is_inline(proposal)
    };
    let cannot = external || staged.queued_proposals().any(waited);
    let own = committer.provider();
    let mut seen = BTreeSet::new();
    for entry in after.iter().skip(1) {
        let provider = provider_of(entry)
            .ok_or_else(|| UpdateRefusal::not_allowed("an external sender does not say which provider it is"))?;
        let may_wait = cannot && before.contains(entry);
        if !participating.contains(&provider) && !may_wait {
            return Err(UpdateRefusal::not_allowed(format!(
                "{provider} has no participant any more: the Commit has to take it out of `external_senders`"
            )));
        }
        if !before.contains(entry) && provider != own {
            return Err(UpdateRefusal::not_allowed(format!(
                "only a client of {provider} makes {provider} an external sender"
            )));
        }
        if !seen.insert(provider) {
            return Err(UpdateRefusal::not_allowed("a provider is an external sender once"));
        }
    }
    let gone = before.iter().skip(1).filter(|entry| !after.contains(entry));
    for provider in gone.filter_map(provider_of) {
        if provider != own && participating.contains(&provider) {
            return Err(UpdateRefusal::not_allowed(format!(
                "{provider} has participants: only a client of it takes it out of the external senders"
            )));
        }
    }
    Ok(())
}

/// All other extensions.
fn rest(extensions: &Extensions<GroupContext>) -> Vec<&Extension> {
    extensions
        .iter()
        .filter(|extension| extension.extension_type() != ExtensionType::ExternalSenders)
        .collect()
}
