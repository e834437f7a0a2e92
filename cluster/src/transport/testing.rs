//! Certificates, and networks on loopback.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mimi_hub_storage::ClusterId;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use tokio::net::TcpListener;

use super::{ClusterNetwork, ClusterTls, HandlerFuture, NetworkConfig, NetworkLimits, RequestHandler, node_name};
use crate::config::NodeId;

/// A cluster CA.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn node(&self, node: NodeId) -> ClusterTls {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([node_name(node)]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        ClusterTls {
            ca: self.0.pem().into_bytes(),
            certificate: certificate.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
        }
    }
}

/// Answers with the sender and the request; `wait …` never.
pub(crate) struct Echo;

impl RequestHandler for Echo {
    fn handle(&self, from: NodeId, request: Bytes) -> HandlerFuture {
        Box::pin(async move {
            if request.starts_with(b"wait") {
                std::future::pending::<()>().await;
            }
            Bytes::from([from.to_string().as_bytes(), b": ", &request].concat())
        })
    }
}

pub(crate) fn limits() -> NetworkLimits {
    NetworkLimits {
        ping: Duration::from_millis(50),
        silence: Duration::from_secs(2),
        ..NetworkLimits::default()
    }
}

pub(crate) async fn bind() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

pub(crate) fn network_config(
    node: u64,
    listener: TcpListener,
    peers: &BTreeMap<NodeId, String>,
    tls: ClusterTls,
) -> NetworkConfig {
    NetworkConfig {
        cluster: ClusterId([7; 16]),
        node: NodeId(node),
        shards: 1,
        listener,
        detours: BTreeMap::default(),
        peers: peers.clone(),
        tls,
        limits: limits(),
    }
}

/// Two nodes, 1 and 2, each told how it differs from what the other expects.
pub(crate) async fn pair(
    ca: &Ca,
    change: impl FnOnce(&mut NetworkConfig, &mut NetworkConfig),
) -> (ClusterNetwork, ClusterNetwork) {
    let ((one, one_address), (two, two_address)) = (bind().await, bind().await);
    let peers = BTreeMap::from([(NodeId(1), one_address), (NodeId(2), two_address)]);
    let mut one = network_config(1, one, &peers, ca.node(NodeId(1)));
    let mut two = network_config(2, two, &peers, ca.node(NodeId(2)));
    change(&mut one, &mut two);
    let start = |config| ClusterNetwork::start(config, Arc::new(Echo)).unwrap();
    (start(one), start(two))
}

/// Why `network` cannot reach `peer`, once the text holds `part`.
pub(crate) async fn trouble(network: &ClusterNetwork, peer: u64, part: &str) -> String {
    let mut last = None;
    for _ in 0..500 {
        last = network
            .peers()
            .into_iter()
            .find(|status| status.node == NodeId(peer))
            .and_then(|status| status.trouble);
        if last.as_ref().is_some_and(|text| text.contains(part)) {
            return last.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("`{part}` is not in {last:?}");
}

pub(crate) async fn connected(network: &ClusterNetwork) {
    for _ in 0..500 {
        if network.peers().iter().all(|peer| peer.trouble.is_none()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not connected: {:?}", network.peers());
}
