//! What is on disk must be read by every later binary: the bytes of each kind of command and record are kept in
//! `testdata/command`, one file a kind, in hexadecimal.

use std::path::Path;

use mimi_hub_proto::uri::UserUri;
use serde_bytes::ByteBuf;

use super::*;
use crate::followed::event::AwaitedKeyPackage;
use crate::mls::store::StoredGroup;
use crate::room::event::{ClaimedKeyPackage, CommitAccepted, FrankRecord, WelcomeAccepted};
use crate::room::franking::{Unproven, Verdict};
use crate::room::records::JoinCode;
use crate::room::report::{ReportRecord, ReportedMessage};
use crate::room::state::Checkpoint;
use crate::user::consent::{Asked, ConsentSent, Sent, SentEffect, Told};
use crate::user::discovery::{Entry, Searchable, Source};
use crate::user::event::{ConsentRule, GivenKeyPackage, StoredKeyPackage};
use crate::user::state::{Contacts, Profile};

fn room() -> EntityId {
    EntityId::Room("mimi://a.example/r/clubhouse".parse().unwrap())
}

fn alice() -> UserUri {
    "mimi://a.example/u/alice".parse().unwrap()
}

fn b_example() -> ProviderDomain {
    "b.example".parse().unwrap()
}

fn bytes(first: u8) -> ByteBuf {
    ByteBuf::from([first, first + 1, first + 2])
}

fn accepted(entity: EntityId, event: Event) -> Command {
    Command::Accepted(Accepted {
        entity,
        seq: 300,
        decided_by: 0x0102_0304_0506_0708,
        decided_after: 0x1112_1314_1516_1718,
        at_ms: 1_700_000_000_123,
        request: Some([0xaa; 32]),
        reply: vec![0xbb; 4],
        event,
    })
}

fn checkpoint() -> Box<Checkpoint> {
    let mut checkpoint = Checkpoint::first(StoredGroup::default(), bytes(0x10));
    let package = claimed();
    checkpoint
        .key_packages
        .push((package, b_example(), "mimi://b.example/u/bob".parse().unwrap(), true));
    Box::new(checkpoint)
}

fn claimed() -> ClaimedKeyPackage {
    ClaimedKeyPackage {
        reference: bytes(0x20),
        client: "mimi://b.example/d/ClientB1".parse().unwrap(),
        not_after_s: 70_000,
    }
}

fn room_events() -> Vec<(&'static str, RoomEvent)> {
    let welcome = WelcomeAccepted {
        message: bytes(0x30),
        ratchet_tree: bytes(0x40),
        fan_out: vec![b_example()],
        users: vec![alice()],
    };
    let commit = CommitAccepted {
        message: bytes(0x50),
        group_info: bytes(0x60),
        welcome: Some(welcome),
        fan_out: vec![b_example()],
        joined: vec![alice()],
        left: vec!["mimi://a.example/u/adam".parse().unwrap()],
        external_proposals: vec![bytes(8)],
        join_code: Some("friends".to_owned()),
    };
    let frank = FrankRecord {
        server_frank: [0xcc; 32],
        ciphersuite: 1,
        integrity_signature: bytes(0x70),
    };
    vec![
        (
            "room-created",
            RoomEvent::Created {
                checkpoint: checkpoint(),
                joined: vec![alice()],
            },
        ),
        ("room-commit", RoomEvent::Commit(commit)),
        (
            "room-proposals",
            RoomEvent::Proposals {
                messages: vec![bytes(1), bytes(2)],
                fan_out: vec![b_example()],
            },
        ),
        (
            "room-message",
            RoomEvent::Message {
                message: bytes(3),
                frank: Some(frank),
                fan_out: vec![b_example()],
                withheld: vec![alice()],
            },
        ),
        (
            "room-key-packages-claimed",
            RoomEvent::KeyPackagesClaimed {
                provider: b_example(),
                user: alice(),
                packages: vec![claimed()],
            },
        ),
        ("room-checkpoint", RoomEvent::Checkpoint(checkpoint())),
        ("room-abuse-reported", RoomEvent::AbuseReported(Box::new(report()))),
        (
            "room-abuse-report-closed",
            RoomEvent::AbuseReportClosed {
                seq: 299,
                at_ms: 1_700_000_000_000,
            },
        ),
        (
            "room-join-code-created",
            RoomEvent::JoinCodeCreated {
                id: "friends".to_owned(),
                code: join_code(),
            },
        ),
        (
            "room-join-code-revoked",
            RoomEvent::JoinCodeRevoked {
                id: "friends".to_owned(),
            },
        ),
        (
            "room-join-code-shown",
            RoomEvent::JoinCodeShown {
                id: "friends".to_owned(),
                user: alice(),
            },
        ),
        (
            "room-barred",
            RoomEvent::Barred {
                user: alice(),
                messages: vec![bytes(9)],
                fan_out: vec![b_example()],
            },
        ),
        ("room-unbarred", RoomEvent::Unbarred { user: alice() }),
        ("room-destroyed", RoomEvent::Destroyed),
    ]
}

