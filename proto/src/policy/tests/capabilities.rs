//! draft-ietf-mimi-room-policy, section 8: capabilities and role changes.

use super::*;
use crate::components::MetadataField;

#[test]
fn can_add_participant_8_1_1_needs_the_capability_and_the_target_role() {
    assert_eq!(
        by(
            "olga",
            &room(),
            &[add("new", ORDINARY), add_client("new"), add_client("new")]
        ),
        Ok(())
    );
    assert_eq!(
        by("olga", &room(), &[add("new", ADMIN)]),
        not_authorized(ORDINARY, 0, ADMIN)
    );
    assert_eq!(by("ada", &room(), &[add("new", ADMIN)]), Ok(()));
    let policy = without(ORDINARY, Capability::CAN_ADD_PARTICIPANT);
    assert_eq!(
        by("olga", &policy, &[add("new", ORDINARY)]),
        missing(ORDINARY, Capability::CAN_ADD_PARTICIPANT)
    );
}

#[test]
fn can_add_participant_8_1_1_is_for_users_not_in_the_list() {
    let error = Err(Denied::AlreadyParticipant { user: user("otto") });
    assert_eq!(by("olga", &room(), &[add("otto", ORDINARY)]), error);
    assert_eq!(
        by("olga", &room(), &[add("new", 0)]),
        Err(Denied::UnknownRole { role: 0 })
    );
    assert_eq!(
        by("ada", &room(), &[add("new", 9)]),
        Err(Denied::UnknownRole { role: 9 })
    );
}

#[test]
fn can_add_participant_8_1_1_covers_clients_of_participants_only() {
    assert_eq!(by("olga", &room(), &[add_client("otto")]), Ok(()));
    assert_eq!(
        by("olga", &room(), &[add_client("new")]),
        Err(Denied::NotParticipant { user: user("new") })
    );
    assert_eq!(
        by("ada", &room(), &[add_client("bert")]),
        Err(Denied::Banned { user: user("bert") })
    );
    let policy = without(ORDINARY, Capability::CAN_ADD_PARTICIPANT);
    assert_eq!(
        by("olga", &policy, &[add_client("otto")]),
        missing(ORDINARY, Capability::CAN_ADD_PARTICIPANT)
    );
}

#[test]
fn who_is_not_in_the_list_may_do_nothing() {
    let error = Err(Denied::NotParticipant { user: user("eve") });
    for change in [
        Change::SendMessage,
        add("new", ORDINARY),
        Change::AddOwnClient,
        remove("otto"),
        Change::RemoveSelf,
    ] {
        assert_eq!(by("eve", &room(), &[change]), error);
    }
}

#[test]
fn can_add_own_client_8_1_1_holds_for_members_and_for_external_commits() {
    let olga = user("olga");
    assert_eq!(by("olga", &room(), &[Change::AddOwnClient]), Ok(()));
    assert_eq!(by("olga", &room(), &[add_client("olga")]), Ok(()));
    assert_eq!(
        authorize(&room(), Actor::NewMember(&olga), &[Change::AddOwnClient]),
        Ok(())
    );
    let policy = without(ORDINARY, Capability::CAN_ADD_OWN_CLIENT);
    let error = missing(ORDINARY, Capability::CAN_ADD_OWN_CLIENT);
    assert_eq!(by("olga", &policy, &[Change::AddOwnClient]), error);
    assert_eq!(by("olga", &policy, &[add_client("olga")]), error);
    assert_eq!(
        authorize(&policy, Actor::NewMember(&olga), &[Change::AddOwnClient]),
        error
    );
    let bert = user("bert");
    let error = missing(BANNED, Capability::CAN_ADD_OWN_CLIENT);
    assert_eq!(
        authorize(&room(), Actor::NewMember(&bert), &[Change::AddOwnClient]),
        error
    );
}

#[test]
fn an_external_commit_may_replace_the_users_old_client_and_do_nothing_to_others() {
    let olga = user("olga");
    let resync = [Change::AddOwnClient, Change::RemoveOwnClient];
    assert_eq!(authorize(&room(), Actor::NewMember(&olga), &resync), Ok(()));
    for change in [
        add("new", ORDINARY),
        add_client("otto"),
        remove("otto"),
        remove_client("otto"),
        Change::SendMessage,
    ] {
        let changes = [Change::AddOwnClient, change];
        assert_eq!(
            authorize(&room(), Actor::NewMember(&olga), &changes),
            Err(Denied::NewMemberMayNot)
        );
    }
}

