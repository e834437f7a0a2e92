//! Franking and abuse reports (draft-ietf-mimi-protocol, 5.4.1 and 5.9).

use mimi_hub_proto::components::{AppDataDictionary, FRANKING_AGENT};
use mimi_hub_proto::content::MimiContent;
use mimi_hub_proto::mls::{ApplicationMessage, CipherSuite, SignaturePublicKey};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{
    AbuseReport, AbuseType, AbusiveMessage, Frank, FrankingAgentData, FrankingIntegrityTbs, ServerFrankingContext,
    SubmitMessageRequest, SubmitMessageResponse as Response, tls,
};
use openmls::prelude::ExternalSender;
use openmls_traits::types::SignatureScheme;
use tls_codec::Deserialize as _;

use super::world::{ALICE, World, domain, room_uri, user};
use crate::command::Event;
use crate::entity::EntityId;
use crate::mls::crypto;
use crate::room::entity::{HostedRoom, RoomAnswer, RoomRequest};
use crate::room::event::RoomEvent;
use crate::room::fan_out;
use crate::room::franking::{Unproven, Verdict};
use crate::room::report::{OPEN_REPORTS_MAX, ReportRefusal};
use crate::testing::client::Client;
use crate::testing::content::content_of;
use crate::testing::entity::{Asked, Driven};
use crate::testing::roles::{ADMIN, MEMBER, SILENT};

fn sealed(world: &mut World, who: usize, message: ApplicationMessage) -> AbusiveMessage {
    let sender = world.people[who].user().clone();
    let source = sender.provider();
    let name = format!("{}@{}", sender.id(), sender.domain());
    match world.submit(source.as_str(), &name, message) {
        Response::Accepted {
            accepted_timestamp,
            frank: Some(frank),
        } => AbusiveMessage {
            message_content: Vec::new(),
            frank,
            accepted_timestamp,
        },
        other => panic!("{other:?}"),
    }
}

/// A message as its receivers have it.
fn said(world: &mut World, who: usize, text: &str) -> AbusiveMessage {
    let (message, message_content) = world.people[who].franked_message(&room_uri(), text);
    AbusiveMessage {
        message_content,
        ..sealed(world, who, message)
    }
}

fn report(reporter: Option<&str>, alleged: &str, messages: Vec<AbusiveMessage>) -> AbuseReport {
    AbuseReport {
        reporting_user: reporter.map(user),
        alleged_abuser: user(alleged),
        reason_code: AbuseType(0),
        note: "insults".to_owned(),
        messages,
        abuse_extensions: AppDataDictionary::new(),
    }
}

fn ask(world: &mut World, source: &str, report: AbuseReport) -> Asked<RoomAnswer> {
    world.ask(RoomRequest::Report {
        source: domain(source),
        report,
    })
}

