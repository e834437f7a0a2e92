//! `decide` for a Commit: the one event that ends an epoch (draft-ietf-mimi-protocol, 5.3; RFC 9420, 12.4).
//!
//! In order:
//! 1. it is for this room's group and its current epoch, else `wrongEpoch`;
//! 2. it comes from the provider of its committer, who is an active participant and not about to leave;
//! 3. a member's Commit includes every pending proposal; an external one drops none that the hub cannot make anew;
//! 4. openmls checks it (framing, signatures, tree, proposals: `ValSem*`), the AppDataUpdates resolved by our rules;
//! 5. every change it makes is authorised by the room's policy, under the name of who proposed it;
//! 6. every client it adds came by a KeyPackage that was claimed through this hub and not used before;
//! 7. afterwards every client's user is on the participant list, no banned user has clients, and all clients go by the kind
//!    of names that the room goes by;
//! 8. every external sender but the hub is a provider with participants ([`super::external_senders`]);
//! 9. the GroupInfo describes exactly the new epoch and is signed by the committer; the Welcome is for the added clients.

use std::collections::{BTreeMap, BTreeSet};

use mimi_hub_proto::components::{AppDataDictionary, AppDataUpdate};
use mimi_hub_proto::mls::{CommitMessage, ProposalContent, ProposalOrRef, ProposalType, Sender, Welcome};
use mimi_hub_proto::policy::{Actor, Change, RoomPolicy, authorize_together};
use mimi_hub_proto::uri::{ProviderDomain, UserUri};
use mimi_hub_proto::{ClientIdentity, GroupInfoOption, RatchetTreeOption};
use openmls::framing::ProcessedMessage;
use openmls::group::StagedCommit;
use openmls::messages::proposals::Proposal;
use serde_bytes::ByteBuf;

use super::app_data;
use super::event::{CommitAccepted, WelcomeAccepted};
use super::external_senders;
use super::group_info;
use super::handshake::{self, Hosting, UpdateRefusal};
use super::moderation;
use super::state::{MemberChanges, Pending, PendingEffect, Proposer, RoomState};
use crate::mls::crypto;

/// A Commit that is accepted, with all that [`RoomState::advance_commit`] needs.
pub struct CommitDecision {
    /// What goes into the log.
    pub accepted: CommitAccepted,
    pub(crate) staged: StagedCommit,
    pub(crate) changes: MemberChanges,
    /// The components and the policy after the Commit, if they change.
    pub(crate) after: Option<(AppDataDictionary, RoomPolicy)>,
}

/// What a Commit bundle holds (HandshakeBundle, case `commit`), with the part of its checks that needs no room.
pub struct CommitBundle {
    pub(super) commit: CommitMessage,
    pub(super) welcome: Option<Welcome>,
    pub(super) group_info: GroupInfoOption,
    /// Where the tree is; a tree itself is not kept, as the hub has its own.
    pub(super) ratchet_tree: RatchetTreeOption,
    /// The key in the Commit's path, if the GroupInfo's signature has been checked with it.
    pub(super) signed_with: Option<Vec<u8>>,
}

impl CommitBundle {
    /// Takes the parts, and checks the GroupInfo's signature with the key in the Commit's path: that needs no state, so it
    /// is done by whoever has the request, on any core, and not in the room's one mailbox. [`decide_commit`] checks what is
    /// left open here, and that it was the committer's key.
    pub fn new(
        commit: CommitMessage,
        welcome: Option<Welcome>,
        group_info: GroupInfoOption,
        ratchet_tree: RatchetTreeOption,
    ) -> Self {
        let signed_with = group_info::signed_with(&commit, &group_info);
        let ratchet_tree = match ratchet_tree {
            RatchetTreeOption::Full(_) => RatchetTreeOption::DistributionService,
            other => other,
        };
        CommitBundle {
            commit,
            welcome,
            group_info,
            ratchet_tree,
            signed_with,
        }
    }
}