fn report() -> ReportRecord {
    let message = |verdict| ReportedMessage {
        content: bytes(0x30),
        accepted_timestamp: 1_600_000_000_123,
        frank: FrankRecord {
            server_frank: [0xee; 32],
            ciphersuite: 1,
            integrity_signature: bytes(0x40),
        },
        verdict,
    };
    ReportRecord {
        room: "mimi://a.example/r/clubhouse".parse().unwrap(),
        source: b_example(),
        reporter: Some("mimi://b.example/u/bob".parse().unwrap()),
        alleged_abuser: alice(),
        reason_code: 0,
        note: "insults".to_owned(),
        messages: vec![
            message(Verdict::Proven),
            message(Verdict::NotProven(Unproven::WrongSignature)),
        ],
        at_ms: 1_700_000_000_000,
    }
}

fn join_code() -> JoinCode {
    JoinCode {
        hash: [0xdd; 32],
        role: 2,
        created_at_ms: 1_700_000_000_000,
        expires_at_ms: 1_700_000_060_000,
        uses_max: 5,
        uses: 1,
        created_by: alice(),
    }
}

fn followed_events() -> Vec<(&'static str, FollowedEvent)> {
    let client: mimi_hub_proto::uri::ClientUri = "mimi://a.example/d/ClientA1".parse().unwrap();
    vec![
        (
            "followed-expected",
            FollowedEvent::Expected {
                user: alice(),
                packages: vec![(bytes(4), client.clone())],
            },
        ),
        (
            "followed-notified",
            FollowedEvent::Notified {
                messages: vec![([0xdd; 32], bytes(5))],
                welcomed: vec![bytes(6)],
                joined: vec![alice()],
            },
        ),
        ("followed-joined", FollowedEvent::Joined { user: alice() }),
        ("followed-left", FollowedEvent::Left { user: alice() }),
        (
            "followed-awaited",
            FollowedEvent::Awaited {
                user: alice(),
                packages: vec![AwaitedKeyPackage {
                    reference: bytes(16),
                    client,
                    not_after_s: 90_000,
                }],
                expired: vec![bytes(17)],
            },
        ),
    ]
}

fn user_events() -> Vec<(&'static str, UserEvent)> {
    let client = || "mimi://a.example/d/ClientA1".parse().unwrap();
    let stored = StoredKeyPackage {
        reference: bytes(7),
        client: client(),
        key_package: bytes(8),
        not_after_s: 80_000,
    };
    let given = GivenKeyPackage {
        reference: bytes(9),
        not_after_s: 90_000,
    };
    vec![
        ("user-created", UserEvent::Created),
        (
            "user-deleted",
            UserEvent::Deleted {
                dropped: vec![bytes(10)],
            },
        ),
        ("user-client-added", UserEvent::ClientAdded(client())),
        (
            "user-client-removed",
            UserEvent::ClientRemoved {
                client: client(),
                dropped: vec![bytes(11)],
            },
        ),
        (
            "user-key-packages-stored",
            UserEvent::KeyPackagesStored {
                packages: vec![stored],
                expired: vec![bytes(12)],
            },
        ),
        ("user-key-packages-claimed", UserEvent::KeyPackagesClaimed(vec![given])),
        ("user-consent-set", UserEvent::ConsentSet(consent())),
        (
            "user-room-joined",
            UserEvent::RoomJoined("mimi://b.example/r/1".parse().unwrap()),
        ),
        (
            "user-room-forgotten",
            UserEvent::RoomForgotten("mimi://b.example/r/2".parse().unwrap()),
        ),
        ("user-consent-sent", UserEvent::ConsentSent(consent_sent())),
        ("user-consent-asked", UserEvent::ConsentAsked(asked())),
        (
            "user-consent-withdrawn",
            UserEvent::ConsentWithdrawn {
                requester: bob(),
                room: None,
            },
        ),
        ("user-consent-told", UserEvent::ConsentTold(told())),
        (
            "user-consent-undeliverable",
            UserEvent::ConsentUndeliverable {
                target: bob(),
                room: None,
            },
        ),
        ("user-profile-set", UserEvent::ProfileSet(vec![profile_entry()])),
    ]
}

