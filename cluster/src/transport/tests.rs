//! Networks over real TLS on loopback.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mimi_hub_storage::ClusterId;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::hello::{Class, Hello, PROTOCOLS};
use super::testing::{Ca, Echo, bind, connected, network_config, pair, trouble};
use super::wire::{self, Kind, WireError};
use super::*;
use crate::error::NetworkError;

const LONG: Duration = Duration::from_secs(10);

/// A dialer of node 2's that says what it is told to.
async fn dial(ca: &Ca, address: &str) -> TlsStream<TcpStream> {
    let sides = ca.node(NodeId(2)).sides(NodeId(2)).unwrap();
    let name = ServerName::try_from(node_name(NodeId(1))).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(sides.client).connect(name, stream).await.unwrap()
}

fn hello() -> Hello {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    Hello {
        protocols: PROTOCOLS,
        cluster: ClusterId([7; 16]),
        from: NodeId(2),
        to: NodeId(1),
        instance: 5,
        shards: 1,
        class: Class::Request,
        now_ms: now.as_millis() as u64,
    }
}

async fn say(stream: &mut TlsStream<TcpStream>, frame: &[u8]) -> Result<(Kind, Bytes), WireError> {
    stream.write_all(frame).await.unwrap();
    stream.flush().await.unwrap();
    wire::read(stream, 1000).await
}

/// Node 1, and where it listens. It cannot reach node 2.
async fn lone(ca: &Ca) -> (ClusterNetwork, String) {
    let (listener, address) = bind().await;
    let (_, nobody) = bind().await;
    let config = network_config(1, listener, &BTreeMap::from([(NodeId(2), nobody)]), ca.node(NodeId(1)));
    (ClusterNetwork::start(config, Arc::new(Echo)).unwrap(), address)
}

/// What node 1 answers to a first frame.
async fn refused(frame: &[u8]) -> String {
    let ca = Ca::new();
    let (_network, address) = lone(&ca).await;
    let (kind, body) = say(&mut dial(&ca, &address).await, frame).await.unwrap();
    assert_eq!(kind, Kind::Refusal);
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_request_is_carried_out_by_the_other_node_which_knows_the_sender() {
    let (one, two) = pair(&Ca::new(), |_, _| {}).await;
    connected(&one).await;
    connected(&two).await;
    assert_eq!(
        one.forward(NodeId(2), Bytes::from_static(b"hello"), LONG)
            .await
            .unwrap(),
        "1: hello"
    );
    let large = Bytes::from(vec![b'x'; 3 << 20]);
    assert_eq!(
        two.forward(NodeId(1), large.clone(), LONG).await.unwrap().len(),
        large.len() + 3
    );
    let unknown = one.forward(NodeId(9), Bytes::new(), LONG).await;
    assert_eq!(unknown, Err(ForwardError::UnknownPeer(NodeId(9))));
    let huge = one.forward(NodeId(2), vec![0; 41 << 20].into(), LONG).await;
    assert!(matches!(huge, Err(ForwardError::TooLarge { .. })), "{huge:?}");
}

#[tokio::test]
async fn a_request_ends_with_its_deadline_or_with_the_connection() {
    let (one, two) = pair(&Ca::new(), |_, _| {}).await;
    connected(&one).await;
    let wait = Bytes::from_static(b"wait");
    let late = one.forward(NodeId(2), wait.clone(), Duration::from_millis(50)).await;
    assert_eq!(late, Err(ForwardError::Deadline));
    let (lost, ()) = tokio::join!(one.forward(NodeId(2), wait.clone(), LONG), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        two.stop().await;
    });
    assert_eq!(lost, Err(ForwardError::Lost));
    trouble(&one, 2, "connect").await;
    let refused = one.forward(NodeId(2), wait, LONG).await;
    assert!(matches!(refused, Err(ForwardError::NotConnected { .. })), "{refused:?}");
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_while_others_are_carried_out() {
    let (one, _two) = pair(&Ca::new(), |_, two| two.limits.max_requests = 2).await;
    connected(&one).await;
    let wait = || one.forward(NodeId(2), Bytes::from_static(b"wait"), Duration::from_millis(300));
    let (first, second, third) = tokio::join!(wait(), wait(), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        wait().await
    });
    let late = Err(ForwardError::Deadline);
    assert_eq!((first, second), (late.clone(), late));
    assert_eq!(third, Err(ForwardError::Overloaded));
    // Those that nobody waits for any more have made room.
    tokio::time::sleep(Duration::from_millis(50)).await;
    one.forward(NodeId(2), Bytes::from_static(b"x"), LONG).await.unwrap();
}

