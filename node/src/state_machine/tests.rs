mod people;
mod properties;
mod samples;
mod trimming;

use mimi_hub_cluster::{ApplyError, ShardId, ShardReader, StateWriter};
use mimi_hub_storage::{Direction, KeyRange, KeyValue, MemoryStore, StateStore};
use serde::de::DeserializeOwned;
use std::sync::Arc;

use self::samples::{accepted, alice, bob, commit, followed, hash, message, room, user};
use super::*;
use crate::command::FormatError;
use crate::read;
use crate::user::event::{GivenKeyPackage, StoredKeyPackage};
use crate::user::state::Standing;

const SHARD: ShardId = ShardId(2);

/// A replica's store, and what the state machine makes of commands there.
struct Replica(Arc<MemoryStore>);

impl Replica {
    fn new() -> Self {
        Replica(Arc::default())
    }

    /// Applies in a batch of its own, which is written only if it could be applied.
    fn try_apply(&self, command: &[u8]) -> Result<(Outcome, Option<AppliedEvent>), ApplyError> {
        let mut writer = StateWriter::new(self.0.as_ref());
        let (outcome, event) = apply(&mut writer.txn(SHARD), command)?;
        writer.commit().unwrap();
        Ok((decode(&outcome).unwrap(), event))
    }

    fn apply(&self, command: &Command) -> (Outcome, Option<AppliedEvent>) {
        self.try_apply(&encode(command).unwrap()).unwrap()
    }

    fn accept(&self, accepted: Accepted) -> AppliedEvent {
        let (outcome, event) = self.apply(&Command::Accepted(accepted));
        assert_eq!(outcome, Outcome::Applied);
        event.expect("an accepted event is told")
    }

    fn confirm(&self, entity: &EntityId, destination: &str, seq: u64) {
        let moved = CursorMove {
            entity: entity.clone(),
            destination: destination.to_owned(),
            seq,
        };
        assert_eq!(
            self.apply(&Command::CursorsMoved(vec![moved])),
            (Outcome::Applied, None)
        );
    }

    fn trim(&self, entity: &EntityId, first_seq: u64) {
        let trimmed = Command::Trimmed {
            entity: entity.clone(),
            first_seq,
        };
        assert_eq!(self.apply(&trimmed), (Outcome::Applied, None));
    }

    fn reader(&self) -> ShardReader {
        ShardReader::new(self.0.clone(), SHARD)
    }

    fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Option<T> {
        let bytes = self.reader().get(key).unwrap()?;
        Some(decode(&bytes).unwrap())
    }

    fn head(&self, entity: &EntityId) -> Head {
        self.get(&keys::head(entity)).unwrap_or_default()
    }

    fn cursor(&self, entity: &EntityId, destination: &str) -> Option<(u64, u64)> {
        let cursor: OutboxCursor = self.get(&keys::outbox(entity, destination))?;
        Some((cursor.confirmed_seq, cursor.last_seq))
    }

    fn ranges(&self, entity: &EntityId, user: &UserUri) -> Vec<(u64, Option<u64>)> {
        let ranges: Option<ReadableRanges> = self.get(&keys::reader(entity, user.as_str()));
        ranges.unwrap_or_default().0
    }

    /// The sequence numbers of the events that are there.
    fn seqs(&self, entity: &EntityId) -> Vec<u64> {
        let events = read::prefix(&self.reader(), &keys::events(entity)).unwrap();
        events.iter().map(|(key, _)| keys::trailing_seq(key)).collect()
    }

    fn has(&self, key: &[u8]) -> bool {
        self.reader().get(key).unwrap().is_some()
    }

    fn everything(&self) -> Vec<KeyValue> {
        self.0.scan(&KeyRange::all(), usize::MAX, Direction::Forward).unwrap()
    }
}

