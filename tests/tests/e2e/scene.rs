//! Where most tests begin: a room with some people in it; and how they end: the room unharmed.

use std::time::Duration;

use mimi_hub_ops::client::{Client, InitialState, ROLE_ADMIN, RoomView};
use mimi_hub_proto::components::UserRolePair;
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{UpdateResponseCode, UpdateRoomResponse};
use mimi_hub_tests::{Hub, RemoteClient, World, room, stream, user};

/// A room at a.example. Alice, an admin, has made it; Bob of b.example and Carol of c.example, admins too, have joined.
/// Their providers are no servers.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) hub: Hub,
    pub(crate) room: RoomUri,
    pub(crate) alice: Client,
    pub(crate) bob: RemoteClient,
    pub(crate) carol: RemoteClient,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with("", |_| {}).await
    }

    /// With these settings (TOML) of the hub, and the room as `change` leaves it.
    pub(crate) async fn with(settings: &str, change: impl FnOnce(&mut InitialState)) -> Self {
        let world = crate::world();
        let hub = world.hub_with("a.example", settings).await;
        let room = room("a.example", "clubhouse");
        let mut alice = hub.client("alice", "ClientA1", 0).await;
        let mut initial = InitialState::new(&room, user("a.example", "alice"), "Clubhouse").unwrap();
        for other in [user("b.example", "bob"), user("c.example", "carol")] {
            initial.participants.participants.push(UserRolePair {
                user: other,
                role_index: ROLE_ADMIN,
            });
        }
        change(&mut initial);
        alice.create_room_with(&room, &initial).await.unwrap();
        let bob = world.remote("mimi://b.example/u/bob", "mimi://b.example/d/ClientB1", "a.example");
        let carol = world.remote("mimi://c.example/u/carol", "mimi://c.example/d/ClientC1", "a.example");
        let mut scene = Self {
            world,
            hub,
            room,
            alice,
            bob,
            carol,
        };
        scene.bob.join(&scene.room).await;
        scene.carol.join(&scene.room).await;
        scene.follow().await;
        scene
    }

    /// Everybody takes in what has happened. (Bob and Carol from Alice's stream: what would be sent to their providers.)
    pub(crate) async fn follow(&mut self) {
        self.alice.sync(Duration::ZERO).await.unwrap();
        for event in stream::all(self.hub.gateway(), &self.alice_uri()).await {
            for other in [&mut self.bob, &mut self.carol] {
                other.state.receive(&event.room, &event.fanout_message).unwrap();
            }
        }
    }

    /// A second client of Bob's, in the room.
    pub(crate) async fn second_client_of_bob(&self) -> RemoteClient {
        let client = "mimi://b.example/d/ClientB2";
        let mut second = self.world.remote("mimi://b.example/u/bob", client, "a.example");
        second.join(&self.room).await;
        second
    }

    pub(crate) fn alice_uri(&self) -> UserUri {
        user("a.example", "alice")
    }

    /// Bob's provider sends an UpdateRequest as it is.
    pub(crate) async fn update(&self, body: &[u8]) -> UpdateRoomResponse {
        self.bob.peer.post("update", self.room.as_str(), body).await.mimi()
    }

    /// The answer is this refusal, and says why.
    pub(crate) fn refused(response: &UpdateRoomResponse, code: UpdateResponseCode, why: &str) {
        assert_eq!(response.response_code(), code, "{response:?}");
        assert!(
            response.error_description.contains(why),
            "{}",
            response.error_description
        );
    }

    pub(crate) async fn view(&self) -> RoomView {
        self.hub.view(&self.room).await
    }

    /// Nothing has changed since `before`, and the room works: a message of each goes through and is read by the other.
    pub(crate) async fn unharmed_since(&mut self, before: &RoomView) {
        let now = self.view().await;
        assert_eq!(format!("{now:?}"), format!("{before:?}"), "the room has changed");
        self.works().await;
    }

    /// A message of each goes through, and Alice reads Bob's.
    pub(crate) async fn works(&mut self) {
        self.follow().await;
        self.bob.send(&self.room, "still here").await;
        self.alice.send_text(&self.room, "so am I").await.unwrap();
        let room = self.room.clone();
        self.alice
            .sync_until("Bob's message", Duration::from_secs(20), move |state| {
                state.transcript(&room).iter().any(|entry| entry.text == "still here")
            })
            .await
            .unwrap();
        assert!(self.alice.state().failures(&self.room).is_empty());
    }

    /// The application messages in Alice's stream.
    pub(crate) async fn messages(&self) -> Vec<Vec<u8>> {
        stream::messages(self.hub.gateway(), &self.alice_uri(), &self.room).await
    }
}
