use std::collections::BTreeSet;
use std::sync::Arc;

use mimi_hub_proto::mls::{ApplicationMessage, Welcome};
use mimi_hub_proto::uri::{ClientUri, UserUri};
use mimi_hub_proto::{FanoutEvent, FanoutMessage, RatchetTreeOption, tls};
use proptest::prelude::*;
use serde_bytes::ByteBuf;

use super::entity::{DROPPED_PER_EVENT_MAX, KEPT_EXPIRED_MS, Notified};
use super::event::{AwaitedKeyPackage, FollowedEvent};
use super::{FollowedAnswer, FollowedRequest, FollowedRoom};
use crate::command::{Event, ReadableRanges, decode};
use crate::entity::EntityId;
use crate::hub::Hub;
use crate::testing::entity::{Asked, Driven};
use crate::testing::hub::{TestHub, config};
use crate::{keys, read};

fn id() -> EntityId {
    EntityId::Followed("mimi://b.example/r/clubhouse".parse().unwrap())
}

fn alice() -> UserUri {
    "mimi://a.example/u/alice".parse().unwrap()
}

fn adam() -> UserUri {
    "mimi://a.example/u/adam".parse().unwrap()
}

fn client() -> ClientUri {
    "mimi://a.example/d/ClientA1".parse().unwrap()
}

/// The message with this number: PrivateMessage (RFC 9420, 6.3) with one octet of ciphertext.
fn application(number: u8) -> FanoutMessage {
    let header = [0, 1, 0, 2, 1, b'g', 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0];
    let message: ApplicationMessage = tls::decode_exact(&[&header[..], &[1, number]].concat()).unwrap();
    fan_out(FanoutEvent::Application { message, frank: None })
}

/// A Welcome (RFC 9420, 12.4.3.1) for the KeyPackages with these references, of one octet each.
fn welcome(references: &[u8]) -> FanoutMessage {
    let secrets: Vec<u8> = references.iter().flat_map(|reference| [1, *reference, 0, 0]).collect();
    let octets = [&[0, 1, u8::try_from(secrets.len()).unwrap()], &secrets[..], &[0]].concat();
    let welcome: Welcome = tls::decode_exact(&octets).unwrap();
    let ratchet_tree = RatchetTreeOption::DistributionService;
    fan_out(FanoutEvent::Welcome { welcome, ratchet_tree })
}

fn fan_out(event: FanoutEvent) -> FanoutMessage {
    FanoutMessage {
        timestamp: 1_000,
        event,
    }
}

/// The room, and the time it is there.
struct World(Driven<FollowedRoom>, u64);

impl World {
    fn new(hub: &Arc<Hub>) -> Self {
        World(Driven::new(hub.settings(), id()), 1)
    }

    fn ask(&mut self, request: FollowedRequest) -> Result<FollowedEvent, FollowedAnswer> {
        match self.0.ask(self.1, request) {
            Asked::Answer(answer) => Err(answer),
            Asked::Accepted { event, .. } => match *event {
                Event::Followed(event) => Ok(event),
                other => panic!("{other:?}"),
            },
        }
    }

    fn notify(&mut self, messages: &[FanoutMessage]) -> Result<FollowedEvent, FollowedAnswer> {
        let messages = messages.iter().cloned().map(Notified::new).collect();
        self.ask(FollowedRequest::Notify(messages))
    }

    fn expect(&mut self, user: UserUri, references: &[u8]) {
        let packages = references
            .iter()
            .map(|reference| (ByteBuf::from([*reference]), client()));
        let request = FollowedRequest::Expect {
            user,
            packages: packages.collect(),
        };
        self.ask(request).unwrap();
    }

    /// KeyPackages with these references were given out, until second `end`.
    fn await_until(&mut self, end: u64, references: &[u16]) -> Vec<ByteBuf> {
        let package = |reference: &u16| AwaitedKeyPackage {
            reference: ByteBuf::from(wide(*reference)),
            client: client(),
            not_after_s: end,
        };
        let request = FollowedRequest::Await {
            user: alice(),
            packages: references.iter().map(package).collect(),
        };
        match self.ask(request).unwrap() {
            FollowedEvent::Awaited { expired, .. } => expired,
            other => panic!("{other:?}"),
        }
    }

    fn awaits(&mut self, references: &[u16]) -> bool {
        let references = references.iter().map(|reference| ByteBuf::from(wide(*reference)));
        match self.ask(FollowedRequest::AwaitsWelcome(references.collect())) {
            Err(FollowedAnswer::AwaitsWelcome(awaits)) => awaits,
            other => panic!("{other:?}"),
        }
    }