#[test]
fn the_first_event_is_number_one_and_the_head_follows() {
    let replica = Replica::new();
    let mut first = accepted(&room(), 1, message(&[]));
    first.at_ms = 77;
    let told = replica.accept(first);
    assert_eq!((told.entity, told.seq), (room(), 1));
    let head = Head {
        last_seq: 1,
        last_decided_by: samples::ACTIVATION,
        first_seq: 1,
        checkpoint_seq: 0,
        last_at_ms: 77,
    };
    assert_eq!(replica.head(&room()), head);
    replica.accept(accepted(&room(), 2, samples::checkpoint()));
    let head = replica.head(&room());
    assert_eq!((head.last_seq, head.first_seq, head.checkpoint_seq), (2, 1, 2));
    assert!(replica.has(&keys::checkpoint(&room())));
}

#[test]
fn a_command_that_does_not_follow_is_fenced_and_changes_not_one_key() {
    let replica = Replica::new();
    for seq in [0, 2, 3, u64::MAX] {
        let stray = Command::Accepted(accepted(&room(), seq, commit(&["b.example"], &[alice()], &[])));
        assert_eq!(replica.apply(&stray), (Outcome::Fenced { last_seq: 0 }, None));
    }
    assert_eq!(replica.everything(), []);
    for seq in 1..=3 {
        replica.accept(accepted(&room(), seq, message(&["b.example"])));
    }
    let before = replica.everything();
    for seq in [0, 1, 2, 3, 5, u64::MAX] {
        let mut stray = accepted(&room(), seq, commit(&["c.example"], &[alice()], &[]));
        stray.request = Some(hash(9));
        let outcome = replica.apply(&Command::Accepted(stray));
        assert_eq!(outcome, (Outcome::Fenced { last_seq: 3 }, None), "number {seq}");
        assert_eq!(replica.everything(), before, "number {seq}");
    }
    replica.accept(accepted(&room(), 4, message(&[])));
}

/// A leader has several proposals on their way. When another's event takes the number of the first of them, the second
/// follows by its number, and yet was decided without knowing that event.
#[test]
fn a_command_decided_without_the_event_before_it_is_fenced() {
    let replica = Replica::new();
    let (one, other) = (1, 2);
    replica.accept(samples::decided(one, 0, &room(), 1, message(&[])));
    replica.accept(samples::decided(other, one, &room(), 2, message(&[])));
    let before = replica.everything();
    for (seq, after) in [(2, one), (3, one), (3, 0), (3, 99)] {
        let stale = Command::Accepted(samples::decided(
            one,
            after,
            &room(),
            seq,
            commit(&["c.example"], &[alice()], &[]),
        ));
        assert_eq!(replica.apply(&stale), (Outcome::Fenced { last_seq: 2 }, None));
        assert_eq!(replica.everything(), before);
    }
    replica.accept(samples::decided(other, other, &room(), 3, message(&[])));
    replica.accept(samples::decided(one, other, &room(), 4, message(&[])));
}

#[test]
fn entities_are_numbered_apart() {
    let replica = Replica::new();
    let (hosted, elsewhere) = (room(), followed());
    replica.accept(accepted(&hosted, 1, message(&[])));
    replica.accept(accepted(&elsewhere, 1, samples::notified(&[1], &[], &[])));
    replica.accept(accepted(&user(), 1, Event::User(UserEvent::Created)));
    replica.accept(accepted(&hosted, 2, message(&[])));
    let last = |entity| replica.head(entity).last_seq;
    assert_eq!([last(&hosted), last(&elsewhere), last(&user())], [2, 1, 1]);
}

#[test]
fn a_request_hash_leads_to_the_event_that_answered_it() {
    let replica = Replica::new();
    replica.accept(accepted(&room(), 1, message(&[])));
    let mut answered = accepted(&room(), 2, message(&[]));
    answered.request = Some(hash(7));
    answered.reply = b"the reply".to_vec();
    replica.accept(answered.clone());
    replica.accept(accepted(&room(), 3, message(&[])));
    let seq: u64 = replica.get(&keys::request(&room(), &hash(7))).unwrap();
    let record: Command = replica.get(&keys::event(&room(), seq)).unwrap();
    assert_eq!(record, Command::Accepted(answered));
    assert!(
        !replica.has(&keys::request(&followed(), &hash(7))),
        "hashes are the entity's own"
    );
}

