//! A room in memory.
//!
//! Invariants:
//! - `group` is the group of the current epoch, `group_info` describes the same epoch;
//! - `members` has exactly the leaves of `group`, each with the identity in its credential; every member's user is on the
//!   participant list;
//! - `policy` is what the group's `app_data_dictionary` says;
//! - `pending` are proposals of the current epoch, all in `group`'s proposal store; together they can be committed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mimi_hub_proto::components::{AppDataDictionary, AppDataUpdate};
use mimi_hub_proto::mls::{Extension, ExtensionType};
use mimi_hub_proto::policy::{Actor, Change, RoomPolicy, authorize};
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use mimi_hub_proto::{ClientIdentity, tls};
use openmls::group::{PublicGroup, StagedCommit};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tls_codec::Serialize as _;

use super::credentials::Naming;
use super::event::{ClaimedKeyPackage, CommitAccepted, RoomEvent};
use super::proposals::replay_proposals;
use super::records::HubRecords;
use crate::error::NodeError;
use crate::mls::store::{GroupStore, StoredGroup};

/// Limits of a room, in the units that their names say.
#[derive(Clone, Debug)]
pub struct RoomLimits {
    /// Application messages of this many past epochs are still accepted.
    pub past_epochs_max: u64,
    /// Proposals that may wait for a Commit.
    pub pending_proposals_max: usize,
    /// Clients in the group.
    pub members_max: usize,
    /// Handshake bytes after which a checkpoint is taken.
    pub checkpoint_handshake_bytes: u64,
}

/// The durable form of a room's state right after a Commit (so that no proposals are pending but those stapled to it).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub(crate) group: StoredGroup,
    pub(crate) group_info: ByteBuf,
    /// Each with where it came from, and whether a Commit has used it.
    pub(crate) key_packages: Vec<(ClaimedKeyPackage, ProviderDomain, UserUri, bool)>,
    pub(crate) records: HubRecords,
    /// The hub's proposals that were stapled to the Commit, and its acceptance time.
    pub(crate) stapled: (Vec<ByteBuf>, u64),
}

impl Checkpoint {
    /// A new room's.
    pub(crate) fn first(group: StoredGroup, group_info: ByteBuf) -> Self {
        Checkpoint {
            group,
            group_info,
            key_packages: Vec::new(),
            records: HubRecords::default(),
            stapled: (Vec::new(), 0),
        }
    }
}

/// A room's state on the leader.
pub struct RoomState {
    pub(crate) room: RoomUri,
    pub(crate) limits: RoomLimits,
    pub(crate) group: PublicGroup,
    /// The group's components.
    pub(crate) dictionary: AppDataDictionary,
    pub(crate) policy: RoomPolicy,
    /// By which names the members go; the same for as long as the room lives.
    pub(crate) naming: Naming,
    /// By leaf index.
    pub(crate) members: BTreeMap<u32, ClientIdentity>,
    /// How many clients each active participant has in the group.
    pub(crate) active: BTreeMap<UserUri, u32>,
    /// How many active participants each provider has: who is told of what happens.
    providers: BTreeMap<ProviderDomain, u32>,
    pub(crate) group_info: ByteBuf,
    pub(crate) pending: Vec<Pending>,
    /// Users whose removal is pending: they may neither send nor commit any more.
    pub(crate) leaving: BTreeSet<UserUri>,
    /// Claimed KeyPackages that no Commit has used yet, by KeyPackageRef.
    pub(crate) key_packages: HashMap<Vec<u8>, KeyPackageRoute>,
    /// Those that one has used, for as long as they live: a provider that gives one out again does not make it fresh.
    used: HashMap<Vec<u8>, KeyPackageRoute>,
    /// What the hub keeps of the room beside its group.
    pub(crate) records: HubRecords,
    /// Who receives application messages.
    pub(crate) reach: Reach,
    handshake_bytes: u64,
    /// Taken at the last Commit, to be proposed next.
    due: Option<Box<Checkpoint>>,
}

/// Who receives application messages, as of the last change of the room (draft-ietf-mimi-room-policy, 8.3).
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// The providers of active participants that may.
    pub(crate) providers: BTreeSet<ProviderDomain>,
    /// Active participants that may not.
    pub(crate) withheld: Vec<UserUri>,
}

