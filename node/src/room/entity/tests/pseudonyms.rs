//! Minimal metadata rooms (draft-ietf-mimi-protocol, 6.1; draft-ietf-mimi-room-policy, 5, `pseudonyms_allowed`).

use mimi_hub_proto::components::{BASE_ROOM_POLICY, BaseRoomPolicy};
use mimi_hub_proto::mls::SignaturePublicKey;
use mimi_hub_proto::{
    ClientKeyMaterial, ClientKeyMaterialOutcome, GroupInfoRequest, GroupInfoRequestTbs, KeyMaterialResponse, tls,
};
use openmls_traits::signatures::Signer as _;
use openmls_traits::types::SignatureScheme;

use super::world::{ALICE, World, added, room_uri, user};
use crate::clock;
use crate::entity::EntityId;
use crate::room::entity::{RoomAnswer, RoomRequest};
use crate::testing::client::{Client, Plan, app_data_update, wire_key_package};
use crate::testing::credential::{Names, pseudonym};
use crate::testing::entity::{Asked, Driven};
use crate::testing::hub::{TestHub, config};
use crate::testing::roles::{ADMIN, MEMBER};

fn pseudonyms_allowed(allowed: bool) -> BaseRoomPolicy {
    BaseRoomPolicy {
        pseudonyms_allowed: allowed,
        ..BaseRoomPolicy::default()
    }
}

fn client(names: Names, domain: &str, number: u32) -> Client {
    let mut client = Client::new(&pseudonym(domain, number), 1).named(names);
    client.base = pseudonyms_allowed(true);
    client
}

/// A minimal metadata room of one.
async fn pseudonymous() -> (TestHub, World) {
    let hub = TestHub::start(config()).await;
    let world = World::made_by(&hub.hub, client(Names::Pseudonyms, "a.example", 1));
    (hub, world)
}

/// A room of real identifiers that would allow pseudonyms, or not.
async fn real(allowed: bool) -> (TestHub, World) {
    let hub = TestHub::start(config()).await;
    let mut alice = Client::new(&user("alice@a.example"), 1);
    alice.base = pseudonyms_allowed(allowed);
    let world = World::made_by(&hub.hub, alice);
    (hub, world)
}

/// Why the hub does not take this client's KeyPackage for the room.
fn unclaimable(world: &mut World, client: &Client) -> String {
    let entry = ClientKeyMaterial {
        client_uri: client.identity.client().clone(),
        outcome: ClientKeyMaterialOutcome::Success(wire_key_package(&client.key_package())),
    };
    let response = KeyMaterialResponse::from_clients(client.user().clone(), vec![entry]).unwrap();
    let provider = client.user().provider();
    match world.ask(RoomRequest::Claimed { provider, response }) {
        Asked::Answer(RoomAnswer::BadKeyMaterial(reason)) => reason,
        _ => panic!("{} is taken", client.identity.client()),
    }
}

/// Why this client does not get in by itself, though its user is a participant.
fn kept_out(world: &mut World, client: &Client) -> super::world::Refused {
    world
        .commit(ALICE, Plan::default().list(&added(client.user(), MEMBER)))
        .unwrap();
    let (_, bundle) = world.external_commit(client);
    world.send_from(client.user().provider(), &bundle).unwrap_err()
}

#[tokio::test]
async fn protocol_6_1_a_room_of_pseudonyms_lives_as_any_other() {
    let (_hub, mut world) = pseudonymous().await;
    let (bob, cathy) = (
        client(Names::Pseudonyms, "b.example", 2),
        client(Names::Pseudonyms, "c.example", 3),
    );
    let plan = world.plan_to_add(&bob, MEMBER);
    world.people.push(bob);
    world.commit(ALICE, plan).unwrap();
    // A second client of the same user, and one that joins by itself.
    let mut second = Client::new(&pseudonym("b.example", 2), 2).named(Names::Pseudonyms);
    second.base = pseudonyms_allowed(true);
    world.join(second).unwrap();
    world
        .commit(ALICE, Plan::default().list(&added(cathy.user(), MEMBER)))
        .unwrap();
    world.join(cathy).unwrap();
    assert_eq!(world.state().members.len(), 4);
    let message = world.people[1].message(b"hello");
    let sender = format!("{}@b.example", pseudonym("b.example", 2).id());
    let answer = world.submit("b.example", &sender, message);
    assert!(
        matches!(answer, mimi_hub_proto::SubmitMessageResponse::Accepted { .. }),
        "{answer:?}"
    );
    let removal = world.removal(1);
    let leaves = world.leaves(1);
    assert_eq!(leaves.len(), 2, "one pseudonym for all clients of a user");
    world
        .commit(ALICE, Plan::default().remove(leaves).list(&removal))
        .unwrap();
    assert_eq!(world.state().members.len(), 2);
}

