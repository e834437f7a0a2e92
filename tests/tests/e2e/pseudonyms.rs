//! draft-ietf-mimi-protocol, section 6: minimal metadata rooms, over real processes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use mimi_hub_ops::OpsError;
use mimi_hub_ops::client::{Client, InitialState, KnownClients, Pseudonym, ROLE_MEMBER, TreeOption};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_tests::{Hub, client, room, stream, user};

const SEEN_MAX: Duration = Duration::from_secs(20);

/// A client by its real name, which no hub hears of.
fn unheard_of(hub: &Hub, name: &str, device: &str) -> Client {
    Client::new(
        hub.gateway().clone(),
        client(hub.domain(), device),
        user(hub.domain(), name),
        TreeOption::DistributionService,
    )
    .unwrap()
}

/// The same under a pseudonym, registered.
async fn masked(real: &Client, pseudonym: &Pseudonym, key_packages: usize) -> Client {
    let mut masked = real.under(pseudonym).unwrap();
    masked.register(key_packages).await.unwrap();
    masked
}

async fn create(masked: &mut Client, room: &RoomUri) {
    let user = masked.state().identity().user().clone();
    let initial = InitialState::minimal_metadata(room, user).unwrap();
    masked.create_room_with(room, &initial).await.unwrap();
}

fn sees(client: &Client, room: &RoomUri, known: &KnownClients) -> Vec<Option<UserUri>> {
    let members = client.state().real_identities(room, known).unwrap();
    members
        .into_iter()
        .map(|member| Some(member.real.ok()?.user().clone()))
        .collect()
}

fn holds(octets: &[u8], text: &str) -> bool {
    octets.windows(text.len()).any(|window| window == text.as_bytes())
}

/// All files below a folder: data, log, configuration.
fn files(folder: &Path) -> Vec<u8> {
    let mut octets = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            octets.extend(files(&path));
        } else {
            octets.extend(fs::read(&path).unwrap_or_default());
        }
    }
    octets
}

#[tokio::test]
async fn protocol_6_the_hubs_of_a_minimal_metadata_room_hold_no_real_identifier() {
    let world = crate::world();
    let (mut a, mut b) = (world.hub("a.example").await, world.hub("b.example").await);
    let room = room("a.example", "masquerade");
    let alice = unheard_of(&a, "quetzalcoatl", "quetzal-phone");
    let bob = unheard_of(&b, "huitzilopochtli", "colibri-phone");
    let bobs_tablet = unheard_of(&b, "huitzilopochtli", "colibri-tablet");
    // They have compared keys.
    let mut known = alice.state().known_clients().unwrap();
    known.extend(bob.state().known_clients().unwrap());
    known.extend(bobs_tablet.state().known_clients().unwrap());

    let alices = alice.state().draw_pseudonym().unwrap();
    let bobs = bob.state().draw_pseudonym().unwrap();
    let mut one = masked(&alice, &alices, 0).await;
    let mut two = masked(&bob, &bobs, 1).await;
    create(&mut one, &room).await;
    let expected = bob.state().identity().user().clone();
    one.add_pseudonym(&room, &bobs, &expected, &known, ROLE_MEMBER)
        .await
        .unwrap();
    let heard = |count: usize| {
        let room = room.clone();
        move |state: &mimi_hub_ops::client::ClientState| state.transcript(&room).len() == count
    };
    two.sync_until("the keys", SEEN_MAX, heard(1)).await.unwrap();
    two.send_text(&room, "who am I?").await.unwrap();
    one.sync_until("the message", SEEN_MAX, heard(2)).await.unwrap();
    let real = |name: &str, hub: &Hub| Some(user(hub.domain(), name));
    let both = [real("quetzalcoatl", &a), real("huitzilopochtli", &b)];
    assert_eq!(sees(&one, &room, &known), both);
    assert_eq!(sees(&two, &room, &known), both);
    assert_eq!(one.state().transcript(&room)[1].text, "who am I?");
    assert_eq!(one.state().transcript(&room)[1].user, *bobs.user());

    // Another device of Bob's comes by an external Commit, under the same pseudonym, and says who it is.
    let mut three = masked(&bobs_tablet, &bobs, 0).await;
    three.join(&room).await.unwrap();
    for (index, client) in [&mut one, &mut two].into_iter().enumerate() {
        let there =
            |state: &mimi_hub_ops::client::ClientState| state.room(&room).is_ok_and(|known| known.members.len() == 3);
        client.sync_until("the device", SEEN_MAX, there).await.unwrap();
        assert_eq!(
            sees(client, &room, &known)[2],
            both[1],
            "{index}: Bob's key is known already"
        );
    }
    assert_eq!(sees(&three, &room, &known), [None, both[1].clone(), both[1].clone()]);
    one.send_link_keys(&room).await.unwrap();
    three.sync_until("the keys", SEEN_MAX, heard(1)).await.unwrap();
    assert_eq!(sees(&three, &room, &known)[0], both[0]);

    // What is reported is reported by pseudonyms.
    let evidence = one.state().evidence(&room);
    let message = evidence
        .iter()
        .find(|evidence| evidence.sender == *bobs.user())
        .unwrap();
    one.report_abuse(&room, bobs.user(), "", vec![message.message.clone()])
        .await
        .unwrap();
    let reports = one.gateway().abuse_reports(None, 10).await.unwrap();
    assert_eq!(reports.reports[0].messages[0].verdict, "proven");
    assert_eq!(reports.reports[0].alleged_abuser, *bobs.user());

    let mut told = format!("{:?}", a.view(&room).await).into_bytes();
    for (hub, user) in [(&a, alices.user()), (&b, bobs.user())] {
        for event in stream::all(hub.gateway(), user).await {
            told.extend(event.fanout_message);
        }
    }
    a.stop().await;
    b.stop().await;
    for (what, octets) in [
        ("told", told),
        ("a.example", files(a.home())),
        ("b.example", files(b.home())),
    ] {
        for name in ["quetzal", "huitzilopochtli", "colibri"] {
            assert!(!holds(&octets, name), "{what} holds {name}");
        }
        // What is looked for would be found.
        assert!(
            holds(&octets, alices.user().id()),
            "{what} holds no pseudonym of Alice's"
        );
        assert!(holds(&octets, bobs.user().id()), "{what} holds no pseudonym of Bob's");
    }
}