/// Who has made a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proposer {
    /// A user's client.
    Client(ClientIdentity),
    /// The hub itself.
    Hub,
    /// A follower provider, as an external sender, for this user of its own.
    Follower(UserUri),
}

impl Proposer {
    /// The user, unless it is the hub.
    pub(crate) fn user(&self) -> Option<&UserUri> {
        match self {
            Proposer::Client(identity) => Some(identity.user()),
            Proposer::Follower(user) => Some(user),
            Proposer::Hub => None,
        }
    }

    /// Under whose name policy judges it.
    pub(crate) fn actor(&self) -> Actor<'_> {
        match self {
            Proposer::Client(identity) => Actor::Participant(identity.user()),
            Proposer::Follower(user) => Actor::Participant(user),
            Proposer::Hub => Actor::Hub,
        }
    }
}

/// A proposal that waits for a Commit.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) message: ByteBuf,
    /// Its ProposalRef.
    pub(crate) reference: Vec<u8>,
    pub(crate) at_ms: u64,
    pub(crate) effect: PendingEffect,
    /// Who proposed it, and what that changes.
    pub(crate) proposer: Proposer,
    pub(crate) changes: Vec<Change>,
}

/// What a pending proposal will do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PendingEffect {
    /// Take a leaf out.
    RemoveLeaf(u32),
    /// Change a component.
    AppData(AppDataUpdate),
    /// Replace a leaf, which must stay the same client.
    UpdateLeaf(u32),
    /// Tell the members something, and change nothing.
    Ephemeral,
}

/// Where a claimed KeyPackage came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyPackageRoute {
    pub(crate) provider: ProviderDomain,
    pub(crate) user: UserUri,
    pub(crate) client: mimi_hub_proto::uri::ClientUri,
    pub(crate) not_after_s: u64,
}

/// The membership after a Commit, as far as it differs.
#[derive(Debug, Default)]
pub(crate) struct MemberChanges {
    pub(crate) removed: Vec<u32>,
    pub(crate) added: Vec<(u32, ClientIdentity)>,
    pub(crate) used_key_packages: Vec<Vec<u8>>,
}

impl RoomState {
    /// A room from a checkpoint.
    pub(crate) fn from_checkpoint(
        room: RoomUri,
        limits: RoomLimits,
        checkpoint: Checkpoint,
    ) -> Result<Self, NodeError> {
        let group = checkpoint.group.load()?;
        let dictionary = read_dictionary(&group)?;
        let mut policy = RoomPolicy::from_dictionary(&dictionary)?;
        let (naming, members) = Naming::of_group(&group)?;
        let members: BTreeMap<u32, ClientIdentity> = members.into_iter().collect();
        let mut active: BTreeMap<UserUri, u32> = BTreeMap::new();
        for identity in members.values() {
            *active.entry(identity.user().clone()).or_default() += 1;
        }
        policy.set_clients(active.iter().map(|(user, clients)| (user.clone(), *clients)));
        let mut state = RoomState {
            room,
            limits,
            group,
            dictionary,
            policy,
            naming,
            members,
            providers: BTreeMap::new(),
            active: BTreeMap::new(),
            group_info: checkpoint.group_info,
            pending: Vec::new(),
            leaving: BTreeSet::new(),
            key_packages: HashMap::new(),
            used: HashMap::new(),
            records: checkpoint.records,
            reach: Reach::default(),
            handshake_bytes: 0,
            due: None,
        };
        let users: Vec<UserUri> = state.members.values().map(|identity| identity.user().clone()).collect();
        users.iter().for_each(|user| state.count_client(user));
        for (package, provider, user, used) in checkpoint.key_packages {
            state.remember_key_package(&provider, &user, &package);
            if used {
                state.use_key_package(&package.reference);
            }
        }
        state.reach = state.reach_now();
        let (stapled, at_ms) = checkpoint.stapled;
        replay_proposals(&mut state, at_ms, &stapled)?;
        Ok(state)
    }

