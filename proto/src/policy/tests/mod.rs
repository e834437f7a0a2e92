//! The rules, each test named after the section it holds.

mod capabilities;
mod constraints;
mod examples;
mod further;
mod list;
mod room;
mod update;

use super::{Actor, Change, Denied, RoomPolicy, authorize, authorize_together};
use crate::components::{
    BaseRoomPolicy, Capability, ParticipantListData, Role, RoleData, SingleSourceRoleChangeTargets, UserRolePair,
};
use crate::uri::UserUri;

fn user(name: &str) -> UserUri {
    format!("mimi://a.example/u/{name}").parse().unwrap()
}

fn changes(list: &[(u32, &[u32])]) -> Vec<SingleSourceRoleChangeTargets> {
    list.iter()
        .map(|(from, to)| SingleSourceRoleChangeTargets {
            from_role_index: *from,
            target_role_indexes: to.to_vec(),
        })
        .collect()
}

const BANNED: u32 = 1;
const ORDINARY: u32 = 2;
const ADMIN: u32 = 3;

/// The cooperatively administered room of the draft's appendix, as far as the hub enforces it.
fn roles() -> RoleData {
    let ordinary = vec![
        Capability::CAN_ADD_PARTICIPANT,
        Capability::CAN_REMOVE_PARTICIPANT,
        Capability::CAN_ADD_OWN_CLIENT,
        Capability::CAN_REMOVE_OWN_CLIENT,
        Capability::CAN_REMOVE_SELF,
        Capability::CAN_SEND_MESSAGE,
        Capability::CAN_CHANGE_ROOM_NAME,
        Capability::CAN_CHANGE_ROOM_AVATAR,
        Capability::CAN_CHANGE_ROOM_SUBJECT,
        Capability::CAN_CHANGE_ROOM_MOOD,
    ];
    let mut admin = ordinary.clone();
    admin.extend([
        Capability::CAN_BAN,
        Capability::CAN_UN_BAN,
        Capability::CAN_KICK,
        Capability::CAN_CHANGE_USER_ROLE,
        Capability::CAN_CHANGE_ROOM_DESCRIPTION,
    ]);
    RoleData {
        roles: vec![
            Role {
                role_index: 0,
                role_name: "no_role".into(),
                maximum_active_participants_constraint: Some(0),
                ..Default::default()
            },
            Role {
                role_index: BANNED,
                role_name: "banned".into(),
                maximum_active_participants_constraint: Some(0),
                ..Default::default()
            },
            Role {
                role_index: ORDINARY,
                role_name: "ordinary_user".into(),
                role_capabilities: ordinary,
                authorized_role_changes: changes(&[(0, &[2]), (2, &[0])]),
                ..Default::default()
            },
            Role {
                role_index: ADMIN,
                role_name: "group_admin".into(),
                role_capabilities: admin,
                minimum_participants_constraint: 1,
                authorized_role_changes: changes(&[(0, &[1, 2, 3]), (1, &[0, 2, 3]), (2, &[0, 1, 3]), (3, &[0, 1, 2])]),
                ..Default::default()
            },
        ],
    }
}

fn list(participants: &[(&str, u32)]) -> ParticipantListData {
    let participants = participants.iter().map(|(name, role)| UserRolePair {
        user: user(name),
        role_index: *role,
    });
    ParticipantListData {
        participants: participants.collect(),
    }
}

/// Ada and Al administrate, Olga and Otto do not, Bert is banned; who is not banned has one client, Olga two.
fn room() -> RoomPolicy {
    with(&roles(), BaseRoomPolicy::default())
}

fn with(roles: &RoleData, base: BaseRoomPolicy) -> RoomPolicy {
    let participants = list(&[
        ("ada", ADMIN),
        ("al", ADMIN),
        ("olga", ORDINARY),
        ("otto", ORDINARY),
        ("bert", BANNED),
    ]);
    let mut policy = RoomPolicy::new(roles.clone(), base, participants, None).unwrap();
    policy.set_clients([(user("ada"), 1), (user("al"), 1), (user("olga"), 2), (user("otto"), 1)]);
    policy
}

/// The roles with one of them changed.
fn roles_with(role_index: u32, change: impl FnOnce(&mut Role)) -> RoleData {
    let mut roles = roles();
    change(
        roles
            .roles
            .iter_mut()
            .find(|role| role.role_index == role_index)
            .unwrap(),
    );
    roles
}

/// The room, where a role lacks a capability.
fn without(role_index: u32, capability: Capability) -> RoomPolicy {
    let roles = roles_with(role_index, |role| {
        role.role_capabilities.retain(|held| *held != capability);
    });
    with(&roles, BaseRoomPolicy::default())
}

fn by(name: &str, policy: &RoomPolicy, changes: &[Change]) -> Result<(), Denied> {
    authorize(policy, Actor::Participant(&user(name)), changes)
}

fn missing(role: u32, capability: Capability) -> Result<(), Denied> {
    Err(Denied::MissingCapability { role, capability })
}

fn not_authorized(role: u32, from: u32, to: u32) -> Result<(), Denied> {
    Err(Denied::RoleChangeNotAuthorized { role, from, to })
}

fn add(name: &str, role: u32) -> Change {
    Change::AddParticipant { user: user(name), role }
}

fn add_client(name: &str) -> Change {
    Change::AddClient { user: user(name) }
}

fn remove(name: &str) -> Change {
    Change::RemoveParticipant { user: user(name) }
}

fn remove_client(name: &str) -> Change {
    Change::RemoveClient { user: user(name) }
}

fn change_role(name: &str, from: u32, to: u32) -> Change {
    Change::ChangeRole {
        user: user(name),
        from,
        to,
    }
}