fn bob() -> UserUri {
    "mimi://b.example/u/bob".parse().unwrap()
}

fn consent_sent() -> ConsentSent {
    ConsentSent {
        entry: bytes(13),
        to: b_example(),
        other: bob(),
        room: None,
        effect: SentEffect::Answers {
            rule: consent(),
            given: vec![GivenKeyPackage {
                reference: bytes(14),
                not_after_s: 90_000,
            }],
        },
        at_ms: 1_700_000_000_000,
    }
}

fn asked() -> Asked {
    Asked {
        requester: bob(),
        room: Some("mimi://b.example/r/1".parse().unwrap()),
        at_ms: 1_700_000_000_000,
    }
}

fn told() -> Told {
    Told {
        target: bob(),
        room: None,
        granted: true,
        key_packages: vec![bytes(15)],
        at_ms: 1_700_000_000_000,
    }
}

fn profile_entry() -> Entry {
    Entry {
        source: Source::Vcard,
        name: "ORG".to_owned(),
        value: "Sales".to_owned(),
        search: Searchable::Partial,
        shown: true,
    }
}

fn consent() -> ConsentRule {
    ConsentRule {
        requester: Some("mimi://b.example/u/bob".parse().unwrap()),
        room: None,
        allow: true,
    }
}

fn commands() -> Vec<(&'static str, Command)> {
    let followed = EntityId::Followed("mimi://b.example/r/elsewhere".parse().unwrap());
    let rooms = room_events()
        .into_iter()
        .map(|(name, event)| (name, accepted(room(), Event::Room(event))));
    let followeds = followed_events()
        .into_iter()
        .map(|(name, event)| (name, accepted(followed.clone(), Event::Followed(event))));
    let users = user_events()
        .into_iter()
        .map(|(name, event)| (name, accepted(EntityId::User(alice()), Event::User(event))));
    let moved = |destination: &str| CursorMove {
        entity: room(),
        destination: destination.to_owned(),
        seq: 299,
    };
    let others = [
        (
            "cursors-moved",
            Command::CursorsMoved(vec![moved("b.example"), moved(LOCAL)]),
        ),
        (
            "trimmed",
            Command::Trimmed {
                entity: room(),
                first_seq: 200,
            },
        ),
    ];
    rooms.chain(followeds).chain(users).chain(others).collect()
}

/// Stored records that are no commands, already encoded.
fn records() -> Vec<(&'static str, Vec<u8>)> {
    let head = Head {
        last_seq: 300,
        last_decided_by: 0x0102_0304_0506_0708,
        first_seq: 2,
        checkpoint_seq: 70_000,
        last_at_ms: 1_700_000_000_123,
    };
    let profile = Profile {
        clients: ["mimi://a.example/d/ClientA1".parse().unwrap()].into(),
        consent: vec![consent()],
        rooms: ["mimi://b.example/r/1".parse().unwrap()].into(),
        ..Profile::default()
    };
    let contacts = Contacts {
        asked: vec![asked()],
        sent: vec![Sent {
            target: bob(),
            room: None,
            at_ms: 1_700_000_000_000,
            undeliverable: true,
        }],
        told: vec![told()],
        entries: vec![profile_entry()],
    };
    vec![
        ("record-head", encode(&head).unwrap()),
        (
            "record-outbox-cursor",
            encode(&OutboxCursor {
                confirmed_seq: 299,
                last_seq: 300,
            })
            .unwrap(),
        ),
        (
            "record-readable-ranges",
            encode(&ReadableRanges(vec![(1, Some(3)), (300, None)])).unwrap(),
        ),
        ("record-profile", encode(&profile).unwrap()),
        ("record-contacts", encode(&contacts).unwrap()),
        ("record-report", encode(&report()).unwrap()),
        (
            "record-outcome",
            encode(&[Outcome::Applied, Outcome::Fenced { last_seq: 300 }]).unwrap(),
        ),
    ]
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/command")
}

