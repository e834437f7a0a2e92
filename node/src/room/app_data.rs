//! AppDataUpdate proposals: what they make of the room's components (draft-ietf-mls-extensions, 4.7).
//!
//! openmls hands them over unresolved, since what an update means is the component's business; `proto`'s policy says it.

use std::collections::BTreeSet;

use mimi_hub_proto::components::{AppDataDictionary, AppDataUpdate, ComponentId};
use mimi_hub_proto::mls::{Commit, Proposal, ProposalContent, ProposalOrRef, ProposalType};
use mimi_hub_proto::policy::{Change, RoomPolicy};

use super::handshake::UpdateRefusal;
use super::state::RoomState;

/// What all AppDataUpdates of a Commit come to.
#[derive(Default)]
pub(crate) struct Resolved {
    /// The components and the policy afterwards, if they change.
    pub(crate) after: Option<(AppDataDictionary, RoomPolicy)>,
    /// What the committer changes itself.
    pub(crate) by_committer: Vec<Change>,
    /// All that changes.
    pub(crate) all: Vec<Change>,
    touched: BTreeSet<ComponentId>,
}

/// The AppDataUpdates that a Commit holds by value.
pub(crate) fn inline_updates(commit: Commit<'_>) -> Result<Vec<AppDataUpdate>, UpdateRefusal> {
    let mut updates = Vec::new();
    for proposal in commit.proposals() {
        if let ProposalOrRef::Proposal(proposal) = proposal {
            updates.extend(app_data_update(proposal)?);
        }
    }
    Ok(updates)
}

/// The AppDataUpdate in a proposal, if it is one.
pub(crate) fn app_data_update(proposal: Proposal<'_>) -> Result<Option<AppDataUpdate>, UpdateRefusal> {
    if proposal.proposal_type() != ProposalType::AppDataUpdate {
        return Ok(None);
    }
    match proposal.content().map_err(UpdateRefusal::invalid)? {
        ProposalContent::AppDataUpdate(update) => Ok(Some(update)),
        _ => Ok(None),
    }
}

/// Applies pending and own updates together: the indices of all refer to the list before the Commit.
pub(crate) fn resolve(
    state: &RoomState,
    pending: Vec<AppDataUpdate>,
    own: Vec<AppDataUpdate>,
) -> Result<Resolved, UpdateRefusal> {
    let apply = |updates: &[AppDataUpdate]| {
        state
            .policy
            .apply(&state.dictionary, updates)
            .map_err(UpdateRefusal::invalid)
    };
    if pending.is_empty() && own.is_empty() {
        return Ok(Resolved::default());
    }
    let mut by_committer = None;
    let mut updates = pending;
    if !updates.is_empty() {
        by_committer = Some(if own.is_empty() {
            Vec::new()
        } else {
            apply(&own)?.changes
        });
    }
    updates.extend(own);
    let applied = apply(&updates)?;
    Ok(Resolved {
        touched: updates.iter().map(|update| update.component_id).collect(),
        by_committer: by_committer.unwrap_or_else(|| applied.changes.clone()),
        all: applied.changes,
        after: Some((applied.dictionary, applied.policy)),
    })
}

impl Resolved {
    /// The components that are updated, as they are afterwards: openmls wants each of them, one that stays the same too.
    pub(crate) fn entries(&self) -> Vec<(ComponentId, Vec<u8>)> {
        let after = self.after.iter().flat_map(|(after, _)| after.iter());
        after
            .filter(|entry| self.touched.contains(&entry.component_id))
            .map(|entry| (entry.component_id, entry.data.clone()))
            .collect()
    }
}
