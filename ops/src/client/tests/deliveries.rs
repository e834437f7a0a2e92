//! Streams that repeat, start early, skip, or bring rubbish.

use std::collections::BTreeMap;

use super::*;
use crate::OpsError;

#[test]
fn protocol_5_5_what_comes_again_is_recognised() {
    let (mut hub, mut all) = alice_and_bob();
    let content = all[0].text(&room(), "once").unwrap();
    let submitted = all[0].encrypt(&room(), &content).unwrap();
    all[0].message_answered(&room(), &accepted()).unwrap();
    let message = message_event(&submitted);
    let commit = {
        let update = all[1].commit(&room(), &RoomChange::Pending).unwrap();
        all[1].update_answered(&room(), &success()).unwrap();
        hub.fan_out(&update).remove(0)
    };
    for _ in 0..3 {
        deliver(&mut all, &message);
        deliver(&mut all, &commit);
    }
    for client in &all {
        assert_eq!(texts(client), ["once"]);
        assert_eq!(client.redelivered(&room()), 2);
        assert_eq!(epoch(client), 2);
    }
    assert_agreement(&all);
}

#[test]
fn an_own_message_in_the_stream_is_as_good_as_its_answer() {
    let (_, mut all) = alice_and_bob();
    let content = all[0].text(&room(), "hello").unwrap();
    let submitted = all[0].encrypt(&room(), &content).unwrap();
    deliver(&mut all, &message_event(&submitted));
    assert!(all[0].unanswered_message(&room()).is_none());
    assert_eq!(
        all[0].message_answered(&room(), &accepted()).unwrap(),
        MessageAnswer::Accepted
    );
    assert!(all.iter().all(|client| texts(client) == ["hello"]));
}

#[test]
fn the_transcript_is_in_the_hubs_order_with_the_own_messages_too() {
    let (_, mut all) = alice_and_bob();
    let mut submitted = Vec::new();
    // The hub has Bob's first, then both of Alice's, then Bob's second; Alice's answers come before any delivery.
    for (sender, text) in [(1, "first"), (0, "second"), (0, "third"), (1, "fourth")] {
        let content = all[sender].text(&room(), text).unwrap();
        submitted.push(all[sender].encrypt(&room(), &content).unwrap());
        all[sender].message_answered(&room(), &accepted()).unwrap();
    }
    assert_eq!(texts(&all[0]), ["second", "third"]);
    assert_eq!(all[0].undelivered(&room()), 2);
    deliver(&mut all, &message_event(&submitted[0]));
    assert_eq!(texts(&all[0]), ["first", "second", "third"]);
    for message in &submitted[1..] {
        deliver(&mut all, &message_event(message));
    }
    for client in &all {
        assert_eq!(texts(client), ["first", "second", "third", "fourth"]);
        assert_eq!(client.undelivered(&room()), 0);
    }
}

#[test]
fn every_epoch_that_a_client_has_been_in_is_known_with_its_authenticator() {
    let (mut hub, mut all) = alice_and_bob();
    hub.commit(&mut all, 1, &RoomChange::Pending);
    hub.commit(&mut all, 0, &RoomChange::Pending);
    let epochs: Vec<BTreeMap<u64, Vec<u8>>> = all
        .iter()
        .map(|client| {
            client
                .epochs(&room())
                .map(|(epoch, key)| (epoch, key.to_vec()))
                .collect()
        })
        .collect();
    assert_eq!(epochs[0].keys().collect::<Vec<_>>(), [&0, &1, &2, &3]);
    assert_eq!(epochs[2].keys().collect::<Vec<_>>(), [&1, &2, &3]);
    assert!(
        epochs[1..]
            .iter()
            .all(|own| own.iter().all(|(epoch, key)| epochs[0][epoch] == *key))
    );
    assert_ne!(epochs[0][&2], epochs[0][&3]);
}

#[test]
fn own_proposals_in_the_stream_are_not_stored_twice() {
    let (mut hub, mut all) = alice_and_bob();
    let leave = all[1].leave(&room()).unwrap();
    let event = hub.fan_out(&leave).remove(0);
    for _ in 0..2 {
        deliver(&mut all, &event);
    }
    assert!(
        all.iter()
            .all(|client| client.room(&room()).unwrap().pending_proposals == 3)
    );
}

