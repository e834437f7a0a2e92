//! Receiver verification of franks (draft-ietf-mimi-protocol, 5.4.1).

use mimi_hub_proto::components::FRANK_AAD;
use mimi_hub_proto::content::MimiContent;
use mimi_hub_proto::mls::CipherSuite;
use mimi_hub_proto::{Frank, FrankAad, FrankingIntegrityTbs, ServerFrankingContext};
use openmls::framing::SafeAadItem;

use super::*;

impl Hub {
    /// The frank of a message that bob is said to have sent.
    fn frank(&self, sender: &str, room_uri: RoomUri, accepted_timestamp: u64) -> Frank {
        let tbs = FrankingIntegrityTbs {
            server_frank: [7; 32],
            franking_signature_ciphersuite: CipherSuite(CIPHERSUITE.into()),
            context: ServerFrankingContext {
                sender_uri: user(sender),
                room_uri,
                accepted_timestamp,
            },
        };
        Frank {
            server_frank: tbs.server_frank,
            franking_signature_ciphersuite: tbs.franking_signature_ciphersuite,
            franking_integrity_signature: self.signer.sign(&tbs.sign_content()).unwrap(),
        }
    }
}

/// Bob's next message with this stamp, as it reaches Alice; and its content.
fn franked(all: &mut [ClientState], frank: Option<Frank>, timestamp: u64) -> (Vec<u8>, MimiContent) {
    let content = all[1].text(&room(), "hello").unwrap();
    let body = all[1].encrypt(&room(), &content).unwrap();
    all[1].message_answered(&room(), &accepted()).unwrap();
    let SubmitMessageRequest { app_message, .. } = decode_exact(&body).unwrap();
    let event = FanoutEvent::Application {
        message: app_message,
        frank,
    };
    (encode(&FanoutMessage { timestamp, event }), content)
}

#[test]
fn protocol_5_4_1_a_stamped_message_is_kept_as_evidence() {
    let (hub, mut all) = alice_and_bob();
    let frank = hub.frank("bob", room(), ACCEPTED_MS);
    let (event, content) = franked(&mut all, Some(frank.clone()), ACCEPTED_MS);
    assert_eq!(all[0].receive(&room(), &event).unwrap(), Received::Message);
    let evidence = all[0].evidence(&room());
    assert_eq!(evidence.len(), 1);
    assert_eq!(evidence[0].sender, user("bob"));
    assert_eq!(evidence[0].salt, content.salt);
    // "The receiver needs to store the `server_frank`, `franking_signature_ciphersuite`, `franking_integrity_signature`, and
    // `context` fields with the decoded message"
    assert_eq!(evidence[0].message.frank, frank);
    assert_eq!(evidence[0].message.accepted_timestamp, ACCEPTED_MS);
    assert_eq!(evidence[0].message.message_content, content.encode());
    assert!(all[0].failures(&room()).is_empty());
}

/// What a follower changes on the way is noticed; the message itself, which it cannot change, is read all the same.
#[test]
fn protocol_5_4_1_a_frank_that_was_altered_is_no_evidence() {
    let (hub, mut all) = alice_and_bob();
    let genuine = hub.frank("bob", room(), ACCEPTED_MS);
    let other = "mimi://a.example/r/other".parse().unwrap();
    let altered = |change: &dyn Fn(&mut Frank)| {
        let mut frank = genuine.clone();
        change(&mut frank);
        frank
    };
    let table = [
        (
            "server_frank",
            altered(&|frank| frank.server_frank[0] ^= 1),
            ACCEPTED_MS,
        ),
        (
            "signature",
            altered(&|frank| frank.franking_integrity_signature[0] ^= 1),
            ACCEPTED_MS,
        ),
        (
            "cipher suite",
            altered(&|frank| frank.franking_signature_ciphersuite = CipherSuite(3)),
            ACCEPTED_MS,
        ),
        ("time", genuine.clone(), ACCEPTED_MS + 1),
        ("sender", hub.frank("alice", room(), ACCEPTED_MS), ACCEPTED_MS),
        ("room", hub.frank("bob", other, ACCEPTED_MS), ACCEPTED_MS),
        ("another hub", Hub::new().frank("bob", room(), ACCEPTED_MS), ACCEPTED_MS),
    ];
    for (number, (what, frank, timestamp)) in table.into_iter().enumerate() {
        let (event, _) = franked(&mut all, Some(frank), timestamp);
        assert_eq!(all[0].receive(&room(), &event).unwrap(), Received::Message, "{what}");
        assert!(all[0].evidence(&room()).is_empty(), "{what}");
        assert_eq!(all[0].failures(&room()).len(), number + 1, "{what}");
    }
    let (event, _) = franked(&mut all, None, ACCEPTED_MS);
    assert_eq!(
        all[0].receive(&room(), &event).unwrap(),
        Received::Message,
        "no frank at all"
    );
    assert!(all[0].evidence(&room()).is_empty());
}

/// Who commits to something else than it sends, so that it could not be reported, is not heard.
#[test]
fn protocol_5_4_1_a_tag_that_commits_to_something_else_is_refused() {
    let (hub, mut all) = alice_and_bob();
    let content = all[1].text(&room(), "insult").unwrap();
    let tag = FrankAad { franking_tag: [9; 32] };
    let ClientState { keys, rooms, .. } = &mut all[1];
    let group = rooms.get_mut(&room()).unwrap().group.as_mut().unwrap();
    group
        .set_safe_aad(vec![SafeAadItem::new(FRANK_AAD, encode(&tag))])
        .unwrap();
    let message = group
        .create_message(&keys.provider, &keys.signer, &content.encode())
        .unwrap();
    let octets = openmls::prelude::tls_codec::Serialize::tls_serialize_detached(&message).unwrap();
    let event = FanoutEvent::Application {
        message: decode_exact(&octets).unwrap(),
        frank: Some(hub.frank("bob", room(), ACCEPTED_MS)),
    };
    let heard = all[0].receive(&room(), &fanout(event)).unwrap();
    assert_eq!(heard, Received::Failed);
    assert!(all[0].transcript(&room()).is_empty());
}
