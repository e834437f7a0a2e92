//! Actors over a real cluster of one node; users stand for all entities.

use std::sync::Arc;
use std::time::Duration;

use mimi_hub_proto::uri::{ClientUri, RoomUri, UserUri};
use tokio::time::{sleep, timeout};

use mimi_hub_cluster::ShardReader;
use mimi_hub_storage::MemoryStore;

use super::*;
use crate::command::{Accepted, Command, Outcome, decode, encode};
use crate::followed::FollowedRequest;
use crate::keys;
use crate::testing::hub::{TestHub, config};
use crate::user::event::UserEvent;
use crate::user::state::UserState;
use crate::user::{UserAnswer, UserRequest};

type Asked = Result<Reply<UserAnswer>, AskError>;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough to see that nothing happens.
const MOMENT: Duration = Duration::from_millis(100);

fn alice() -> UserUri {
    "mimi://a.example/u/alice".parse().unwrap()
}

fn client(number: usize) -> ClientUri {
    format!("mimi://a.example/d/alice-{number}").parse().unwrap()
}

fn hash(number: u8) -> Option<RequestHash> {
    Some([number; 32])
}

async fn ask(hub: &Arc<Hub>, hash: Option<RequestHash>, request: UserRequest) -> Asked {
    timeout(PATIENCE, hub.ask_user(&alice(), hash, request))
        .await
        .expect("an answer in time")
}

/// Asks, and asks again while the entity is between two actors, as a client would.
async fn insist(hub: &Arc<Hub>, hash: Option<RequestHash>, request: impl Fn() -> UserRequest) -> Asked {
    for _ in 0..50 {
        match ask(hub, hash, request()).await {
            Err(AskError::Unavailable) => sleep(Duration::from_millis(10)).await,
            asked => return asked,
        }
    }
    panic!("still not available")
}

fn accepted(asked: Asked) -> Bytes {
    match asked.unwrap() {
        Reply::Accepted(reply) => reply,
        Reply::Answer(answer) => panic!("{answer:?}"),
    }
}

fn answer(asked: Asked) -> UserAnswer {
    match asked.unwrap() {
        Reply::Answer(answer) => answer,
        Reply::Accepted(_) => panic!("accepted"),
    }
}

/// The events of alice, as they are in the store.
fn events(hub: &Arc<Hub>) -> Vec<Event> {
    let id = EntityId::User(alice());
    let reader = hub.cluster().reader(hub.shard_of(&id));
    let events = crate::read::events_after(&reader, &id, 0, usize::MAX).unwrap();
    for (number, accepted) in events.iter().enumerate() {
        assert_eq!(accepted.seq, number as u64 + 1);
    }
    events.into_iter().map(|accepted| accepted.event).collect()
}

fn added(number: usize) -> Event {
    Event::User(UserEvent::ClientAdded(client(number)))
}

fn created() -> Event {
    Event::User(UserEvent::Created)
}

/// Publishes nothing, which has a reply of its own all the same.
fn store_nothing() -> UserRequest {
    UserRequest::StoreKeyPackages {
        client: client(1),
        key_packages: Vec::new(),
    }
}