/// Decides a Commit bundle that `source` has sent.
///
/// # Errors
/// The draft's refusals; the state is not changed by any of them, nor by an acceptance.
pub fn decide_commit(
    state: &RoomState,
    hosting: &Hosting<'_>,
    source: &ProviderDomain,
    bundle: &CommitBundle,
) -> Result<CommitDecision, UpdateRefusal> {
    let is_local = hosting.is_local;
    let message = &bundle.commit;
    handshake::check_epoch(state, message.group_id(), message.epoch())?;
    check_tree(&bundle.ratchet_tree)?;
    let external = message.sender() == Sender::NewMemberCommit;
    let committer = committer(state, message, source)?;
    let commit = message.commit();
    if external {
        drops_nothing(state, message)?;
    } else {
        includes_pending(state, message)?;
    }
    let inline = app_data::inline_updates(commit)?;

    let processed = handshake::process(state, message.as_bytes())?;
    let (staged, resolved) = stage(state, processed, inline, external)?;
    let user = committer.user();
    let admission = external.then(|| state.records.admission(user, hosting.at_ms)).flatten();
    let admission = admission.filter(|_| state.policy.role_of(user).is_none());
    let actor = match admission {
        Some((_, code)) => Actor::JoinCode { user, role: code.role },
        None if external => Actor::NewMember(user),
        None => Actor::Participant(user),
    };
    let changes = member_changes(state, &staged, &committer, external)?;
    let mut wanted = client_changes(state, &staged, &committer, external)?;
    wanted.extend(resolved.by_committer.iter().cloned());
    let pending = state
        .pending
        .iter()
        .filter(|_| !external)
        .map(|pending| (pending.proposer.actor(), pending.changes.as_slice()));
    let parts = handshake::parts(pending.chain([(actor, wanted.as_slice())]));
    let parts: Vec<_> = parts
        .iter()
        .map(|(actor, changes)| (*actor, changes.as_slice()))
        .collect();
    authorize_together(&state.policy, &parts).map_err(UpdateRefusal::not_allowed)?;
    let policy_after = resolved.after.as_ref().map_or(&state.policy, |(_, policy)| policy);
    if resolved.after.is_some() {
        handshake::check_parent(policy_after, hosting)?;
        state.naming.check_policy(policy_after)?;
    }
    let membership = Membership::after(state, &changes);
    membership.check(state, policy_after, user, &resolved.all)?;
    external_senders::check(state, &staged, user, policy_after, external)?;
    if state.members.len() + changes.added.len() > state.limits.members_max + changes.removed.len() {
        return Err(UpdateRefusal::not_allowed(format!(
            "a room has at most {} clients",
            state.limits.members_max
        )));
    }

    let signer = committer_leaf(message.sender(), &changes)?;
    let group_info = group_info::check(state, &staged, signer, bundle)?;
    let welcome = welcome(state, bundle.welcome.as_ref(), &changes, is_local)?;
    let mut fan_out: Vec<ProviderDomain> = state
        .active_providers()
        .filter(|domain| !is_local(domain))
        .cloned()
        .collect();
    let joiner = external
        .then(|| user.provider())
        .filter(|domain| !is_local(domain) && !fan_out.contains(domain));
    fan_out.extend(joiner);
    let local = |users: Vec<UserUri>| users.into_iter().filter(|user| is_local(&user.provider())).collect();
    let accepted = CommitAccepted {
        message: ByteBuf::from(mimi_hub_proto::tls::encode(message)),
        group_info: ByteBuf::from(group_info),
        welcome,
        fan_out,
        joined: local(membership.joined(state)),
        left: local(membership.left(state)),
        external_proposals: if external {
            moderation::regenerated(state, hosting.keys, &changes.removed)?
        } else {
            Vec::new()
        },
        join_code: admission.map(|(id, _)| id.to_owned()),
    };
    Ok(CommitDecision {
        accepted,
        staged,
        changes,
        after: resolved.after,
    })
}

/// Carries out again a Commit that was accepted before: no policy, no provider, only what moves the state.
pub(crate) fn replay_commit(
    state: &mut RoomState,
    at_ms: u64,
    accepted: &CommitAccepted,
) -> Result<(), crate::error::NodeError> {
    let refused = |refusal: UpdateRefusal| crate::error::NodeError::Replay(refusal.to_string());
    let message: CommitMessage = mimi_hub_proto::tls::decode_exact(&accepted.message)?;
    let external = message.sender() == Sender::NewMemberCommit;
    let committer = handshake::sender_identity(state, &message).map_err(refused)?;
    let inline = app_data::inline_updates(message.commit()).map_err(refused)?;
    let processed = handshake::process(state, message.as_bytes()).map_err(refused)?;
    let (staged, resolved) = stage(state, processed, inline, external).map_err(refused)?;
    let changes = member_changes(state, &staged, &committer, external).map_err(refused)?;
    state.advance_commit(staged, changes, resolved.after, at_ms, accepted)
}

