//! draft-ietf-mls-extensions, section 4.7: from AppDataUpdates to a new state.

use super::*;
use crate::components::{
    AppDataDictionary, AppDataUpdate, AppDataUpdateOperation, BASE_ROOM_POLICY, ComponentId, FRANKING_AGENT,
    MetadataField, PARTICIPANT_LIST, ParticipantListUpdate, ROLES_LIST, ROOM_METADATA, RoomMetaData,
};
use crate::policy::{Applied, ListError, UpdateError};
use crate::tls::{Encode, encode};

fn dictionary() -> AppDataDictionary {
    let mut dictionary = AppDataDictionary::new();
    dictionary.set(ROLES_LIST, encode(&roles()));
    dictionary.set(PARTICIPANT_LIST, encode(room().participants()));
    dictionary
}

fn update(component_id: ComponentId, update: &impl Encode) -> AppDataUpdate {
    AppDataUpdate {
        component_id,
        op: AppDataUpdateOperation::Update(encode(update)),
    }
}

fn apply(updates: &[AppDataUpdate]) -> Result<Applied, UpdateError> {
    room().apply(&dictionary(), updates)
}

fn removal(index: u32) -> ParticipantListUpdate {
    ParticipantListUpdate {
        removed_indices: vec![index],
        ..Default::default()
    }
}

#[test]
fn extensions_4_7_updates_of_one_component_are_applied_together() {
    let added = ParticipantListUpdate {
        added_participants: list(&[("new", ORDINARY)]).participants,
        ..Default::default()
    };
    let applied = apply(&[update(PARTICIPANT_LIST, &removal(3)), update(PARTICIPANT_LIST, &added)]).unwrap();
    let expected = list(&[
        ("ada", ADMIN),
        ("al", ADMIN),
        ("olga", ORDINARY),
        ("bert", BANNED),
        ("new", ORDINARY),
    ]);
    assert_eq!(applied.policy.participants(), &expected);
    assert_eq!(applied.dictionary.decode(PARTICIPANT_LIST), Ok(Some(expected)));
    assert_eq!(applied.changes, [remove("otto"), add("new", ORDINARY)]);
    // The clients in the group are not what the updates change.
    assert_eq!(applied.policy.clients_of(&user("olga")), 2);
}

#[test]
fn extensions_4_7_no_updates_change_nothing() {
    let applied = apply(&[]).unwrap();
    assert_eq!((applied.dictionary, applied.changes), (dictionary(), vec![]));
}

#[test]
fn extensions_4_7_unknown_components_and_removals_are_invalid() {
    let component = FRANKING_AGENT;
    let error = apply(&[update(component, &vec![1u8])]).unwrap_err();
    assert_eq!(error, UpdateError::UnknownComponent { component });
    let remove = AppDataUpdate {
        component_id: ROLES_LIST,
        op: AppDataUpdateOperation::Remove,
    };
    assert_eq!(
        apply(&[remove]).unwrap_err(),
        UpdateError::Removal { component: ROLES_LIST }
    );
}

#[test]
fn protocol_7_6_metadata_is_replaced_once_per_commit() {
    let metadata = RoomMetaData {
        room_name: "Clubhouse".into(),
        ..Default::default()
    };
    let applied = apply(&[update(ROOM_METADATA, &metadata)]).unwrap();
    assert_eq!(applied.policy.metadata(), Some(&metadata));
    assert_eq!(applied.changes, [Change::ChangeMetadata(MetadataField::Name)]);
    let error = apply(&[update(ROOM_METADATA, &metadata), update(ROOM_METADATA, &metadata)]).unwrap_err();
    assert_eq!(
        error,
        UpdateError::Repeated {
            component: ROOM_METADATA
        }
    );
}

#[test]
fn room_policy_3_roles_are_replaced_but_not_together_with_participants() {
    let renamed = roles_with(ORDINARY, |role| role.role_name = "member".into());
    let applied = apply(&[update(ROLES_LIST, &renamed)]).unwrap();
    assert_eq!(
        (applied.policy.roles(), &applied.changes[..]),
        (&renamed, &[Change::ChangeRoleDefinitions][..])
    );
    let both = [update(ROLES_LIST, &renamed), update(PARTICIPANT_LIST, &removal(0))];
    assert_eq!(apply(&both).unwrap_err(), UpdateError::RolesWithParticipants);
}

#[test]
fn room_policy_3_new_roles_must_fit_the_participants() {
    let mut fewer = roles();
    fewer.roles.pop();
    assert!(matches!(
        apply(&[update(ROLES_LIST, &fewer)]),
        Err(UpdateError::Malformed(_))
    ));
}

#[test]
fn room_policy_5_base_policy_is_replaced() {
    let base = BaseRoomPolicy {
        max_users: Some(9),
        ..Default::default()
    };
    let applied = apply(&[update(BASE_ROOM_POLICY, &base)]).unwrap();
    assert_eq!(
        (applied.policy.base(), &applied.changes[..]),
        (&base, &[Change::ChangeBasePolicy][..])
    );
}

#[test]
fn what_does_not_decode_or_does_not_fit_is_invalid() {
    for component in [BASE_ROOM_POLICY, PARTICIPANT_LIST, ROLES_LIST, ROOM_METADATA] {
        let op = AppDataUpdateOperation::Update(vec![0xff]);
        let error = apply(&[AppDataUpdate {
            component_id: component,
            op,
        }])
        .unwrap_err();
        assert!(matches!(error, UpdateError::Malformed(_)), "{component:#06x}: {error}");
    }
    let error = apply(&[update(PARTICIPANT_LIST, &removal(5))]).unwrap_err();
    assert_eq!(
        error,
        UpdateError::List(ListError::IndexOutOfRange { index: 5, len: 5 })
    );
}
