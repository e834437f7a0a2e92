//! What a room's state may be.

use super::*;
use crate::Error;
use crate::components::{
    AppDataDictionary, BASE_ROOM_POLICY, PARTICIPANT_LIST, ROLES_LIST, ROOM_METADATA, RoomMetaData,
};
use crate::policy::{MAX_PARTICIPANTS, MAX_ROLES};
use crate::tls::encode;

fn new(roles: RoleData, participants: ParticipantListData) -> Result<RoomPolicy, Error> {
    RoomPolicy::new(roles, BaseRoomPolicy::default(), participants, None)
}

#[test]
fn a_policy_is_read_from_the_dictionary() {
    let mut dictionary = AppDataDictionary::new();
    let missing = |component| Error::ComponentMissing { component };
    assert_eq!(
        RoomPolicy::from_dictionary(&dictionary).unwrap_err(),
        missing(ROLES_LIST)
    );
    dictionary.set(ROLES_LIST, encode(&roles()));
    assert_eq!(
        RoomPolicy::from_dictionary(&dictionary).unwrap_err(),
        missing(PARTICIPANT_LIST)
    );
    dictionary.set(PARTICIPANT_LIST, encode(&list(&[("ada", ADMIN)])));
    let policy = RoomPolicy::from_dictionary(&dictionary).unwrap();
    assert_eq!((policy.base(), policy.metadata()), (&BaseRoomPolicy::default(), None));
    assert_eq!(policy.role_of(&user("ada")).map(|role| role.role_index), Some(ADMIN));
    assert_eq!(policy.role_of(&user("eve")), None);

    let base = BaseRoomPolicy {
        max_users: Some(3),
        ..Default::default()
    };
    let metadata = RoomMetaData {
        room_name: "Clubhouse".into(),
        ..Default::default()
    };
    dictionary.set(BASE_ROOM_POLICY, encode(&base));
    dictionary.set(ROOM_METADATA, encode(&metadata));
    let policy = RoomPolicy::from_dictionary(&dictionary).unwrap();
    assert_eq!((policy.base(), policy.metadata()), (&base, Some(&metadata)));
    dictionary.set(ROLES_LIST, vec![0xff]);
    assert!(RoomPolicy::from_dictionary(&dictionary).is_err());
}

#[test]
fn room_policy_3_role_indexes_are_unique() {
    let mut twice = roles();
    twice.roles.push(twice.roles[2].clone());
    let error = new(twice, ParticipantListData::default()).unwrap_err();
    assert_eq!(
        error,
        Error::Duplicate {
            what: "role_index",
            value: "2".into()
        }
    );
}

#[test]
fn room_policy_3_role_zero_is_for_those_who_are_not_listed() {
    let error = new(roles(), list(&[("ada", 0)])).unwrap_err();
    assert!(matches!(error, Error::UnknownValue { value: 0, .. }));
}

#[test]
fn room_policy_3_every_participant_has_a_defined_role() {
    let error = new(roles(), list(&[("ada", 9)])).unwrap_err();
    assert!(matches!(error, Error::UnknownValue { value: 9, .. }));
}

#[test]
fn room_policy_1_every_user_has_exactly_one_role() {
    let error = new(roles(), list(&[("ada", ADMIN), ("ada", ORDINARY)])).unwrap_err();
    assert!(matches!(
        error,
        Error::Duplicate {
            what: "participant",
            ..
        }
    ));
}

#[test]
fn can_open_join_8_1_1_must_not_appear_in_another_role() {
    let roles = roles_with(ORDINARY, |role| role.role_capabilities.push(Capability::CAN_OPEN_JOIN));
    assert!(matches!(
        new(roles, ParticipantListData::default()),
        Err(Error::Invalid { .. })
    ));
}

#[test]
fn room_policy_5_nobody_can_add_in_a_room_of_fixed_membership() {
    let base = || BaseRoomPolicy {
        fixed_membership: true,
        ..Default::default()
    };
    assert!(matches!(
        RoomPolicy::new(roles(), base(), list(&[]), None),
        Err(Error::Invalid { .. })
    ));
    let mut without = roles();
    for role in &mut without.roles {
        role.role_capabilities
            .retain(|held| *held != Capability::CAN_ADD_PARTICIPANT);
    }
    without.roles[1].role_capabilities.push(Capability::CAN_ADD_PARTICIPANT);
    assert!(RoomPolicy::new(without, base(), list(&[]), None).is_ok());
}

#[test]
fn sizes_are_bounded() {
    let too_large = |change: fn(&mut Role)| new(roles_with(ORDINARY, change), list(&[])).unwrap_err();
    for error in [
        too_large(|role| role.role_name = "x".repeat(5000)),
        too_large(|role| role.role_description = "x".repeat(5000)),
        too_large(|role| role.role_capabilities = vec![Capability::CAN_BAN; 2000]),
        too_large(|role| role.authorized_role_changes = changes(&vec![(0, &[] as &[u32]); 2000])),
        too_large(|role| role.authorized_role_changes = changes(&[(0, &[1; 2000])])),
    ] {
        assert!(matches!(error, Error::Limit { .. }), "{error}");
    }
    let count = u32::try_from(MAX_ROLES).unwrap() + 1;
    let many = RoleData {
        roles: (0..count)
            .map(|role_index| Role {
                role_index,
                ..Default::default()
            })
            .collect(),
    };
    assert!(matches!(new(many, list(&[])), Err(Error::Limit { what: "roles", .. })));
    let participants = vec![
        UserRolePair {
            user: user("ada"),
            role_index: ADMIN
        };
        MAX_PARTICIPANTS + 1
    ];
    let error = new(roles(), ParticipantListData { participants }).unwrap_err();
    assert!(matches!(
        error,
        Error::Limit {
            what: "participants",
            ..
        }
    ));
}

#[test]
fn clients_are_counted_per_user() {
    let mut policy = room();
    assert_eq!(
        (policy.clients_of(&user("olga")), policy.clients_of(&user("bert"))),
        (2, 0)
    );
    policy.set_clients([(user("olga"), 0), (user("bert"), 3)]);
    assert_eq!(
        (policy.clients_of(&user("olga")), policy.clients_of(&user("bert"))),
        (0, 3)
    );
}