/// 2. The committer: an active participant of the provider that sent the Commit, or one who joins by it.
fn committer(
    state: &RoomState,
    message: &CommitMessage,
    source: &ProviderDomain,
) -> Result<ClientIdentity, UpdateRefusal> {
    let identity = handshake::sender_identity(state, message)?;
    handshake::check_source(&identity, source)?;
    if state.is_silenced(identity.user()) {
        return Err(UpdateRefusal::not_allowed(
            "this user is leaving the room or barred from it",
        ));
    }
    Ok(identity)
}

/// The hub rebuilds the tree from the handshakes, and takes no trouble to get it from anywhere else
/// (draft-mahy-mls-ratchet-tree-options).
fn check_tree(tree: &RatchetTreeOption) -> Result<(), UpdateRefusal> {
    match tree {
        RatchetTreeOption::Full(_) | RatchetTreeOption::DistributionService => Ok(()),
        RatchetTreeOption::HttpsUri { .. } | RatchetTreeOption::OutOfBand { .. } => Err(UpdateRefusal::not_allowed(
            "the hub fetches no ratchet tree: send `full` or `distributionService`",
        )),
    }
}

/// The rule 3 of an external Commit: of what is pending it can include SelfRemoves, and nothing else by reference. The hub
/// makes its own proposals anew; anything else would be lost.
fn drops_nothing(state: &RoomState, message: &CommitMessage) -> Result<(), UpdateRefusal> {
    let included: BTreeSet<&[u8]> = message
        .commit()
        .proposals()
        .filter_map(|proposal| match proposal {
            ProposalOrRef::Reference(reference) => Some(reference),
            ProposalOrRef::Proposal(_) => None,
        })
        .collect();
    let lost = |pending: &&Pending| match pending.effect {
        PendingEffect::RemoveLeaf(_) if pending.proposer == Proposer::Hub => false,
        _ => !included.contains(pending.reference.as_slice()),
    };
    match state.pending.iter().filter(lost).count() {
        0 => Ok(()),
        lost => Err(UpdateRefusal::not_allowed(format!(
            "{lost} proposals are pending that only a member's Commit can include"
        ))),
    }
}

/// 3. "The next time a client attempts to commit, the hub requires the client to include the cached proposals."
///
/// Updates that RFC 9420, 12.2, forbids to include are not missed: the committer's own, and one of a leaf that goes.
fn includes_pending(state: &RoomState, message: &CommitMessage) -> Result<(), UpdateRefusal> {
    let mut included = BTreeSet::new();
    let mut removed = BTreeSet::new();
    for proposal in message.commit().proposals() {
        match proposal {
            ProposalOrRef::Reference(reference) => {
                included.insert(reference);
            }
            ProposalOrRef::Proposal(proposal) if proposal.proposal_type() == ProposalType::Remove => {
                if let Ok(ProposalContent::Remove(leaf)) = proposal.content() {
                    removed.insert(leaf);
                }
            }
            ProposalOrRef::Proposal(_) => {}
        }
    }
    for pending in &state.pending {
        if let PendingEffect::RemoveLeaf(leaf) = pending.effect {
            removed.insert(leaf);
        }
    }
    let needless = |pending: &Pending| match pending.effect {
        PendingEffect::UpdateLeaf(leaf) => message.sender() == Sender::Member(leaf) || removed.contains(&leaf),
        PendingEffect::RemoveLeaf(_) | PendingEffect::AppData(_) | PendingEffect::Ephemeral => false,
    };
    let missing = state
        .pending
        .iter()
        .filter(|pending| !included.contains(pending.reference.as_slice()) && !needless(pending))
        .count();
    if missing > 0 {
        return Err(UpdateRefusal::not_allowed(format!(
            "the Commit leaves out {missing} pending proposals"
        )));
    }
    Ok(())
}

/// 4. Has openmls stage the Commit, with the participant list and the like as our rules make them.
fn stage(
    state: &RoomState,
    processed: ProcessedMessage,
    own: Vec<AppDataUpdate>,
    external: bool,
) -> Result<(StagedCommit, app_data::Resolved), UpdateRefusal> {
    let pending = state
        .pending
        .iter()
        .filter(|_| !external)
        .filter_map(|pending| match &pending.effect {
            PendingEffect::AppData(update) => Some(update.clone()),
            PendingEffect::RemoveLeaf(_) | PendingEffect::UpdateLeaf(_) | PendingEffect::Ephemeral => None,
        });
    let resolved = app_data::resolve(state, pending.collect(), own)?;
    let staged = handshake::into_staged(state, processed, resolved.entries())?;
    Ok((staged, resolved))
}

