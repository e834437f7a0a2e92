//! draft-ietf-mimi-protocol, section 5.5: what a follower provider takes in from a hub.
//!
//! The server is Bob's provider, b.example; the hub, a.example, is played by the test.

use std::time::Duration;

use mimi_hub_ops::client::Client;
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::RoomUri;
use mimi_hub_proto::{FanoutEvent, FanoutMessage, KeyMaterialResponse, SubmitMessageRequest, encode_all};
use mimi_hub_tests::{Forger, Hub, Peer, RemoteClient, World, client, room, stream, user};

struct Followed {
    _world: World,
    follower: Hub,
    hub: Peer,
    room: RoomUri,
    bob: Client,
    sender: RemoteClient,
}

impl Followed {
    /// A room that b.example follows, because a KeyPackage of Bob's was given out for it.
    async fn new() -> Self {
        let world = crate::world();
        let follower = world.hub("b.example").await;
        let bob = follower.client("bob", "B1", 2).await;
        let hub = world.peer("a.example", "b.example");
        let room = room("a.example", "clubhouse");
        let target = user("b.example", "bob");
        let alice = Forger::new(user("a.example", "alice"), client("a.example", "A1"));
        let request = alice.key_material_request(Some(&room), &target, |_| {});
        let answer = hub.post("keyMaterial", target.as_str(), &encode(&request)).await;
        assert_eq!(answer.mimi::<KeyMaterialResponse>().clients().len(), 1);
        // Bob's user joins in the follower's eyes, so that its stream shows what comes.
        let mut sender = world.remote("mimi://a.example/u/alice", "mimi://a.example/d/A1", "b.example");
        let sent = sender
            .state
            .create_room(&room, &external_sender(&follower).await, &initial(&room));
        sent.unwrap();
        Self {
            _world: world,
            follower,
            hub,
            room,
            bob,
            sender,
        }
    }

    /// FanoutMessages of fresh application messages.
    fn messages(&mut self, texts: &[&str]) -> Vec<FanoutMessage> {
        let mut made = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            let body = self.sender.text(&self.room, text);
            let accepted = mimi_hub_proto::SubmitMessageResponse::Accepted {
                accepted_timestamp: number as u64,
                frank: None,
            };
            self.sender
                .state
                .message_answered(&self.room, &encode(&accepted))
                .unwrap();
            let request: SubmitMessageRequest = decode_exact(&body).unwrap();
            made.push(FanoutMessage {
                timestamp: 1_790_000_000_000 + number as u64,
                event: FanoutEvent::Application {
                    message: request.app_message,
                    frank: None,
                },
            });
        }
        made
    }

    async fn notify(&self, messages: &[FanoutMessage]) -> u16 {
        let answer = self.hub.post("notify", self.room.as_str(), &encode_all(messages)).await;
        answer.status
    }

    /// Bob reads the room from here on.
    async fn bob_joins(&mut self) {
        use mimi_hub_proto::HandshakeBundle;
        use mimi_hub_proto::UpdateRequest;
        // The follower learns of it from the external Commit that it relays, although no hub takes it here.
        let forger = Forger::new(user("b.example", "bob"), client("b.example", "B1"));
        let mut owner = Forger::new(user("a.example", "alice"), client("a.example", "A1"));
        let (group_info, tree) = owner.group(
            self.room.group_uri().as_str(),
            Some(&external_sender(&self.follower).await),
            &initial(&self.room),
        );
        let body = forger.external_commit(&group_info, &tree);
        let request: UpdateRequest = decode_exact(&body).unwrap();
        assert!(matches!(request.bundle, HandshakeBundle::Commit { .. }));
        let path = format!("/update/{}", mimi_hub_proto::uri::path_segment(self.room.as_str()));
        let request = self
            .follower
            .local(reqwest::Method::POST, &path)
            .header("Mimi-User", "mimi://b.example/u/bob")
            .header("Content-Type", "application/mimi")
            .body(body);
        let answer = self.follower.call(request).await;
        answer.expect_problem(504, "peer-unavailable");
        assert!(answer.headers.contains_key("retry-after"));
    }

    async fn read(&self) -> Vec<FanoutMessage> {
        let user = self.bob.state().identity().user();
        stream::room(self.follower.gateway(), user, &self.room).await
    }

    async fn read_at_least(&self, count: usize) -> Vec<FanoutMessage> {
        let user = self.bob.state().identity().user();
        stream::await_messages(self.follower.gateway(), user, &self.room, count).await;
        self.read().await
    }
}

