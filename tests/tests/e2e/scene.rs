//! Where most tests begin: a room with some people in it; and how they end: the room unharmed.

use mimi_hub_ops::client::{Client, InitialState, ROLE_ADMIN, RoomView};
use mimi_hub_proto::components::UserRolePair;
use mimi_hub_proto::tls::{Decode, decode_exact};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_tests::{Hub, RemoteClient, World, room, stream, user};

/// A room at a.example. Alice, an admin, has made it; Bob, of b.example, which is no server, has joined.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) hub: Hub,
    pub(crate) room: RoomUri,
    pub(crate) alice: Client,
    pub(crate) bob: RemoteClient,
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
        initial.participants.participants.push(UserRolePair {
            user: user("b.example", "bob"),
            role_index: ROLE_ADMIN,
        });
        change(&mut initial);
        alice.create_room_with(&room, &initial).await.unwrap();
        let mut bob = world.remote("mimi://b.example/u/bob", "mimi://b.example/d/ClientB1", "a.example");
        bob.join(&room).await;
        alice.sync(std::time::Duration::ZERO).await.unwrap();
        Self {
            world,
            hub,
            room,
            alice,
            bob,
        }
    }

    pub(crate) fn alice_uri(&self) -> UserUri {
        user("a.example", "alice")
    }

    /// Bob's provider sends an UpdateRequest as it is.
    pub(crate) async fn update<T: Decode>(&self, body: &[u8]) -> T {
        self.bob.peer.post("update", self.room.as_str(), body).await.mimi()
    }

    /// Alice's gateway sends an UpdateRequest as it is.
    pub(crate) async fn update_as_alice<T: Decode>(&self, body: &[u8]) -> T {
        let gateway = self.hub.gateway();
        let answer = gateway.update(&self.alice_uri(), &self.room, body.to_vec()).await;
        decode_exact(&answer.unwrap()).unwrap()
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
        self.bob.send(&self.room, "still here").await;
        self.alice.send_text(&self.room, "so am I").await.unwrap();
        let room = self.room.clone();
        self.alice
            .sync_until("Bob's message", std::time::Duration::from_secs(20), move |state| {
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