#[test]
fn can_open_join_8_1_1_lets_a_user_add_itself_by_role_zero() {
    let new = user("new");
    let join = [add("new", ORDINARY), Change::AddOwnClient];
    let closed = missing(0, Capability::CAN_OPEN_JOIN);
    assert_eq!(authorize(&room(), Actor::NewMember(&new), &join), closed);
    let roles = roles_with(0, |role| {
        role.role_capabilities.push(Capability::CAN_OPEN_JOIN);
        role.authorized_role_changes = changes(&[(0, &[ORDINARY])]);
    });
    let open = with(&roles, BaseRoomPolicy::default());
    assert_eq!(authorize(&open, Actor::NewMember(&new), &join), Ok(()));
    let as_admin = [add("new", ADMIN), Change::AddOwnClient];
    assert_eq!(
        authorize(&open, Actor::NewMember(&new), &as_admin),
        not_authorized(0, 0, ADMIN)
    );
    let client_only = [Change::AddOwnClient];
    assert_eq!(
        authorize(&open, Actor::NewMember(&new), &client_only),
        Err(Denied::NotParticipant { user: user("new") })
    );
    let for_another = [add("other", ORDINARY)];
    assert_eq!(
        authorize(&open, Actor::NewMember(&new), &for_another),
        Err(Denied::NewMemberMayNot)
    );
    // Preauthorization and open joining do not let the banned back in.
    let bert = user("bert");
    let again = [add("bert", ORDINARY), Change::AddOwnClient];
    assert_eq!(
        authorize(&open, Actor::NewMember(&bert), &again),
        Err(Denied::AlreadyParticipant { user: user("bert") })
    );
}

#[test]
fn can_open_join_8_1_1_needs_a_role_zero() {
    let mut roles = roles();
    roles.roles.remove(0);
    let policy = with(&roles, BaseRoomPolicy::default());
    let join = [add("new", ORDINARY), Change::AddOwnClient];
    assert_eq!(
        authorize(&policy, Actor::NewMember(&user("new")), &join),
        missing(0, Capability::CAN_OPEN_JOIN)
    );
}

#[test]
fn can_remove_participant_8_1_2_needs_the_capability_and_the_change_to_zero() {
    let otto = [remove("otto"), remove_client("otto")];
    assert_eq!(by("olga", &room(), &otto), Ok(()));
    assert_eq!(
        by("olga", &room(), &[remove("ada"), remove_client("ada")]),
        not_authorized(ORDINARY, ADMIN, 0)
    );
    let policy = without(ORDINARY, Capability::CAN_REMOVE_PARTICIPANT);
    assert_eq!(
        by("olga", &policy, &otto),
        missing(ORDINARY, Capability::CAN_REMOVE_PARTICIPANT)
    );
    assert_eq!(
        by("olga", &room(), &[remove("eve")]),
        Err(Denied::NotParticipant { user: user("eve") })
    );
}

#[test]
fn can_remove_participant_8_1_2_takes_all_clients_along() {
    assert_eq!(
        by("ada", &room(), &[remove("otto")]),
        Err(Denied::ClientsRemain { user: user("otto") })
    );
    let one = [remove("olga"), remove_client("olga")];
    assert_eq!(
        by("ada", &room(), &one),
        Err(Denied::ClientsRemain { user: user("olga") })
    );
    let both = [remove_client("olga"), remove("olga"), remove_client("olga")];
    assert_eq!(by("ada", &room(), &both), Ok(()));
    let readd = [remove("otto"), remove_client("otto"), add_client("otto")];
    assert_eq!(
        by("ada", &room(), &readd),
        Err(Denied::NotParticipant { user: user("otto") })
    );
}

#[test]
fn can_remove_own_client_8_1_2() {
    assert_eq!(by("olga", &room(), &[Change::RemoveOwnClient]), Ok(()));
    assert_eq!(by("olga", &room(), &[remove_client("olga")]), Ok(()));
    let policy = without(ORDINARY, Capability::CAN_REMOVE_OWN_CLIENT);
    let error = missing(ORDINARY, Capability::CAN_REMOVE_OWN_CLIENT);
    assert_eq!(by("olga", &policy, &[Change::RemoveOwnClient]), error);
    assert_eq!(by("olga", &policy, &[remove_client("olga")]), error);
}

#[test]
fn protocol_5_3_removed_and_banned_users_may_still_remove_their_clients() {
    assert_eq!(by("eve", &room(), &[Change::RemoveOwnClient]), Ok(()));
    assert_eq!(by("bert", &room(), &[Change::RemoveOwnClient]), Ok(()));
    assert_eq!(
        by("bert", &room(), &[Change::SendMessage]),
        missing(BANNED, Capability::CAN_SEND_MESSAGE)
    );
}