    /// How many records of awaited KeyPackages are in the store.
    fn records(&self) -> [usize; 2] {
        [keys::key_packages(&id()), keys::given_key_packages(&id())]
            .map(|prefix| read::prefix(&self.0.reader(), &prefix).unwrap().len())
    }

    /// The stored messages, in order.
    fn stored(&self) -> Vec<Vec<u8>> {
        let events = read::events_after(&self.0.reader(), &id(), 0, usize::MAX).unwrap();
        let mut stored = Vec::new();
        for accepted in events {
            if let Event::Followed(FollowedEvent::Notified { messages, .. }) = accepted.event {
                stored.extend(messages.into_iter().map(|(_, octets)| octets.into_vec()));
            }
        }
        stored
    }

    fn ranges(&self, user: &UserUri) -> Vec<(u64, Option<u64>)> {
        let bytes = self.0.reader().get(&keys::reader(&id(), user.as_str())).unwrap();
        bytes.map_or(Vec::new(), |bytes| decode::<ReadableRanges>(&bytes).unwrap().0)
    }
}

/// References of one octet where that is enough.
fn wide(reference: u16) -> Vec<u8> {
    match u8::try_from(reference) {
        Ok(octet) => vec![octet],
        Err(_) => reference.to_be_bytes().to_vec(),
    }
}

fn octets(messages: &[FanoutMessage]) -> Vec<Vec<u8>> {
    messages.iter().map(tls::encode).collect()
}

#[tokio::test]
async fn a_room_that_nobody_here_has_to_do_with_takes_nothing() {
    let hub = TestHub::start(config()).await;
    let mut world = World::new(&hub.hub);
    assert_eq!(world.notify(&[application(1)]), Err(FollowedAnswer::NoParticipants));
    assert_eq!(world.notify(&[welcome(&[1])]), Err(FollowedAnswer::NoParticipants));
    assert_eq!(world.0.last_seq(), 0);
    world.expect(alice(), &[1]);
    world.notify(&[application(1)]).unwrap();
    let mut world = World::new(&hub.hub);
    world.ask(FollowedRequest::Join(alice())).unwrap();
    world.notify(&[application(1)]).unwrap();
}

/// draft-ietf-mimi-protocol, 5.5: a hub that has had no answer sends again, in other batches perhaps.
#[tokio::test]
async fn a_message_is_stored_once_in_whatever_batches_it_comes() {
    let hub = TestHub::start(config()).await;
    let mut world = World::new(&hub.hub);
    world.ask(FollowedRequest::Join(alice())).unwrap();
    let [one, two, three, four] = [1, 2, 3, 4].map(application);
    world.notify(&[one.clone(), two.clone()]).unwrap();
    assert_eq!(
        world.notify(&[one.clone(), two.clone()]),
        Err(FollowedAnswer::Unchanged)
    );
    world.notify(&[two.clone(), three.clone(), three.clone()]).unwrap();
    world.0.reload();
    assert_eq!(
        world.notify(std::slice::from_ref(&three)),
        Err(FollowedAnswer::Unchanged),
        "known from the store"
    );
    world.notify(&[one.clone(), three.clone(), four.clone()]).unwrap();
    assert_eq!(world.notify(&[]), Err(FollowedAnswer::Unchanged));
    assert_eq!(world.stored(), octets(&[one, two, three, four]));
}

#[tokio::test]
async fn a_welcome_is_for_the_user_whose_key_package_it_uses() {
    let hub = TestHub::start(config()).await;
    let mut world = World::new(&hub.hub);
    world.expect(alice(), &[1, 2]);
    world.expect(adam(), &[3]);
    let event = world.notify(&[application(1), welcome(&[9, 1])]).unwrap();
    let FollowedEvent::Notified { welcomed, joined, .. } = event else {
        panic!("another event")
    };
    assert_eq!((welcomed, joined), (vec![ByteBuf::from([1])], vec![alice()]));
    assert_eq!(world.ranges(&alice()), [(3, None)]);
    assert_eq!(world.ranges(&adam()), []);
    world.0.reload();
    let event = world.notify(&[welcome(&[2, 3])]).unwrap();
    let FollowedEvent::Notified { welcomed, joined, .. } = event else {
        panic!("another event")
    };
    let both = vec![ByteBuf::from([2]), ByteBuf::from([3])];
    assert_eq!(
        (welcomed, joined),
        (both, vec![adam()]),
        "alice's second client joins nobody"
    );
    assert_eq!(world.ranges(&adam()), [(4, None)]);
}

