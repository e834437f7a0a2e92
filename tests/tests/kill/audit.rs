//! What must hold after each kill.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mimi_hub_ops::client::{Client, Gateway};
use mimi_hub_proto::mls::MlsMessage;
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{FanoutEvent, FanoutMessage};
use mimi_hub_tests::stream;
use sha2::{Digest as _, Sha256};

use crate::ledger::{Call, Ledger, Record};
use mimi_hub_ops::Rng;

/// Earlier requests that are sent again after each kill, beside the latest ones.
const SAMPLE: usize = 6;
const LATEST: usize = 6;
/// Commits before the follower's user is in the room: the talker's joining, and the adding of that user.
const BEFORE_WELCOME: usize = 2;
/// How long the follower may take for what is still on its way.
const PATIENCE: Duration = Duration::from_secs(30);

type Hash = [u8; 32];

/// One FanoutMessage in a stream.
#[derive(Clone, PartialEq, Eq)]
struct Seen {
    /// Of the whole FanoutMessage.
    whole: Hash,
    /// Of the MLSMessage in it.
    message: Hash,
    timestamp: u64,
    welcome: bool,
}

pub(crate) struct Audit {
    gateway: Gateway,
    ledger: Arc<Ledger>,
    readers: Vec<(RoomUri, UserUri)>,
    /// Each room's stream as it was read last.
    known: HashMap<RoomUri, Vec<Seen>>,
}

impl Audit {
    pub(crate) fn new(gateway: Gateway, ledger: Arc<Ledger>, readers: Vec<(RoomUri, UserUri)>) -> Self {
        Self {
            gateway,
            ledger,
            readers,
            known: HashMap::new(),
        }
    }

    pub(crate) async fn check(&mut self, rng: &mut Rng, kill: u64) {
        // Whoever is acknowledged from here on need not be in what is read below.
        let records = self.ledger.records();
        for (room, user) in self.readers.clone() {
            let read = read(&self.gateway, &user, &room).await;
            self.in_order_and_once(&room, &records, &read, kill);
            let before = self.known.insert(room.clone(), read.clone()).unwrap_or_default();
            assert!(
                read.starts_with(&before),
                "kill {kill}: what was read of {room} has changed"
            );
        }
        let latest = records.len().saturating_sub(LATEST)..records.len();
        let sampled = (0..SAMPLE).filter(|_| !records.is_empty());
        let sampled: Vec<usize> = sampled.map(|_| rng.below(records.len() as u64) as usize).collect();
        for index in latest.chain(sampled) {
            let record = &records[index];
            if !record.repeats {
                continue;
            }
            let again = record.send(&self.gateway).await.unwrap();
            assert_eq!(
                again, record.answer,
                "kill {kill}: request {index} was answered differently before"
            );
        }
    }

    fn in_order_and_once(&self, room: &RoomUri, records: &[Record], read: &[Seen], kill: u64) {
        let mut places: HashMap<Hash, usize> = HashMap::new();
        let mut wholes = HashSet::new();
        for (place, seen) in read.iter().enumerate() {
            assert!(
                wholes.insert(seen.whole),
                "kill {kill}: an event of {room} is there twice"
            );
            let again = places.insert(seen.message, place);
            assert!(again.is_none(), "kill {kill}: a message of {room} is there twice");
        }
        let times: Vec<u64> = read.iter().map(|seen| seen.timestamp).collect();
        assert!(times.is_sorted(), "kill {kill}: acceptance times of {room} go back");
        // A worker waits for each answer before it goes on, so its requests have an order.
        let mut last: HashMap<&UserUri, usize> = HashMap::new();
        for record in records {
            let (Call::Submit(about) | Call::Update(about)) = &record.call else {
                continue;
            };
            let Some((message, timestamp)) = record.event.as_ref().filter(|_| about == room) else {
                continue;
            };
            let place = places.get(&hash(message));
            let place = *place.unwrap_or_else(|| panic!("kill {kill}: an acknowledged event of {room} is lost"));
            assert_eq!(
                read[place].timestamp, *timestamp,
                "kill {kill}: another acceptance time"
            );
            if let Some(before) = last.insert(&record.user, place) {
                assert!(
                    before < place,
                    "kill {kill}: events of {room} in another order than acknowledged"
                );
            }
        }
    }

    /// The follower has what the hub's own readers have, from its Welcome on, in the same order.
    pub(crate) async fn follower_has_everything(&self, gateway: &Gateway, bob: &mut Client, rooms: &[RoomUri]) {
        let user = bob.state().identity().user().clone();
        for room in rooms {
            let ours = self.known[room]
                .iter()
                .filter(|seen| !seen.welcome)
                .skip(BEFORE_WELCOME);
            let expected: Vec<Seen> = ours.cloned().collect();
            let started = Instant::now();
            loop {
                let received = read(gateway, &user, room).await;
                assert!(
                    received.first().is_some_and(|first| first.welcome),
                    "{room}: no Welcome first"
                );
                if received[1..] == expected {
                    break;
                }
                if started.elapsed() > PATIENCE {
                    panic!("{room}: {}", difference(&expected, &received[1..]));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        bob.sync(Duration::ZERO).await.unwrap();
        for room in rooms {
            let failures = bob.state().failures(room);
            assert!(failures.is_empty(), "{room}: {failures:?}");
        }
    }
}

/// Which of the hub's events the follower lacks, and whether those that it has are in order.
fn difference(expected: &[Seen], received: &[Seen]) -> String {
    let places: HashMap<Hash, usize> = expected
        .iter()
        .enumerate()
        .map(|(place, seen)| (seen.whole, place))
        .collect();
    let had: Vec<Option<usize>> = received.iter().map(|seen| places.get(&seen.whole).copied()).collect();
    let lacking: Vec<usize> = (0..expected.len())
        .filter(|place| !had.contains(&Some(*place)))
        .collect();
    let foreign = had.iter().filter(|place| place.is_none()).count();
    format!(
        "of the hub's {} events the follower lacks {lacking:?}; of its own {foreign} are not the hub's; in order: {}",
        expected.len(),
        had.is_sorted()
    )
}

async fn read(gateway: &Gateway, user: &UserUri, room: &RoomUri) -> Vec<Seen> {
    let events = stream::all(gateway, user).await;
    let here = events.iter().filter(|event| event.room == *room);
    here.map(|event| seen(&event.fanout_message)).collect()
}

fn seen(octets: &[u8]) -> Seen {
    let fanout: FanoutMessage = decode_exact(octets).unwrap();
    let (message, welcome) = match &fanout.event {
        FanoutEvent::Application { message, .. } => (encode(&MlsMessage::from(message.clone())), false),
        FanoutEvent::Commit { commit, .. } => (encode(commit), false),
        FanoutEvent::Proposals { proposal, .. } => (encode(proposal), false),
        FanoutEvent::Welcome { welcome, .. } => (encode(welcome), true),
    };
    Seen {
        whole: hash(octets),
        message: hash(&message),
        timestamp: fanout.timestamp,
        welcome,
    }
}

fn hash(octets: &[u8]) -> Hash {
    Sha256::digest(octets).into()
}