#[tokio::test]
async fn room_policy_5_pseudonyms_need_to_be_allowed_when_a_room_is_made() {
    let hub = TestHub::start(config()).await;
    let refusals = [
        (Names::Pseudonyms, false, "policy does not allow"),
        (Names::OfAnotherKey, true, "another signature key"),
        (Names::Malformed, true, "does not say whose it is"),
    ];
    for (names, allowed, wanted) in refusals {
        let mut alice = client(names, "a.example", 1);
        alice.base = pseudonyms_allowed(allowed);
        let sender = hub.hub.keys().external_sender(SignatureScheme::ED25519).unwrap();
        let participants = [(alice.user().clone(), ADMIN)];
        let creator = alice.user().clone();
        let (group_info, ratchet_tree) = alice.create(&room_uri(), &sender, &participants, &[]);
        let mut room = Driven::<crate::room::entity::HostedRoom>::new(hub.hub.settings(), EntityId::Room(room_uri()));
        let create = RoomRequest::Create {
            creator,
            group_info,
            ratchet_tree,
        };
        match room.ask(clock::now_ms(), create).answer() {
            RoomAnswer::CreateRefused(reason) => assert!(reason.contains(wanted), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn protocol_6_1_a_room_is_not_made_of_both_kinds() {
    let hub = TestHub::start(config()).await;
    let sender = hub.hub.keys().external_sender(SignatureScheme::ED25519).unwrap();
    let real = Client::new(&user("adam@a.example"), 1);
    let mut alice = client(Names::Pseudonyms, "a.example", 1);
    let participants = [(alice.user().clone(), ADMIN), (real.user().clone(), MEMBER)];
    let creator = alice.user().clone();
    let (group_info, ratchet_tree) = alice.create(&room_uri(), &sender, &participants, &[&real]);
    let mut room = Driven::<crate::room::entity::HostedRoom>::new(hub.hub.settings(), EntityId::Room(room_uri()));
    let create = RoomRequest::Create {
        creator,
        group_info,
        ratchet_tree,
    };
    match room.ask(clock::now_ms(), create).answer() {
        RoomAnswer::CreateRefused(reason) => {
            assert!(reason.contains("as all must in a minimal metadata room"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn protocol_6_1_all_leaves_of_a_minimal_metadata_room_are_pseudonymous() {
    let (_hub, mut world) = pseudonymous().await;
    let bob = Client::new(&user("bob@b.example"), 1);
    let reason = unclaimable(&mut world, &bob);
    assert!(reason.contains("as all must in a minimal metadata room"), "{reason}");
    kept_out(&mut world, &bob).not_allowed("as all must in a minimal metadata room");
}

#[tokio::test]
async fn room_policy_5_no_pseudonym_comes_in_where_they_are_not_allowed() {
    let (_hub, mut world) = real(false).await;
    let bob = client(Names::Pseudonyms, "b.example", 2);
    let reason = unclaimable(&mut world, &bob);
    assert!(reason.contains("does not allow pseudonyms"), "{reason}");
    kept_out(&mut world, &bob).not_allowed("does not allow pseudonyms");
}

#[tokio::test]
async fn protocol_6_1_no_pseudonym_comes_among_real_identifiers_where_they_are_allowed() {
    let (_hub, mut world) = real(true).await;
    let bob = client(Names::Pseudonyms, "b.example", 2);
    let reason = unclaimable(&mut world, &bob);
    assert!(reason.contains("in a room of real identifiers"), "{reason}");
    kept_out(&mut world, &bob).not_allowed("in a room of real identifiers");
}

#[tokio::test]
async fn protocol_6_1_the_key_in_the_credential_is_the_leafs() {
    let (_hub, mut world) = pseudonymous().await;
    let bob = client(Names::OfAnotherKey, "b.example", 2);
    let reason = unclaimable(&mut world, &bob);
    assert!(reason.contains("for another signature key"), "{reason}");
    kept_out(&mut world, &bob).not_allowed("for another signature key");
    // Nor does a member come to have such a leaf.
    let alice = &mut world.people[ALICE];
    alice.names = Names::OfAnotherKey;
    let renamed = Some(alice.identity.clone());
    let bundle = alice.commit(Plan {
        renamed: renamed.clone(),
        ..Plan::default()
    });
    world
        .send(ALICE, &bundle)
        .unwrap_err()
        .not_allowed("for another signature key");
    world.people[ALICE].drop_commit();
    let update = world.people[ALICE].propose_update(renamed.as_ref());
    let refused = world.propose_from("a.example".parse().unwrap(), &[update]).unwrap_err();
    refused.not_allowed("for another signature key");
}

#[tokio::test]
async fn protocol_6_1_a_malformed_credential_is_refused() {
    let (_hub, mut world) = pseudonymous().await;
    let bob = client(Names::Malformed, "b.example", 2);
    let reason = unclaimable(&mut world, &bob);
    assert!(reason.contains("does not say whose it is"), "{reason}");
    kept_out(&mut world, &bob).not_allowed("does not say whose it is");
}

#[tokio::test]
async fn protocol_6_1_the_user_pseudonym_is_the_entry_in_the_participant_list() {
    let (_hub, mut world) = pseudonymous().await;
    // Another pseudonym of the same provider is put on the list than the one in the credential.
    let bob = client(Names::Pseudonyms, "b.example", 2);
    let key_package = world.claim(&bob);
    let plan = Plan::default()
        .add([key_package])
        .list(&added(&pseudonym("b.example", 3), MEMBER));
    let bundle = world.people[ALICE].commit(plan);
    world
        .send(ALICE, &bundle)
        .unwrap_err()
        .not_allowed("is not a participant");
    world.people[ALICE].drop_commit();
    let (_, bundle) = world.external_commit(&bob);
    let refused = world.send_from(bob.user().provider(), &bundle).unwrap_err();
    assert!(
        matches!(refused.0, mimi_hub_proto::UpdateOutcome::NotAllowed),
        "{refused:?}"
    );
}

#[tokio::test]
async fn protocol_6_1_a_client_keeps_its_pseudonyms() {
    let (_hub, mut world) = pseudonymous().await;
    let renamed = Some(crate::testing::credential::identity(&pseudonym("a.example", 9), 1));
    let bundle = world.people[ALICE].commit(Plan {
        renamed,
        ..Plan::default()
    });
    world
        .send(ALICE, &bundle)
        .unwrap_err()
        .not_allowed("names another client");
    // It may not turn to its real name either.
    world.people[ALICE].drop_commit();
    world.people[ALICE].names = Names::Real;
    let renamed = Some(world.people[ALICE].identity.clone());
    let bundle = world.people[ALICE].commit(Plan {
        renamed,
        ..Plan::default()
    });
    world
        .send(ALICE, &bundle)
        .unwrap_err()
        .not_allowed("as all must in a minimal metadata room");
}

#[tokio::test]
async fn room_policy_5_pseudonyms_stay_allowed_while_there_are_some() {
    let (_hub, mut world) = pseudonymous().await;
    let update = || app_data_update(BASE_ROOM_POLICY, tls::encode(&pseudonyms_allowed(false)));
    let bundle = world.people[ALICE].commit(Plan::default().with(update()));
    world
        .send(ALICE, &bundle)
        .unwrap_err()
        .not_allowed("policy does not allow");
    // In a room of real identifiers the policy may change as it likes.
    let (_hub, mut world) = real(true).await;
    world.commit(ALICE, Plan::default().with(update())).unwrap();
}

#[tokio::test]
async fn protocol_5_6_the_group_info_is_for_pseudonyms_of_the_room() {
    let (_hub, mut world) = pseudonymous().await;
    let mut request = |client: &Client, key: Vec<u8>| {
        let tbs = GroupInfoRequestTbs {
            cipher_suite: mimi_hub_proto::mls::CipherSuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_ED25519,
            requesting_signature_key: SignaturePublicKey::new(key),
            requesting_credential: tls::decode_exact(&client.encoded_credential()).unwrap(),
            group_info_public_key: mimi_hub_proto::mls::HpkePublicKey::new([9; 32]),
            joining_code: None,
        };
        let signature = client.signer.sign(&tbs.sign_content()).unwrap();
        let request = GroupInfoRequest { tbs, signature };
        let source = client.user().provider();
        world.ask(RoomRequest::GroupInfo { source, request }).answer()
    };
    let mut own = Client::new(&pseudonym("a.example", 1), 2).named(Names::Pseudonyms);
    own.base = pseudonyms_allowed(true);
    let key = own.signer.public().to_vec();
    assert!(matches!(request(&own, key.clone()), RoomAnswer::GroupInfo(_)));
    let refusals = [
        (client(Names::OfAnotherKey, "a.example", 1), "another signature key"),
        (Client::new(&pseudonym("a.example", 1), 1), "as all must"),
        (client(Names::Malformed, "a.example", 1), "does not say whose"),
    ];
    for (client, wanted) in refusals {
        let key = client.signer.public().to_vec();
        match request(&client, key) {
            RoomAnswer::NotAuthorized(reason) => assert!(reason.contains(wanted), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

/// RFC 9420, 7.2 and 12.2: every leaf lists the credential types that the group has.
#[tokio::test]
async fn protocol_6_1_a_leaf_that_does_not_list_the_credential_type_is_refused() {
    let (_hub, mut world) = pseudonymous().await;
    let bob = client(Names::Unlisted, "b.example", 2);
    kept_out(&mut world, &bob).not_allowed("the message is not valid");
}