#[test]
fn can_remove_self_8_1_2_needs_the_capability_and_the_change_to_zero() {
    let leave = [Change::RemoveSelf, Change::RemoveOwnClient, Change::RemoveOwnClient];
    assert_eq!(by("olga", &room(), &leave), Ok(()));
    let written_otherwise = [remove("olga"), remove_client("olga"), remove_client("olga")];
    assert_eq!(by("olga", &room(), &written_otherwise), Ok(()));
    let policy = without(ORDINARY, Capability::CAN_REMOVE_SELF);
    assert_eq!(
        by("olga", &policy, &leave),
        missing(ORDINARY, Capability::CAN_REMOVE_SELF)
    );
    let roles = roles_with(ORDINARY, |role| role.authorized_role_changes = changes(&[(0, &[2])]));
    let policy = with(&roles, BaseRoomPolicy::default());
    assert_eq!(by("olga", &policy, &leave), not_authorized(ORDINARY, ORDINARY, 0));
}

#[test]
fn can_remove_self_8_1_2_takes_all_own_clients_along_without_further_capabilities() {
    let leave = [Change::RemoveSelf, Change::RemoveOwnClient];
    assert_eq!(
        by("olga", &room(), &leave),
        Err(Denied::ClientsRemain { user: user("olga") })
    );
    let policy = without(ORDINARY, Capability::CAN_REMOVE_OWN_CLIENT);
    assert_eq!(by("otto", &policy, &leave), Ok(()));
}

#[test]
fn can_kick_8_1_2_removes_clients_and_leaves_the_list() {
    assert_eq!(by("ada", &room(), &[remove_client("olga")]), Ok(()));
    assert_eq!(
        by("olga", &room(), &[remove_client("otto")]),
        missing(ORDINARY, Capability::CAN_KICK)
    );
}

#[test]
fn can_kick_8_1_2_or_can_remove_participant_cleans_up_after_an_incomplete_removal() {
    let mut policy = room();
    policy.set_clients([(user("gone"), 1)]);
    assert_eq!(by("olga", &policy, &[remove_client("gone")]), Ok(()));
    let mut policy = without(ORDINARY, Capability::CAN_REMOVE_PARTICIPANT);
    policy.set_clients([(user("gone"), 1)]);
    assert_eq!(
        by("olga", &policy, &[remove_client("gone")]),
        missing(ORDINARY, Capability::CAN_KICK)
    );
}

#[test]
fn can_change_user_role_8_1_3_needs_the_capability_and_the_change() {
    assert_eq!(by("ada", &room(), &[change_role("otto", ORDINARY, ADMIN)]), Ok(()));
    assert_eq!(
        by("olga", &room(), &[change_role("otto", ORDINARY, ADMIN)]),
        missing(ORDINARY, Capability::CAN_CHANGE_USER_ROLE)
    );
    let roles = roles_with(ADMIN, |role| role.authorized_role_changes = changes(&[(2, &[1])]));
    let policy = with(&roles, BaseRoomPolicy::default());
    assert_eq!(
        by("ada", &policy, &[change_role("otto", ORDINARY, ADMIN)]),
        not_authorized(ADMIN, ORDINARY, ADMIN)
    );
    assert_eq!(
        by("ada", &room(), &[change_role("otto", ORDINARY, 0)]),
        Err(Denied::UnknownRole { role: 0 })
    );
    assert_eq!(
        by("ada", &room(), &[change_role("otto", ORDINARY, 9)]),
        Err(Denied::UnknownRole { role: 9 })
    );
    assert_eq!(
        by("ada", &room(), &[change_role("otto", ADMIN, ORDINARY)]),
        Err(Denied::RoleMismatch {
            user: user("otto"),
            actual: ORDINARY,
            stated: ADMIN
        })
    );
    assert_eq!(
        by("ada", &room(), &[change_role("eve", ORDINARY, ADMIN)]),
        Err(Denied::NotParticipant { user: user("eve") })
    );
}

#[test]
fn can_change_own_role_8_1_3_takes_preauthorization() {
    let demote = [change_role("ada", ADMIN, ORDINARY)];
    assert_eq!(
        by("ada", &room(), &demote),
        missing(ADMIN, Capability::CAN_CHANGE_OWN_ROLE)
    );
    let roles = roles_with(ADMIN, |role| {
        role.role_capabilities.push(Capability::CAN_CHANGE_OWN_ROLE);
    });
    let policy = with(&roles, BaseRoomPolicy::default());
    assert_eq!(
        by("ada", &policy, &demote),
        Err(Denied::NotPreauthorized { user: user("ada") })
    );
}

