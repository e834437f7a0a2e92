//! The role examples of draft-ietf-mimi-room-policy (appendix A), as data: templates for rooms, and what the tables in
//! `testdata/role_examples` are checked against.
//!
//! Two slips of the draft are read as follows: a speaker has what an *attendee* has (not "a speaker"), a moderator what a
//! *speaker* has (not "an ordinary_user", which that room lacks). `canRevokeVoice` and `canGrantVoice` are not registered
//! and left out.

use crate::components::{Capability as C, Role, RoleData, SingleSourceRoleChangeTargets};

/// `authorized_role_changes`, as the draft writes it.
type Changes = &'static [(u32, &'static [u32])];

const ORDINARY_COOPERATIVE: &[C] = &[
    C::CAN_ADD_PARTICIPANT,
    C::CAN_REMOVE_PARTICIPANT,
    C::CAN_ADD_OWN_CLIENT,
    C::CAN_REMOVE_OWN_CLIENT,
    C::CAN_REMOVE_SELF,
    C::CAN_SEND_MESSAGE,
    C::CAN_RECEIVE_MESSAGE,
    C::CAN_COPY_MESSAGE,
    C::CAN_REPORT_ABUSE,
    C::CAN_REPLY_TO_MESSAGE,
    C::CAN_REACT_TO_MESSAGE,
    C::CAN_DELETE_OWN_REACTION,
    C::CAN_EDIT_OWN_MESSAGE,
    C::CAN_DELETE_OWN_MESSAGE,
    C::CAN_START_TOPIC,
    C::CAN_REPLY_IN_TOPIC,
    C::CAN_EDIT_OWN_TOPIC,
    C::CAN_UPLOAD_IMAGE,
    C::CAN_UPLOAD_VIDEO,
    C::CAN_UPLOAD_AUDIO,
    C::CAN_UPLOAD_ATTACHMENT,
    C::CAN_DOWNLOAD_IMAGE,
    C::CAN_DOWNLOAD_VIDEO,
    C::CAN_DOWNLOAD_AUDIO,
    C::CAN_DOWNLOAD_ATTACHMENT,
    C::CAN_SEND_LINK,
    C::CAN_SEND_LINK_PREVIEW,
    C::CAN_FOLLOW_LINK,
    C::CAN_COPY_LINK,
    C::CAN_CHANGE_ROOM_NAME,
    C::CAN_CHANGE_ROOM_AVATAR,
    C::CAN_CHANGE_ROOM_SUBJECT,
    C::CAN_CHANGE_ROOM_MOOD,
    C::CAN_CHANGE_OWN_NAME,
    C::CAN_CHANGE_OWN_PRESENCE,
    C::CAN_CHANGE_OWN_MOOD,
    C::CAN_CHANGE_OWN_AVATAR,
];

const ADMIN_COOPERATIVE: &[C] = &[
    C::CAN_BAN,
    C::CAN_UN_BAN,
    C::CAN_KICK,
    C::CAN_CHANGE_USER_ROLE,
    C::CAN_DELETE_OTHER_MESSAGE,
    C::CAN_EDIT_OTHER_TOPIC,
    C::CAN_CHANGE_ROOM_DESCRIPTION,
];

const ORDINARY_STRICT: &[C] = &[
    C::CAN_ADD_OWN_CLIENT,
    C::CAN_JOIN_IF_PREAUTHORIZED,
    C::CAN_REMOVE_OWN_CLIENT,
    C::CAN_REMOVE_SELF,
    C::CAN_CHANGE_OWN_ROLE,
    C::CAN_SEND_MESSAGE,
    C::CAN_RECEIVE_MESSAGE,
    C::CAN_COPY_MESSAGE,
    C::CAN_REPORT_ABUSE,
    C::CAN_REACT_TO_MESSAGE,
    C::CAN_DELETE_OWN_REACTION,
    C::CAN_EDIT_OWN_MESSAGE,
    C::CAN_DELETE_OWN_MESSAGE,
    C::CAN_START_TOPIC,
    C::CAN_REPLY_IN_TOPIC,
    C::CAN_UPLOAD_IMAGE,
    C::CAN_UPLOAD_VIDEO,
    C::CAN_UPLOAD_AUDIO,
    C::CAN_UPLOAD_ATTACHMENT,
    C::CAN_DOWNLOAD_IMAGE,
    C::CAN_DOWNLOAD_VIDEO,
    C::CAN_DOWNLOAD_AUDIO,
    C::CAN_DOWNLOAD_ATTACHMENT,
    C::CAN_SEND_LINK,
    C::CAN_SEND_LINK_PREVIEW,
    C::CAN_FOLLOW_LINK,
    C::CAN_COPY_LINK,
    C::CAN_CHANGE_OWN_NAME,
    C::CAN_CHANGE_OWN_PRESENCE,
    C::CAN_CHANGE_OWN_MOOD,
    C::CAN_CHANGE_OWN_AVATAR,
];

