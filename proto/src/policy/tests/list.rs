//! draft-ietf-mimi-protocol, section 7.5: how updates change the list.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::components::{ParticipantListUpdate, UserindexRolePair};
use crate::policy::{ListError, MAX_PARTICIPANTS, ParticipantChange};

fn update(changed: &[(u32, u32)], removed: &[u32], added: &[(&str, u32)]) -> ParticipantListUpdate {
    ParticipantListUpdate {
        changed_role_participants: changed
            .iter()
            .map(|(user_index, role_index)| UserindexRolePair {
                user_index: *user_index,
                role_index: *role_index,
            })
            .collect(),
        removed_indices: removed.to_vec(),
        added_participants: list(added).participants,
    }
}

fn three() -> ParticipantListData {
    list(&[("a", ADMIN), ("b", ORDINARY), ("c", ORDINARY)])
}

#[test]
fn protocol_7_5_roles_change_in_place_the_removed_go_the_added_are_appended() {
    let (after, changes) = three()
        .apply(
            &roles(),
            &[update(&[(2, ADMIN)], &[0], &[("d", ORDINARY), ("e", ADMIN)])],
        )
        .unwrap();
    assert_eq!(
        after,
        list(&[("b", ORDINARY), ("c", ADMIN), ("d", ORDINARY), ("e", ADMIN)])
    );
    assert_eq!(
        changes,
        [
            ParticipantChange::RoleChanged {
                user: user("c"),
                from: ORDINARY,
                to: ADMIN
            },
            ParticipantChange::Removed {
                user: user("a"),
                role: ADMIN
            },
            ParticipantChange::Added {
                user: user("d"),
                role: ORDINARY
            },
            ParticipantChange::Added {
                user: user("e"),
                role: ADMIN
            },
        ]
    );
}

#[test]
fn protocol_7_5_indices_of_all_updates_refer_to_the_list_before_the_commit() {
    let updates = [
        update(&[], &[0], &[("d", ORDINARY)]),
        update(&[(2, ADMIN)], &[1], &[("e", ORDINARY)]),
    ];
    let (after, _) = three().apply(&roles(), &updates).unwrap();
    assert_eq!(after, list(&[("c", ADMIN), ("d", ORDINARY), ("e", ORDINARY)]));
    // Whoever the first update appends has no index in the second.
    let error = three().apply(
        &roles(),
        &[update(&[], &[], &[("d", ORDINARY)]), update(&[(3, ADMIN)], &[], &[])],
    );
    assert_eq!(error, Err(ListError::IndexOutOfRange { index: 3, len: 3 }));
}

#[test]
fn protocol_7_5_an_index_outside_the_list_is_refused() {
    for update in [update(&[(3, ADMIN)], &[], &[]), update(&[], &[3], &[])] {
        let error = three().apply(&roles(), &[update]);
        assert_eq!(error, Err(ListError::IndexOutOfRange { index: 3, len: 3 }));
    }
    let error = list(&[]).apply(&roles(), &[update(&[], &[u32::MAX], &[])]);
    assert_eq!(
        error,
        Err(ListError::IndexOutOfRange {
            index: u32::MAX,
            len: 0
        })
    );
}

#[test]
fn protocol_7_5_no_user_is_operated_on_more_than_once() {
    let twice = |name: &str, updates: &[ParticipantListUpdate]| {
        let error = three().apply(&roles(), updates);
        assert_eq!(
            error,
            Err(ListError::DuplicateOperation { user: user(name) }),
            "{updates:?}"
        );
    };
    twice("a", &[update(&[(0, ORDINARY), (0, ORDINARY)], &[], &[])]);
    twice("a", &[update(&[], &[0, 0], &[])]);
    twice("a", &[update(&[(0, ORDINARY)], &[0], &[])]);
    twice("a", &[update(&[(0, ORDINARY)], &[], &[]), update(&[], &[0], &[])]);
    twice("d", &[update(&[], &[], &[("d", ORDINARY), ("d", ADMIN)])]);
    twice(
        "d",
        &[
            update(&[], &[], &[("d", ORDINARY)]),
            update(&[], &[], &[("d", ORDINARY)]),
        ],
    );
    // Removing and adding again is two operations.
    twice("a", &[update(&[], &[0], &[("a", ORDINARY)])]);
    twice("a", &[update(&[], &[], &[("a", ORDINARY)]), update(&[], &[0], &[])]);
}