/// The room with a role that may ban and unban and nothing else.
fn room_with_bouncer() -> RoomPolicy {
    let roles = roles_with(ORDINARY, |role| {
        role.role_capabilities = vec![Capability::CAN_BAN, Capability::CAN_UN_BAN];
        role.authorized_role_changes = changes(&[(2, &[1, 3]), (1, &[2])]);
    });
    with(&roles, BaseRoomPolicy::default())
}

#[test]
fn can_ban_8_1_3_changes_to_the_banned_role_and_removes_all_clients() {
    let ban = [change_role("otto", ORDINARY, BANNED), remove_client("otto")];
    assert_eq!(by("olga", &room_with_bouncer(), &ban), Ok(()));
    assert_eq!(
        by("olga", &room_with_bouncer(), &ban[..1]),
        Err(Denied::ClientsRemain { user: user("otto") })
    );
    assert_eq!(
        by("olga", &room_with_bouncer(), &ban[1..]),
        missing(ORDINARY, Capability::CAN_KICK)
    );
    assert_eq!(by("olga", &room(), &ban), missing(ORDINARY, Capability::CAN_BAN));
    let ban = [change_role("ada", ADMIN, BANNED), remove_client("ada")];
    assert_eq!(
        by("olga", &room_with_bouncer(), &ban),
        not_authorized(ORDINARY, ADMIN, BANNED)
    );
}

#[test]
fn can_ban_8_1_3_grants_no_other_role_change() {
    assert_eq!(
        by("olga", &room_with_bouncer(), &[change_role("otto", ORDINARY, ADMIN)]),
        missing(ORDINARY, Capability::CAN_CHANGE_USER_ROLE)
    );
}

#[test]
fn can_ban_8_1_3_is_also_done_by_can_change_user_role_and_can_kick() {
    let ban = [change_role("otto", ORDINARY, BANNED), remove_client("otto")];
    let policy = without(ADMIN, Capability::CAN_BAN);
    assert_eq!(by("ada", &policy, &ban), Ok(()));
    let roles = roles_with(ADMIN, |role| {
        role.role_capabilities = vec![Capability::CAN_CHANGE_USER_ROLE];
    });
    let policy = with(&roles, BaseRoomPolicy::default());
    assert_eq!(by("ada", &policy, &ban), missing(ADMIN, Capability::CAN_KICK));
}

#[test]
fn can_ban_8_1_3_needs_a_role_called_banned() {
    let mut policy_roles = roles_with(BANNED, |role| role.role_name = "muted".into());
    policy_roles.roles[2].role_capabilities = vec![Capability::CAN_BAN, Capability::CAN_UN_BAN];
    policy_roles.roles[2].authorized_role_changes = changes(&[(2, &[1]), (1, &[2])]);
    let policy = with(&policy_roles, BaseRoomPolicy::default());
    let ban = [change_role("otto", ORDINARY, BANNED), remove_client("otto")];
    assert_eq!(
        by("olga", &policy, &ban),
        missing(ORDINARY, Capability::CAN_CHANGE_USER_ROLE)
    );
    let unban = [change_role("bert", BANNED, ORDINARY)];
    assert_eq!(
        by("olga", &policy, &unban),
        missing(ORDINARY, Capability::CAN_CHANGE_USER_ROLE)
    );
}

#[test]
fn can_unban_8_1_3_changes_from_the_banned_role_and_adds_no_clients() {
    let unban = [change_role("bert", BANNED, ORDINARY), add_client("bert")];
    assert_eq!(by("olga", &room_with_bouncer(), &unban[..1]), Ok(()));
    assert_eq!(
        by("olga", &room_with_bouncer(), &unban),
        missing(ORDINARY, Capability::CAN_ADD_PARTICIPANT)
    );
    assert_eq!(
        by("olga", &room(), &unban[..1]),
        missing(ORDINARY, Capability::CAN_UN_BAN)
    );
    assert_eq!(
        by("olga", &room_with_bouncer(), &[change_role("bert", BANNED, ADMIN)]),
        not_authorized(ORDINARY, BANNED, ADMIN)
    );
    assert_eq!(by("ada", &room(), &unban), Ok(()));
}