/// What a moderator of the moderated room has beyond a speaker; and, with the description, a strict room's admin.
const MODERATOR: &[C] = &[
    C::CAN_ADD_PARTICIPANT,
    C::CAN_REMOVE_PARTICIPANT,
    C::CAN_BAN,
    C::CAN_UN_BAN,
    C::CAN_KICK,
    C::CAN_CHANGE_USER_ROLE,
    C::CAN_CREATE_JOIN_CODE,
    C::CAN_DELETE_JOIN_CODE,
    C::CAN_DELETE_OTHER_REACTION,
    C::CAN_DELETE_OTHER_MESSAGE,
    C::CAN_EDIT_OWN_TOPIC,
    C::CAN_EDIT_OTHER_TOPIC,
    C::CAN_CHANGE_ROOM_NAME,
    C::CAN_CHANGE_ROOM_AVATAR,
    C::CAN_CHANGE_ROOM_SUBJECT,
    C::CAN_CHANGE_ROOM_MOOD,
];

const GUEST: &[C] = &[
    C::CAN_REMOVE_SELF,
    C::CAN_RECEIVE_MESSAGE,
    C::CAN_COPY_MESSAGE,
    C::CAN_REACT_TO_MESSAGE,
    C::CAN_DELETE_OWN_REACTION,
    C::CAN_FOLLOW_LINK,
    C::CAN_COPY_LINK,
    C::CAN_DOWNLOAD_IMAGE,
    C::CAN_DOWNLOAD_VIDEO,
    C::CAN_DOWNLOAD_AUDIO,
];

const ATTENDEE: &[C] = &[
    C::CAN_ADD_OWN_CLIENT,
    C::CAN_JOIN_IF_PREAUTHORIZED,
    C::CAN_REMOVE_OWN_CLIENT,
    C::CAN_CHANGE_OWN_ROLE,
    C::CAN_REPORT_ABUSE,
    C::CAN_REPLY_IN_TOPIC,
    C::CAN_DOWNLOAD_ATTACHMENT,
    C::CAN_CHANGE_OWN_NAME,
    C::CAN_CHANGE_OWN_PRESENCE,
    C::CAN_CHANGE_OWN_AVATAR,
];

const SPEAKER: &[C] = &[
    C::CAN_SEND_MESSAGE,
    C::CAN_EDIT_OWN_MESSAGE,
    C::CAN_DELETE_OWN_MESSAGE,
    C::CAN_START_TOPIC,
    C::CAN_UPLOAD_IMAGE,
    C::CAN_UPLOAD_VIDEO,
    C::CAN_UPLOAD_AUDIO,
    C::CAN_UPLOAD_ATTACHMENT,
    C::CAN_SEND_LINK,
    C::CAN_SEND_LINK_PREVIEW,
];

