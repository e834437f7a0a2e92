//! The hub's part in fetching key material (draft-ietf-mimi-protocol, 5.2), and giving the GroupInfo (5.6).

use mimi_hub_proto::mls::KeyPackage;
use mimi_hub_proto::{ClientKeyMaterial, ClientKeyMaterialOutcome, KeyMaterialResponse};
use openmls::prelude::Lifetime;
use serde_bytes::ByteBuf;

use super::world::{ALICE, World, domain, user};
use crate::clock;
use crate::command::Event;
use crate::room::entity::checks::digest;
use crate::room::entity::{RoomAnswer, RoomRequest};
use crate::room::event::RoomEvent;
use crate::testing::client::{Client, Plan, wire_key_package};
use crate::testing::credential::identity;
use crate::testing::roles::{BANNED, MEMBER, SILENT};

fn may_claim(world: &mut World, requester: &str, target: &str) -> bool {
    let request = RoomRequest::MayClaim {
        requester: user(requester),
        target: user(target),
    };
    match world.ask(request).answer() {
        RoomAnswer::MayClaim(may) => may,
        other => panic!("{other:?}"),
    }
}

/// Who could add the target may ask for its KeyPackages.
#[tokio::test]
async fn who_could_add_a_client_may_claim_for_it() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    world.add("silent@b.example", SILENT);
    let carol = world.add("carol@c.example", MEMBER);
    let cases = [
        ("alice@a.example", "new@d.example", true),
        ("alice@a.example", "bob@b.example", true),
        ("alice@a.example", "alice@a.example", true),
        ("bob@b.example", "bob@b.example", true),
        ("bob@b.example", "new@d.example", false),
        ("bob@b.example", "carol@c.example", false),
        ("silent@b.example", "silent@b.example", false),
        ("eve@b.example", "new@d.example", false),
        ("eve@b.example", "eve@b.example", false),
    ];
    for (requester, target, wanted) in cases {
        assert_eq!(
            may_claim(&mut world, requester, target),
            wanted,
            "{requester} for {target}"
        );
    }
    let leaves = world.leaves(carol);
    let ban = world.role_change(carol, BANNED);
    world.commit(ALICE, Plan::default().list(&ban).remove(leaves)).unwrap();
    assert!(
        !may_claim(&mut world, "alice@a.example", "carol@c.example"),
        "who is banned"
    );
    let proposals = world.people[bob].propose_to_leave();
    world.propose(bob, &proposals).unwrap();
    assert!(
        !may_claim(&mut world, "bob@b.example", "bob@b.example"),
        "who is leaving"
    );
}

fn response(client: &Client, key_package: KeyPackage) -> KeyMaterialResponse {
    let entry = ClientKeyMaterial {
        client_uri: client.identity.client().clone(),
        outcome: ClientKeyMaterialOutcome::Success(key_package),
    };
    KeyMaterialResponse::from_clients(client.user().clone(), vec![entry]).unwrap()
}

fn claimed(response: KeyMaterialResponse) -> RoomRequest {
    RoomRequest::Claimed {
        provider: domain("b.example"),
        response,
    }
}

#[tokio::test]
async fn a_response_that_names_others_or_is_too_old_is_refused() {
    let (_hub, mut world) = World::new().await;
    let bob = Client::new(&user("bob@b.example"), 1);
    let now_s = clock::now_ms() / 1_000;
    let other = |identity| wire_key_package(&bob.key_package_for(identity, Lifetime::default()));
    let expired = Lifetime::init(now_s - 200, now_s - 100);
    let expired = wire_key_package(&bob.key_package_for(&bob.identity, expired));
    let cases = [
        (other(&identity(bob.user(), 2)), "another client or user"),
        (other(&identity(&user("eve@b.example"), 1)), "another client or user"),
        (expired, "expired"),
    ];
    let before = digest(&world.room.entity);
    for (key_package, wanted) in cases {
        match world.ask(claimed(response(&bob, key_package))).answer() {
            RoomAnswer::BadKeyMaterial(reason) => assert!(reason.contains(wanted), "{reason}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(before, digest(&world.room.entity));
    }
}

#[tokio::test]
async fn the_hub_remembers_where_key_packages_came_from() {
    let (_hub, mut world) = World::new().await;
    let bob = Client::new(&user("bob@b.example"), 1);
    let answer = response(&bob, wire_key_package(&bob.key_package()));
    let (event, reply) = world.ask(claimed(answer.clone())).accepted();
    assert_eq!(mimi_hub_proto::tls::decode_exact(&reply), Ok(answer));
    let Event::Room(RoomEvent::KeyPackagesClaimed {
        provider,
        user: whose,
        packages,
    }) = event
    else {
        panic!("another event")
    };
    assert_eq!((provider, whose), (domain("b.example"), user("bob@b.example")));
    let reference = packages[0].reference.clone();
    assert!(addable(&mut world, vec![reference.clone()]));
    assert!(!addable(&mut world, vec![reference.clone(), ByteBuf::from([1])]));
    world.room.reload();
    assert!(addable(&mut world, vec![reference]));
}

fn addable(world: &mut World, references: Vec<ByteBuf>) -> bool {
    match world.ask(RoomRequest::AreAddable(references)).answer() {
        RoomAnswer::AreAddable(addable) => addable,
        other => panic!("{other:?}"),
    }
}

/// The same request for key material is answered the same as long as this is so.
#[tokio::test]
async fn a_key_package_can_be_added_until_it_expires() {
    let (_hub, mut world) = World::new().await;
    let bob = Client::new(&user("bob@b.example"), 1);
    let now_s = clock::now_ms() / 1_000;
    let short = Lifetime::init(now_s - 100, now_s + 100);
    let short = wire_key_package(&bob.key_package_for(&bob.identity, short));
    let mut references = Vec::new();
    for key_package in [short, wire_key_package(&bob.key_package())] {
        let Event::Room(RoomEvent::KeyPackagesClaimed { packages, .. }) =
            world.ask(claimed(response(&bob, key_package))).accepted().0
        else {
            panic!("another event")
        };
        references.push(packages[0].reference.clone());
    }
    // Each request comes a millisecond after the one before.
    world.now_ms = (now_s + 100) * 1_000 - 2;
    assert!(addable(&mut world, references.clone()));
    assert!(!addable(&mut world, references.clone()));
    world.room.reload();
    assert!(!addable(&mut world, references.clone()));
    assert!(addable(&mut world, references[1..].to_vec()));
}

#[tokio::test]
async fn expired_key_packages_are_forgotten() {
    let (_hub, mut world) = World::new().await;
    let bob = Client::new(&user("bob@b.example"), 1);
    let now_s = clock::now_ms() / 1_000;
    let short = Lifetime::init(now_s - 100, now_s + 100);
    let short = wire_key_package(&bob.key_package_for(&bob.identity, short));
    world.ask(claimed(response(&bob, short))).accepted();
    assert_eq!(world.state().key_packages.len(), 1);
    world.now_ms += 200_000;
    world
        .ask(claimed(response(&bob, wire_key_package(&bob.key_package()))))
        .accepted();
    assert_eq!(world.state().key_packages.len(), 1);
}