#[track_caller]
fn verdicts(asked: Asked<RoomAnswer>) -> Vec<Verdict> {
    match asked.accepted().0 {
        Event::Room(RoomEvent::AbuseReported(record)) => {
            record.messages.iter().map(|message| message.verdict).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn verdict(world: &mut World, alleged: &str, message: AbusiveMessage) -> Verdict {
    verdicts(ask(world, "a.example", report(None, alleged, vec![message])))[0]
}

fn context(sender: &UserUri, accepted_timestamp: u64) -> ServerFrankingContext {
    ServerFrankingContext {
        sender_uri: sender.clone(),
        room_uri: room_uri(),
        accepted_timestamp,
    }
}

#[tokio::test]
async fn protocol_5_4_1_an_accepted_message_is_franked_in_answer_and_fan_out_alike() {
    let (hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let (message, _) = world.people[bob].franked_message(&room_uri(), "hello");
    let request = SubmitMessageRequest {
        app_message: message,
        sending_uri: user("bob@b.example"),
    };
    let (event, reply) = world
        .ask(RoomRequest::Submit {
            source: domain("b.example"),
            request,
        })
        .accepted();
    let Ok(Response::Accepted {
        accepted_timestamp,
        frank: Some(frank),
    }) = tls::decode_exact(&reply)
    else {
        panic!("not franked")
    };
    let accepted = crate::command::Accepted {
        entity: EntityId::Room(room_uri()),
        seq: 9,
        decided_by: 0,
        decided_after: 0,
        at_ms: accepted_timestamp,
        request: None,
        reply,
        event,
    };
    let sent = fan_out::to_provider(&accepted, &domain("b.example")).unwrap();
    let mimi_hub_proto::FanoutEvent::Application { frank: fanned, .. } = &sent[0].event else {
        panic!("{sent:?}")
    };
    assert_eq!(fanned.as_ref(), Some(&frank));
    assert_eq!(sent[0].timestamp, accepted_timestamp);

    // The signature is in the group's scheme, by the key in the group's franking_agent.
    let agent: FrankingAgentData = world.state().dictionary.decode(FRANKING_AGENT).unwrap().unwrap();
    assert!(agent.is_of(&domain("a.example")) && !agent.is_of(&domain("b.example")));
    assert_eq!(frank.franking_signature_ciphersuite, CipherSuite(1));
    let tbs = FrankingIntegrityTbs {
        server_frank: frank.server_frank,
        franking_signature_ciphersuite: frank.franking_signature_ciphersuite,
        context: context(&user("bob@b.example"), accepted_timestamp),
    };
    let key = agent.franking_signature_key.as_bytes();
    let signed = |tbs: &FrankingIntegrityTbs| {
        let octets = tls::encode(tbs);
        let signature = &frank.franking_integrity_signature;
        crypto::verify_with_label(
            SignatureScheme::ED25519,
            key,
            "FrankingIntegrityTBS",
            &octets,
            signature,
        )
    };
    signed(&tbs).unwrap();
    let mut later = tbs.clone();
    later.context.accepted_timestamp += 1;
    assert!(signed(&later).is_err());
    drop(hub);
}

#[tokio::test]
async fn protocol_5_4_1_no_tag_no_frank_and_no_agent_no_frank() {
    let (hub, mut world) = World::new().await;
    let plain = world.people[ALICE].message(b"hello");
    let answer = world.submit("a.example", "alice@a.example", plain);
    assert!(matches!(answer, Response::Accepted { frank: None, .. }), "{answer:?}");

    let mut alice = Client::new(&user("alice@a.example"), 1);
    let sender = hub.hub.keys().external_sender(SignatureScheme::ED25519).unwrap();
    let sender = ExternalSender::tls_deserialize_exact(sender).unwrap();
    let participants = [(alice.user().clone(), ADMIN)];
    let group = room_uri().group_uri();
    let (group_info, ratchet_tree) = alice.create_with(group.as_str(), vec![sender], &participants, &[]);
    let mut room: Driven<HostedRoom> = Driven::new(hub.hub.settings(), EntityId::Room(room_uri()));
    let creator = alice.user().clone();
    room.ask(
        1,
        RoomRequest::Create {
            creator: creator.clone(),
            group_info,
            ratchet_tree,
        },
    )
    .accepted();
    let request = SubmitMessageRequest {
        app_message: alice.franked_message(&room_uri(), "hello").0,
        sending_uri: creator,
    };
    let source = domain("a.example");
    let (_, reply) = room.ask(2, RoomRequest::Submit { source, request }).accepted();
    assert!(matches!(
        tls::decode_exact(&reply),
        Ok(Response::Accepted { frank: None, .. })
    ));
}

#[tokio::test]
async fn protocol_5_4_1_what_is_no_franking_tag_is_not_accepted() {
    let (_hub, mut world) = World::new().await;
    for tag in [vec![7; 31], vec![7; 33], Vec::new()] {
        let message = world.people[ALICE].message_with_item(tag, b"hello");
        assert_eq!(
            world.submit("a.example", "alice@a.example", message),
            Response::NotAllowed
        );
    }
}

/// draft-ietf-mls-extensions, 4.9: where the group has `safe_aad`, a SafeAAD begins the data.
#[tokio::test]
async fn extensions_4_9_what_begins_with_no_safe_aad_is_not_accepted() {
    let (_hub, mut world) = World::new().await;
    let message = world.people[ALICE].message(b"hello");
    let octets = tls::encode(&message);
    // PrivateMessage: version, wire format, group ID, epoch, content type, then the data: an empty SafeAAD.
    let at = 4 + 1 + message.group_id().len() + 8 + 1;
    assert_eq!(octets[at..at + 2], [1, 0], "an empty SafeAAD");
    for (data, accepted) in [(&[0][..], false), (&[1, 0], true), (&[1, 1], false), (&[2, 0, 9], true)] {
        let changed = [&octets[..at], data, &octets[at + 2..]].concat();
        let message = tls::decode_exact(&changed).unwrap();
        let answer = world.submit("a.example", "alice@a.example", message);
        assert_eq!(matches!(answer, Response::Accepted { .. }), accepted, "{data:?}");
    }
}

#[tokio::test]
async fn protocol_5_4_1_a_room_with_another_franking_agent_is_not_made() {
    let (hub, _) = World::new().await;
    let keys = hub.hub.keys();
    let sender = keys.external_sender(SignatureScheme::ED25519).unwrap();
    let key = SignaturePublicKey::new(keys.public(SignatureScheme::ED25519).unwrap());
    let other_key = SignaturePublicKey::new(vec![7; 32]);
    for agent in [
        FrankingAgentData::of_hub(&domain("b.example"), key),
        FrankingAgentData::of_hub(&domain("a.example"), other_key),
    ] {
        let mut alice = Client::new(&user("alice@a.example"), 1);
        let participants = [(alice.user().clone(), ADMIN)];
        let external = ExternalSender::tls_deserialize_exact(&sender).unwrap();
        let more = [(FRANKING_AGENT, tls::encode(&agent))];
        let group = room_uri().group_uri();
        let (group_info, ratchet_tree) = alice.create_from(group.as_str(), vec![external], &participants, &[], &more);
        let mut room: Driven<HostedRoom> = Driven::new(hub.hub.settings(), EntityId::Room(room_uri()));
        let request = RoomRequest::Create {
            creator: alice.user().clone(),
            group_info,
            ratchet_tree,
        };
        let answer = room.ask(1, request).answer();
        assert!(
            matches!(&answer, RoomAnswer::CreateRefused(why) if why.contains("franking_agent")),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn protocol_5_9_what_was_said_is_proven_whoever_reports_it() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    world.add("carol@c.example", MEMBER);
    let message = said(&mut world, bob, "insult");
    for (source, reporter) in [
        ("a.example", Some("alice@a.example")),
        ("c.example", Some("carol@c.example")),
        ("c.example", None),
        ("b.example", Some("bob@b.example")),
    ] {
        let asked = ask(
            &mut world,
            source,
            report(reporter, "bob@b.example", vec![message.clone()]),
        );
        assert_eq!(verdicts(asked), [Verdict::Proven], "{reporter:?} by {source}");
    }
    // The state that is rebuilt knows the reports, too.
    assert_eq!(world.room.entity.reports.len(), 4);
    assert_eq!(world.room.rebuilt().reports, world.room.entity.reports);
}

/// The table of forgeries: none of what a receiver, a follower or a client can do makes a false report come out as proven.
#[tokio::test]
async fn protocol_5_9_no_forgery_is_proven() {
    let (hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let mallory = world.add("mallory@c.example", MEMBER);
    let (bobs, mallorys) = (user("bob@b.example"), user("mallory@c.example"));
    let other_room: RoomUri = "mimi://a.example/r/other".parse().unwrap();
    let genuine = said(&mut world, bob, "good morning");
    let second = said(&mut world, bob, "good night");
    let content = MimiContent::decode(&genuine.message_content).unwrap();
    assert_eq!(verdict(&mut world, "bob@b.example", genuine.clone()), Verdict::Proven);

    let mut table: Vec<(&str, &str, AbusiveMessage, Unproven)> = Vec::new();
    let mut forge = |name, change: &dyn Fn(&mut AbusiveMessage), why| {
        let mut message = genuine.clone();
        change(&mut message);
        table.push((name, "bob@b.example", message, why));
    };
    let with = |sender: &UserUri, room: &RoomUri, text: &str| {
        let mut forged = content_of(sender, room, text);
        forged.salt = content.salt;
        forged.encode()
    };

    // What a receiver can change of a message that it has.
    forge(
        "other text",
        &|m| m.message_content = with(&bobs, &room_uri(), "insult"),
        Unproven::WrongFrank,
    );
    forge(
        "other salt",
        &|m| m.message_content = content_of(&bobs, &room_uri(), "good morning").encode(),
        Unproven::WrongFrank,
    );
    forge(
        "another room in it",
        &|m| m.message_content = with(&bobs, &other_room, "good morning"),
        Unproven::OtherRoom,
    );
    forge(
        "another sender in it",
        &|m| m.message_content = with(&mallorys, &room_uri(), "good morning"),
        Unproven::OtherSender,
    );
    forge("an octet more", &|m| m.message_content.push(0), Unproven::Unreadable);
    forge("nothing", &|m| m.message_content.clear(), Unproven::Unreadable);
    forge(
        "no sender and room",
        &|m| {
            let mut anonymous = content.clone();
            anonymous.extensions.0.clear();
            m.message_content = anonymous.encode();
        },
        Unproven::Anonymous,
    );
    forge("a later time", &|m| m.accepted_timestamp += 1, Unproven::WrongFrank);
    forge("an earlier time", &|m| m.accepted_timestamp -= 1, Unproven::WrongFrank);
    forge(
        "another message's frank",
        &|m| m.frank = second.frank.clone(),
        Unproven::WrongFrank,
    );
    forge(
        "another message's frank and time",
        &|m| {
            m.frank = second.frank.clone();
            m.accepted_timestamp = second.accepted_timestamp;
        },
        Unproven::WrongFrank,
    );
    forge(
        "another message's content",
        &|m| m.message_content = second.message_content.clone(),
        Unproven::WrongFrank,
    );
    // What a follower can change on the way.
    for bit in [0, 100, 255] {
        forge(
            "an altered server_frank",
            &|m| m.frank.server_frank[bit / 8] ^= 1 << (bit % 8),
            Unproven::WrongFrank,
        );
    }
    forge(
        "an altered signature",
        &|m| m.frank.franking_integrity_signature[9] ^= 1,
        Unproven::WrongSignature,
    );
    forge(
        "no signature",
        &|m| m.frank.franking_integrity_signature.clear(),
        Unproven::WrongSignature,
    );
    forge(
        "another message's signature",
        &|m| {
            m.frank.franking_integrity_signature = second.frank.franking_integrity_signature.clone();
        },
        Unproven::WrongSignature,
    );
    for suite in [0, 2, 3, 0xf00d] {
        // A suite with the same signature algorithm is another one all the same: it is signed, too.
        forge(
            "another cipher suite",
            &|m| m.frank.franking_signature_ciphersuite = CipherSuite(suite),
            Unproven::WrongSignature,
        );
    }
    forge(
        "a made-up frank",
        &|m| {
            m.frank = Frank {
                server_frank: [1; 32],
                franking_signature_ciphersuite: CipherSuite(1),
                franking_integrity_signature: vec![1; 64],
            };
        },
        Unproven::WrongFrank,
    );
    table.push((
        "another alleged abuser",
        "mallory@c.example",
        genuine.clone(),
        Unproven::OtherSender,
    ));

    // A client that submits one message under another's franking tag: the hub stamps it as the client's own.
    let tag = crypto::hmac_sha256(&content.salt, &genuine.message_content).unwrap();
    let under_bobs_tag = world.people[mallory].message_with_tag(tag, b"anything");
    let stamped = sealed(&mut world, mallory, under_bobs_tag);
    for (name, accepted_timestamp) in [
        ("bob's message under mallory's stamp", stamped.accepted_timestamp),
        (
            "bob's message under mallory's stamp, at bob's time",
            genuine.accepted_timestamp,
        ),
    ] {
        let message = AbusiveMessage {
            message_content: genuine.message_content.clone(),
            frank: stamped.frank.clone(),
            accepted_timestamp,
        };
        table.push((name, "bob@b.example", message, Unproven::WrongFrank));
    }
    // What never was said, in bob's name, committed to and submitted by mallory.
    let slander = content_of(&bobs, &room_uri(), "insult");
    let tag = crypto::hmac_sha256(&slander.salt, &slander.encode()).unwrap();
    let message = world.people[mallory].message_with_tag(tag, &slander.encode());
    let stamped = sealed(&mut world, mallory, message);
    let slander = AbusiveMessage {
        message_content: slander.encode(),
        ..stamped
    };
    table.push((
        "a slander in bob's name",
        "bob@b.example",
        slander.clone(),
        Unproven::WrongFrank,
    ));
    table.push((
        "a slander in bob's name, put on mallory",
        "mallory@c.example",
        slander,
        Unproven::OtherSender,
    ));
    // The same, submitted in bob's name: not by another provider.
    let (message, _) = world.people[mallory].franked_message(&room_uri(), "insult");
    assert_eq!(
        world.submit("c.example", "bob@b.example", message),
        Response::NotAllowed
    );

    // A frank of another hub, with keys of its own.
    let others = crate::mls::hub_keys::HubKeys::ephemeral(&domain("a.example")).unwrap();
    let insult = content_of(&bobs, &room_uri(), "insult");
    let tag = mimi_hub_proto::FrankAad {
        franking_tag: crypto::hmac_sha256(&insult.salt, &insult.encode()).unwrap(),
    };
    let made_up = crate::room::franking::frank(&others, CipherSuite(1), &tag, context(&bobs, 77)).unwrap();
    let message = AbusiveMessage {
        message_content: insult.encode(),
        frank: (&made_up).into(),
        accepted_timestamp: 77,
    };
    table.push(("a frank of other keys", "bob@b.example", message, Unproven::WrongFrank));

    assert!(table.len() > 25);
    for (name, alleged, message, why) in table {
        assert_eq!(verdict(&mut world, alleged, message), Verdict::NotProven(why), "{name}");
    }
    assert_eq!(verdict(&mut world, "bob@b.example", genuine), Verdict::Proven, "still");
    drop(hub);
}

/// A report is for one room: what was said in another one of the same hub proves nothing here.
#[tokio::test]
async fn protocol_5_9_a_message_is_proven_in_its_own_room_only() {
    let (hub, mut world) = World::new().await;
    let message = said(&mut world, ALICE, "insult");
    let other: RoomUri = "mimi://a.example/r/other".parse().unwrap();
    let alleged = user("alice@a.example");
    let verdict = crate::room::franking::verdict(hub.hub.keys(), &other, &alleged, &message).unwrap();
    assert_eq!(verdict, Verdict::NotProven(Unproven::OtherRoom));
}

/// draft-ietf-mimi-room-policy, canReportAbuse.
#[tokio::test]
async fn room_policy_8_3_who_may_not_report_is_refused_and_nothing_is_kept() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    world.add("dave@d.example", SILENT);
    let message = said(&mut world, bob, "insult");
    for (source, reporter, why) in [
        ("c.example", Some("bob@b.example"), ReportRefusal::WrongSource),
        ("c.example", Some("eve@c.example"), ReportRefusal::NotAllowed),
        ("c.example", None, ReportRefusal::NotAllowed),
        ("d.example", Some("dave@d.example"), ReportRefusal::NotAllowed),
        ("d.example", None, ReportRefusal::NotAllowed),
    ] {
        let answer = ask(
            &mut world,
            source,
            report(reporter, "bob@b.example", vec![message.clone()]),
        )
        .answer();
        assert!(
            matches!(&answer, RoomAnswer::ReportRefused(found) if *found == why),
            "{answer:?}"
        );
    }
    assert!(world.room.entity.reports.is_empty() && world.room.rebuilt().reports.is_empty());
}

#[tokio::test]
async fn only_so_many_reports_wait_and_a_closed_one_makes_place() {
    let (_hub, mut world) = World::new().await;
    for _ in 0..OPEN_REPORTS_MAX {
        ask(&mut world, "a.example", report(None, "alice@a.example", Vec::new())).accepted();
    }
    let answer = ask(&mut world, "a.example", report(None, "alice@a.example", Vec::new())).answer();
    assert!(
        matches!(answer, RoomAnswer::ReportRefused(ReportRefusal::TooMany)),
        "{answer:?}"
    );
    let seq = *world.room.entity.reports.keys().next().unwrap();
    world.ask(RoomRequest::CloseReport { seq }).accepted();
    let answer = world.ask(RoomRequest::CloseReport { seq }).answer();
    assert!(matches!(answer, RoomAnswer::NoSuchReport), "{answer:?}");
    assert_eq!(world.room.rebuilt().reports, world.room.entity.reports);
    ask(&mut world, "a.example", report(None, "alice@a.example", Vec::new())).accepted();
}
