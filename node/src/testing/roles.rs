//! The roles of the tests' rooms (draft-ietf-mimi-room-policy, 3).

use mimi_hub_proto::components::{Capability, Role, RoleData, SingleSourceRoleChangeTargets};
use mimi_hub_proto::policy::{BANNED_ROLE_INDEX, BANNED_ROLE_NAME};

/// Reads and writes, and may leave.
pub(crate) const MEMBER: u32 = 2;
/// May do everything to everybody.
pub(crate) const ADMIN: u32 = 3;
/// Takes part and may do nothing.
pub(crate) const SILENT: u32 = 4;
pub(crate) const BANNED: u32 = BANNED_ROLE_INDEX;

const NOBODY: u32 = 0;

pub(crate) fn roles() -> RoleData {
    let own = [
        Capability::CAN_SEND_MESSAGE,
        Capability::CAN_RECEIVE_MESSAGE,
        Capability::CAN_ADD_OWN_CLIENT,
        Capability::CAN_REMOVE_OWN_CLIENT,
        Capability::CAN_REMOVE_SELF,
        Capability::CAN_REPORT_ABUSE,
    ];
    let others = [
        Capability::CAN_ADD_PARTICIPANT,
        Capability::CAN_REMOVE_PARTICIPANT,
        Capability::CAN_KICK,
        Capability::CAN_BAN,
        Capability::CAN_UN_BAN,
        Capability::CAN_CHANGE_USER_ROLE,
        Capability::CAN_CHANGE_ROLE_DEFINITIONS,
        Capability::CAN_CHANGE_ROOM_MEMBERSHIP_STYLE,
        Capability::CAN_CREATE_JOIN_CODE,
        Capability::CAN_DELETE_JOIN_CODE,
        Capability::CAN_DESTROY_ROOM,
    ];
    let all: Vec<Capability> = own.into_iter().chain(others).collect();
    let everywhere =
        [NOBODY, BANNED, MEMBER, ADMIN, SILENT].map(|from| (from, vec![NOBODY, BANNED, MEMBER, ADMIN, SILENT]));
    RoleData {
        roles: vec![
            role(
                NOBODY,
                "nobody",
                &[Capability::CAN_USE_JOIN_CODE],
                &[(NOBODY, vec![MEMBER])],
            ),
            role(BANNED, BANNED_ROLE_NAME, &[], &[]),
            role(MEMBER, "member", &own, &[(MEMBER, vec![NOBODY])]),
            role(ADMIN, "admin", &all, &everywhere),
            role(SILENT, "silent", &[], &[]),
        ],
    }
}

fn role(role_index: u32, name: &str, capabilities: &[Capability], changes: &[(u32, Vec<u32>)]) -> Role {
    let change = |(from, to): &(u32, Vec<u32>)| SingleSourceRoleChangeTargets {
        from_role_index: *from,
        target_role_indexes: to.clone(),
    };
    Role {
        role_index,
        role_name: name.to_owned(),
        role_capabilities: capabilities.to_vec(),
        authorized_role_changes: changes.iter().map(change).collect(),
        ..Role::default()
    }
}
