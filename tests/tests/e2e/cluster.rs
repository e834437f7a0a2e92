//! A provider of several nodes: any of them answers for any room, and none of them is missed for long.

use std::time::{Duration, Instant};

use mimi_hub_ops::client::{Client, ROLE_MEMBER, TreeOption};
use mimi_hub_proto::uri::RoomUri;
use mimi_hub_tests::{Hub, Nodes, World, client, room, stream, user};

/// A node's death may be noticed late on a busy machine; far below what a person would do about it.
const AWAY_MAX: Duration = Duration::from_secs(10);

struct Cluster {
    _world: World,
    nodes: Vec<Hub>,
    bobs: Hub,
    room: RoomUri,
    alice: Client,
    bob: Client,
}

impl Cluster {
    /// Three nodes of a.example, with Alice at the second; Bob of b.example, whose provider knows all three.
    async fn new() -> Self {
        let world = crate::world();
        let nodes = Nodes::start(&world, "a.example", 3, "").await.hubs;
        let addresses: Vec<String> = nodes.iter().map(|node| node.federation().to_string()).collect();
        let peers = format!("peers.'a.example'.address = '{}'", addresses.join(","));
        let bobs = world.hub_with("b.example", &peers).await;
        let room = room("a.example", "clubhouse");
        let mut alice = Client::new(
            nodes[1].gateway().clone(),
            client("a.example", "ClientA1"),
            user("a.example", "alice"),
            TreeOption::DistributionService,
        )
        .unwrap();
        alice.register(0).await.unwrap();
        let mut bob = bobs.client("bob", "ClientB1", 2).await;
        alice.create_room(&room, "Clubhouse").await.unwrap();
        alice
            .add_user(&room, &user("b.example", "bob"), ROLE_MEMBER)
            .await
            .unwrap();
        let joined = |state: &mimi_hub_ops::client::ClientState| state.is_member(&room);
        bob.sync_until("the Welcome", AWAY_MAX, joined).await.unwrap();
        Self {
            _world: world,
            nodes,
            bobs,
            room,
            alice,
            bob,
        }
    }

    /// The index of the node that leads the room.
    async fn leader(&self) -> usize {
        let leader = self.nodes[1].gateway().leader(&self.room).await.unwrap();
        usize::try_from(leader).unwrap() - 1
    }

    /// What Alice may read at a node: sent messages, in order.
    async fn read_at(&self, node: usize, count: usize) -> Vec<Vec<u8>> {
        stream::await_messages(
            self.nodes[node].gateway(),
            &user("a.example", "alice"),
            &self.room,
            count,
        )
        .await
    }
}

#[tokio::test]
async fn any_node_answers_for_any_room() {
    let cluster = Cluster::new().await;
    let views: Vec<u64> = {
        let mut epochs = Vec::new();
        for node in &cluster.nodes {
            epochs.push(node.gateway().room(&cluster.room).await.unwrap().unwrap().epoch);
        }
        epochs
    };
    assert_eq!(views, [1, 1, 1]);
}

#[tokio::test]
async fn a_room_outlives_any_node_and_has_everything_once() {
    let mut cluster = Cluster::new().await;
    let room = cluster.room.clone();
    let mut sent = 0;
    // Each node dies once: the leader first, then whichever leads by then, and so on. Alice's own node is spared, as the
    // test's gateway has no other; that a gateway goes on at the next node is the demo's part.
    for round in 0..2 {
        cluster.alice.send_text(&room, "before").await.unwrap();
        cluster.bob.send_text(&room, "before").await.unwrap();
        let leader = cluster.leader().await;
        let victim = if leader == 1 { 2 * round } else { leader };
        cluster.nodes[victim].kill().await;
        let killed = Instant::now();
        cluster.alice.send_text(&room, "after").await.unwrap();
        cluster.bob.send_text(&room, "after").await.unwrap();
        assert!(
            killed.elapsed() < AWAY_MAX,
            "the room was away for {:?}",
            killed.elapsed()
        );
        sent += 4;
        let survivors: Vec<usize> = (0..3).filter(|node| *node != victim).collect();
        let first = cluster.read_at(survivors[0], sent).await;
        assert_eq!(first.len(), sent, "each message once");
        assert_eq!(first, cluster.read_at(survivors[1], sent).await);
        // What it missed reaches it when it is back.
        cluster.nodes[victim].start().await;
        assert_eq!(first, cluster.read_at(victim, sent).await);
    }
    let bob = user("b.example", "bob");
    let received = stream::await_messages(cluster.bobs.gateway(), &bob, &room, sent).await;
    assert_eq!(
        received,
        cluster.read_at(0, sent).await,
        "the follower provider has the same, in the same order"
    );
}

#[tokio::test]
async fn a_node_that_stops_hands_its_rooms_over() {
    let mut cluster = Cluster::new().await;
    let room = cluster.room.clone();
    let mut sent = 0;
    for node in [0, 2] {
        cluster.alice.send_text(&room, "before").await.unwrap();
        let exit = cluster.nodes[node].stop().await;
        assert_eq!(exit.code, Some(0), "{}", exit.output);
        cluster.alice.send_text(&room, "after").await.unwrap();
        sent += 2;
        cluster.nodes[node].start().await;
        assert_eq!(cluster.read_at(node, sent).await.len(), sent);
    }
}