#[tokio::test]
async fn a_full_snapshot_connection_does_not_hold_up_requests() {
    let (one, _two) = pair(&Ca::new(), |one, _| one.limits.max_bytes = 9 << 20).await;
    connected(&one).await;
    let mut answers = Vec::new();
    for _ in 0..20 {
        let (reply, answer) = oneshot::channel();
        one.send_bulk(NodeId(2), vec![0; 8 << 20].into(), reply);
        answers.push(answer);
    }
    one.forward(NodeId(2), Bytes::from_static(b"x"), LONG).await.unwrap();
    let mut full = 0;
    for answer in answers {
        full += usize::from(answer.await.unwrap() == Err(ForwardError::Overloaded));
    }
    assert!(full > 10, "{full} of 20 were refused");
}

#[tokio::test]
async fn a_node_that_was_away_is_dialed_until_it_is_back() {
    let ca = Ca::new();
    let (listener, address) = bind().await;
    drop(listener);
    let (one, _other) = {
        let moved = address.clone();
        pair(&ca, |one, _| drop(one.peers.insert(NodeId(2), moved))).await
    };
    trouble(&one, 2, "cannot connect to").await;
    let listener = TcpListener::bind(&address).await.unwrap();
    let peers = BTreeMap::from([(NodeId(1), "127.0.0.1:1".to_owned())]);
    let back = network_config(2, listener, &peers, ca.node(NodeId(2)));
    // The one that runs under this id is not connected to node 1 on this side.
    _other.stop().await;
    let _back = ClusterNetwork::start(back, Arc::new(Echo)).unwrap();
    connected(&one).await;
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused_on_both_sides() {
    let stranger = Ca::new().node(NodeId(2));
    let (one, two) = pair(&Ca::new(), |_, two| two.tls = stranger).await;
    let text = trouble(&one, 2, "not signed by this cluster's CA").await;
    assert!(text.contains("give both nodes certificates of one CA"), "{text}");
    trouble(&two, 1, "not signed by this cluster's CA").await;
}

#[tokio::test]
async fn a_dialer_that_the_acceptor_does_not_trust_is_told_so() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let both = [ours.node(NodeId(2)).ca, theirs.node(NodeId(2)).ca].concat();
    // It trusts the acceptor, but not the other way round.
    let (_one, two) = pair(&ours, |_, two| {
        two.tls = ClusterTls {
            ca: both,
            ..theirs.node(NodeId(2))
        };
    })
    .await;
    trouble(&two, 1, "does not accept this node's certificate").await;
}

#[tokio::test]
async fn a_node_needs_its_own_certificate() {
    let ca = Ca::new();
    let (listener, _) = bind().await;
    let config = network_config(1, listener, &BTreeMap::new(), ca.node(NodeId(2)));
    let error = ClusterNetwork::start(config, Arc::new(Echo)).unwrap_err();
    assert!(matches!(error, NetworkError::WrongCertificate { .. }), "{error:?}");
    assert!(error.to_string().contains("node-1.cluster.internal"), "{error}");
    // One that says it is another than its certificate.
    let text = refused(&wire::frame(
        Kind::Hello,
        &[&Hello {
            from: NodeId(3),
            ..hello()
        }
        .encode()],
    ))
    .await;
    assert!(text.contains("not for node-3.cluster.internal"), "{text}");
}

#[tokio::test]
async fn other_releases_are_told_who_has_to_upgrade() {
    let with = |protocols| Hello { protocols, ..hello() }.encode();
    for protocols in [(0, 0), (PROTOCOLS.1 + 1, PROTOCOLS.1 + 1)] {
        let text = refused(&wire::frame(Kind::Hello, &[&with(protocols)])).await;
        assert!(text.contains("upgrade the node with the lower ones"), "{text}");
    }
    let mut newer = wire::frame(Kind::Hello, &[&hello().encode()]).to_vec();
    newer[4] = wire::VERSION + 1;
    assert!(refused(&newer).await.contains("upgrade this node"));
    newer[4] = wire::VERSION - 1;
    assert!(refused(&newer).await.contains("upgrade the other node"));
}