#[test]
fn protocol_7_5_a_participant_is_not_added_again() {
    let error = three().apply(&roles(), &[update(&[], &[], &[("b", ADMIN)])]);
    assert_eq!(error, Err(ListError::AlreadyPresent { user: user("b") }));
}

#[test]
fn room_policy_3_a_role_must_be_defined_and_not_zero() {
    for role in [0, 9] {
        for update in [update(&[(0, role)], &[], &[]), update(&[], &[], &[("d", role)])] {
            assert_eq!(three().apply(&roles(), &[update]), Err(ListError::UnknownRole { role }));
        }
    }
}

#[test]
fn a_list_cannot_grow_without_end() {
    let participants = (0..MAX_PARTICIPANTS).map(|n| UserRolePair {
        user: user(&n.to_string()),
        role_index: ADMIN,
    });
    let full = ParticipantListData {
        participants: participants.collect(),
    };
    let error = full.apply(&roles(), &[update(&[], &[], &[("d", ORDINARY)])]);
    assert_eq!(
        error,
        Err(ListError::TooLong {
            len: MAX_PARTICIPANTS + 1
        })
    );
    assert!(full.apply(&roles(), &[update(&[], &[0], &[("d", ORDINARY)])]).is_ok());
}

/// What to do to the participant at each index: nothing, remove it, or give it a role.
fn plan() -> impl Strategy<Value = Vec<Option<Option<u32>>>> {
    prop::collection::vec(prop::option::of(prop::option::of(1u32..4)), 0..20)
}

proptest! {
    /// Whatever the order of the operations and however they are spread over updates, each user ends up with what was
    /// planned for it, and those who stay keep their order.
    #[test]
    fn apply_does_to_each_user_what_is_asked(
        plan in plan(),
        added in 0usize..6,
        split in any::<Vec<Index>>(),
        shuffle in any::<u64>(),
    ) {
        let names: Vec<String> = (0..plan.len()).map(|n| format!("u{n}")).collect();
        let before = list(&names.iter().map(|name| (name.as_str(), ORDINARY)).collect::<Vec<_>>());
        let mut updates = vec![ParticipantListUpdate::default(); 3];
        let place = |n: usize| split.get(n).map_or(0, |index| index.index(3));
        let mut order: Vec<usize> = (0..plan.len()).collect();
        order.sort_by_key(|n| (shuffle.rotate_left(u32::try_from(*n).unwrap()), *n));
        for n in order {
            let index = u32::try_from(n).unwrap();
            match plan[n] {
                None => {}
                Some(None) => updates[place(n)].removed_indices.push(index),
                Some(Some(role_index)) => updates[place(n)]
                    .changed_role_participants
                    .push(UserindexRolePair { user_index: index, role_index }),
            }
        }
        let new = (0..added).map(|n| UserRolePair { user: user(&format!("new{n}")), role_index: ADMIN });
        updates[1].added_participants = new.clone().collect();

        let (after, changes) = before.apply(&roles(), &updates).unwrap();

        let kept = before.participants.iter().zip(&plan).filter_map(|(participant, plan)| match plan {
            None => Some(participant.clone()),
            Some(None) => None,
            Some(Some(role_index)) => Some(UserRolePair { user: participant.user.clone(), role_index: *role_index }),
        });
        let expected: Vec<_> = kept.chain(new).collect();
        prop_assert_eq!(after.participants, expected);
        prop_assert_eq!(changes.len(), plan.iter().flatten().count() + added);
    }

    /// A failing update changes nothing, and fails again in the same way.
    #[test]
    fn apply_is_deterministic_and_leaves_the_list_alone(
        changed in prop::collection::vec((0u32..5, 0u32..5), 0..4),
        removed in prop::collection::vec(0u32..5, 0..4),
        added in prop::collection::vec((prop::sample::select(vec!["a", "c", "d", "e"]), 0u32..5), 0..3),
    ) {
        let before = three();
        let update = update(&changed, &removed, &added);
        let first = before.apply(&roles(), std::slice::from_ref(&update));
        prop_assert_eq!(&before, &three());
        prop_assert_eq!(&first, &before.apply(&roles(), &[update]));
        if let Ok((after, _)) = first {
            // A list that was valid stays so.
            prop_assert!(RoomPolicy::new(roles(), BaseRoomPolicy::default(), after, None).is_ok());
        }
    }
}