#[test]
fn every_fan_out_message_of_a_batch_is_known_by_its_hash() {
    let replica = Replica::new();
    replica.accept(accepted(&followed(), 1, samples::notified(&[1, 2], &[], &[])));
    replica.accept(accepted(&followed(), 2, samples::notified(&[3], &[], &[])));
    let seq = |number| replica.get::<u64>(&keys::request(&followed(), &hash(number)));
    assert_eq!([seq(1), seq(2), seq(3), seq(4)], [Some(1), Some(1), Some(2), None]);
}

#[test]
fn an_outbox_reaches_from_what_is_confirmed_to_the_last_event_for_it() {
    let replica = Replica::new();
    replica.accept(accepted(&room(), 1, message(&[])));
    let told = replica.accept(accepted(&room(), 2, message(&["b.example", "c.example"])));
    assert_eq!(told.destinations, ["b.example", "c.example"]);
    replica.accept(accepted(&room(), 3, message(&["b.example"])));
    replica.accept(accepted(&room(), 4, message(&[])));
    assert_eq!(replica.cursor(&room(), "b.example"), Some((1, 3)));
    assert_eq!(replica.cursor(&room(), "c.example"), Some((1, 2)));
    assert_eq!(replica.cursor(&room(), LOCAL), None);
}

#[test]
fn a_cursor_moves_on_and_never_back_and_goes_when_nothing_is_left() {
    let replica = Replica::new();
    for seq in 1..=4 {
        replica.accept(accepted(&room(), seq, message(&["b.example"])));
    }
    replica.confirm(&room(), "b.example", 3);
    assert_eq!(replica.cursor(&room(), "b.example"), Some((3, 4)));
    replica.confirm(&room(), "b.example", 1);
    assert_eq!(replica.cursor(&room(), "b.example"), Some((3, 4)), "not back");
    replica.accept(accepted(&room(), 5, message(&["b.example"])));
    assert_eq!(replica.cursor(&room(), "b.example"), Some((3, 5)));
    replica.confirm(&room(), "b.example", 5);
    assert_eq!(replica.cursor(&room(), "b.example"), None);
    replica.confirm(&room(), "b.example", 2);
    replica.confirm(&room(), "d.example", 2);
    assert_eq!(
        replica.cursor(&room(), "b.example"),
        None,
        "a late confirmation makes none"
    );
    assert_eq!(replica.cursor(&room(), "d.example"), None);
    replica.accept(accepted(&room(), 6, message(&[])));
    replica.accept(accepted(&room(), 7, message(&["b.example"])));
    assert_eq!(
        replica.cursor(&room(), "b.example"),
        Some((6, 7)),
        "it starts with the next event"
    );
}

#[test]
fn several_cursors_move_in_one_command() {
    let replica = Replica::new();
    replica.accept(accepted(&room(), 1, message(&["b.example", "c.example"])));
    replica.accept(accepted(&followed(), 1, samples::notified(&[1], &[], &[alice()])));
    let moved = |entity: EntityId, destination: &str| CursorMove {
        entity,
        destination: destination.to_owned(),
        seq: 1,
    };
    let moves = vec![moved(room(), "b.example"), moved(followed(), LOCAL)];
    replica.apply(&Command::CursorsMoved(moves));
    assert_eq!(replica.cursor(&room(), "b.example"), None);
    assert_eq!(replica.cursor(&room(), "c.example"), Some((0, 1)));
    assert_eq!(replica.cursor(&followed(), LOCAL), None);
}

#[test]
fn a_commit_goes_to_those_who_see_it_and_those_whom_it_welcomes_once_each() {
    let replica = Replica::new();
    let mut event = samples::commit_accepted(&["b.example"], &[], &[]);
    event.welcome = Some(samples::welcome(&["b.example", "c.example"]));
    let told = replica.accept(accepted(&room(), 1, Event::Room(RoomEvent::Commit(event))));
    assert_eq!(told.destinations, ["b.example", "c.example"]);
    assert_eq!(replica.cursor(&room(), "c.example"), Some((0, 1)));
}

