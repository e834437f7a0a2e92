//! What must hold of a hosted room whatever has happened to it, for tests and fuzzing: its view is the group's, every
//! client's, and that of the room as it is rebuilt from its events.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here is a finding, and a finding is a panic"
)]

use std::collections::BTreeMap;

use mimi_hub_proto::uri::{ProviderDomain, UserUri};

use super::HostedRoom;
use crate::room::credentials::Naming;
use crate::room::group_info::ratchet_tree;
use crate::room::state::RoomState;
use crate::testing::client::Client;
use crate::testing::entity::Driven;

impl HostedRoom {
    /// What it knows, once it is made.
    pub(crate) fn state(&self) -> Option<&RoomState> {
        self.state.as_ref()
    }
}

/// Checks a room that is made, and the clients that are in its group. Panics where something does not hold.
#[track_caller]
pub(crate) fn check(room: &Driven<HostedRoom>, people: &[Client]) {
    let state = room.entity.state().expect("the room is made");
    let (naming, leaves) = Naming::of_group(&state.group).unwrap();
    let leaves: BTreeMap<_, _> = leaves.into_iter().collect();
    assert_eq!(state.naming, naming);
    assert_eq!(state.members, leaves, "the members are the leaves of the group");
    let mut active: BTreeMap<UserUri, u32> = BTreeMap::new();
    for identity in leaves.values() {
        *active.entry(identity.user().clone()).or_default() += 1;
        let role = state.policy.role_of(identity.user()).expect("on the list");
        assert!(role.role_name != "banned", "{identity:?}");
    }
    assert_eq!(state.active, active);
    let mut providers: Vec<ProviderDomain> = active.keys().map(UserUri::provider).collect();
    providers.dedup();
    assert_eq!(state.active_providers().cloned().collect::<Vec<_>>(), providers);
    assert_eq!(
        digest(&room.entity),
        digest(&room.rebuilt()),
        "what is rebuilt is what lives"
    );
    for client in people.iter().filter(|client| client.group.is_some()) {
        let group = client.group();
        assert_eq!(group.epoch().as_u64(), state.epoch());
        assert_eq!(
            group.public_group().group_context().tree_hash(),
            state.group.group_context().tree_hash()
        );
        let ours = state.group.group_context().confirmed_transcript_hash();
        assert_eq!(group.public_group().group_context().confirmed_transcript_hash(), ours);
        assert_eq!(client.policy().participants(), state.policy.participants());
        assert_eq!(client.members(), leaves.clone().into_iter().collect::<Vec<_>>());
    }
}

/// All that a room knows, to be compared.
pub(crate) fn digest(room: &HostedRoom) -> Vec<String> {
    let Some(state) = &room.state else {
        return Vec::new();
    };
    let context = state.group.group_context();
    let packages: BTreeMap<_, _> = state.key_packages.iter().collect();
    vec![
        format!("{context:?}"),
        format!("{:?}", ratchet_tree(state).unwrap()),
        format!("{:?}", state.group.confirmation_tag()),
        format!("{:?}", state.dictionary),
        format!("{:?} {:?}", state.policy.participants(), state.policy.roles()),
        format!("{:?}", state.members),
        format!("{:?}", state.active),
        format!("{:?}", state.active_providers().collect::<Vec<_>>()),
        format!("{:?}", state.group_info),
        format!("{:?}", state.pending),
        format!("{:?}", state.leaving),
        format!("{packages:?}"),
        format!("{:?}", state.records),
        format!("{:?}", state.reach),
        format!("{:?}", room.reports),
    ]
}