#[test]
fn metadata_8_2_each_field_has_its_capability() {
    for (field, capability) in [
        (MetadataField::Name, Capability::CAN_CHANGE_ROOM_NAME),
        (MetadataField::Description, Capability::CAN_CHANGE_ROOM_DESCRIPTION),
        (MetadataField::Avatar, Capability::CAN_CHANGE_ROOM_AVATAR),
        (MetadataField::Subject, Capability::CAN_CHANGE_ROOM_SUBJECT),
        (MetadataField::Mood, Capability::CAN_CHANGE_ROOM_MOOD),
    ] {
        let change = [Change::ChangeMetadata(field)];
        assert_eq!(by("ada", &room(), &change), Ok(()));
        assert_eq!(
            by("ada", &without(ADMIN, capability), &change),
            missing(ADMIN, capability)
        );
    }
    let uri = [Change::ChangeMetadata(MetadataField::Uri)];
    assert_eq!(by("ada", &room(), &uri), Err(Denied::Immutable(MetadataField::Uri)));
}

#[test]
fn can_send_message_8_3() {
    assert_eq!(by("olga", &room(), &[Change::SendMessage]), Ok(()));
    let policy = without(ORDINARY, Capability::CAN_SEND_MESSAGE);
    assert_eq!(
        by("olga", &policy, &[Change::SendMessage]),
        missing(ORDINARY, Capability::CAN_SEND_MESSAGE)
    );
}

#[test]
fn disruptive_changes_8_6_each_have_their_capability() {
    for (change, capability) in [
        (Change::ChangeBasePolicy, Capability::CAN_CHANGE_ROOM_MEMBERSHIP_STYLE),
        (Change::ChangeRoleDefinitions, Capability::CAN_CHANGE_ROLE_DEFINITIONS),
        (Change::ReInit, Capability::CAN_SEND_MLS_REINIT_PROPOSAL),
    ] {
        assert_eq!(
            by("ada", &room(), std::slice::from_ref(&change)),
            missing(ADMIN, capability)
        );
        let roles = roles_with(ADMIN, |role| role.role_capabilities.push(capability));
        assert_eq!(by("ada", &with(&roles, BaseRoomPolicy::default()), &[change]), Ok(()));
    }
}

#[test]
fn the_hub_removes_and_does_nothing_else() {
    let removal = [remove("otto"), remove_client("otto"), remove_client("olga")];
    assert_eq!(authorize(&room(), Actor::Hub, &removal), Ok(()));
    for change in [
        add("new", ORDINARY),
        add_client("otto"),
        Change::AddOwnClient,
        Change::RemoveOwnClient,
        Change::RemoveSelf,
        Change::SendMessage,
        Change::ReInit,
        Change::ChangeBasePolicy,
        Change::ChangeRoleDefinitions,
        Change::ChangeMetadata(MetadataField::Name),
        change_role("otto", ORDINARY, ADMIN),
    ] {
        assert_eq!(
            authorize(&room(), Actor::Hub, std::slice::from_ref(&change)),
            Err(Denied::HubMayNot),
            "{change:?}"
        );
    }
}

#[test]
fn protocol_7_5_a_user_is_operated_on_once() {
    let error = Err(Denied::RepeatedChange { user: user("otto") });
    let twice = [
        change_role("otto", ORDINARY, ADMIN),
        remove("otto"),
        remove_client("otto"),
    ];
    assert_eq!(by("ada", &room(), &twice), error);
    let error = Err(Denied::RepeatedChange { user: user("olga") });
    assert_eq!(by("olga", &room(), &[Change::RemoveSelf, remove("olga")]), error);
}

#[test]
fn room_policy_5_fixed_membership_forbids_joining_and_leaving_but_not_clients() {
    let mut fixed_roles = roles();
    for role in &mut fixed_roles.roles {
        role.role_capabilities
            .retain(|held| *held != Capability::CAN_ADD_PARTICIPANT);
    }
    let policy = with(
        &fixed_roles,
        BaseRoomPolicy {
            fixed_membership: true,
            ..Default::default()
        },
    );
    let fixed = Err(Denied::FixedMembership);
    assert_eq!(by("ada", &policy, &[add("new", ORDINARY)]), fixed);
    assert_eq!(by("ada", &policy, &[remove("otto"), remove_client("otto")]), fixed);
    assert_eq!(
        by("otto", &policy, &[Change::RemoveSelf, Change::RemoveOwnClient]),
        fixed
    );
    assert_eq!(by("otto", &policy, &[Change::AddOwnClient]), Ok(()));
    assert_eq!(by("otto", &policy, &[Change::RemoveOwnClient]), Ok(()));
}