#[tokio::test]
async fn what_does_not_read_is_refused() {
    assert!(
        refused(&wire::frame(Kind::Hello, &[b"GET / HTTP/1.1"]))
            .await
            .contains("does not read")
    );
    assert!(
        refused(&wire::frame(Kind::Raft, &[b"x"]))
            .await
            .contains("does not read")
    );
    assert!(refused(&[0xff; 6]).await.contains("upgrade"));
    // Once it is let in, a damaged frame ends the connection.
    let ca = Ca::new();
    let (_network, address) = lone(&ca).await;
    let mut stream = dial(&ca, &address).await;
    let welcome = say(&mut stream, &wire::frame(Kind::Hello, &[&hello().encode()])).await;
    assert_eq!(welcome.unwrap().0, Kind::Welcome);
    assert_eq!(
        say(&mut stream, &wire::frame(Kind::Ping, &[])).await.unwrap().0,
        Kind::Pong
    );
    let mut damaged = wire::frame(Kind::Ping, &[]).to_vec();
    damaged[5] = 0xee;
    assert!(say(&mut stream, &damaged).await.is_err());
}

#[tokio::test]
async fn another_cluster_and_another_clock_are_refused() {
    let (one, _two) = pair(&Ca::new(), |_, two| two.cluster = ClusterId([8; 16])).await;
    trouble(&one, 2, "the data folder and configuration of one cluster").await;
    let (one, _two) = pair(&Ca::new(), |_, two| two.shards = 2).await;
    trouble(&one, 2, "fixed when a cluster is created").await;
    let hour_ahead = Hello {
        now_ms: hello().now_ms + 3_600_000,
        ..hello()
    };
    let text = refused(&wire::frame(Kind::Hello, &[&hour_ahead.encode()])).await;
    assert!(
        text.contains("ahead of that of node 1: let NTP set the clocks"),
        "{text}"
    );
}

#[tokio::test]
async fn two_processes_with_one_node_id_are_told_so() {
    let ca = Ca::new();
    let (listener, address) = bind().await;
    let (one, one_address) = bind().await;
    let one = network_config(1, one, &BTreeMap::from([(NodeId(2), address)]), ca.node(NodeId(1)));
    let _one = ClusterNetwork::start(one, Arc::new(Echo)).unwrap();
    let peers = BTreeMap::from([(NodeId(1), one_address)]);
    let first = network_config(2, listener, &peers, ca.node(NodeId(2)));
    let first = ClusterNetwork::start(first, Arc::new(Echo)).unwrap();
    connected(&first).await;
    let (listener, _) = bind().await;
    let second = network_config(2, listener, &peers, ca.node(NodeId(2)));
    let second = ClusterNetwork::start(second, Arc::new(Echo)).unwrap();
    trouble(&second, 1, "two running processes say that they are node 2").await;
    // With the first one gone, it is let in.
    first.stop().await;
    connected(&second).await;
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_given_up() {
    let ca = Ca::new();
    let (network, address) = {
        let (listener, address) = bind().await;
        let mut config = network_config(
            1,
            listener,
            &BTreeMap::from([(NodeId(2), "127.0.0.1:1".to_owned())]),
            ca.node(NodeId(1)),
        );
        config.limits.silence = Duration::from_millis(200);
        (ClusterNetwork::start(config, Arc::new(Echo)).unwrap(), address)
    };
    let mut stream = dial(&ca, &address).await;
    say(&mut stream, &wire::frame(Kind::Hello, &[&hello().encode()]))
        .await
        .unwrap();
    let ended = tokio::time::timeout(LONG, wire::read(&mut stream, 1000)).await.unwrap();
    assert!(ended.is_err());
    network.stop().await;
}

#[tokio::test]
async fn a_node_that_is_not_in_the_configuration_is_refused_until_it_is_added() {
    let (one, two) = pair(&Ca::new(), |one, _| drop(one.peers.remove(&NodeId(2)))).await;
    let text = trouble(&two, 1, "not among the nodes").await;
    assert!(text.contains("let it in with"), "{text}");
    assert_eq!(one.peers(), []);
    one.add_peer(NodeId(2), "127.0.0.1:1".to_owned());
    connected(&two).await;
    let greeting = Bytes::from_static(b"hello");
    two.forward(NodeId(1), greeting.clone(), LONG).await.unwrap();
    one.remove_peer(NodeId(2));
    let unknown = one.forward(NodeId(2), greeting, LONG).await;
    assert_eq!(unknown, Err(ForwardError::UnknownPeer(NodeId(2))));
}