#[tokio::test]
async fn a_key_package_is_welcomed_once() {
    let hub = TestHub::start(config()).await;
    let mut world = World::new(&hub.hub);
    world.expect(alice(), &[1]);
    world.notify(&[welcome(&[1])]).unwrap();
    world.ask(FollowedRequest::Leave(alice())).unwrap();
    let event = world.notify(&[welcome(&[1, 9])]).unwrap();
    let FollowedEvent::Notified { welcomed, joined, .. } = event else {
        panic!("another event")
    };
    assert_eq!((welcomed, joined), (vec![], vec![]));
    world.expect(alice(), &[2]);
    world.notify(&[welcome(&[2])]).unwrap();
    assert_eq!(world.ranges(&alice()), [(2, Some(3)), (6, None)]);
}

/// The same request for key material is answered the same as long as this is so.
#[tokio::test]
async fn a_welcome_is_awaited_until_it_comes_or_a_lifetime_is_over() {
    let hub = TestHub::start(config()).await;
    let mut world = World::new(&hub.hub);
    world.1 = 100_000;
    world.await_until(200, &[1]);
    world.await_until(300, &[2]);
    world.expect(alice(), &[3]);
    for _ in 0..2 {
        assert!(world.awaits(&[1, 2, 3]) && !world.awaits(&[1, 4]));
        world.0.reload();
    }
    world.1 = 199_999;
    assert!(world.awaits(&[1, 2]));
    world.1 = 200_000;
    assert!(!world.awaits(&[1, 2]), "the second in which it ends is too late");
    assert!(world.awaits(&[2]));
    assert!(world.awaits(&[3]), "of which no end is known");
    world.0.reload();
    assert!(!world.awaits(&[1]) && world.awaits(&[2, 3]));
    world.notify(&[welcome(&[2])]).unwrap();
    assert!(!world.awaits(&[2]));
}

#[tokio::test]
async fn expired_key_packages_are_dropped_with_the_next_event_and_not_before_a_late_welcome() {
    let hub = TestHub::start(config()).await;
    let mut world = World::new(&hub.hub);
    world.1 = 100_000;
    world.await_until(200, &[1]);
    world.await_until(201, &[2]);
    world.await_until(202, &[3]);
    world.await_until(900, &[4]);
    assert_eq!(world.records(), [4, 4]);
    world.1 = 200_000 + KEPT_EXPIRED_MS - 1;
    assert_eq!(world.await_until(u64::MAX, &[5]), Vec::<ByteBuf>::new());
    world.1 += 1;
    assert_eq!(world.await_until(u64::MAX, &[6]), [ByteBuf::from([1])]);
    assert_eq!(world.records(), [5, 5]);
    // A Welcome, 30 days late, comes with the event that would have dropped what it is for.
    world.1 = 202_000 + KEPT_EXPIRED_MS;
    world.0.reload();
    let event = world.notify(&[application(1), welcome(&[2])]).unwrap();
    let FollowedEvent::Notified { welcomed, joined, .. } = event else {
        panic!("another event")
    };
    assert_eq!(welcomed, [ByteBuf::from([2]), ByteBuf::from([3])]);
    assert_eq!(joined, [alice()]);
    assert_eq!(world.records(), [3, 3]);
    world.0.reload();
    assert!(world.awaits(&[5, 6]) && !world.awaits(&[4]));
}

/// A node of an older release would stop at the new event.
#[tokio::test]
async fn ends_of_lifetimes_are_recorded_when_every_node_understands_it() {
    let hub = TestHub::start(config()).await;
    for (format, with_ends) in [(Some(0), false), (Some(2), false), (Some(3), true), (None, true)] {
        let mut world = World::new(&hub.hub);
        let package = AwaitedKeyPackage {
            reference: ByteBuf::from([1]),
            client: client(),
            not_after_s: 200,
        };
        let event = world
            .ask(FollowedRequest::awaiting(format, alice(), vec![package]))
            .unwrap();
        assert_eq!(matches!(event, FollowedEvent::Awaited { .. }), with_ends, "{format:?}");
        assert_eq!(world.records(), [1, usize::from(with_ends)]);
        world.notify(&[welcome(&[1])]).unwrap();
        assert_eq!(world.records(), [0, 0]);
        assert_eq!(world.ranges(&alice()), [(2, None)]);
    }
}