#[test]
fn a_reader_has_a_range_for_each_time_it_takes_part() {
    let replica = Replica::new();
    let told = replica.accept(accepted(&room(), 1, commit(&[], &[alice(), bob()], &[])));
    assert_eq!(told.destinations, [LOCAL], "their rooms are entered in their lists");
    replica.accept(accepted(&room(), 2, commit(&[], &[alice()], &[])));
    replica.accept(accepted(&room(), 3, commit(&[], &[], &[alice()])));
    let told = replica.accept(accepted(&room(), 4, commit(&[], &[], &[alice()])));
    assert_eq!(told.destinations, Vec::<String>::new());
    replica.accept(accepted(&room(), 5, message(&[])));
    replica.accept(accepted(&room(), 6, commit(&[], &[alice()], &[bob()])));
    assert_eq!(replica.ranges(&room(), &alice()), [(1, Some(3)), (6, None)]);
    assert_eq!(
        replica.ranges(&room(), &bob()),
        [(1, Some(6))],
        "the Commit that removes bob is for bob"
    );
    assert_eq!(replica.cursor(&room(), LOCAL), Some((0, 6)));
    let ranges = ReadableRanges(replica.ranges(&room(), &alice()));
    let readable: Vec<u64> = (0..9).filter(|seq| ranges.contains(*seq)).collect();
    assert_eq!(readable, [1, 2, 3, 6, 7, 8]);
    assert!(ranges.is_open() && !ReadableRanges(replica.ranges(&room(), &bob())).is_open());
}

#[test]
fn who_leaves_and_joins_in_one_event_reads_on() {
    let replica = Replica::new();
    replica.accept(accepted(&room(), 1, commit(&[], &[alice()], &[])));
    replica.accept(accepted(&room(), 2, commit(&[], &[alice()], &[alice()])));
    assert_eq!(replica.ranges(&room(), &alice()), [(1, Some(2)), (2, None)]);
}

#[test]
fn users_of_a_followed_room_join_and_leave() {
    let replica = Replica::new();
    let event = |event| Event::Followed(event);
    let expected = FollowedEvent::Expected {
        user: alice(),
        packages: vec![(samples::bytes(1), samples::client())],
    };
    let told = replica.accept(accepted(&followed(), 1, event(expected)));
    assert_eq!(told.destinations, Vec::<String>::new());
    assert_eq!(replica.ranges(&followed(), &alice()), []);
    assert!(replica.has(&keys::key_package(&followed(), &[1])));
    let told = replica.accept(accepted(&followed(), 2, samples::notified(&[1], &[1], &[alice()])));
    assert_eq!(told.destinations, [LOCAL]);
    assert!(
        !replica.has(&keys::key_package(&followed(), &[1])),
        "a Welcome comes once"
    );
    replica.accept(accepted(&followed(), 3, event(FollowedEvent::Joined { user: bob() })));
    replica.accept(accepted(&followed(), 4, event(FollowedEvent::Left { user: alice() })));
    assert_eq!(replica.ranges(&followed(), &alice()), [(2, Some(4))]);
    assert_eq!(replica.ranges(&followed(), &bob()), [(3, None)]);
}

#[test]
fn what_a_welcome_is_awaited_for_goes_with_it_or_when_its_lifetime_is_over() {
    let replica = Replica::new();
    let is = |number: u8| {
        let (awaited, end) = (
            keys::key_package(&followed(), &[number]),
            keys::given_key_package(&followed(), &[number]),
        );
        (replica.has(&awaited), replica.has(&end))
    };
    replica.accept(accepted(&followed(), 1, samples::awaited(&[1, 2, 3, 4], &[])));
    let record: (UserUri, mimi_hub_proto::uri::ClientUri) = replica.get(&keys::key_package(&followed(), &[1])).unwrap();
    assert_eq!(record, (alice(), samples::client()));
    assert_eq!(
        replica.get::<u64>(&keys::given_key_package(&followed(), &[1])),
        Some(1_000)
    );
    replica.accept(accepted(&followed(), 2, samples::notified(&[1], &[1], &[alice()])));
    replica.accept(accepted(&followed(), 3, samples::awaited(&[5], &[2, 9])));
    let (there, gone) = ((true, true), (false, false));
    assert_eq!([is(1), is(2), is(3), is(4), is(5)], [gone, gone, there, there, there]);
}