#[test]
fn a_message_of_a_past_epoch_is_still_read() {
    let (mut hub, mut all) = alice_and_bob();
    let content = all[0].text(&room(), "late").unwrap();
    let submitted = all[0].encrypt(&room(), &content).unwrap();
    hub.commit(&mut all, 1, &RoomChange::Pending);
    hub.commit(&mut all, 2, &RoomChange::Pending);
    all[0].message_answered(&room(), &accepted()).unwrap();
    deliver(&mut all, &message_event(&submitted));
    assert!(all.iter().all(|client| texts(client) == ["late"]));
}

#[test]
fn what_was_before_ones_time_is_passed_over() {
    let (mut hub, mut all) = alice_and_bob();
    let content = all[0].text(&room(), "not for Cathy").unwrap();
    let submitted = all[0].encrypt(&room(), &content).unwrap();
    all[0].message_answered(&room(), &accepted()).unwrap();
    let mut stream = vec![message_event(&submitted)];
    let renewal = all[1].commit(&room(), &RoomChange::Pending).unwrap();
    all[1].update_answered(&room(), &success()).unwrap();
    stream.extend(hub.fan_out(&renewal));
    for event in &stream {
        deliver(&mut all, event);
    }
    all.push(client("cathy", "C1"));
    hub.add(&mut all, 0, "cathy");
    // Cathy's provider begins at the beginning.
    for event in &stream {
        assert_eq!(all[3].receive(&room(), event).unwrap(), Received::Nothing);
    }
    assert_eq!(texts(&all[3]), Vec::<&str>::new());
    assert_eq!(all[3].failures(&room()), Vec::<String>::new());
    assert_agreement(&all);
}

#[test]
fn a_gap_is_noticed() {
    let (mut hub, mut all) = alice_and_bob();
    let mut missed = all.pop().unwrap();
    hub.commit(&mut all, 0, &RoomChange::Pending);
    let update = all[0].commit(&room(), &RoomChange::Pending).unwrap();
    let event = hub.fan_out(&update).remove(0);
    assert_eq!(missed.receive(&room(), &event).unwrap(), Received::Failed);
    assert_eq!(missed.failures(&room()).len(), 1);
    assert!(
        missed.failures(&room())[0].contains("epoch 2"),
        "{:?}",
        missed.failures(&room())
    );
    assert_eq!(epoch(&missed), 1);
}

#[test]
fn a_forged_message_is_noted_and_the_next_one_still_arrives() {
    let (hub, mut all) = alice_and_bob();
    let content = all[0].text(&room(), "genuine").unwrap();
    let submitted = all[0].encrypt(&room(), &content).unwrap();
    all[0].message_answered(&room(), &accepted()).unwrap();
    let genuine = message_event(&submitted);
    let mut forged = genuine.clone();
    // The last octet is the frank's presence; before it stands the ciphertext's tag.
    let position = forged.len() - 2;
    forged[position] ^= 1;
    assert_eq!(all[1].receive(&room(), &forged).unwrap(), Received::Failed);
    assert_eq!(all[1].failures(&room()).len(), 1);
    assert_eq!(all[1].receive(&room(), &genuine).unwrap(), Received::Message);
    hub.say(&mut all, 0, "and on");
    assert_eq!(texts(&all[1]), ["genuine", "and on"]);
}

#[test]
fn octets_that_are_no_fanout_message_are_an_error_not_a_panic() {
    let (_, mut all) = alice_and_bob();
    for octets in [&b""[..], b"\0", b"not a FanoutMessage at all", &[0xff; 300]] {
        assert!(matches!(all[0].receive(&room(), octets), Err(OpsError::Answer { .. })));
    }
}

#[test]
fn a_welcome_for_others_is_passed_over() {
    let mut hub = Hub::new();
    let mut all = vec![client("alice", "A1"), client("bob", "B1"), client("cathy", "C1")];
    hub.create(&mut all[0]);
    hub.add(&mut all, 0, "bob");
    assert!(all[1].is_member(&room()));
    assert!(!all[2].is_member(&room()));
    assert_eq!(all[2].failures(&room()), Vec::<String>::new());
}

#[test]
fn a_room_that_the_hub_did_not_accept_can_be_made_again() {
    let mut hub = Hub::new();
    let mut alice = client("alice", "A1");
    hub.create(&mut alice);
    alice.abandon_room(&room()).unwrap();
    assert!(!alice.is_member(&room()));
    hub.create(&mut alice);
    assert!(alice.is_member(&room()));
}
