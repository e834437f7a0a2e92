//! draft-ietf-mimi-protocol, section 5.2: publishing and fetching key material.

use std::collections::HashSet;
use std::time::Duration;

use mimi_hub_ops::OpsError;
use mimi_hub_ops::client::{Consent, InitialState, ROLE_MEMBER, RoomChange, UpdateAnswer};
use mimi_hub_proto::components::{ParticipantListUpdate, UserRolePair};
use mimi_hub_proto::mls::{CipherSuite, ExtensionType};
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{
    ClientKeyMaterialOutcome, KeyMaterialClientCode, KeyMaterialRequest, KeyMaterialResponse, KeyMaterialUserCode,
    UpdateResponseCode, UpdateRoomResponse,
};
use mimi_hub_tests::{Answer, Forger, Forgery, Hub, client, room, user};

use crate::scene::Scene;

use KeyMaterialUserCode::{
    IncompatibleProtocol, NoCompatibleMaterial, NoConsent, NoConsentForThisRoom, PartialSuccess, Success, UserDeleted,
    UserUnknown,
};

const DAY_S: u64 = 24 * 3600;

/// The KeyPackages in an answer.
fn key_packages(response: KeyMaterialResponse) -> Vec<Vec<u8>> {
    let outcomes = response.into_clients().into_iter().map(|client| client.outcome);
    let given = outcomes.filter_map(|outcome| match outcome {
        ClientKeyMaterialOutcome::Success(key_package) => Some(encode(&key_package)),
        _ => None,
    });
    given.collect()
}

/// Claims the KeyPackages of `target` for `room` in the name of the forger's user, through the local API.
pub(crate) async fn claimed(
    hub: &Hub,
    forger: &Forger,
    asker: &UserUri,
    room: &RoomUri,
    target: &UserUri,
) -> Vec<Vec<u8>> {
    let request = forger.key_material_request(Some(room), target, |_| {});
    let answer = hub.gateway().key_material(asker, target, encode(&request)).await;
    key_packages(decode_exact(&answer.unwrap()).unwrap())
}

/// Requests in Bob's name that differ by a cipher suite that nobody has.
fn request_of_bob(room: &RoomUri, target: &UserUri, number: u16) -> KeyMaterialRequest {
    let forger = Forger::new(user("b.example", "bob"), client("b.example", "ClientB1"));
    forger.key_material_request(Some(room), target, |tbs| {
        tbs.acceptable_ciphersuites.push(CipherSuite(0xf000 + number));
    })
}

async fn ask(scene: &Scene, request: &KeyMaterialRequest) -> Answer {
    let target = request.tbs.target_user.as_str();
    scene.bob.peer.post("keyMaterial", target, &encode(request)).await
}

async fn status(scene: &Scene, target: &UserUri) -> KeyMaterialUserCode {
    let request = request_of_bob(&scene.room, target, 0);
    ask(scene, &request).await.mimi::<KeyMaterialResponse>().user_status()
}

#[tokio::test]
async fn every_status_of_a_user_is_given() {
    let scene = Scene::new().await;
    let gateway = scene.hub.gateway();
    let named = |name: &str| user("a.example", name);
    assert_eq!(status(&scene, &named("nobody")).await, UserUnknown);

    gateway.put_user(&named("clientless")).await.unwrap();
    assert_eq!(status(&scene, &named("clientless")).await, IncompatibleProtocol);

    scene.hub.client("empty", "E1", 0).await;
    assert_eq!(status(&scene, &named("empty")).await, NoCompatibleMaterial);

    scene.hub.client("one", "O1", 1).await;
    assert_eq!(status(&scene, &named("one")).await, Success);

    scene.hub.client("two", "T1", 1).await;
    scene.hub.client("two", "T2", 0).await;
    assert_eq!(status(&scene, &named("two")).await, PartialSuccess);

    scene.hub.client("gone", "G1", 1).await;
    gateway.delete_user(&named("gone")).await.unwrap();
    assert_eq!(status(&scene, &named("gone")).await, UserDeleted);
}