fn golden(name: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(folder().join(format!("{name}.hex"))).unwrap();
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    bytes.chunks(32).map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_command_has_the_bytes_it_always_had() {
    for (name, command) in commands() {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let path = folder().join(format!("{name}.hex"));
            std::fs::write(path, hex(&encode(&command).unwrap()) + "\n").unwrap();
        }
        let kept = golden(name);
        assert_eq!(hex(&encode(&command).unwrap()), hex(&kept), "{name} is written");
        assert_eq!(decode::<Command>(&kept).unwrap(), command, "{name} is read");
    }
}

#[test]
fn every_record_has_the_bytes_it_always_had() {
    for (name, bytes) in records() {
        assert_eq!(hex(&bytes), hex(&golden(name)), "{name}");
    }
}

#[test]
fn every_kept_file_is_compared() {
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let names = commands().into_iter().map(|(name, _)| name);
    let mut wanted: Vec<String> = names
        .chain(records().into_iter().map(|(name, _)| name))
        .map(|name| format!("{name}.hex"))
        .collect();
    files.sort();
    wanted.sort();
    assert_eq!(files, wanted);
}

#[test]
fn no_damage_to_a_command_is_more_than_an_error() {
    for (name, command) in commands() {
        let good = encode(&command).unwrap();
        for end in 0..good.len() {
            assert!(decode::<Command>(&good[..end]).is_err(), "{name} cut at {end}");
        }
        for at in 0..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 0xff;
            // Some damage reads as another command: what matters is that it ends, without much memory.
            if let Ok(read) = decode::<Command>(&damaged) {
                assert_ne!(read, command, "{name} changed at {at}");
            }
        }
    }
}

#[test]
fn ranges_open_once_and_close_once() {
    let mut ranges = ReadableRanges::default();
    ranges.close(1);
    assert_eq!(ranges, ReadableRanges::default(), "who never joined does not leave");
    ranges.open(2);
    ranges.open(3);
    ranges.close(5);
    ranges.close(7);
    ranges.open(9);
    assert_eq!(ranges.0, [(2, Some(5)), (9, None)]);
    let readable: Vec<u64> = (0..12).filter(|seq| ranges.contains(*seq)).collect();
    assert_eq!(readable, [2, 3, 4, 5, 9, 10, 11]);
}

#[test]
fn a_request_is_its_source_endpoint_target_and_body() {
    let of = |source: &str, endpoint, target, body: &'static [u8]| {
        request_hash(&source.parse().unwrap(), endpoint, target, &Bytes::from_static(body))
    };
    let first = of("a.example", "update", "mimi://a.example/r/1", b"body");
    assert_eq!(first, of("a.example", "update", "mimi://a.example/r/1", b"body"));
    let others = [
        of("b.example", "update", "mimi://a.example/r/1", b"body"),
        of("a.example", "submitMessage", "mimi://a.example/r/1", b"body"),
        of("a.example", "update", "mimi://a.example/r/2", b"body"),
        of("a.example", "update", "mimi://a.example/r/1", b"other"),
        of("a.example", "updatem", "imi://a.example/r/1", b"body"),
        of("a.example", "update", "mimi://a.example/r/1b", b"ody"),
    ];
    for (number, other) in others.iter().enumerate() {
        assert_ne!(first, *other, "number {number}");
        assert!(!others[..number].contains(other), "number {number}");
    }
}