#[tokio::test]
async fn one_event_drops_so_many_and_the_next_the_rest() {
    let hub = TestHub::start(config()).await;
    let mut world = World::new(&hub.hub);
    let many = u16::try_from(DROPPED_PER_EVENT_MAX).unwrap() + 10;
    let references: Vec<u16> = (0..many).collect();
    world.await_until(200, &references);
    world.1 = 200_000 + KEPT_EXPIRED_MS;
    let first = world.await_until(u64::MAX, &[1_000]);
    assert_eq!(first.len(), DROPPED_PER_EVENT_MAX);
    world.0.reload();
    let event = world.notify(&[application(1)]).unwrap();
    let FollowedEvent::Notified { welcomed, .. } = event else {
        panic!("another event")
    };
    assert_eq!(welcomed.len(), 10);
    assert_eq!(world.records(), [1, 1]);
}

#[tokio::test]
async fn who_joins_by_itself_reads_from_then_on_until_it_leaves() {
    let hub = TestHub::start(config()).await;
    let mut world = World::new(&hub.hub);
    assert_eq!(
        world.ask(FollowedRequest::Leave(alice())),
        Err(FollowedAnswer::Unchanged)
    );
    world.ask(FollowedRequest::Join(alice())).unwrap();
    assert_eq!(
        world.ask(FollowedRequest::Join(alice())),
        Err(FollowedAnswer::Unchanged)
    );
    world.0.reload();
    assert_eq!(
        world.ask(FollowedRequest::Join(alice())),
        Err(FollowedAnswer::Unchanged)
    );
    world.notify(&[application(1)]).unwrap();
    world.ask(FollowedRequest::Leave(alice())).unwrap();
    assert_eq!(
        world.ask(FollowedRequest::Leave(alice())),
        Err(FollowedAnswer::Unchanged)
    );
    world.0.reload();
    world.notify(&[application(2)]).unwrap();
    world.ask(FollowedRequest::Join(alice())).unwrap();
    assert_eq!(world.ranges(&alice()), [(1, Some(3)), (5, None)]);
}

#[derive(Clone, Debug)]
enum Step {
    Notify(Vec<u8>),
    Expect(bool, u8),
    Await(u8),
    Join(bool),
    Leave(bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => prop::collection::vec(0u8..16, 0..6).prop_map(Step::Notify),
        1 => (any::<bool>(), 0u8..8).prop_map(|(alices, reference)| Step::Expect(alices, reference)),
        1 => (0u8..8).prop_map(Step::Await),
        1 => any::<bool>().prop_map(Step::Join),
        1 => any::<bool>().prop_map(Step::Leave),
        2 => Just(Step::Restart),
    ]
}

/// Numbers below 8 are Welcomes, the others are application messages.
fn numbered(number: u8) -> FanoutMessage {
    if number < 8 {
        welcome(&[number])
    } else {
        application(number)
    }
}

fn check(hub: &Arc<Hub>, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut world = World::new(hub);
    let user = |alices| if alices { alice() } else { adam() };
    let mut wanted: Vec<u8> = Vec::new();
    let mut known = false;
    for step in steps {
        match step {
            Step::Notify(numbers) => {
                let messages: Vec<_> = numbers.iter().map(|number| numbered(*number)).collect();
                let fresh: BTreeSet<u8> = numbers
                    .iter()
                    .copied()
                    .filter(|number| !wanted.contains(number))
                    .collect();
                let answer = world.notify(&messages);
                let accepted = answer.is_ok();
                prop_assert_eq!(accepted, known && !fresh.is_empty(), "{:?}", answer);
                if accepted {
                    for number in numbers {
                        if !wanted.contains(&number) {
                            wanted.push(number);
                        }
                    }
                }
            }
            Step::Expect(alices, reference) => {
                world.expect(user(alices), &[reference]);
                known = true;
            }
            Step::Await(reference) => {
                world.await_until(u64::from(reference), &[u16::from(reference)]);
                known = true;
            }
            Step::Join(alices) => known |= world.ask(FollowedRequest::Join(user(alices))).is_ok(),
            Step::Leave(alices) => {
                let open = world.ranges(&user(alices)).last().is_some_and(|(_, to)| to.is_none());
                prop_assert_eq!(world.ask(FollowedRequest::Leave(user(alices))).is_ok(), open);
            }
            Step::Restart => world.0.reload(),
        }
        for user in [alice(), adam()] {
            let ranges = world.ranges(&user);
            for pair in ranges.windows(2) {
                prop_assert!(pair[0].1.is_some_and(|end| end < pair[1].0), "{:?}", ranges);
            }
        }
    }
    let wanted: Vec<FanoutMessage> = wanted.into_iter().map(numbered).collect();
    prop_assert_eq!(world.stored(), octets(&wanted));
    Ok(())
}

#[tokio::test]
async fn each_message_is_stored_once_and_in_order_whatever_happens() {
    let hub = TestHub::start(config()).await;
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(128)
    };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..40))| check(&hub.hub, steps)?);
}
