//! draft-ietf-mimi-room-policy, sections 3 and 5: how many there may be.

use super::*;
use crate::policy::Constraint;

fn broken(constraint: Constraint) -> Result<(), Denied> {
    Err(Denied::Constraint { constraint })
}

fn limited(role_index: u32, change: impl FnOnce(&mut Role)) -> RoomPolicy {
    with(&roles_with(role_index, change), BaseRoomPolicy::default())
}

fn based(change: impl FnOnce(&mut BaseRoomPolicy)) -> RoomPolicy {
    let mut base = BaseRoomPolicy::default();
    change(&mut base);
    with(&roles(), base)
}

#[test]
fn minimum_participants_3_holds_when_participants_leave_or_change() {
    let policy = limited(ADMIN, |role| role.minimum_participants_constraint = 2);
    let error = broken(Constraint::MinimumParticipants { role: ADMIN, bound: 2 });
    assert_eq!(by("al", &policy, &[change_role("ada", ADMIN, ORDINARY)]), error);
    assert_eq!(by("al", &policy, &[remove("ada"), remove_client("ada")]), error);
    assert_eq!(by("al", &policy, &[Change::RemoveSelf, Change::RemoveOwnClient]), error);
    assert_eq!(
        by(
            "al",
            &policy,
            &[change_role("ada", ADMIN, BANNED), remove_client("ada")]
        ),
        error
    );
    // One goes, one comes: the number after all changes counts.
    let swap = [
        change_role("ada", ADMIN, ORDINARY),
        change_role("otto", ORDINARY, ADMIN),
    ];
    assert_eq!(by("al", &policy, &swap), Ok(()));
    assert_eq!(by("al", &room(), &[change_role("ada", ADMIN, ORDINARY)]), Ok(()));
}

#[test]
fn minimum_participants_3_that_is_broken_already_forbids_nothing_else() {
    let policy = limited(ADMIN, |role| role.minimum_participants_constraint = 5);
    assert_eq!(by("al", &policy, &[change_role("otto", ORDINARY, ADMIN)]), Ok(()));
    assert_eq!(by("al", &policy, &[remove("otto"), remove_client("otto")]), Ok(()));
}

#[test]
fn maximum_participants_3_holds_when_participants_come_or_change() {
    let policy = limited(ADMIN, |role| role.maximum_participants_constraint = Some(2));
    let error = broken(Constraint::MaximumParticipants { role: ADMIN, bound: 2 });
    assert_eq!(by("ada", &policy, &[add("new", ADMIN)]), error);
    assert_eq!(by("ada", &policy, &[change_role("otto", ORDINARY, ADMIN)]), error);
    assert_eq!(
        by("ada", &policy, &[change_role("al", ADMIN, ORDINARY), add("new", ADMIN)]),
        Ok(())
    );
    let policy = limited(ADMIN, |role| role.maximum_participants_constraint = Some(3));
    assert_eq!(by("ada", &policy, &[add("new", ADMIN)]), Ok(()));
    assert_eq!(
        by(
            "ada",
            &policy,
            &[add("new", ADMIN), change_role("otto", ORDINARY, ADMIN)]
        ),
        { broken(Constraint::MaximumParticipants { role: ADMIN, bound: 3 }) }
    );
}

#[test]
fn minimum_active_participants_3_counts_users_not_clients() {
    let policy = limited(ORDINARY, |role| role.minimum_active_participants_constraint = 2);
    let error = broken(Constraint::MinimumActiveParticipants {
        role: ORDINARY,
        bound: 2,
    });
    assert_eq!(by("ada", &policy, &[remove_client("otto")]), error);
    assert_eq!(by("otto", &policy, &[Change::RemoveOwnClient]), error);
    // Olga has a second client.
    assert_eq!(by("olga", &policy, &[Change::RemoveOwnClient]), Ok(()));
    assert_eq!(
        by("olga", &policy, &[Change::RemoveOwnClient, Change::RemoveOwnClient]),
        error
    );
    assert_eq!(by("ada", &policy, &[change_role("otto", ORDINARY, ADMIN)]), error);
    let replaced = [Change::RemoveOwnClient, Change::AddOwnClient];
    assert_eq!(authorize(&policy, Actor::NewMember(&user("otto")), &replaced), Ok(()));
}

#[test]
fn maximum_active_participants_3_counts_users_not_clients() {
    let policy = limited(ORDINARY, |role| role.maximum_active_participants_constraint = Some(2));
    let error = broken(Constraint::MaximumActiveParticipants {
        role: ORDINARY,
        bound: 2,
    });
    assert_eq!(by("olga", &policy, &[Change::AddOwnClient]), Ok(()));
    assert_eq!(by("olga", &policy, &[add("new", ORDINARY)]), Ok(()));
    assert_eq!(by("olga", &policy, &[add("new", ORDINARY), add_client("new")]), error);
    assert_eq!(by("ada", &policy, &[change_role("al", ADMIN, ORDINARY)]), error);
}

#[test]
fn maximum_active_participants_3_of_zero_keeps_all_clients_out() {
    let policy = limited(ORDINARY, |role| role.maximum_active_participants_constraint = Some(0));
    let error = broken(Constraint::MaximumActiveParticipants {
        role: ORDINARY,
        bound: 0,
    });
    assert_eq!(by("ada", &policy, &[add("new", ORDINARY), add_client("new")]), error);
}