#[test]
fn a_users_key_packages_are_in_store_then_given_then_forgotten() {
    let replica = Replica::new();
    let id = user();
    let stored = |number| StoredKeyPackage {
        reference: samples::bytes(number),
        client: samples::client(),
        key_package: samples::bytes(number),
        not_after_s: 1_000,
    };
    let event = |event| Event::User(event);
    replica.accept(accepted(&id, 1, event(UserEvent::Created)));
    replica.accept(accepted(&id, 2, event(UserEvent::ClientAdded(samples::client()))));
    let packages = vec![stored(1), stored(2), stored(3)];
    let publish = UserEvent::KeyPackagesStored {
        packages,
        expired: Vec::new(),
    };
    replica.accept(accepted(&id, 3, event(publish)));
    let given = vec![GivenKeyPackage {
        reference: samples::bytes(1),
        not_after_s: 1_000,
    }];
    replica.accept(accepted(&id, 4, event(UserEvent::KeyPackagesClaimed(given))));
    let is = |number: u8| {
        let (stored, given) = (
            keys::key_package(&id, &[number]),
            keys::given_key_package(&id, &[number]),
        );
        (replica.has(&stored), replica.has(&given))
    };
    assert_eq!([is(1), is(2), is(3)], [(false, true), (true, false), (true, false)]);
    let expire = UserEvent::KeyPackagesStored {
        packages: Vec::new(),
        expired: vec![samples::bytes(1), samples::bytes(2)],
    };
    replica.accept(accepted(&id, 5, event(expire)));
    assert_eq!([is(1), is(2), is(3)], [(false, false), (false, false), (true, false)]);
    let dropped = vec![samples::bytes(3)];
    replica.accept(accepted(&id, 6, event(UserEvent::Deleted { dropped })));
    assert_eq!(is(3), (false, false));
    let profile: Profile = replica.get(&keys::checkpoint(&id)).unwrap();
    assert_eq!(profile.standing, Standing::Deleted);
    assert!(profile.clients.is_empty());
}

#[test]
fn what_cannot_be_read_stops_the_apply_and_changes_nothing() {
    let replica = Replica::new();
    replica.accept(accepted(&room(), 1, message(&["b.example"])));
    let before = replica.everything();
    let good = encode(&Command::Accepted(accepted(&room(), 2, message(&["b.example"])))).unwrap();
    let newer = [&[2], &good[1..]].concat();
    let longer = [&good[..], &[0]].concat();
    let mut damaged = good.clone();
    damaged[1] = 9;
    for (bytes, wanted) in [
        (&[][..], FormatError::Empty),
        (&newer[..], FormatError::Version(2)),
        (&longer[..], FormatError::TrailingBytes(1)),
    ] {
        let ApplyError::Broken(reason) = replica.try_apply(bytes).unwrap_err() else {
            panic!("another error than Broken")
        };
        assert_eq!(reason, wanted.to_string());
    }
    assert!(matches!(replica.try_apply(&damaged), Err(ApplyError::Broken(_))));
    for end in 0..good.len() {
        assert!(
            matches!(replica.try_apply(&good[..end]), Err(ApplyError::Broken(_))),
            "cut at {end}"
        );
    }
    assert_eq!(replica.everything(), before);
    replica.try_apply(&good).unwrap();
}

#[test]
fn a_damaged_record_stops_the_apply() {
    let replica = Replica::new();
    replica.accept(accepted(&room(), 1, message(&["b.example"])));
    for key in [keys::head(&room()), keys::outbox(&room(), "b.example")] {
        let copy = Replica::new();
        let mut writer = StateWriter::new(copy.0.as_ref());
        let mut txn = writer.txn(SHARD);
        for (key, value) in read::prefix(&replica.reader(), b"").unwrap() {
            txn.put(&key, value);
        }
        txn.put(&key, [7]);
        writer.commit().unwrap();
        let next = encode(&Command::Accepted(accepted(&room(), 2, message(&["b.example"])))).unwrap();
        assert!(matches!(copy.try_apply(&next), Err(ApplyError::Broken(_))));
    }
}