#[tokio::test]
async fn consent_is_asked_for_the_requester_and_the_room() {
    let scene = Scene::new().await;
    let gateway = scene.hub.gateway();
    let shy = user("a.example", "shy");
    scene.hub.client("shy", "S1", 1).await;
    let rule = |requester: Option<UserUri>, room: Option<RoomUri>, allow| Consent { requester, room, allow };
    gateway.put_consent(&shy, &rule(None, None, false)).await.unwrap();
    assert_eq!(status(&scene, &shy).await, NoConsent);

    let bob = user("b.example", "bob");
    let annex = room("a.example", "annex");
    gateway
        .put_consent(&shy, &rule(Some(bob.clone()), Some(annex), true))
        .await
        .unwrap();
    assert_eq!(status(&scene, &shy).await, NoConsentForThisRoom);

    gateway
        .put_consent(&shy, &rule(Some(bob), Some(scene.room.clone()), true))
        .await
        .unwrap();
    assert_eq!(status(&scene, &shy).await, Success);
}

/// Only who could add somebody may fetch key material for a room.
#[tokio::test]
async fn who_is_not_in_the_room_gets_no_consent_for_it() {
    let scene = Scene::new().await;
    scene.hub.client("dave", "D1", 1).await;
    let dave = user("a.example", "dave");
    let mallory = Forger::new(user("b.example", "mallory"), client("b.example", "M1"));
    let request = mallory.key_material_request(Some(&scene.room), &dave, |_| {});
    let response: KeyMaterialResponse = ask(&scene, &request).await.mimi();
    assert_eq!(response.user_status(), NoConsentForThisRoom);
    assert_eq!(status(&scene, &dave).await, Success);
}

#[tokio::test]
async fn every_status_of_a_client_is_given() {
    let scene = Scene::new().await;
    for (name, count) in [("K1", 1), ("K2", 0)] {
        scene.hub.client("kim", name, count).await;
    }
    let kim = user("a.example", "kim");
    let forger = Forger::new(user("b.example", "bob"), client("b.example", "ClientB1"));
    let statuses = |response: &KeyMaterialResponse| -> Vec<KeyMaterialClientCode> {
        response.clients().iter().map(|client| client.client_status()).collect()
    };
    for (change, expected) in [
        (0xff00, KeyMaterialClientCode::NothingCompatible),
        (0, KeyMaterialClientCode::Success),
    ] {
        let request = forger.key_material_request(Some(&scene.room), &kim, |tbs| {
            if change != 0 {
                tbs.required_capabilities.extension_types.push(ExtensionType(change));
            }
        });
        let response: KeyMaterialResponse = ask(&scene, &request).await.mimi();
        assert_eq!(
            statuses(&response),
            [expected, KeyMaterialClientCode::KeyMaterialExhausted]
        );
    }
    // A suite that no KeyPackage is of. (The request itself is signed under one that the hub knows.)
    scene.hub.client("kim", "K1", 1).await;
    let p256 = CipherSuite(2);
    let request = forger.key_material_request(Some(&scene.room), &kim, |tbs| {
        tbs.acceptable_ciphersuites = vec![CipherSuite(3), p256];
    });
    let response: KeyMaterialResponse = ask(&scene, &request).await.mimi();
    assert_eq!(response.user_status(), NoCompatibleMaterial);
}

#[tokio::test]
async fn a_request_must_be_signed_and_name_its_room_and_its_own_user() {
    let mut scene = Scene::new().await;
    scene.hub.client("dave", "D1", 1).await;
    let dave = user("a.example", "dave");
    let before = scene.view().await;
    let forger = Forger::new(user("b.example", "bob"), client("b.example", "ClientB1"));

    let mut request = request_of_bob(&scene.room, &dave, 0);
    request.key_material_request_signature[5] ^= 1;
    ask(&scene, &request).await.expect_problem(403, "bad-signature");

    let roomless = forger.key_material_request(None, &dave, |_| {});
    ask(&scene, &roomless).await.expect_problem(400, "malformed-body");

    let other_user = forger.key_material_request(Some(&scene.room), &dave, |tbs| {
        tbs.requesting_user = user("b.example", "carol");
    });
    ask(&scene, &other_user).await.expect_problem(400, "malformed-body");

    let path = user("a.example", "somebody-else");
    let request = encode(&request_of_bob(&scene.room, &dave, 0));
    let answer = scene.bob.peer.post("keyMaterial", path.as_str(), &request).await;
    answer.expect_problem(400, "malformed-body");

    // A provider asks for its own users, of the room's hub.
    let answer = scene.carol.peer.post("keyMaterial", dave.as_str(), &request).await;
    answer.expect_problem(403, "wrong-source");
    let elsewhere = forger.key_material_request(Some(&room("c.example", "r")), &dave, |_| {});
    ask(&scene, &elsewhere).await.expect_problem(403, "wrong-source");
    let nowhere = forger.key_material_request(Some(&room("a.example", "nowhere")), &dave, |_| {});
    ask(&scene, &nowhere).await.expect_problem(404, "no-such-room");

    scene.unharmed_since(&before).await;
    assert_eq!(status(&scene, &dave).await, Success, "none of this cost a KeyPackage");
}