#[test]
fn max_users_5_does_not_count_the_banned() {
    let policy = based(|base| base.max_users = Some(4));
    let error = broken(Constraint::MaxUsers { bound: 4 });
    assert_eq!(by("ada", &policy, &[add("new", ORDINARY)]), error);
    assert_eq!(by("ada", &policy, &[add("new", BANNED)]), Ok(()));
    assert_eq!(by("ada", &policy, &[change_role("bert", BANNED, ORDINARY)]), error);
    let swap = [
        change_role("otto", ORDINARY, BANNED),
        remove_client("otto"),
        add("new", ORDINARY),
    ];
    assert_eq!(by("ada", &policy, &swap), Ok(()));
}

#[test]
fn max_clients_5_counts_all_clients() {
    let policy = based(|base| base.max_clients = Some(6));
    let error = broken(Constraint::MaxClients { bound: 6 });
    assert_eq!(by("olga", &policy, &[Change::AddOwnClient]), Ok(()));
    assert_eq!(
        by("olga", &policy, &[Change::AddOwnClient, Change::AddOwnClient]),
        error
    );
    assert_eq!(
        by(
            "olga",
            &policy,
            &[Change::AddOwnClient, Change::AddOwnClient, Change::RemoveOwnClient]
        ),
        Ok(())
    );
}

#[test]
fn multi_device_5_off_means_one_client_per_user() {
    let policy = based(|base| base.multi_device = false);
    let error = |name| broken(Constraint::SingleDevice { user: user(name) });
    assert_eq!(by("otto", &policy, &[Change::AddOwnClient]), error("otto"));
    assert_eq!(by("ada", &policy, &[add_client("otto")]), error("otto"));
    let replaced = [Change::RemoveOwnClient, Change::AddOwnClient];
    assert_eq!(authorize(&policy, Actor::NewMember(&user("otto")), &replaced), Ok(()));
    // Olga's second client is there already; it does not forbid what makes nothing worse.
    assert_eq!(authorize(&policy, Actor::NewMember(&user("olga")), &replaced), Ok(()));
    assert_eq!(by("ada", &policy, &[add("new", ORDINARY), add_client("new")]), Ok(()));
    assert_eq!(
        by(
            "ada",
            &policy,
            &[add("new", ORDINARY), add_client("new"), add_client("new")]
        ),
        error("new")
    );
}

#[test]
fn constraints_bind_the_hub_as_well() {
    let policy = limited(ADMIN, |role| role.minimum_participants_constraint = 2);
    let removal = [remove("ada"), remove_client("ada")];
    let error = broken(Constraint::MinimumParticipants { role: ADMIN, bound: 2 });
    assert_eq!(authorize(&policy, Actor::Hub, &removal), error);
}

#[test]
fn protocol_7_5_what_each_may_do_alone_can_be_too_much_together() {
    let (ada, al, olga, otto) = (user("ada"), user("al"), user("olga"), user("otto"));
    let leave = [Change::RemoveSelf, Change::RemoveOwnClient];
    let parts = [
        (Actor::Participant(&ada), &leave[..]),
        (Actor::Participant(&al), &leave[..]),
    ];
    assert_eq!(authorize_together(&room(), &parts[..1]), Ok(()));
    assert_eq!(authorize_together(&room(), &parts[1..]), Ok(()));
    let error = broken(Constraint::MinimumParticipants { role: ADMIN, bound: 1 });
    assert_eq!(authorize_together(&room(), &parts), error);
    // The committer may make up for it.
    let promote = [change_role("otto", ORDINARY, ADMIN)];
    let parts = [parts[0], (Actor::Participant(&al), &promote[..])];
    assert_eq!(authorize_together(&room(), &parts), Ok(()));

    let kick = [remove("otto"), remove_client("otto")];
    let twice = [
        (Actor::Participant(&otto), &leave[..]),
        (Actor::Participant(&ada), &kick[..]),
    ];
    assert_eq!(
        authorize_together(&room(), &twice),
        Err(Denied::RepeatedChange { user: user("otto") })
    );
    let back = [add_client("otto")];
    let again = [
        (Actor::Participant(&otto), &leave[..]),
        (Actor::Participant(&ada), &back[..]),
    ];
    assert_eq!(
        authorize_together(&room(), &again),
        Err(Denied::ClientsRemain { user: user("otto") })
    );
    let not_allowed = [(Actor::Participant(&olga), &promote[..])];
    assert_eq!(
        authorize_together(&room(), &not_allowed),
        missing(ORDINARY, Capability::CAN_CHANGE_USER_ROLE)
    );
}

#[test]
fn every_constraint_says_which_it_is() {
    let texts = [
        Constraint::MaximumActiveParticipants { role: 2, bound: 3 },
        Constraint::MaximumParticipants { role: 2, bound: 3 },
        Constraint::MaxClients { bound: 3 },
        Constraint::MaxUsers { bound: 3 },
        Constraint::MinimumActiveParticipants { role: 2, bound: 3 },
        Constraint::MinimumParticipants { role: 2, bound: 3 },
        Constraint::SingleDevice { user: user("otto") },
    ]
    .map(|constraint| Denied::Constraint { constraint }.to_string());
    let expected = [
        "maximum_active_participants_constraint 3 of role 2 would not hold",
        "maximum_participants_constraint 3 of role 2 would not hold",
        "max_clients 3 would not hold",
        "max_users 3 would not hold",
        "minimum_active_participants_constraint 3 of role 2 would not hold",
        "minimum_participants_constraint 3 of role 2 would not hold",
        "one client of mimi://a.example/u/otto would not hold",
    ];
    assert_eq!(texts, expected);
}