    /// May the user neither send nor commit any more? Its removal is pending, or it is barred.
    pub(crate) fn is_silenced(&self, user: &UserUri) -> bool {
        self.leaving.contains(user) || self.records.barred.contains(user)
    }

    /// Is the removal of this leaf pending?
    pub(crate) fn removes(&self, leaf: u32) -> bool {
        let removal = PendingEffect::RemoveLeaf(leaf);
        self.pending.iter().any(|pending| pending.effect == removal)
    }

    /// The leaves whose removal the hub has proposed.
    pub(crate) fn hub_removals(&self) -> impl Iterator<Item = u32> + '_ {
        self.pending.iter().filter_map(|pending| match pending.effect {
            PendingEffect::RemoveLeaf(leaf) if pending.proposer == Proposer::Hub => Some(leaf),
            _ => None,
        })
    }

    /// Takes in an event that changes what the hub keeps beside the group. Others change nothing here.
    pub(crate) fn advance_records(&mut self, event: &RoomEvent) {
        let records = &mut self.records;
        match event {
            RoomEvent::JoinCodeCreated { id, code } => {
                records.codes.insert(id.clone(), code.clone());
            }
            RoomEvent::JoinCodeRevoked { id } => records.revoke(id),
            RoomEvent::JoinCodeShown { id, user } => {
                records.admitted.insert(user.clone(), id.clone());
            }
            RoomEvent::Barred { user, .. } => {
                records.barred.insert(user.clone());
                records.admitted.remove(user);
            }
            RoomEvent::Unbarred { user } => {
                records.barred.remove(user);
            }
            RoomEvent::Destroyed => records.destroyed = true,
            _ => return,
        }
        self.reach = self.reach_now();
    }

    fn reach_now(&self) -> Reach {
        let mut reach = Reach::default();
        for user in self.active.keys() {
            let receives = authorize(&self.policy, Actor::Participant(user), &[Change::ReceiveMessage]).is_ok();
            if receives && !self.records.barred.contains(user) {
                reach.providers.insert(user.provider());
            } else {
                reach.withheld.push(user.clone());
            }
        }
        reach
    }

    /// The current epoch.
    pub fn epoch(&self) -> u64 {
        self.group.group_context().epoch().as_u64()
    }

    /// The providers whose users have clients in the group.
    pub(crate) fn active_providers(&self) -> impl Iterator<Item = &ProviderDomain> {
        self.providers.keys()
    }

    /// Has the user clients in the group?
    pub(crate) fn is_active(&self, user: &UserUri) -> bool {
        self.active.contains_key(user)
    }

    pub(crate) fn leaves_of<'a>(&'a self, user: &'a UserUri) -> impl Iterator<Item = u32> + 'a {
        self.members
            .iter()
            .filter(move |(_, identity)| identity.user() == user)
            .map(|(leaf, _)| *leaf)
    }

    /// Ends the epoch with a Commit that was decided (or replayed).
    pub(crate) fn advance_commit(
        &mut self,
        staged: StagedCommit,
        changes: MemberChanges,
        after: Option<(AppDataDictionary, RoomPolicy)>,
        at_ms: u64,
        accepted: &CommitAccepted,
    ) -> Result<(), NodeError> {
        self.handshake_bytes += (accepted.message.len() + accepted.group_info.len()) as u64;
        let checkpoint = self.handshake_bytes >= self.limits.checkpoint_handshake_bytes;
        let group_id = self.group.group_id().as_slice().to_vec();
        let store = if checkpoint {
            GroupStore::keeping(&group_id)
        } else {
            GroupStore::forgetting()
        };
        self.group
            .merge_commit(&store, staged)
            .map_err(|error| NodeError::Mls(error.to_string()))?;
        for leaf in changes.removed {
            if let Some(identity) = self.members.remove(&leaf) {
                self.forget_client(identity.user());
            }
        }
        for (leaf, identity) in changes.added {
            self.count_client(identity.user());
            if let Some(before) = self.members.insert(leaf, identity) {
                self.forget_client(before.user());
            }
        }
        for reference in changes.used_key_packages {
            self.use_key_package(&reference);
        }
        if let Some((dictionary, policy)) = after {
            self.dictionary = dictionary;
            self.policy = policy;
        }
        self.policy
            .set_clients(self.active.iter().map(|(user, clients)| (user.clone(), *clients)));
        self.group_info = accepted.group_info.clone();
        self.pending.clear();
        self.leaving.clear();
        if let Some(id) = &accepted.join_code {
            self.records.use_code(id);
        }
        // Who is on the list now needs no code any more.
        let policy = &self.policy;
        self.records.admitted.retain(|user, _| policy.role_of(user).is_none());
        self.reach = self.reach_now();
        if let Some(group) = store.into_stored() {
            self.handshake_bytes = 0;
            let stapled = (accepted.external_proposals.clone(), at_ms);
            self.due = Some(Box::new(self.checkpoint(group, stapled)));
        }
        replay_proposals(self, at_ms, &accepted.external_proposals)
    }

    fn use_key_package(&mut self, reference: &[u8]) {
        if let Some((reference, route)) = self.key_packages.remove_entry(reference) {
            self.used.insert(reference, route);
        }
    }

    pub(crate) fn remember_key_package(
        &mut self,
        provider: &ProviderDomain,
        user: &UserUri,
        package: &ClaimedKeyPackage,
    ) {
        if self.used.contains_key(package.reference.as_slice()) {
            return;
        }
        let route = KeyPackageRoute {
            provider: provider.clone(),
            user: user.clone(),
            client: package.client.clone(),
            not_after_s: package.not_after_s,
        };
        self.key_packages.insert(package.reference.to_vec(), route);
    }

    /// KeyPackages whose lifetime is over can no longer be used: a Welcome for them need not be routed.
    pub(crate) fn forget_expired_key_packages(&mut self, now_ms: u64) {
        for packages in [&mut self.key_packages, &mut self.used] {
            packages.retain(|_, route| route.not_after_s.saturating_mul(1000) >= now_ms);
        }
    }

    /// A checkpoint that is due, once.
    pub(crate) fn take_due_checkpoint(&mut self) -> Option<Box<Checkpoint>> {
        self.due.take()
    }

    fn checkpoint(&self, group: StoredGroup, stapled: (Vec<ByteBuf>, u64)) -> Checkpoint {
        let unused = self.key_packages.iter().map(|entry| (entry, false));
        let used = self.used.iter().map(|entry| (entry, true));
        let mut key_packages: Vec<_> = unused
            .chain(used)
            .map(|((reference, route), used)| {
                let package = ClaimedKeyPackage {
                    reference: ByteBuf::from(reference.clone()),
                    client: route.client.clone(),
                    not_after_s: route.not_after_s,
                };
                (package, route.provider.clone(), route.user.clone(), used)
            })
            .collect();
        key_packages.sort_by(|one, other| one.0.reference.cmp(&other.0.reference));
        Checkpoint {
            group,
            group_info: self.group_info.clone(),
            key_packages,
            records: self.records.clone(),
            stapled,
        }
    }

    fn count_client(&mut self, user: &UserUri) {
        let clients = self.active.entry(user.clone()).or_default();
        *clients += 1;
        if *clients == 1 {
            *self.providers.entry(user.provider()).or_default() += 1;
        }
    }

    fn forget_client(&mut self, user: &UserUri) {
        let Some(clients) = self.active.get_mut(user) else {
            return;
        };
        *clients -= 1;
        if *clients > 0 {
            return;
        }
        self.active.remove(user);
        let provider = user.provider();
        if let Some(users) = self.providers.get_mut(&provider) {
            *users -= 1;
            if *users == 0 {
                self.providers.remove(&provider);
            }
        }
    }
}

/// Reads the group's `app_data_dictionary`; empty where there is none.
fn read_dictionary(group: &PublicGroup) -> Result<AppDataDictionary, NodeError> {
    let extensions = group.group_context().extensions().tls_serialize_detached();
    let extensions: Vec<Extension> =
        tls::decode_exact(&extensions.map_err(|error| NodeError::Mls(error.to_string()))?)?;
    let found = extensions
        .iter()
        .find(|extension| extension.extension_type == ExtensionType::APP_DATA_DICTIONARY);
    Ok(found
        .map(|extension| tls::decode_exact(&extension.data))
        .transpose()?
        .unwrap_or_default())
}