#[tokio::test]
async fn the_same_request_twice_costs_one_key_package_and_other_requests_get_others() {
    let mut scene = Scene::new().await;
    let mut dave = scene.hub.client("dave", "D1", 3).await;
    let target = user("a.example", "dave");
    let request = request_of_bob(&scene.room, &target, 0);
    let first = ask(&scene, &request).await;
    assert_eq!(first.body, ask(&scene, &request).await.body);
    scene.hub.kill().await;
    scene.hub.start().await;
    assert_eq!(first.body, ask(&scene, &request).await.body);
    let mut given: HashSet<Vec<u8>> = key_packages(first.mimi()).into_iter().collect();
    for number in 1..=2 {
        let answer = ask(&scene, &request_of_bob(&scene.room, &target, number)).await;
        given.extend(key_packages(answer.mimi()));
    }
    assert_eq!(given.len(), 3);
    let exhausted = ask(&scene, &request_of_bob(&scene.room, &target, 3)).await;
    assert_eq!(
        exhausted.mimi::<KeyMaterialResponse>().user_status(),
        NoCompatibleMaterial
    );
    // What was not answered with KeyPackages is not repeated for ever.
    dave.publish_key_packages(1).await.unwrap();
    let answer = ask(&scene, &request_of_bob(&scene.room, &target, 3)).await;
    assert_eq!(answer.mimi::<KeyMaterialResponse>().user_status(), Success);
}

#[tokio::test]
async fn concurrent_claims_never_get_the_same_key_package() {
    let scene = Scene::new().await;
    scene.hub.client("dave", "D1", 20).await;
    let target = user("a.example", "dave");
    let requests: Vec<_> = (0..30)
        .map(|number| request_of_bob(&scene.room, &target, number))
        .collect();
    let answers = futures::future::join_all(requests.iter().map(|request| ask(&scene, request))).await;
    let given: Vec<Vec<u8>> = answers.iter().flat_map(|answer| key_packages(answer.mimi())).collect();
    assert_eq!(given.len(), 20);
    assert_eq!(given.iter().collect::<HashSet<_>>().len(), 20);
}

#[tokio::test]
async fn the_same_request_many_times_at_once_costs_one_key_package() {
    let scene = Scene::new().await;
    scene.hub.client("dave", "D1", 2).await;
    let target = user("a.example", "dave");
    let request = request_of_bob(&scene.room, &target, 0);
    let answers = futures::future::join_all((0..20).map(|_| ask(&scene, &request))).await;
    for answer in &answers {
        assert_eq!(answer.body, answers[0].body);
    }
    let other = ask(&scene, &request_of_bob(&scene.room, &target, 1)).await;
    assert_eq!(
        other.mimi::<KeyMaterialResponse>().user_status(),
        Success,
        "one is left"
    );
}

/// The hub stands between the requester and the target's provider, and both may repeat themselves.
#[tokio::test]
async fn key_material_of_another_provider_comes_through_the_hub_and_once_for_each_request() {
    let scene = Scene::new().await;
    let other = scene.world.hub("d.example").await;
    other.client("dora", "D1", 2).await;
    let target = user("d.example", "dora");
    let request = request_of_bob(&scene.room, &target, 0);
    let first = ask(&scene, &request).await;
    assert_eq!(first.body, ask(&scene, &request).await.body);
    let second = ask(&scene, &request_of_bob(&scene.room, &target, 1)).await;
    let given = [key_packages(first.mimi()), key_packages(second.mimi())].concat();
    assert_eq!(given.iter().collect::<HashSet<_>>().len(), 2);
    let third = ask(&scene, &request_of_bob(&scene.room, &target, 2)).await;
    assert_eq!(third.mimi::<KeyMaterialResponse>().user_status(), NoCompatibleMaterial);
}