const ORGANISATION_USER: &[C] = &[
    C::CAN_REMOVE_SELF,
    C::CAN_ADD_OWN_CLIENT,
    C::CAN_REMOVE_OWN_CLIENT,
    C::CAN_SEND_MESSAGE,
    C::CAN_RECEIVE_MESSAGE,
    C::CAN_COPY_MESSAGE,
    C::CAN_REPORT_ABUSE,
    C::CAN_REPLY_IN_TOPIC,
    C::CAN_REACT_TO_MESSAGE,
    C::CAN_DELETE_OWN_REACTION,
    C::CAN_EDIT_OWN_MESSAGE,
    C::CAN_SEND_LINK,
    C::CAN_SEND_LINK_PREVIEW,
    C::CAN_FOLLOW_LINK,
    C::CAN_COPY_LINK,
    C::CAN_DOWNLOAD_IMAGE,
    C::CAN_DOWNLOAD_VIDEO,
    C::CAN_DOWNLOAD_AUDIO,
    C::CAN_DOWNLOAD_ATTACHMENT,
    C::CAN_CHANGE_OWN_NAME,
    C::CAN_CHANGE_OWN_PRESENCE,
    C::CAN_CHANGE_OWN_AVATAR,
];

const ORGANISATION_ADMIN: &[C] = &[
    C::CAN_DELETE_OWN_MESSAGE,
    C::CAN_START_TOPIC,
    C::CAN_UPLOAD_IMAGE,
    C::CAN_UPLOAD_VIDEO,
    C::CAN_UPLOAD_AUDIO,
    C::CAN_UPLOAD_ATTACHMENT,
    C::CAN_ADD_PARTICIPANT,
    C::CAN_REMOVE_PARTICIPANT,
    C::CAN_BAN,
    C::CAN_KICK,
    C::CAN_CHANGE_USER_ROLE,
];

const HOST_ORGANISATION: &[C] = &[C::CAN_CHANGE_OWN_ROLE, C::CAN_JOIN_IF_PREAUTHORIZED];

const ORGANISATION_SUPER_ADMIN: &[C] = &[
    C::CAN_UN_BAN,
    C::CAN_DELETE_OTHER_REACTION,
    C::CAN_DELETE_OTHER_MESSAGE,
    C::CAN_EDIT_OWN_TOPIC,
    C::CAN_EDIT_OTHER_TOPIC,
    C::CAN_CHANGE_ROOM_DESCRIPTION,
    C::CAN_CHANGE_ROOM_NAME,
    C::CAN_CHANGE_ROOM_AVATAR,
    C::CAN_CHANGE_ROOM_SUBJECT,
    C::CAN_CHANGE_ROOM_MOOD,
];

const OWNER: &[C] = &[
    C::CAN_CHANGE_ROOM_MEMBERSHIP_STYLE,
    C::CAN_CHANGE_ROLE_DEFINITIONS,
    C::CAN_CHANGE_PREAUTHORIZED_USER_LIST,
    C::CAN_DESTROY_ROOM,
    C::CAN_SEND_MLS_REINIT_PROPOSAL,
];

const POLICY_ENFORCER: &[C] = &[
    C::CAN_REMOVE_PARTICIPANT,
    C::CAN_CHANGE_USER_ROLE,
    C::CAN_BAN,
    C::CAN_UN_BAN,
    C::CAN_CHANGE_ROLE_DEFINITIONS,
    C::CAN_CHANGE_PREAUTHORIZED_USER_LIST,
    C::CAN_CHANGE_MLS_OPERATIONAL_POLICIES,
    C::CAN_DESTROY_ROOM,
    C::CAN_SEND_MLS_REINIT_PROPOSAL,
];

/// Appendix A.1: friends, families, small groups of peers.
#[must_use]
pub fn cooperative() -> RoleData {
    data(vec![
        nobody(&[], &[]),
        banned(),
        role(2, "ordinary_user", &[ORDINARY_COOPERATIVE], &[(0, &[2]), (2, &[0])]),
        Role {
            minimum_participants_constraint: 1,
            ..role(
                3,
                "group_admin",
                &[ORDINARY_COOPERATIVE, ADMIN_COOPERATIVE],
                &[(0, &[1, 2, 3]), (1, &[0, 2, 3]), (2, &[0, 1, 3]), (3, &[0, 1, 2])],
            )
        },
        role(
            4,
            "super_admin",
            &[
                ORDINARY_COOPERATIVE,
                ADMIN_COOPERATIVE,
                &[
                    C::CAN_CHANGE_ROOM_MEMBERSHIP_STYLE,
                    C::CAN_CHANGE_PREAUTHORIZED_USER_LIST,
                    C::CAN_DESTROY_ROOM,
                ],
            ],
            SUPER_ADMIN_OF_FIVE,
        ),
        policy_enforcer(5, &[(0, &[1]), (1, &[0]), (2, &[0, 1]), (3, &[0, 1]), (4, &[0, 1])]),
    ])
}

