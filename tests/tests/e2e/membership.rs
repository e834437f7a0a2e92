//! Nodes that come and go while the rooms are in use, and a node that has lost its state.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mimi_hub_ops::client::{Client, TreeOption};
use mimi_hub_proto::uri::RoomUri;
use mimi_hub_storage::{Batch, SledConfig, SledStore, StateStore as _};
use mimi_hub_tests::{Nodes, World, client, room, stream, user};
use serde_json::{Value, json};

const ROOMS: usize = 6;

/// A user with a few rooms, who speaks to one node.
async fn speaker(nodes: &Nodes, at: usize, name: &str) -> (Client, Vec<RoomUri>) {
    let mut speaker = Client::new(
        nodes.hubs[at - 1].gateway().clone(),
        client("a.example", &format!("{name}-phone")),
        user("a.example", name),
        TreeOption::DistributionService,
    )
    .unwrap();
    speaker.register(0).await.unwrap();
    let mut rooms = Vec::new();
    for number in 0..ROOMS {
        let room = room("a.example", &format!("{name}-{number}"));
        speaker.create_room(&room, "Room").await.unwrap();
        rooms.push(room);
    }
    (speaker, rooms)
}

/// Sends to all rooms in turn until told to stop. Every request has to succeed. Returns how many messages each room got.
async fn speak(mut speaker: Client, rooms: Vec<RoomUri>, stop: Arc<AtomicBool>) -> usize {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        for room in &rooms {
            speaker.send_text(room, "still here").await.unwrap();
        }
        sent += 1;
    }
    sent
}

fn counts(nodes: &Value, of: &str, numbers: &[u64]) -> Vec<u64> {
    let rows = nodes.as_array().unwrap().iter();
    let rows = rows.filter(|row| numbers.contains(&row["node"].as_u64().unwrap()));
    rows.map(|row| row[of].as_u64().unwrap()).collect()
}