/// 6. Which leaves go and come, and which KeyPackages are used up.
fn member_changes(
    state: &RoomState,
    staged: &StagedCommit,
    committer: &ClientIdentity,
    external: bool,
) -> Result<MemberChanges, UpdateRefusal> {
    let mut changes = MemberChanges::default();
    for removed in handshake::removed_leaves(staged) {
        changes.removed.push(removed);
    }
    let mut taken: BTreeSet<u32> = BTreeSet::new();
    if external {
        let leaf = state
            .group
            .ext_commit_sender_index(staged)
            .map_err(UpdateRefusal::not_allowed)?
            .u32();
        taken.insert(leaf);
        changes.added.push((leaf, committer.clone()));
    }
    // RFC 9420, 7.7: a new leaf takes the leftmost blank one.
    let mut free = 0;
    for added in staged.add_proposals() {
        let key_package = added.add_proposal().key_package();
        let reference = key_package
            .hash_ref(crypto::provider())
            .map_err(UpdateRefusal::not_allowed)?;
        let identity = handshake::identity_of(state, key_package.leaf_node())?;
        if state.records.barred.contains(identity.user()) {
            return Err(UpdateRefusal::not_allowed(format!(
                "{} is barred from this room by its provider",
                identity.user()
            )));
        }
        let known = state
            .key_packages
            .get(reference.as_slice())
            .filter(|route| route.client == *identity.client());
        if known.is_none_or(|route| route.user != *identity.user()) {
            return Err(UpdateRefusal::invalid(format!(
                "a KeyPackage of {} was not claimed through this hub for this room, or was used before",
                identity.client()
            )));
        }
        if changes
            .used_key_packages
            .iter()
            .any(|used| used == reference.as_slice())
        {
            return Err(UpdateRefusal::invalid(format!(
                "a KeyPackage of {} is used twice",
                identity.client()
            )));
        }
        changes.used_key_packages.push(reference.as_slice().to_vec());
        let stays = |leaf: &u32| state.members.contains_key(leaf) && !changes.removed.contains(leaf);
        while stays(&free) || !taken.insert(free) {
            free += 1;
        }
        changes.added.push((free, identity));
    }
    Ok(changes)
}

/// 5. What the committer itself does to clients; what pending proposals do was authorised when they came.
fn client_changes(
    state: &RoomState,
    staged: &StagedCommit,
    committer: &ClientIdentity,
    external: bool,
) -> Result<Vec<Change>, UpdateRefusal> {
    let mut wanted = Vec::new();
    if external {
        wanted.push(Change::AddOwnClient);
    }
    for proposal in staged
        .queued_proposals()
        .filter(|proposal| handshake::is_inline(proposal))
    {
        match proposal.proposal() {
            Proposal::Add(add) => {
                let user = handshake::identity_of(state, add.key_package().leaf_node())?
                    .user()
                    .clone();
                wanted.push(if user == *committer.user() {
                    Change::AddOwnClient
                } else {
                    Change::AddClient { user }
                });
            }
            Proposal::Remove(remove) => {
                let Some(identity) = state.members.get(&remove.removed().u32()) else {
                    continue;
                };
                let user = identity.user().clone();
                let own = user == *committer.user();
                wanted.push(if own {
                    Change::RemoveOwnClient
                } else {
                    Change::RemoveClient { user }
                });
            }
            // Judged by what they make of the components, and of the external senders.
            Proposal::AppDataUpdate(_) | Proposal::GroupContextExtensions(_) | Proposal::ExternalInit(_) => {}
            // It reaches every member, as a message does.
            Proposal::AppEphemeral(_) => wanted.push(Change::SendMessage),
            other => {
                let kind = other.proposal_type();
                return Err(UpdateRefusal::not_allowed(format!(
                    "{kind:?} proposals are not accepted here"
                )));
            }
        }
    }
    // RFC 9420, 12.4.2: the committer's leaf is replaced by that of the path; it must stay the same client.
    let same_client = staged
        .update_path_leaf_node()
        .map(|leaf| handshake::identity_of(state, leaf))
        .transpose()?;
    if same_client.is_some_and(|identity| identity != *committer) {
        return Err(UpdateRefusal::not_allowed(
            "the committer's new leaf names another client",
        ));
    }
    Ok(wanted)
}

/// How many clients each user has after a Commit, for the users that it touches.
struct Membership {
    after: BTreeMap<UserUri, u32>,
}