/// Appendix A.2: only admins let in, or a code, or preauthorization.
#[must_use]
pub fn strict() -> RoleData {
    let admin: &[&[C]] = &[ORDINARY_STRICT, MODERATOR, &[C::CAN_CHANGE_ROOM_DESCRIPTION]];
    data(vec![
        nobody(&[C::CAN_USE_JOIN_CODE], &[(0, &[2])]),
        banned(),
        role(2, "ordinary_user", &[ORDINARY_STRICT], &[(0, &[2]), (2, &[0])]),
        Role {
            minimum_participants_constraint: 1,
            ..role(
                3,
                "group_admin",
                admin,
                &[(0, &[1, 2, 3]), (1, &[0, 2, 3]), (2, &[0, 1, 3]), (3, &[0, 1, 2])],
            )
        },
        role(4, "super_admin", &[admin, &[OWNER]].concat(), SUPER_ADMIN_OF_FIVE),
        policy_enforcer(5, &[(0, &[1]), (1, &[0]), (2, &[0, 1]), (3, &[0, 1]), (4, &[0, 1])]),
    ])
}

/// Appendix A.3: guests and attendees listen, speakers speak, moderators moderate.
#[must_use]
pub fn moderated() -> RoleData {
    let moderator: &[&[C]] = &[GUEST, ATTENDEE, SPEAKER, MODERATOR];
    data(vec![
        Role {
            maximum_active_participants_constraint: None,
            ..nobody(&[C::CAN_USE_JOIN_CODE], &[(0, &[2, 3])])
        },
        banned(),
        role(2, "guest", &[GUEST], &[(0, &[2]), (2, &[0])]),
        role(3, "attendee", &[GUEST, ATTENDEE], &[(0, &[3]), (3, &[0])]),
        role(4, "speaker", &[GUEST, ATTENDEE, SPEAKER], &[(0, &[4]), (4, &[0])]),
        Role {
            minimum_participants_constraint: 1,
            ..role(
                5,
                "moderator",
                moderator,
                &[
                    (0, &[1, 2, 3, 4, 5]),
                    (1, &[0, 2, 3, 4, 5]),
                    (2, &[0, 1, 3, 4, 5]),
                    (3, &[0, 1, 2, 4, 5]),
                    (4, &[0, 1, 2, 3, 5]),
                    (5, &[0, 1, 2, 3, 4]),
                ],
            )
        },
        role(
            6,
            "super_admin",
            &[moderator, &[OWNER, &[C::CAN_CHANGE_ROOM_DESCRIPTION]]].concat(),
            &[
                (0, &[1, 2, 3, 4, 5, 6]),
                (1, &[0, 2, 3, 4, 5, 6]),
                (2, &[0, 1, 3, 4, 5, 6]),
                (3, &[0, 1, 2, 4, 5, 6]),
                (4, &[0, 1, 2, 3, 5, 6]),
                (5, &[0, 1, 2, 3, 4, 6]),
                (6, &[0, 1, 2, 3, 4, 5]),
            ],
        ),
        policy_enforcer(
            7,
            &[
                (0, &[1]),
                (1, &[0]),
                (2, &[0, 1]),
                (3, &[0, 1]),
                (4, &[0, 1]),
                (5, &[0, 1]),
                (6, &[0, 1]),
            ],
        ),
    ])
}