fn initial(room: &RoomUri) -> mimi_hub_ops::client::InitialState {
    mimi_hub_ops::client::InitialState::new(room, user("a.example", "alice"), "Clubhouse").unwrap()
}

async fn external_sender(hub: &Hub) -> Vec<u8> {
    hub.gateway().hub().await.unwrap().external_sender
}

#[tokio::test]
async fn events_of_a_room_come_from_its_hub_only() {
    let mut followed = Followed::new().await;
    followed.bob_joins().await;
    let messages = followed.messages(&["genuine"]);
    let intruder = followed._world.peer("c.example", "b.example");
    let body = encode_all(&messages);
    let answer = intruder.post("notify", followed.room.as_str(), &body).await;
    answer.expect_problem(403, "not-the-hub");
    // Nor can it be its own hub: this provider hosts no room of that name, and its own rooms need no notification.
    let answer = followed
        ._world
        .peer("b.example", "b.example")
        .post("notify", "mimi://b.example/r/x", &body)
        .await;
    answer.expect_problem(400, "malformed-body");
    assert_eq!(followed.read().await, []);
    assert_eq!(followed.notify(&messages).await, 201);
    assert_eq!(followed.read_at_least(1).await, messages);
}

#[tokio::test]
async fn a_room_that_nobody_here_has_to_do_with_is_not_found() {
    let mut followed = Followed::new().await;
    let body = encode_all(&followed.messages(&["to nobody"]));
    let answer = followed.hub.post("notify", "mimi://a.example/r/unknown", &body).await;
    answer.expect_problem(404, "no-participants");
}

#[tokio::test]
async fn what_comes_twice_is_taken_once_and_batches_may_overlap() {
    let mut followed = Followed::new().await;
    followed.bob_joins().await;
    let messages = followed.messages(&["one", "two", "three", "four", "five"]);
    for batch in [0..2, 0..2, 1..4, 0..4, 2..5, 4..5] {
        assert_eq!(followed.notify(&messages[batch]).await, 201);
    }
    assert_eq!(followed.read_at_least(5).await, messages);
    // And after a power cut.
    followed.follower.kill().await;
    followed.follower.start().await;
    assert_eq!(followed.notify(&messages).await, 201);
    assert_eq!(followed.read().await, messages);
}

#[tokio::test]
async fn the_same_batch_at_the_same_time_is_taken_once() {
    let mut followed = Followed::new().await;
    followed.bob_joins().await;
    let messages = followed.messages(&["one", "two", "three"]);
    let answers = futures::future::join_all((0..8).map(|_| followed.notify(&messages))).await;
    assert_eq!(answers, [201; 8]);
    assert_eq!(followed.read_at_least(3).await, messages);
}

/// One body holds a limited number of messages, however small they are.
#[tokio::test]
async fn a_batch_has_a_limit() {
    let mut followed = Followed::new().await;
    followed.bob_joins().await;
    let message = followed.messages(&["x"]).remove(0);
    let many = vec![message.clone(); mimi_hub_proto::MAX_FANOUT_MESSAGES + 1];
    let answer = followed
        .hub
        .post("notify", followed.room.as_str(), &encode_all(&many))
        .await;
    answer.expect_problem(400, "malformed-body");
    assert_eq!(followed.read().await, []);
    assert_eq!(followed.notify(&many[1..]).await, 201);
    assert_eq!(followed.read_at_least(1).await, [message]);
}

#[tokio::test]
async fn a_stream_waits_for_what_the_hub_sends() {
    let mut followed = Followed::new().await;
    followed.bob_joins().await;
    let messages = followed.messages(&["at last"]);
    let gateway = followed.follower.gateway();
    let user = user("b.example", "bob");
    let (page, status) = tokio::join!(gateway.events(&user, None, Duration::from_secs(10), 10), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        followed.notify(&messages).await
    });
    assert_eq!(status, 201);
    let page = page.unwrap();
    assert_eq!(page.events.len(), 1);
    assert_eq!(page.events[0].fanout_message, encode(&messages[0]));
}