impl Membership {
    fn after(state: &RoomState, changes: &MemberChanges) -> Self {
        let mut after: BTreeMap<UserUri, u32> = BTreeMap::new();
        let before = |user: &UserUri| state.active.get(user).copied().unwrap_or_default();
        for identity in changes.removed.iter().filter_map(|leaf| state.members.get(leaf)) {
            let clients = after
                .entry(identity.user().clone())
                .or_insert_with(|| before(identity.user()));
            *clients = clients.saturating_sub(1);
        }
        for (_, identity) in &changes.added {
            *after
                .entry(identity.user().clone())
                .or_insert_with(|| before(identity.user())) += 1;
        }
        Membership { after }
    }

    /// 7. A user is on the list before or with its clients, and off it (or banned) with or after them.
    fn check(
        &self,
        state: &RoomState,
        policy: &RoomPolicy,
        committer: &UserUri,
        changes: &[Change],
    ) -> Result<(), UpdateRefusal> {
        for (user, _) in self.after.iter().filter(|(_, clients)| **clients > 0) {
            match policy.role_of(user) {
                None => {
                    return Err(UpdateRefusal::not_allowed(format!(
                        "{user} is not on the participant list"
                    )));
                }
                Some(role) if handshake::is_banned_role(policy, role.role_index) => {
                    return Err(UpdateRefusal::not_allowed(format!("{user} is banned")));
                }
                Some(_) => {}
            }
        }
        for user in changes
            .iter()
            .filter_map(|change| handshake::taken_out(policy, Some(committer), change))
        {
            let clients = self
                .after
                .get(user)
                .or_else(|| state.active.get(user))
                .copied()
                .unwrap_or_default();
            if clients > 0 {
                return Err(UpdateRefusal::not_allowed(format!(
                    "clients of {user} would stay in the group"
                )));
            }
        }
        Ok(())
    }

    /// Users whose first client comes in.
    fn joined(&self, state: &RoomState) -> Vec<UserUri> {
        self.after
            .iter()
            .filter(|(user, clients)| **clients > 0 && !state.is_active(user))
            .map(first)
            .collect()
    }

    /// Users whose last client goes.
    fn left(&self, state: &RoomState) -> Vec<UserUri> {
        self.after
            .iter()
            .filter(|(user, clients)| **clients == 0 && state.is_active(user))
            .map(first)
            .collect()
    }
}

fn first((user, _): (&UserUri, &u32)) -> UserUri {
    user.clone()
}

fn committer_leaf(sender: Sender, changes: &MemberChanges) -> Result<u32, UpdateRefusal> {
    match sender {
        Sender::Member(leaf) => Ok(leaf),
        Sender::NewMemberCommit => changes
            .added
            .first()
            .map(|(leaf, _)| *leaf)
            .ok_or_else(|| UpdateRefusal::not_allowed("nobody joins")),
        Sender::External(_) | Sender::NewMemberProposal => Err(UpdateRefusal::not_allowed("only members commit")),
    }
}

/// 8. The Welcome names exactly the KeyPackages that the Commit uses; it goes where they came from.
fn welcome(
    state: &RoomState,
    welcome: Option<&Welcome>,
    changes: &MemberChanges,
    is_local: &dyn Fn(&ProviderDomain) -> bool,
) -> Result<Option<WelcomeAccepted>, UpdateRefusal> {
    let Some(welcome) = welcome else {
        return match changes.used_key_packages.len() {
            0 => Ok(None),
            added => Err(UpdateRefusal::not_allowed(format!(
                "the Welcome for {added} added clients is missing"
            ))),
        };
    };
    let named: BTreeSet<&[u8]> = welcome.new_members().collect();
    let used: BTreeSet<&[u8]> = changes.used_key_packages.iter().map(Vec::as_slice).collect();
    if named != used {
        return Err(UpdateRefusal::not_allowed(
            "the Welcome is not for the clients that the Commit adds",
        ));
    }
    let mut fan_out = BTreeSet::new();
    let mut users = BTreeSet::new();
    for route in used.iter().filter_map(|reference| state.key_packages.get(*reference)) {
        if is_local(&route.provider) {
            users.insert(route.user.clone());
        } else {
            fan_out.insert(route.provider.clone());
        }
    }
    let message = mimi_hub_proto::mls::MlsMessage::Welcome(welcome.clone());
    Ok(Some(WelcomeAccepted {
        message: ByteBuf::from(mimi_hub_proto::tls::encode(&message)),
        ratchet_tree: ByteBuf::new(),
        fan_out: fan_out.into_iter().collect(),
        users: users.into_iter().collect(),
    }))
}