/// Appendix A.4: three organisations, each with users and admins of its own; the first one hosts.
#[must_use]
pub fn multi_organisation() -> RoleData {
    let user: &[&[C]] = &[ORGANISATION_USER];
    let admin: &[&[C]] = &[ORGANISATION_USER, ORGANISATION_ADMIN];
    let host_admin = [admin, &[HOST_ORGANISATION]].concat();
    let few_admins = |role: Role| Role {
        minimum_participants_constraint: 1,
        maximum_participants_constraint: Some(3),
        minimum_active_participants_constraint: 1,
        ..role
    };
    data(vec![
        nobody(&[], &[]),
        banned(),
        role(
            2,
            "org_a_user",
            &[user, &[HOST_ORGANISATION]].concat(),
            &[(0, &[2]), (2, &[0])],
        ),
        role(3, "org_b_user", user, &[(0, &[3]), (3, &[0])]),
        role(4, "org_c_user", user, &[(0, &[4]), (4, &[0])]),
        role(
            5,
            "org_a_admin",
            &host_admin,
            &[(0, &[2, 5]), (2, &[0, 1, 5]), (5, &[0, 1, 2])],
        ),
        few_admins(role(
            6,
            "org_b_admin",
            admin,
            &[(0, &[3, 6]), (3, &[0, 1, 6]), (6, &[0, 1, 3])],
        )),
        few_admins(role(
            7,
            "org_c_admin",
            admin,
            &[(0, &[4, 7]), (4, &[0, 1, 7]), (7, &[0, 1, 4])],
        )),
        Role {
            minimum_participants_constraint: 1,
            minimum_active_participants_constraint: 1,
            ..role(
                8,
                "super_admin",
                &[host_admin.as_slice(), &[ORGANISATION_SUPER_ADMIN, OWNER]].concat(),
                &[
                    (0, &[1, 2, 3, 4, 5, 6, 7, 8]),
                    (1, &[0, 2, 3, 4, 5, 6, 7, 8]),
                    (2, &[0, 1, 5, 8]),
                    (3, &[0, 1, 6]),
                    (4, &[0, 1, 7]),
                    (5, &[0, 1, 2, 8]),
                    (6, &[0, 1, 3]),
                    (7, &[0, 1, 4]),
                    (8, &[0, 1, 2, 5]),
                ],
            )
        },
        policy_enforcer(
            9,
            &[
                (0, &[1]),
                (1, &[0]),
                (3, &[0, 1]),
                (4, &[0, 1]),
                (5, &[0, 1]),
                (6, &[0, 1]),
                (7, &[0, 1]),
                (8, &[0, 1]),
            ],
        ),
    ])
}

const SUPER_ADMIN_OF_FIVE: Changes = &[
    (0, &[1, 2, 3, 4]),
    (1, &[0, 2, 3, 4]),
    (2, &[0, 1, 3, 4]),
    (3, &[0, 1, 2, 4]),
    (4, &[0, 1, 2, 3]),
];

fn data(roles: Vec<Role>) -> RoleData {
    RoleData { roles }
}

fn role(role_index: u32, name: &str, capabilities: &[&[C]], changes: Changes) -> Role {
    let targets = |(from, to): &(u32, &[u32])| SingleSourceRoleChangeTargets {
        from_role_index: *from,
        target_role_indexes: to.to_vec(),
    };
    Role {
        role_index,
        role_name: name.to_owned(),
        role_capabilities: capabilities.concat(),
        authorized_role_changes: changes.iter().map(targets).collect(),
        ..Role::default()
    }
}

fn nobody(capabilities: &[C], changes: Changes) -> Role {
    Role {
        maximum_active_participants_constraint: Some(0),
        ..role(super::NO_ROLE_INDEX, "no_role", &[capabilities], changes)
    }
}

fn banned() -> Role {
    Role {
        maximum_active_participants_constraint: Some(0),
        ..role(super::BANNED_ROLE_INDEX, super::BANNED_ROLE_NAME, &[], &[])
    }
}

/// "Can remove a banned user from the list (cleanup) but not restore them."
fn policy_enforcer(role_index: u32, changes: Changes) -> Role {
    Role {
        minimum_participants_constraint: 1,
        maximum_participants_constraint: Some(2),
        maximum_active_participants_constraint: Some(0),
        ..role(role_index, "policy_enforcer", &[POLICY_ENFORCER], changes)
    }
}
