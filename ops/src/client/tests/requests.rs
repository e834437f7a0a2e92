//! The signed requests, and what a new room begins with.

use mimi_hub_proto::KeyMaterialRequest;
use mimi_hub_proto::components::{BaseRoomPolicy, Capability, ParticipantListData, UserRolePair};
use mimi_hub_proto::mls::{CipherSuite, CredentialType, ExtensionType};
use mimi_hub_proto::policy::{Actor, Change, RoomPolicy, authorize};
use openmls_traits::types::CryptoError;

use super::*;
use crate::OpsError;

fn verify(key: &SignaturePublicKey, content: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
    let scheme = CIPHERSUITE.signature_algorithm();
    OpenMlsRustCrypto::default()
        .crypto()
        .verify_signature(scheme, content, key.as_bytes(), signature)
}

#[test]
fn protocol_5_2_key_material_requests_are_signed_and_say_what_the_group_requires() {
    let (_, all) = alice_and_bob();
    let request: KeyMaterialRequest =
        decode_exact(&all[1].key_material_request(&room(), &user("cathy")).unwrap()).unwrap();
    let tbs = &request.tbs;
    assert_eq!((&tbs.requesting_user, &tbs.target_user), (&user("bob"), &user("cathy")));
    assert_eq!(tbs.room_id, Some(room()));
    assert_eq!(
        tbs.acceptable_ciphersuites,
        [CipherSuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_ED25519]
    );
    assert_eq!(
        tbs.required_capabilities.extension_types,
        [ExtensionType::APP_DATA_DICTIONARY]
    );
    assert_eq!(tbs.required_capabilities.proposal_types, [8]);
    assert_eq!(tbs.required_capabilities.credential_types, [CredentialType::BASIC]);
    assert_eq!(tbs.requester_credential, all[1].identity().to_credential());
    verify(
        &tbs.requester_signature_key,
        &tbs.sign_content(),
        &request.key_material_request_signature,
    )
    .unwrap();
    let mut tampered = tbs.clone();
    tampered.target_user = user("dora");
    verify(
        &tbs.requester_signature_key,
        &tampered.sign_content(),
        &request.key_material_request_signature,
    )
    .unwrap_err();
}

#[test]
fn protocol_5_6_group_info_requests_are_signed() {
    let bob = client("bob", "B3");
    let (_, octets) = bob.group_info_request(&room(), None).unwrap();
    let request: GroupInfoRequest = decode_exact(&octets).unwrap();
    assert_eq!(request.tbs.requesting_credential, bob.identity().to_credential());
    assert_eq!(request.tbs.joining_code, None);
    verify(
        &request.tbs.requesting_signature_key,
        &request.tbs.sign_content(),
        &request.signature,
    )
    .unwrap();
    let (_, other) = bob.group_info_request(&room(), None).unwrap();
    let other: GroupInfoRequest = decode_exact(&other).unwrap();
    assert_ne!(
        request.tbs.group_info_public_key, other.tbs.group_info_public_key,
        "a fresh key for each answer"
    );
}

#[test]
fn key_packages_can_do_what_rooms_require() {
    let key_package: mimi_hub_proto::mls::KeyPackage =
        decode_exact(&client("bob", "B1").key_packages(1).unwrap()[0]).unwrap();
    let (_, all) = alice_and_bob();
    let request: KeyMaterialRequest =
        decode_exact(&all[0].key_material_request(&room(), &user("cathy")).unwrap()).unwrap();
    assert!(
        key_package
            .leaf_node()
            .capabilities()
            .satisfy(&request.tbs.required_capabilities)
    );
}

