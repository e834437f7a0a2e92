//! What is kept across entities: reports, terms that users are found by, and consent on its way.

use super::*;
use crate::room::event::FrankRecord;
use crate::room::franking::Verdict;
use crate::room::report::{ReportRecord, ReportedMessage};
use crate::user::consent::{ConsentSent, SentEffect};
use crate::user::discovery::{self, Entry, Searchable, Source};

fn report(at_ms: u64) -> Event {
    Event::Room(RoomEvent::AbuseReported(Box::new(ReportRecord {
        room: "mimi://a.example/r/clubhouse".parse().unwrap(),
        source: "b.example".parse().unwrap(),
        reporter: None,
        alleged_abuser: alice(),
        reason_code: 0,
        note: String::new(),
        messages: Vec::new(),
        at_ms,
    })))
}

fn keys_with(replica: &Replica, prefix: &[u8]) -> usize {
    read::prefix(&replica.reader(), prefix).unwrap().len()
}

#[test]
fn a_report_outlives_its_event_until_it_is_closed() {
    let replica = Replica::new();
    let before = replica.everything();
    assert_eq!(before, []);
    replica.accept(accepted(&room(), 1, report(70)));
    replica.accept(accepted(&room(), 2, message(&[])));
    replica.trim(&room(), 2);
    assert_eq!(replica.seqs(&room()), [2]);
    assert!(replica.has(&keys::report(&room(), 1)) && replica.has(&keys::open_report(&room(), 1)));
    assert_eq!(keys_with(&replica, keys::REPORTS), 1);
    let closed = RoomEvent::AbuseReportClosed { seq: 1, at_ms: 70 };
    replica.accept(accepted(&room(), 3, Event::Room(closed)));
    assert_eq!(keys_with(&replica, keys::REPORTS), 0);
    assert!(!replica.has(&keys::report(&room(), 1)) && !replica.has(&keys::open_report(&room(), 1)));
}

/// Not even among the room's events.
#[test]
fn what_was_reported_is_not_kept_when_the_report_is_closed() {
    let replica = Replica::new();
    let Event::Room(RoomEvent::AbuseReported(mut full)) = report(70) else {
        panic!("another event")
    };
    full.reporter = Some("mimi://b.example/u/tell-tale".parse().unwrap());
    full.note = "a note of sorts".to_owned();
    full.messages = vec![ReportedMessage {
        content: b"an insult".to_vec().into(),
        accepted_timestamp: 60,
        frank: FrankRecord {
            server_frank: [1; 32],
            ciphersuite: 1,
            integrity_signature: Vec::new().into(),
        },
        verdict: Verdict::Proven,
    }];
    replica.accept(accepted(&room(), 1, Event::Room(RoomEvent::AbuseReported(full))));
    let holds = |text: &str| {
        let everything = replica.everything();
        let mut values = everything.iter().map(|(_, value)| value);
        values.any(|value| value.windows(text.len()).any(|window| window == text.as_bytes()))
    };
    let texts = ["tell-tale", "a note of sorts", "an insult"];
    assert!(texts.into_iter().all(holds));
    let closed = RoomEvent::AbuseReportClosed { seq: 1, at_ms: 70 };
    replica.accept(accepted(&room(), 2, Event::Room(closed)));
    assert!(!texts.into_iter().any(holds));
    assert_eq!(replica.seqs(&room()), [1, 2]);
}

#[test]
fn the_reports_of_a_shard_stand_in_the_order_of_time() {
    let replica = Replica::new();
    let other = EntityId::Room("mimi://a.example/r/another".parse().unwrap());
    replica.accept(accepted(&room(), 1, report(300)));
    replica.accept(accepted(&other, 1, report(70)));
    replica.accept(accepted(&room(), 2, report(5_000)));
    let found = read::prefix(&replica.reader(), keys::REPORTS).unwrap();
    let order: Vec<(EntityId, u64)> = found.iter().map(|(_, value)| decode(value).unwrap()).collect();
    assert_eq!(order, [(other, 1), (room(), 1), (room(), 2)]);
}

fn entry(name: &str, value: &str, search: Searchable) -> Entry {
    Entry {
        source: Source::Vcard,
        name: name.to_owned(),
        value: value.to_owned(),
        search,
        shown: true,
    }
}

#[test]
fn users_are_found_by_their_present_profile_only() {
    let replica = Replica::new();
    let terms = |entries: &[Entry]| -> Vec<Vec<u8>> {
        let terms = discovery::terms(entries).into_iter();
        terms.map(|term| keys::found_by(&term, alice().as_str())).collect()
    };
    let first = vec![
        entry("IMPP", "im:alice@a.example", Searchable::Exact),
        entry("ORG", "Sales", Searchable::Partial),
        entry("TEL", "+1", Searchable::Never),
    ];
    let second = vec![entry("NICKNAME", "al", Searchable::Exact)];
    let hidden = vec![entry("NICKNAME", "al", Searchable::Never)];
    let set = |entries: &[Entry]| Event::User(UserEvent::ProfileSet(entries.to_vec()));
    replica.accept(accepted(&user(), 1, Event::User(UserEvent::Created)));
    replica.accept(accepted(&user(), 2, set(&first)));
    assert_eq!(terms(&first).len(), 4, "handle, its user part, and both properties");
    assert!(terms(&first).iter().all(|term| replica.has(term)));
    assert!(replica.has(&keys::findable(alice().as_str())));
    replica.accept(accepted(&user(), 3, set(&second)));
    assert!(terms(&first).iter().all(|term| !replica.has(term)));
    assert!(terms(&second).iter().all(|term| replica.has(term)));
    replica.accept(accepted(&user(), 4, set(&hidden)));
    assert_eq!((keys_with(&replica, b"i"), keys_with(&replica, keys::FINDABLE)), (0, 0));
    replica.accept(accepted(&user(), 5, set(&first)));
    let deleted = UserEvent::Deleted { dropped: Vec::new() };
    replica.accept(accepted(&user(), 6, Event::User(deleted)));
    assert_eq!((keys_with(&replica, b"i"), keys_with(&replica, keys::FINDABLE)), (0, 0));
}

#[test]
fn a_consent_operation_is_in_the_outbox_of_the_other_users_provider() {
    let replica = Replica::new();
    let sent = UserEvent::ConsentSent(ConsentSent {
        entry: samples::bytes(1),
        to: "b.example".parse().unwrap(),
        other: "mimi://b.example/u/bob".parse().unwrap(),
        room: None,
        effect: SentEffect::Asks,
        at_ms: 7,
    });
    replica.accept(accepted(&user(), 1, Event::User(UserEvent::Created)));
    let told = replica.accept(accepted(&user(), 2, Event::User(sent)));
    assert_eq!(told.destinations, ["b.example"]);
    assert_eq!(replica.cursor(&user(), "b.example"), Some((1, 2)));
    // A new leader finds it there.
    let found = read::prefix(&replica.reader(), keys::OUTBOXES).unwrap();
    assert_eq!(keys::parse_outbox(&found[0].0), Some((user(), "b.example".to_owned())));
    replica.confirm(&user(), "b.example", 2);
    assert_eq!(replica.cursor(&user(), "b.example"), None);
}
