//! The audit finds what it is there to find.

use mimi_hub_proto::SubmitMessageResponse;
use mimi_hub_proto::mls::{Credential, ExternalSender, SignaturePublicKey};
use mimi_hub_proto::tls::encode;

use super::*;
use crate::client::{InitialState, MemberView, ParticipantView, ROLE_MEMBER, TreeOption};

fn room() -> RoomUri {
    "mimi://a.example/r/clubhouse".parse().unwrap()
}

/// Alice in a room of her own.
fn alice() -> ClientState {
    let client = "mimi://a.example/d/A1".parse().unwrap();
    let mut alice = ClientState::new(client, "mimi://a.example/u/alice".parse().unwrap(), TreeOption::Full).unwrap();
    let hub = ExternalSender {
        signature_key: SignaturePublicKey::new([1; 32]),
        credential: Credential::basic(*b"mimi://a.example"),
    };
    let initial = InitialState::new(&room(), alice.identity().user().clone(), "Clubhouse").unwrap();
    alice.create_room(&room(), &encode(&hub), &initial).unwrap();
    alice
}

fn send(client: &mut ClientState, content: &mimi_hub_proto::content::MimiContent) {
    client.encrypt(&room(), content).unwrap();
    let accepted = encode(&SubmitMessageResponse::Accepted {
        accepted_timestamp: 1,
        frank: None,
    });
    client.message_answered(&room(), &accepted).unwrap();
}

fn sent(client: &ClientState, expected: &[usize]) -> Sent {
    let entry = client.transcript(&room()).last().unwrap();
    Sent {
        salt: entry.salt.clone(),
        text: entry.text.clone(),
        sender: entry.client.clone(),
        expected: expected.to_vec(),
    }
}

#[test]
fn messages_are_counted_as_decrypted_lost_and_doubled() {
    let mut alice = alice();
    let content = alice.text(&room(), "hello").unwrap();
    send(&mut alice, &content);
    // The first in the cast has the message; the second knows nothing of the room.
    let elsewhere = ClientState::new(
        "mimi://b.example/d/B1".parse().unwrap(),
        "mimi://b.example/u/bob".parse().unwrap(),
        TreeOption::Full,
    )
    .unwrap();
    let ledger = Ledger {
        sent: vec![sent(&alice, &[0, 1])],
    };
    let tally = ledger.tally(&[&alice, &elsewhere], &room());
    assert_eq!(
        tally,
        Tally {
            expected: 2,
            decrypted: 1,
            lost: 1,
            duplicates: 0
        }
    );

    let mut garbled = sent(&alice, &[0]);
    garbled.text = "something else".to_owned();
    let tally = Ledger { sent: vec![garbled] }.tally(&[&alice], &room());
    assert_eq!(
        tally,
        Tally {
            expected: 1,
            decrypted: 0,
            lost: 1,
            duplicates: 0
        }
    );

    send(&mut alice, &content);
    assert_eq!(ledger.tally(&[&alice, &elsewhere], &room()).duplicates, 1);
}

fn view(state: &RoomState) -> RoomView {
    RoomView {
        room: room(),
        epoch: state.epoch,
        seq: 0,
        tree_hash: state.tree_hash.clone(),
        confirmed_transcript_hash: state.confirmed_transcript_hash.clone(),
        participants: state
            .participants
            .participants
            .iter()
            .map(|entry| ParticipantView {
                user: entry.user.clone(),
                role: entry.role_index,
            })
            .collect(),
        clients: state
            .members
            .iter()
            .map(|(leaf, identity)| MemberView {
                client: identity.client().clone(),
                user: identity.user().clone(),
                leaf_index: *leaf,
            })
            .collect(),
        pending_proposals: 0,
    }
}

#[test]
fn every_difference_between_hub_and_client_is_found() {
    let alice = alice();
    let state = alice.room(&room()).unwrap();
    let members = [("A1".to_owned(), state.clone())];
    compare(&view(&state), &members).unwrap();
    type Breakage = fn(&mut RoomView);
    let breakages: [(&str, Breakage); 6] = [
        ("epoch", |view| view.epoch += 1),
        ("tree hash", |view| view.tree_hash[0] ^= 1),
        ("confirmed transcript hash", |view| {
            view.confirmed_transcript_hash.push(1);
        }),
        ("participant list", |view| view.participants[0].role = ROLE_MEMBER),
        ("clients", |view| view.clients[0].leaf_index = 7),
        ("pending proposals", |view| view.pending_proposals = 1),
    ];
    for (what, breakage) in breakages {
        let mut broken = view(&state);
        breakage(&mut broken);
        let found = compare(&broken, &members).unwrap_err().to_string();
        assert!(found.contains(what), "{what}: {found}");
    }
    compare(&view(&state), &[]).unwrap_err();
}

#[test]
fn every_difference_between_clients_is_found() {
    let state = alice().room(&room()).unwrap();
    let mut other = state.clone();
    other.epoch_authenticator[0] ^= 1;
    let found = compare(
        &view(&state),
        &[("A1".to_owned(), state.clone()), ("B1".to_owned(), other)],
    )
    .unwrap_err();
    assert!(
        found.to_string().contains("B1 sees another epoch authenticator"),
        "{found}"
    );
    let mut other = state.clone();
    other.roles.roles.pop();
    compare(
        &view(&state),
        &[("A1".to_owned(), state.clone()), ("B1".to_owned(), other)],
    )
    .unwrap_err();
}
