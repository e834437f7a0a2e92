//! Publishing KeyPackages, clients and rooms.

use super::*;
use crate::testing::credential::{Names, identity, pseudonym};
use crate::user::decide::{CLIENTS_PER_USER_MAX, KEY_PACKAGES_PER_CLIENT_MAX};
use crate::user::event::StoredKeyPackage;
use crate::{keys, read};

/// The reason why nothing of the list was stored.
fn refusal(world: &mut World, client: &Client, key_packages: Vec<KeyPackage>) -> String {
    let before = (world.user.last_seq(), world.user.entity.key_packages.clone());
    let UserAnswer::BadKeyPackage(reason) = world.publish(client, key_packages).answer() else {
        panic!("another answer")
    };
    assert_eq!(
        before,
        (world.user.last_seq(), world.user.entity.key_packages.clone()),
        "all or none"
    );
    reason
}

fn tampered(key_package: &KeyPackage) -> KeyPackage {
    let mut octets = key_package.as_bytes().to_vec();
    *octets.last_mut().unwrap() ^= 1;
    tls::decode_exact(&octets).unwrap()
}

#[tokio::test]
async fn all_key_packages_of_a_request_are_stored_or_none() {
    let hub = TestHub::start(config()).await;
    let (mut world, clients) = World::new(&hub.hub, 2);
    let client = &clients[0];
    let good = || lasting(client, 1_000);
    let other_user = identity(&"mimi://a.example/u/adam".parse().unwrap(), 1);
    let now_s = clock::now_ms() / SECOND;
    let expired = client.key_package_for(&client.identity, Lifetime::init(now_s - 200, now_s - 100));
    let other_client = wire_key_package(&client.key_package_for(&clients[1].identity, Lifetime::default()));
    let other_user = wire_key_package(&client.key_package_for(&other_user, Lifetime::default()));
    let twice = good();
    let cases = [
        (vec![good(), other_client], "alice-2"),
        (vec![good(), other_user], "adam"),
        (vec![good(), wire_key_package(&expired)], "expired"),
        (vec![good(), tampered(&good())], ""),
        (vec![twice.clone(), good(), twice], "twice"),
    ];
    for (packages, wanted) in cases {
        let reason = refusal(&mut world, client, packages);
        assert!(reason.contains(wanted), "{reason}");
    }
    let (_, reply) = world.publish(client, vec![good(), good()]).accepted();
    assert_eq!(reply, br#"{"stored":2,"available":2}"#);
    let (_, reply) = world.publish(client, vec![good()]).accepted();
    assert_eq!(reply, br#"{"stored":1,"available":3}"#);
}

#[tokio::test]
async fn a_key_package_is_published_once() {
    let hub = TestHub::start(config()).await;
    let (mut world, clients) = World::new(&hub.hub, 1);
    let package = lasting(&clients[0], 1_000);
    world.publish(&clients[0], vec![package.clone()]).accepted();
    let again = |world: &mut World| refusal(world, &clients[0], vec![package.clone()]);
    assert!(again(&mut world).contains("before"), "while it is in store");
    assert_eq!(given(&world.claim()), std::slice::from_ref(&package));
    assert!(again(&mut world).contains("before"), "after it was given out");
    world.user.reload();
    assert!(again(&mut world).contains("before"), "after a restart");
    world.now_ms += 2_000 * SECOND;
    world.publish(&clients[0], vec![lasting(&clients[0], 9_000)]).accepted();
    assert!(
        world.user.entity.given.is_empty(),
        "what has expired need not be remembered"
    );
    assert!(again(&mut world).contains("expired"));
}

#[tokio::test]
async fn expired_key_packages_make_room() {
    let hub = TestHub::start(config()).await;
    let (mut world, clients) = World::new(&hub.hub, 1);
    world
        .publish(
            &clients[0],
            vec![lasting(&clients[0], 100), lasting(&clients[0], 9_000)],
        )
        .accepted();
    world.now_ms += 200 * SECOND;
    world.publish(&clients[0], vec![lasting(&clients[0], 8_000)]).accepted();
    assert_eq!(world.user.entity.key_packages.len(), 2);
    world.user.reload();
    assert_eq!(world.user.entity.key_packages.len(), 2);
}

#[tokio::test]
async fn a_client_has_so_many_key_packages_and_a_user_so_many_clients() {
    let hub = TestHub::start(config()).await;
    let (mut world, clients) = World::new(&hub.hub, 1);
    let client = clients[0].identity.client();
    for number in 1..KEY_PACKAGES_PER_CLIENT_MAX as u64 {
        let reference = number.to_be_bytes().to_vec();
        let stored = StoredKeyPackage {
            reference: reference.clone().into(),
            client: client.clone(),
            key_package: Vec::new().into(),
            not_after_s: u64::MAX,
        };
        world.user.entity.key_packages.insert(reference, stored);
    }
    let two = vec![lasting(&clients[0], 100), lasting(&clients[0], 100)];
    let answer = world.publish(&clients[0], two.clone()).answer();
    assert!(matches!(answer, UserAnswer::TooMany(what) if what == "KeyPackages"));
    world.publish(&clients[0], two[..1].to_vec()).accepted();
    let answer = world.publish(&clients[0], two[1..].to_vec()).answer();
    assert!(matches!(answer, UserAnswer::TooMany(what) if what == "KeyPackages"));

    for number in 2..=u32::try_from(CLIENTS_PER_USER_MAX).unwrap() {
        world
            .ask(UserRequest::AddClient(identity(&alice(), number).client().clone()))
            .accepted();
    }
    let one_more = UserRequest::AddClient(identity(&alice(), 7_777).client().clone());
    assert!(matches!(world.ask(one_more).answer(), UserAnswer::TooMany(what) if what == "clients"));
    let known = UserRequest::AddClient(client.clone());
    assert!(matches!(world.ask(known).answer(), UserAnswer::Unchanged));
}

#[tokio::test]
async fn a_removed_client_takes_its_key_packages_along() {
    let hub = TestHub::start(config()).await;
    let (mut world, clients) = World::new(&hub.hub, 2);
    for client in &clients {
        world.publish(client, vec![lasting(client, 1_000)]).accepted();
    }
    let gone = clients[0].identity.client().clone();
    world.ask(UserRequest::RemoveClient(gone.clone())).accepted();
    let again = world.ask(UserRequest::RemoveClient(gone.clone())).answer();
    assert!(matches!(again, UserAnswer::UnknownClient));
    let late = world.publish(&clients[0], vec![lasting(&clients[0], 1_000)]).answer();
    assert!(matches!(late, UserAnswer::UnknownClient));
    world.ask(UserRequest::AddClient(gone)).accepted();
    world.user.reload();
    let (success, exhausted) = (
        KeyMaterialClientCode::Success,
        KeyMaterialClientCode::KeyMaterialExhausted,
    );
    assert_eq!(
        codes(&world.claim()),
        (KeyMaterialUserCode::PartialSuccess, vec![exhausted, success])
    );
}

#[tokio::test]
async fn nothing_is_asked_of_who_is_unknown_or_deleted() {
    let hub = TestHub::start(config()).await;
    let mut world = World::empty(&hub.hub);
    let client = || identity(&alice(), 1).client().clone();
    let requests = |deleted: bool| {
        let mut requests = vec![
            UserRequest::Delete,
            UserRequest::AddClient(client()),
            UserRequest::RemoveClient(client()),
            UserRequest::StoreKeyPackages {
                client: client(),
                key_packages: Vec::new(),
            },
            UserRequest::SetConsent(ConsentRule {
                requester: None,
                room: None,
                allow: true,
            }),
        ];
        if deleted {
            requests.extend([
                UserRequest::JoinRoom(room()),
                UserRequest::ForgetRoom(room()),
                UserRequest::Rooms,
            ]);
        }
        requests
    };
    for request in requests(false) {
        assert!(matches!(world.ask(request).answer(), UserAnswer::Unknown));
    }
    world.ask(UserRequest::Create).accepted();
    assert!(matches!(world.ask(UserRequest::Create).answer(), UserAnswer::Unchanged));
    world.ask(UserRequest::Delete).accepted();
    for request in requests(true) {
        assert!(matches!(world.ask(request).answer(), UserAnswer::Unknown));
    }
}

/// A Welcome may come before the provider has announced the user.
#[tokio::test]
async fn a_room_list_is_kept_for_users_that_are_not_announced_yet() {
    let hub = TestHub::start(config()).await;
    let mut world = World::empty(&hub.hub);
    let other: RoomUri = "mimi://a.example/r/1".parse().unwrap();
    for room in [room(), other.clone()] {
        world.ask(UserRequest::JoinRoom(room.clone())).accepted();
        assert!(matches!(
            world.ask(UserRequest::JoinRoom(room)).answer(),
            UserAnswer::Unchanged
        ));
    }
    world.ask(UserRequest::Create).accepted();
    world.ask(UserRequest::ForgetRoom(room())).accepted();
    assert!(matches!(
        world.ask(UserRequest::ForgetRoom(room())).answer(),
        UserAnswer::Unchanged
    ));
    world.user.reload();
    let UserAnswer::Rooms(rooms) = world.ask(UserRequest::Rooms).answer() else {
        panic!("another answer")
    };
    assert_eq!(rooms, [other]);
}

#[tokio::test]
async fn protocol_6_1_key_packages_are_published_under_a_pseudonym() {
    let hub = TestHub::start(config()).await;
    let user = pseudonym("a.example", 1);
    let mut world = World {
        user: Driven::new(hub.hub.settings(), EntityId::User(user.clone())),
        now_ms: clock::now_ms(),
    };
    world.ask(UserRequest::Create).accepted();
    let masked = |names| Client::new(&user, 1).named(names);
    let client = masked(Names::Pseudonyms).identity.client().clone();
    world.ask(UserRequest::AddClient(client)).accepted();
    let refusals = [
        (masked(Names::OfAnotherKey), "is not the key beside it"),
        (masked(Names::Malformed), "input ends early"),
        (
            Client::new(&pseudonym("a.example", 2), 1).named(Names::Pseudonyms),
            "it is for",
        ),
    ];
    for (other, wanted) in refusals {
        let package = lasting(&other, 1_000);
        let reason = refusal(&mut world, &masked(Names::Pseudonyms), vec![package]);
        assert!(reason.contains(wanted), "{reason}");
    }
    let sound = masked(Names::Pseudonyms);
    world.publish(&sound, vec![lasting(&sound, 1_000)]).accepted();
    let response = world.claim_with(|tbs| {
        tbs.target_user = user.clone();
        tbs.required_capabilities.credential_types = vec![mimi_hub_proto::mls::CredentialType::PSEUDONYMOUS];
    });
    assert_eq!(given(&response).len(), 1);
}

/// A user that is created again may publish again: what was given out is remembered until it expires, and no longer.
#[tokio::test]
async fn what_a_deleted_user_has_given_out_is_forgotten_when_it_has_expired() {
    let hub = TestHub::start(config()).await;
    let (mut world, clients) = World::new(&hub.hub, 1);
    let client = &clients[0];
    let [soon, later, last] = [500, 5_000, 50_000].map(|seconds| lasting(client, seconds));
    world
        .publish(client, vec![soon.clone(), later.clone(), last.clone()])
        .accepted();
    for package in [&soon, &later, &last] {
        assert_eq!(given(&world.claim()), std::slice::from_ref(package));
    }
    let records = |world: &World| {
        let prefix = keys::given_key_packages(&EntityId::User(alice()));
        read::prefix(&world.user.reader(), &prefix).unwrap().len()
    };
    assert_eq!((records(&world), world.user.entity.given.len()), (3, 3));
    world.now_ms += 501 * SECOND;
    world.ask(UserRequest::Delete).accepted();
    assert_eq!((records(&world), world.user.entity.given.len()), (2, 2), "at once");
    world.user.reload();
    world.now_ms += 4_500 * SECOND;
    let deleted = codes(&world.claim()).0;
    assert_eq!(deleted, KeyMaterialUserCode::UserDeleted);
    assert_eq!(records(&world), 1, "when somebody asks for the user");
    let seq = world.user.last_seq();
    assert_eq!(codes(&world.claim()).0, KeyMaterialUserCode::UserDeleted);
    assert_eq!(world.user.last_seq(), seq, "nothing more has expired");
    world.ask(UserRequest::Create).accepted();
    world
        .ask(UserRequest::AddClient(client.identity.client().clone()))
        .accepted();
    let reason = refusal(&mut world, client, vec![last]);
    assert!(reason.contains("published before"), "{reason}");
}