/// Whether these nodes hold everything, within one of even, and the others nothing.
fn is_even(nodes: &Value, numbers: &[u64]) -> bool {
    let all: Vec<u64> = nodes
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["node"].as_u64().unwrap())
        .collect();
    let others: Vec<u64> = all.into_iter().filter(|number| !numbers.contains(number)).collect();
    let even = |of, sum: u64| {
        let held = counts(nodes, of, numbers);
        held.iter().sum::<u64>() == sum && held.iter().max().unwrap() - held.iter().min().unwrap() <= 1
    };
    // There are eight shards.
    even("replicas", 24) && even("leaders", 8) && counts(nodes, "replicas", &others).iter().all(|held| *held == 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_become_five_and_three_again_under_load_and_no_request_fails() {
    let world: World = crate::world();
    let mut nodes = Nodes::start(&world, "a.example", 3, "").await;
    let (alice, rooms) = speaker(&nodes, 2, "alice").await;
    let stop = Arc::new(AtomicBool::new(false));
    let speaking = tokio::spawn(speak(alice, rooms.clone(), Arc::clone(&stop)));
    nodes
        .until(2, "nodes", "three even nodes", |nodes| is_even(nodes, &[1, 2, 3]))
        .await;
    assert_eq!(nodes.join(&world, 2).await, 4);
    assert_eq!(nodes.join(&world, 1).await, 5);
    nodes
        .until(4, "nodes", "five even nodes", |nodes| is_even(nodes, &[1, 2, 3, 4, 5]))
        .await;
    // A node without a replica of a room answers for it like any other.
    for node in &nodes.hubs {
        for room in &rooms {
            assert!(node.gateway().room(room).await.unwrap().is_some());
        }
    }
    for number in [1, 3] {
        let body = json!({ "node": number });
        nodes.admin(5).post("drain", &body).await.unwrap();
    }
    nodes
        .until(2, "nodes", "three even nodes again", |nodes| is_even(nodes, &[2, 4, 5]))
        .await;
    for number in [1, 3] {
        nodes.admin(2).post("remove", &json!({ "node": number })).await.unwrap();
        let exit = nodes.hubs[number - 1].stop().await;
        assert_eq!(exit.code, Some(0), "{}", exit.output);
    }
    nodes
        .until(4, "status", "a healthy cluster of three", |status| {
            status["healthy"] == json!(true) && status["nodes"] == json!(3)
        })
        .await;
    stop.store(true, Ordering::Relaxed);
    let sent = speaking.await.expect("no request fails");
    assert!(sent > 10, "only {sent} messages a room: the test tests little");
    for node in [2, 4, 5] {
        for room in &rooms {
            let gateway = nodes.hubs[node - 1].gateway();
            let read = stream::await_messages(gateway, &user("a.example", "alice"), room, sent).await;
            assert_eq!(read.len(), sent, "{room} at node {node}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_state_store_does_not_open_gets_it_from_the_others() {
    let world: World = crate::world();
    let mut nodes = Nodes::start(&world, "a.example", 3, "").await;
    let (mut alice, rooms) = speaker(&nodes, 1, "alice").await;
    for room in &rooms {
        alice.send_text(room, "before").await.unwrap();
    }
    nodes.hubs[2].kill().await;
    let state = nodes.hubs[2].home().join("data").join("state");
    for file in fs::read_dir(&state).unwrap().map(|file| file.unwrap().path()) {
        if file.is_file() {
            fs::write(&file, b"what a broken disk gives back").unwrap();
        }
    }
    for room in &rooms {
        alice.send_text(room, "meanwhile").await.unwrap();
    }
    nodes.hubs[2].start().await;
    let whole = |nodes: &Value| {
        let rows = nodes.as_array().unwrap();
        rows.len() == 3
            && rows
                .iter()
                .all(|row| row["rebuilding"] == json!(0) && row["reachable"] == json!(true))
    };
    nodes.until(3, "nodes", "a node with its state", whole).await;
    let set_aside = fs::read_dir(state.parent().unwrap()).unwrap();
    let set_aside = set_aside.filter(|file| {
        let name = file.as_ref().unwrap().file_name().into_string().unwrap();
        name.starts_with("state.damaged-")
    });
    assert_eq!(set_aside.count(), 1);
    // It is worth something again: without another node, a majority needs it.
    nodes.hubs[1].kill().await;
    for room in &rooms {
        alice.send_text(room, "after").await.unwrap();
        let read = stream::await_messages(nodes.hubs[2].gateway(), &user("a.example", "alice"), room, 3).await;
        assert_eq!(read.len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_differs_is_found_and_rebuilt() {
    let world: World = crate::world();
    let mut nodes = Nodes::start(&world, "a.example", 3, "").await;
    let (mut alice, rooms) = speaker(&nodes, 1, "alice").await;
    for room in &rooms {
        alice.send_text(room, "before").await.unwrap();
    }
    nodes
        .until(1, "status", "a format with checksums", |status| {
            status["format"].as_u64() >= Some(2)
        })
        .await;
    let check = async |nodes: &Nodes| -> Vec<Value> {
        let mut rows = Vec::new();
        for shard in 0..8 {
            let answer = nodes.admin(1).post("check", &json!({ "shard": shard })).await.unwrap();
            rows.push(serde_json::from_slice(&answer).unwrap());
        }
        rows
    };
    assert!(check(&nodes).await.iter().all(|row| row["agree"] == json!(true)));
    // A bit that a disk has turned: of shard 5, a key that only node 3 has.
    assert_eq!(nodes.hubs[2].stop().await.code, Some(0));
    let state = nodes.hubs[2].home().join("data").join("state");
    {
        let store = SledStore::open(&state, &SledConfig::default()).unwrap();
        let mut batch = Batch::default();
        batch.put([0, 0, 0, 5, 1, b'?'].to_vec(), b"wrong".to_vec());
        store.write(batch).unwrap();
        store.flush().unwrap();
    }
    nodes.hubs[2].start().await;
    nodes
        .until(3, "status", "a healthy cluster", |status| {
            status["healthy"] == json!(true)
        })
        .await;
    let rows = check(&nodes).await;
    for row in &rows {
        let differs = row["shard"] == json!(5);
        assert_eq!(row["agree"], json!(!differs), "{row}");
        assert_eq!(row["set_aside"], if differs { json!([3]) } else { json!([]) }, "{row}");
    }
    let exit = nodes.hubs[2].ended().await;
    assert!(
        exit.output.contains("differs from that of the majority"),
        "{}",
        exit.output
    );
    nodes.hubs[2].start().await;
    nodes
        .until(3, "status", "a healthy cluster again", |status| {
            status["healthy"] == json!(true)
        })
        .await;
    assert!(check(&nodes).await.iter().all(|row| row["agree"] == json!(true)));
}

#[tokio::test]
async fn what_would_harm_the_cluster_is_refused_with_what_to_do() {
    let world: World = crate::world();
    let nodes = Nodes::start(&world, "a.example", 3, "").await;
    nodes
        .until(1, "status", "a healthy cluster", |status| {
            status["healthy"] == json!(true)
        })
        .await;
    let refused = async |what, body: Value| nodes.admin(1).post(what, &body).await.unwrap_err().to_string();
    for (what, body, says) in [
        ("drain", json!({ "node": 2 }), "join another node first"),
        ("drain", json!({ "node": 9 }), "does not belong to the cluster"),
        ("remove", json!({ "node": 2 }), "still has 8 shards"),
        (
            "join",
            json!({ "node": 2, "address": "127.0.0.1:1" }),
            "a number that was never used",
        ),
        ("join", json!({ "node": 4, "address": "nowhere" }), "host:port"),
        ("join", json!({ "node": 0, "address": "127.0.0.1:1" }), "number from 1"),
        ("join", json!({ "node": 4 }), "missing field"),
        ("transfer-leader", json!({ "shard": 99, "to": 1 }), "no shard 99"),
        (
            "transfer-leader",
            json!({ "shard": 1, "to": 7 }),
            "node 7 has no replica",
        ),
    ] {
        let text = refused(what, body.clone()).await;
        assert!(text.contains(says), "{what} {body}: {text}");
    }
    // A gateway is no operator.
    let stranger = nodes.admin_as(1, "gateway").get::<Value>("status").await;
    assert!(stranger.is_err());
    let status: Value = nodes.admin(3).get("status").await.unwrap();
    assert_eq!((&status["nodes"], &status["healthy"]), (&json!(3), &json!(true)));
}

#[tokio::test]
async fn a_node_that_was_not_let_in_stays_outside_and_says_so() {
    let world: World = crate::world();
    let mut nodes = Nodes::start(&world, "a.example", 1, "").await;
    let mut stranger = nodes.uninvited(&world);
    stranger.launch();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let exit = stranger.stop().await;
    assert!(
        exit.output.contains("is not among the nodes that node 1 knows"),
        "{}",
        exit.output
    );
    assert_eq!(
        exit.code,
        Some(0),
        "it stops when it is told to, with nothing to serve: {}",
        exit.output
    );
    assert_eq!(nodes.join(&world, 1).await, 2);
}
