//! Any sequence of commands: valid ones, fenced ones, repeated ones.

use std::collections::HashMap;

use mimi_hub_storage::FaultPlan;
use proptest::prelude::*;

use super::*;

/// One command, before its numbers are known.
#[derive(Clone, Debug)]
enum Step {
    /// An event of the entity that follows its last one by `1 + skew`.
    Accept {
        entity: u8,
        kind: u8,
        skew: i8,
        request: Option<u8>,
        by: u64,
        /// Was it decided with knowledge of the event before it?
        knows: bool,
    },
    /// A command that came before, once more.
    Repeat(prop::sample::Index),
    /// A destination has everything up to so many events before the last one.
    Confirm { entity: u8, destination: u8, lag: u64 },
    /// All but the last so many events are trimmed.
    Trim { entity: u8, keep: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let skew = prop_oneof![8 => Just(0i8), 2 => -3i8..4];
    let request = prop::option::of(0u8..6);
    prop_oneof![
        8 => (0u8..3, 0u8..8, skew, request, 1u64..3, prop::bool::weighted(0.9))
            .prop_map(|(entity, kind, skew, request, by, knows)| Step::Accept { entity, kind, skew, request, by, knows }),
        1 => any::<prop::sample::Index>().prop_map(Step::Repeat),
        2 => (0u8..3, 0u8..3, 0u64..4)
            .prop_map(|(entity, destination, lag)| Step::Confirm { entity, destination, lag }),
        1 => (0u8..3, 0u64..6).prop_map(|(entity, keep)| Step::Trim { entity, keep }),
    ]
}

fn entity(number: u8) -> EntityId {
    [room(), followed(), user()][usize::from(number)].clone()
}

fn event(entity: u8, kind: u8, seq: u64) -> Event {
    let number = seq as u8;
    let stored = |number| StoredKeyPackage {
        reference: samples::bytes(number),
        client: samples::client(),
        key_package: samples::bytes(number),
        not_after_s: 9,
    };
    match (entity, kind) {
        (0, 0 | 1) => message(&["b.example", "c.example"][..usize::from(kind) + 1]),
        (0, 2) => commit(&["b.example"], &[alice()], &[]),
        (0, 3) => commit(&[], &[bob()], &[alice()]),
        (0, 4) => samples::checkpoint(),
        (0, 5) => Event::Room(RoomEvent::Proposals {
            messages: vec![samples::bytes(number)],
            fan_out: Vec::new(),
        }),
        (0, _) => message(&[]),
        (1, 0) => Event::Followed(FollowedEvent::Expected {
            user: alice(),
            packages: vec![(samples::bytes(number % 4), samples::client())],
        }),
        (1, 1) => Event::Followed(FollowedEvent::Joined { user: bob() }),
        (1, 2) => Event::Followed(FollowedEvent::Left { user: bob() }),
        (1, 3) => samples::awaited(&[number % 4], &[number.wrapping_add(1) % 4]),
        (1, _) => samples::notified(&[number, number.wrapping_add(100)], &[number % 4], &[alice()]),
        (_, 0) => Event::User(UserEvent::Created),
        (_, 1 | 2) => Event::User(UserEvent::KeyPackagesStored {
            packages: vec![stored(number % 8)],
            expired: vec![samples::bytes(number.wrapping_add(3) % 8)],
        }),
        (_, 3 | 4) => Event::User(UserEvent::KeyPackagesClaimed(vec![GivenKeyPackage {
            reference: samples::bytes(number % 8),
            not_after_s: 9,
        }])),
        (_, 5) => Event::User(UserEvent::Deleted {
            dropped: (0..8).map(samples::bytes).collect(),
        }),
        _ => Event::User(UserEvent::ClientAdded(samples::client())),
    }
}

/// The commands, and what each must answer: whether it is accepted is the model's to say.
fn commands(steps: &[Step]) -> Vec<(Command, Outcome)> {
    // The number of the last event, and who decided it.
    let mut last: HashMap<EntityId, (u64, u64)> = HashMap::new();
    let mut commands: Vec<(Command, Outcome)> = Vec::new();
    for step in steps {
        let command = match step {
            Step::Accept {
                entity: number,
                kind,
                skew,
                request,
                by,
                knows,
            } => {
                let id = entity(*number);
                let (last, last_by) = last.get(&id).copied().unwrap_or_default();
                let seq = (last + 1).saturating_add_signed(i64::from(*skew));
                let after = if *knows { last_by } else { 99 };
                let mut accepted = samples::decided(*by, after, &id, seq, event(*number, *kind, seq));
                accepted.request = request.map(hash);
                Command::Accepted(accepted)
            }
            Step::Repeat(_) if commands.is_empty() => continue,
            Step::Repeat(index) => commands[index.index(commands.len())].0.clone(),
            Step::Confirm {
                entity: number,
                destination,
                lag,
            } => {
                let id = entity(*number);
                let seq = last.get(&id).copied().unwrap_or_default().0.saturating_sub(*lag);
                let destination = ["b.example", "c.example", LOCAL][usize::from(*destination)].to_owned();
                Command::CursorsMoved(vec![CursorMove {
                    entity: id,
                    destination,
                    seq,
                }])
            }
            Step::Trim { entity: number, keep } => {
                let id = entity(*number);
                let first_seq = last.get(&id).copied().unwrap_or_default().0.saturating_sub(*keep);
                Command::Trimmed { entity: id, first_seq }
            }
        };
        let outcome = match &command {
            Command::Accepted(accepted) => {
                let last = last.entry(accepted.entity.clone()).or_default();
                if (accepted.seq, accepted.decided_after) == (last.0 + 1, last.1) {
                    *last = (accepted.seq, accepted.decided_by);
                    Outcome::Applied
                } else {
                    Outcome::Fenced { last_seq: last.0 }
                }
            }
            Command::CursorsMoved(_) | Command::Trimmed { .. } => Outcome::Applied,
        };
        commands.push((command, outcome));
    }
    commands
}

/// Where the number of applied commands is kept: in another shard's keys, as `cluster` keeps it apart.
const APPLIED: (ShardId, &[u8]) = (ShardId(7), b"applied");

/// Applies what follows in the log, `batch` commands at a time, each batch with its number.
fn replay(replica: &Replica, log: &[(Command, Outcome)], batch: usize, batches_max: usize) {
    let reader = ShardReader::new(replica.0.clone(), APPLIED.0);
    let applied = reader.get(APPLIED.1).unwrap();
    let mut applied = applied.map_or(0, |bytes| usize::from(bytes[0]));
    for chunk in log[applied..].chunks(batch).take(batches_max) {
        let mut writer = StateWriter::new(replica.0.as_ref());
        for (command, _) in chunk {
            apply(&mut writer.txn(SHARD), &encode(command).unwrap()).unwrap();
        }
        applied += chunk.len();
        writer.txn(APPLIED.0).put(APPLIED.1, [u8::try_from(applied).unwrap()]);
        writer.commit().unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn numbers_have_no_gaps_and_refused_commands_change_nothing(steps in prop::collection::vec(step(), 0..60)) {
        let replica = Replica::new();
        let mut before = replica.everything();
        for (command, wanted) in commands(&steps) {
            let (outcome, told) = replica.apply(&command);
            prop_assert_eq!(outcome, wanted);
            let after = replica.everything();
            match (&command, outcome) {
                (Command::Accepted(accepted), Outcome::Applied) => {
                    let told = told.expect("an accepted event is told");
                    prop_assert_eq!((&told.entity, told.seq), (&accepted.entity, accepted.seq));
                    prop_assert_eq!(replica.head(&accepted.entity).last_seq, accepted.seq);
                    for destination in &told.destinations {
                        let (confirmed, last) = replica.cursor(&told.entity, destination).expect("a cursor");
                        prop_assert!(confirmed < last && last == told.seq);
                    }
                }
                (_, Outcome::Fenced { .. }) => {
                    prop_assert!(told.is_none());
                    prop_assert_eq!(&before, &after);
                }
                _ => prop_assert!(told.is_none()),
            }
            before = after;
        }
        for number in 0..3 {
            let id = entity(number);
            let head = replica.head(&id);
            let kept = replica.seqs(&id);
            let from_first: Vec<u64> = kept.iter().copied().filter(|seq| *seq >= head.first_seq).collect();
            let wanted: Vec<u64> = (head.first_seq.max(1)..=head.last_seq).collect();
            prop_assert_eq!(from_first, wanted, "{}", id);
            for seq in kept.into_iter().filter(|seq| *seq < head.first_seq) {
                prop_assert!(replica.has(&keys::state_mark(&id, seq)), "event {} of {} is kept for a rebuild", seq, id);
            }
        }
        for (key, value) in read::prefix(&replica.reader(), keys::OUTBOXES).unwrap() {
            let (id, _) = keys::parse_outbox(&key).expect("a key of ours");
            let cursor: OutboxCursor = decode(&value).unwrap();
            prop_assert!(cursor.confirmed_seq < cursor.last_seq && cursor.last_seq <= replica.head(&id).last_seq);
        }
    }

    #[test]
    fn every_replica_comes_to_the_same_store_however_it_batches(
        steps in prop::collection::vec(step(), 0..60),
        batch in 1usize..20,
    ) {
        let log = commands(&steps);
        let (one, other) = (Replica::new(), Replica::new());
        replay(&one, &log, 1, usize::MAX);
        replay(&other, &log, batch, usize::MAX);
        prop_assert_eq!(one.everything(), other.everything());
    }

    #[test]
    fn a_replica_that_crashes_between_batches_comes_to_the_same_store(
        steps in prop::collection::vec(step(), 1..60),
        batch in 1usize..8,
        crashes in prop::collection::vec((0usize..10, any::<bool>()), 1..4),
        seed in any::<u64>(),
    ) {
        let log = commands(&steps);
        let (whole, mut crashing) = (Replica::new(), Replica::new());
        replay(&whole, &log, batch, usize::MAX);
        crashing.0.set_plan(FaultPlan { seed, torn_tail: true, ..FaultPlan::default() });
        for (batches, flushed) in crashes {
            replay(&crashing, &log, batch, batches);
            if flushed {
                crashing.0.flush().unwrap();
            }
            crashing = Replica(Arc::new(crashing.0.crash()));
        }
        replay(&crashing, &log, batch, usize::MAX);
        prop_assert_eq!(whole.everything(), crashing.everything());
    }
}