#[tokio::test]
async fn an_expired_key_package_is_not_given_out() {
    let scene = Scene::new().await;
    let dave = user("a.example", "dave");
    let short_lived = Forger::new(dave.clone(), client("a.example", "D1"));
    scene.hub.client("dave", "D1", 0).await;
    let publish = |key_packages: Vec<Vec<u8>>| {
        let dave = &dave;
        let gateway = scene.hub.gateway();
        async move {
            gateway
                .publish_key_packages(dave, &client("a.example", "D1"), &key_packages)
                .await
        }
    };
    publish(vec![short_lived.key_package(2)]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(status(&scene, &dave).await, NoCompatibleMaterial);
    let expired = short_lived.key_package(0);
    refused(&publish(vec![expired]).await.unwrap_err());
    publish(vec![short_lived.key_package(DAY_S)]).await.unwrap();
    assert_eq!(status(&scene, &dave).await, Success);
}

/// The hub and the target's provider repeat an answer only for as long as what is in it can be used.
#[tokio::test]
async fn an_answer_whose_key_package_has_expired_is_not_repeated() {
    let scene = Scene::new().await;
    let other = scene.world.hub("d.example").await;
    for (hub, domain) in [(&scene.hub, "a.example"), (&other, "d.example")] {
        hub.client("dora", "D1", 0).await;
        let (target, d1) = (user(domain, "dora"), client(domain, "D1"));
        let dora = Forger::new(target.clone(), d1.clone());
        let key_packages_of_dora = [dora.key_package(4), dora.key_package(DAY_S)];
        let published = hub
            .gateway()
            .publish_key_packages(&target, &d1, &key_packages_of_dora)
            .await;
        published.unwrap();
        let request = request_of_bob(&scene.room, &target, 0);
        let [soon, later] = key_packages_of_dora;
        for _ in 0..2 {
            let given = key_packages(ask(&scene, &request).await.mimi());
            assert_eq!(given, std::slice::from_ref(&soon), "{domain}");
        }
        tokio::time::sleep(Duration::from_millis(4_100)).await;
        for _ in 0..2 {
            let given = key_packages(ask(&scene, &request).await.mimi());
            assert_eq!(given, std::slice::from_ref(&later), "{domain}");
        }
    }
}

fn refused(error: &OpsError) {
    assert!(
        matches!(error, OpsError::Refused { status: 422, problem, .. } if problem.r#type.ends_with("bad-key-package")),
        "{error}"
    );
}

#[tokio::test]
async fn publishing_stores_all_or_nothing() {
    let scene = Scene::new().await;
    scene.hub.client("dave", "D1", 0).await;
    let (dave, d1) = (user("a.example", "dave"), client("a.example", "D1"));
    let good = Forger::new(dave.clone(), d1.clone());
    let other_client = Forger::new(dave.clone(), client("a.example", "D2"));
    let other_user = Forger::new(user("a.example", "erin"), d1.clone());
    let twice = good.key_package(DAY_S);
    let mut forged = good.key_package(DAY_S);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    for bad in [
        vec![other_client.key_package(DAY_S)],
        vec![other_user.key_package(DAY_S)],
        vec![vec![0; 40]],
        vec![Vec::new()],
        vec![forged],
        vec![twice.clone(), twice],
    ] {
        let list = [vec![good.key_package(DAY_S)], bad].concat();
        let answer = scene.hub.gateway().publish_key_packages(&dave, &d1, &list).await;
        refused(&answer.unwrap_err());
        assert_eq!(status(&scene, &dave).await, NoCompatibleMaterial);
    }
}

#[tokio::test]
async fn a_key_package_that_was_given_out_is_not_taken_again() {
    let scene = Scene::new().await;
    scene.hub.client("dave", "D1", 0).await;
    let (dave, d1) = (user("a.example", "dave"), client("a.example", "D1"));
    let forger = Forger::new(dave.clone(), d1.clone());
    let key_package = forger.key_package(DAY_S);
    let gateway = scene.hub.gateway();
    gateway
        .publish_key_packages(&dave, &d1, std::slice::from_ref(&key_package))
        .await
        .unwrap();
    let answer = ask(&scene, &request_of_bob(&scene.room, &dave, 0)).await;
    assert_eq!(key_packages(answer.mimi()), std::slice::from_ref(&key_package));
    let list = [forger.key_package(DAY_S), key_package];
    refused(&gateway.publish_key_packages(&dave, &d1, &list).await.unwrap_err());
    let answer = ask(&scene, &request_of_bob(&scene.room, &dave, 1)).await;
    assert_eq!(answer.mimi::<KeyMaterialResponse>().user_status(), NoCompatibleMaterial);
}

/// A KeyPackage is added that did not come through the hub, or was used before.
#[tokio::test]
async fn only_claimed_and_unused_key_packages_can_be_added() {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    let here = room("a.example", "forged");
    let (mallory, dave) = (user("a.example", "mallory"), user("a.example", "dave"));
    let mut forger = Forger::new(mallory.clone(), client("a.example", "M1"));
    let initial = InitialState::new(&here, mallory.clone(), "Forged").unwrap();
    forger.create_room(&hub, &here, &initial).await;
    let before = hub.view(&here).await;
    let with_dave = || {
        let pair = UserRolePair {
            user: user("a.example", "dave"),
            role_index: ROLE_MEMBER,
        };
        let mut list_after = initial.participants.clone();
        list_after.participants.push(pair.clone());
        let participants = ParticipantListUpdate {
            added_participants: vec![pair],
            ..ParticipantListUpdate::default()
        };
        (Some(participants), Some(list_after))
    };
    let unclaimed = Forger::new(dave, client("a.example", "D1")).key_package(DAY_S);
    let (participants, list_after) = with_dave();
    let body = forger.commit(Forgery {
        add: vec![unclaimed],
        participants,
        list_after,
        ..Forgery::default()
    });
    let answer = hub.gateway().update(&mallory, &here, body).await.unwrap();
    let response: UpdateRoomResponse = decode_exact(&answer).unwrap();
    Scene::refused(&response, UpdateResponseCode::InvalidProposal, "not claimed");
    assert_eq!(format!("{before:?}"), format!("{:?}", hub.view(&here).await));
}

#[tokio::test]
async fn a_used_key_package_cannot_be_added_again_and_a_user_can() {
    let mut scene = Scene::new().await;
    let mut dave = scene.hub.client("dave", "D1", 2).await;
    let target = user("a.example", "dave");
    let claim = |scene: &Scene| scene.bob.state.key_material_request(&scene.room, &target).unwrap();
    let first = scene
        .bob
        .peer
        .post("keyMaterial", target.as_str(), &claim(&scene))
        .await;
    let add = |key_material: Vec<u8>| RoomChange::AddUser {
        user: target.clone(),
        role_index: ROLE_MEMBER,
        key_material,
    };
    for change in [add(first.body.clone()), RoomChange::RemoveUser(target.clone())] {
        let body = scene.bob.state.commit(&scene.room, &change).unwrap();
        assert_eq!(scene.bob.update(&scene.room, &body).await, UpdateAnswer::Accepted);
    }
    let before = scene.view().await;
    let body = scene.bob.state.commit(&scene.room, &add(first.body.clone())).unwrap();
    let answer = scene.bob.update(&scene.room, &body).await;
    assert!(
        matches!(&answer, UpdateAnswer::Refused { code, .. } if code == "InvalidProposal"),
        "{answer:?}"
    );
    assert_eq!(format!("{before:?}"), format!("{:?}", scene.view().await));

    // The very same request, long answered: its KeyPackage is used, so it is a new one.
    let second = scene
        .bob
        .peer
        .post("keyMaterial", target.as_str(), &claim(&scene))
        .await;
    let body = scene.bob.state.commit(&scene.room, &add(second.body)).unwrap();
    assert_eq!(scene.bob.update(&scene.room, &body).await, UpdateAnswer::Accepted);
    let (here, epoch) = (scene.room.clone(), scene.view().await.epoch);
    dave.sync_until("the second Welcome", Duration::from_secs(20), move |state| {
        state.room(&here).is_ok_and(|room| room.epoch == epoch)
    })
    .await
    .unwrap();
    scene.works().await;
}