#[test]
fn key_packages_of_somebody_else_are_refused() {
    let (_, mut all) = alice_and_bob();
    all.push(client("cathy", "C1"));
    let RoomChange::AddUser { key_material, .. } = add_user(&all, "cathy") else {
        panic!()
    };
    let swapped = RoomChange::AddUser {
        user: user("chris"),
        role_index: ROLE_MEMBER,
        key_material,
    };
    assert!(matches!(all[0].commit(&room(), &swapped), Err(OpsError::Mls { .. })));
    let unknown = KeyMaterialResponse::refused(user("cathy"), mimi_hub_proto::KeyMaterialUserCode::NoConsent).unwrap();
    let change = RoomChange::AddUser {
        user: user("cathy"),
        role_index: ROLE_MEMBER,
        key_material: encode(&unknown),
    };
    let refused = all[0].commit(&room(), &change);
    assert!(matches!(refused, Err(OpsError::NoKeyMaterial { status, .. }) if status == "NoConsent"));
}

/// A room with one participant of each role, all with one client.
fn policy() -> RoomPolicy {
    let roles = [
        ("member", ROLE_MEMBER),
        ("other", ROLE_MEMBER),
        ("moderator", ROLE_MODERATOR),
        ("admin", ROLE_ADMIN),
    ];
    let participants = roles
        .map(|(name, role_index)| UserRolePair {
            user: user(name),
            role_index,
        })
        .to_vec();
    let list = ParticipantListData { participants };
    let mut policy = RoomPolicy::new(default_roles(), BaseRoomPolicy::default(), list, None).unwrap();
    policy.set_clients(roles.map(|(name, _)| (user(name), 1)));
    policy
}

fn may(name: &str, changes: &[Change]) -> bool {
    authorize(&policy(), Actor::Participant(&user(name)), changes).is_ok()
}

#[test]
fn room_policy_a_1_members_look_after_the_room_themselves() {
    let add = |role| {
        [
            Change::AddParticipant {
                user: user("new"),
                role,
            },
            Change::AddClient { user: user("new") },
        ]
    };
    assert!(may("member", &add(ROLE_MEMBER)));
    assert!(!may("member", &add(ROLE_ADMIN)));
    assert!(may("member", &[Change::SendMessage]));
    assert!(may("member", &[Change::AddOwnClient]));
    assert!(may("member", &[Change::RemoveOwnClient, Change::RemoveSelf]));
    let ban = [
        Change::ChangeRole {
            user: user("other"),
            from: ROLE_MEMBER,
            to: ROLE_BANNED,
        },
        Change::RemoveClient { user: user("other") },
    ];
    assert!(!may("member", &ban));
    assert!(may("moderator", &ban));
    let new_device = authorize(&policy(), Actor::NewMember(&user("member")), &[Change::AddOwnClient]);
    assert!(new_device.is_ok());
}

#[test]
fn admins_may_move_anybody_anywhere() {
    for to in [ROLE_MODERATOR, ROLE_ADMIN] {
        assert!(may(
            "admin",
            &[Change::ChangeRole {
                user: user("member"),
                from: ROLE_MEMBER,
                to
            }]
        ));
    }
    assert!(may(
        "admin",
        &[Change::ChangeRole {
            user: user("moderator"),
            from: ROLE_MODERATOR,
            to: ROLE_MEMBER
        }]
    ));
    assert!(may(
        "admin",
        &[
            Change::RemoveParticipant {
                user: user("moderator")
            },
            Change::RemoveClient {
                user: user("moderator")
            }
        ]
    ));
    assert!(may("admin", &[Change::ChangeRoleDefinitions]));
    assert!(!may("moderator", &[Change::ChangeRoleDefinitions]));
}

#[test]
fn every_capability_is_with_the_admins_but_the_one_of_role_zero() {
    let RoleData { roles } = default_roles();
    let admin = roles.iter().find(|role| role.role_index == ROLE_ADMIN).unwrap();
    let missing: Vec<_> = Capability::REGISTERED
        .iter()
        .filter(|capability| !admin.has(**capability))
        .collect();
    assert_eq!(missing, [&Capability::CAN_OPEN_JOIN]);
    // Who is no participant can do one thing: use a join code.
    let nobody = roles.iter().find(|role| role.role_index == NO_ROLE).unwrap();
    assert_eq!(nobody.role_capabilities, [Capability::CAN_USE_JOIN_CODE]);
    assert_eq!(
        roles.iter().filter(|role| role.role_capabilities.is_empty()).count(),
        1,
        "banned"
    );
}