#[tokio::test]
async fn the_same_request_twice_at_once_is_one_event_with_one_reply() {
    let node = TestHub::start(config()).await;
    accepted(ask(&node.hub, None, UserRequest::Create).await);
    accepted(ask(&node.hub, None, UserRequest::AddClient(client(1))).await);
    node.gate.close();
    let asks: Vec<_> = (0..3)
        .map(|_| {
            let hub = Arc::clone(&node.hub);
            tokio::spawn(async move { ask(&hub, hash(1), store_nothing()).await })
        })
        .collect();
    sleep(MOMENT).await;
    assert!(
        asks.iter().all(|ask| !ask.is_finished()),
        "no reply before the event is applied"
    );
    node.gate.open();
    for asked in asks {
        assert_eq!(accepted(asked.await.unwrap()), r#"{"stored":0,"available":0}"#);
    }
    assert_eq!(events(&node.hub).len(), 3);
    accepted(ask(&node.hub, hash(2), store_nothing()).await);
    assert_eq!(events(&node.hub).len(), 4, "another request is another event");
}

#[tokio::test]
async fn a_retry_gets_the_reply_of_the_first_time_across_restarts() {
    let node = TestHub::start(config()).await;
    accepted(ask(&node.hub, None, UserRequest::Create).await);
    accepted(ask(&node.hub, None, UserRequest::AddClient(client(1))).await);
    let first = accepted(ask(&node.hub, hash(1), store_nothing()).await);
    assert_eq!(accepted(ask(&node.hub, hash(1), store_nothing()).await), first);
    // A request that would be refused by now, had it not been accepted before.
    accepted(ask(&node.hub, None, UserRequest::RemoveClient(client(1))).await);
    let node = node.restart().await;
    let again = insist(&node.hub, hash(1), store_nothing).await;
    assert_eq!(accepted(again), first);
    assert!(matches!(
        answer(ask(&node.hub, hash(2), store_nothing()).await),
        UserAnswer::UnknownClient
    ));
    assert_eq!(events(&node.hub).len(), 4);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_the_power_is_cut() {
    let mut node = TestHub::start(config()).await;
    accepted(ask(&node.hub, None, UserRequest::Create).await);
    let mut wanted = vec![created()];
    for round in 0..3 {
        for number in 0..4 {
            let number = 4 * round + number;
            accepted(insist(&node.hub, None, || UserRequest::AddClient(client(number))).await);
            wanted.push(added(number));
        }
        node = node.restart().await;
        let known = insist(&node.hub, None, || UserRequest::AddClient(client(4 * round))).await;
        assert!(matches!(answer(known), UserAnswer::Unchanged));
        assert_eq!(events(&node.hub), wanted);
    }
}

#[tokio::test]
async fn a_rejection_waits_for_what_was_decided_before_it() {
    let node = TestHub::start(config()).await;
    accepted(ask(&node.hub, None, UserRequest::Create).await);
    node.gate.close();
    let hub = Arc::clone(&node.hub);
    let adding = tokio::spawn(async move { ask(&hub, None, UserRequest::AddClient(client(1))).await });
    sleep(MOMENT).await;
    // Decided by a state that is not committed yet.
    let hub = Arc::clone(&node.hub);
    let again = tokio::spawn(async move { ask(&hub, None, UserRequest::AddClient(client(1))).await });
    sleep(MOMENT).await;
    assert!(!adding.is_finished() && !again.is_finished());
    node.gate.open();
    assert!(matches!(answer(again.await.unwrap()), UserAnswer::Unchanged));
    assert!(adding.is_finished(), "it was answered before");
    accepted(adding.await.unwrap());
}

#[tokio::test]
async fn requests_are_decided_in_the_order_in_which_they_come() {
    let node = TestHub::start(config()).await;
    accepted(ask(&node.hub, None, UserRequest::Create).await);
    node.gate.close();
    let asks: Vec<_> = (0..10)
        .map(|number| ask(&node.hub, None, UserRequest::AddClient(client(number))))
        .collect();
    let opening = async {
        sleep(MOMENT).await;
        node.gate.open();
    };
    let (asked, ()) = tokio::join!(futures::future::join_all(asks), opening);
    asked.into_iter().for_each(|asked| drop(accepted(asked)));
    let wanted: Vec<Event> = std::iter::once(created()).chain((0..10).map(added)).collect();
    assert_eq!(events(&node.hub), wanted);
}

/// Another leader's event that this node's actor has not seen.
async fn decide_elsewhere(hub: &Arc<Hub>, seq: u64, event: Event) {
    let id = EntityId::User(alice());
    let head = hub.cluster().reader(hub.shard_of(&id)).get(&keys::head(&id)).unwrap();
    let head: Head = decode(&head.unwrap()).unwrap();
    let command = Command::Accepted(Accepted {
        entity: id.clone(),
        seq,
        decided_by: 1,
        decided_after: head.last_decided_by,
        at_ms: 1,
        request: None,
        reply: Vec::new(),
        event,
    });
    let proposal = hub.cluster().propose(hub.shard_of(&id), encode(&command).unwrap());
    let outcome = timeout(PATIENCE, proposal).await.unwrap().unwrap();
    assert_eq!(decode::<Outcome>(&outcome.bytes).unwrap(), Outcome::Applied);
}

#[tokio::test]
async fn a_fenced_proposal_makes_the_actor_start_over() {
    let node = TestHub::start(config()).await;
    accepted(ask(&node.hub, None, UserRequest::Create).await);
    decide_elsewhere(&node.hub, 2, added(1)).await;
    node.gate.close();
    // All that is decided on the old state is lost with it, rejections included.
    let requests = [
        UserRequest::AddClient(client(2)),
        UserRequest::AddClient(client(3)),
        UserRequest::Create,
    ];
    let asks: Vec<_> = requests
        .into_iter()
        .map(|request| ask(&node.hub, None, request))
        .collect();
    let opening = async {
        sleep(MOMENT).await;
        node.gate.open();
    };
    let (asked, ()) = tokio::join!(futures::future::join_all(asks), opening);
    for asked in asked {
        assert!(matches!(asked, Err(AskError::Unavailable)), "{asked:?}");
    }
    assert_eq!(events(&node.hub), [created(), added(1)]);
    let known = insist(&node.hub, None, || UserRequest::AddClient(client(1))).await;
    assert!(
        matches!(answer(known), UserAnswer::Unchanged),
        "the new actor knows the other's event"
    );
    accepted(ask(&node.hub, None, UserRequest::AddClient(client(2))).await);
    assert_eq!(events(&node.hub), [created(), added(1), added(2)]);
}

async fn none_active(hub: &Hub) {
    let gone = async {
        while hub.active_actors() != [0, 0, 0] {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, gone).await.expect("they go");
}

#[tokio::test]
async fn an_idle_actor_leaves_memory_and_comes_back_as_it_was() {
    let mut config = config();
    config.room.idle_ms = 50;
    let node = TestHub::start(config).await;
    accepted(ask(&node.hub, None, UserRequest::Create).await);
    accepted(ask(&node.hub, None, UserRequest::AddClient(client(1))).await);
    assert_eq!(node.hub.active_actors(), [0, 0, 1]);
    none_active(&node.hub).await;
    assert!(matches!(
        answer(ask(&node.hub, None, UserRequest::AddClient(client(1))).await),
        UserAnswer::Unchanged
    ));
    accepted(ask(&node.hub, None, UserRequest::AddClient(client(2))).await);
    assert_eq!(events(&node.hub), [created(), added(1), added(2)]);
}

#[tokio::test]
async fn an_actor_with_a_proposal_on_its_way_stays_in_memory() {
    let mut config = config();
    config.room.idle_ms = 20;
    let node = TestHub::start(config).await;
    accepted(ask(&node.hub, None, UserRequest::Create).await);
    node.gate.close();
    let hub = Arc::clone(&node.hub);
    let adding = tokio::spawn(async move { ask(&hub, None, UserRequest::AddClient(client(1))).await });
    sleep(3 * MOMENT).await;
    node.gate.open();
    accepted(adding.await.unwrap());
}

#[tokio::test]
async fn a_shard_that_is_lost_takes_its_actors_along() {
    let node = TestHub::start(config()).await;
    accepted(ask(&node.hub, None, UserRequest::Create).await);
    let room: RoomUri = "mimi://b.example/r/1".parse().unwrap();
    node.hub
        .ask_followed(&room, FollowedRequest::Join(alice()))
        .await
        .unwrap();
    node.gate.close();
    let hub = Arc::clone(&node.hub);
    let adding = tokio::spawn(async move { ask(&hub, None, UserRequest::AddClient(client(1))).await });
    sleep(MOMENT).await;
    for shard in 0..node.hub.cluster().shards() {
        node.hub.resign(ShardId(shard));
    }
    let asked = adding.await.unwrap();
    assert!(
        matches!(asked, Err(AskError::Unavailable)),
        "{asked:?}: its outcome is unknown"
    );
    none_active(&node.hub).await;
    node.gate.open();
    let known = insist(&node.hub, None, || UserRequest::AddClient(client(1))).await;
    assert!(
        matches!(answer(known), UserAnswer::Unchanged),
        "it was committed after all"
    );
}

#[tokio::test]
async fn a_full_mailbox_is_said_to_be_full() {
    let node = TestHub::start(config()).await;
    let id = EntityId::User(alice());
    // The actor waits for what is committed to be applied before it takes its first request.
    node.gate.close();
    let stranger = Command::CursorsMoved(Vec::new());
    let held = node
        .hub
        .cluster()
        .propose(node.hub.shard_of(&id), encode(&stranger).unwrap());
    sleep(MOMENT).await;
    let mut asks = futures::stream::FuturesUnordered::new();
    for _ in 0..MAILBOX_REQUESTS_MAX + 64 {
        let hub = Arc::clone(&node.hub);
        asks.push(tokio::spawn(async move { ask(&hub, None, UserRequest::Rooms).await }));
    }
    let overloaded = timeout(PATIENCE, futures::StreamExt::next(&mut asks))
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(matches!(overloaded, Err(AskError::Overloaded)), "{overloaded:?}");
    node.gate.open();
    timeout(PATIENCE, held).await.unwrap().unwrap();
    let mut counts = [0, 1];
    while let Some(asked) = futures::StreamExt::next(&mut asks).await {
        match asked.unwrap() {
            Ok(_) => counts[0] += 1,
            Err(AskError::Overloaded) => counts[1] += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(counts.iter().sum::<usize>(), MAILBOX_REQUESTS_MAX + 64);
    assert!(counts[0] > 0, "what waited is answered");
}

/// Another leader may have decided in between: what shows the state is only given by the leader of the same term.
#[tokio::test]
async fn what_shows_the_state_depends_on_the_term_in_which_it_was_loaded() {
    let node = TestHub::start(config()).await;
    let reader = ShardReader::new(Arc::<MemoryStore>::default(), ShardId(0));
    let settings = Arc::clone(node.hub.settings());
    let mut activation = Activation::<UserState, u32>::new(settings, EntityId::User(alice()), reader);
    activation.load(7, 5).unwrap();
    activation.ask(1, None, UserRequest::Rooms, 3);
    let effects = activation.take_effects();
    assert!(
        matches!(effects[..], [Effect::ReplyIfLed { to: 3, term: 5, .. }]),
        "{} effects",
        effects.len()
    );
    // Once it is given up, it decides nothing more.
    activation.give_up(&AskError::Unavailable);
    activation.ask(2, None, UserRequest::Create, 4);
    let effects = activation.take_effects();
    let refused = |effect: &Effect<_, u32>| {
        let Effect::Reply { to, reply } = effect else {
            return false;
        };
        *to == 4 && matches!(reply, Err(AskError::Unavailable))
    };
    assert!(matches!(effects[0], Effect::Stop) && refused(&effects[1]));
}