#[tokio::test]
async fn protocol_6_1_real_names_and_pseudonyms_do_not_come_together() {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    let mut alice = hub.client("alice", "ClientA1", 1).await;
    let clubhouse = room("a.example", "clubhouse");
    alice.create_room(&clubhouse, "Clubhouse").await.unwrap();
    let adam = hub.client("adam", "ClientA2", 1).await;
    let adams = adam.state().draw_pseudonym().unwrap();
    let hidden = masked(&adam, &adams, 1).await;
    let refused = alice.add_user(&clubhouse, adams.user(), ROLE_MEMBER).await;
    assert!(matches!(refused, Err(OpsError::NoKeyMaterial { .. })), "{refused:?}");

    let room = room("a.example", "masquerade");
    let mut unmasked = masked(&alice, &alice.state().draw_pseudonym().unwrap(), 0).await;
    create(&mut unmasked, &room).await;
    let real = adam.state().identity().user().clone();
    let refused = unmasked.add_user(&room, &real, ROLE_MEMBER).await;
    assert!(matches!(refused, Err(OpsError::NoKeyMaterial { .. })), "{refused:?}");
    // The pseudonym is Adam's, and whoever expects somebody else is warned.
    let mut known = alice.state().known_clients().unwrap();
    known.extend(adam.state().known_clients().unwrap());
    let other = user("a.example", "alice");
    let refused = unmasked.add_pseudonym(&room, &adams, &other, &known, ROLE_MEMBER).await;
    assert!(matches!(refused, Err(OpsError::Unlinked { .. })), "{refused:?}");
    unmasked
        .add_pseudonym(&room, &adams, &real, &known, ROLE_MEMBER)
        .await
        .unwrap();
    assert_eq!(hub.view(&room).await.clients.len(), 2);
    drop(hidden);
}

#[tokio::test]
async fn room_policy_5_a_room_of_pseudonyms_says_that_they_are_allowed() {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    let alice = unheard_of(&hub, "alice", "ClientA1");
    let mut hidden = masked(&alice, &alice.state().draw_pseudonym().unwrap(), 0).await;
    let refused = hidden.create_room(&room("a.example", "masquerade"), "Masquerade").await;
    match refused {
        Err(OpsError::Refused { problem, .. }) => {
            assert!(
                problem.detail.contains("which the room's policy does not allow"),
                "{problem}"
            );
        }
        other => panic!("{other:?}"),
    }
}
