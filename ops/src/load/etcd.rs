//! etcd beside the hub: three of its nodes on this machine, which sync to disk on a quorum before they answer, as the hub does;
//! and clients that put values the way its own clients do, by gRPC over HTTP/2, each over a connection of its own.
//!
//! Of gRPC and Protocol Buffers this is what one call with two byte fields needs. etcd's connections are without TLS.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, TE};
use rustls::{ClientConfig, RootCertStore};
use tokio::process::{Child, Command};

use super::drive::Target;
use crate::OpsError;
use crate::providers::free_ports;

const NODES: usize = 3;
const READY_MAX: Duration = Duration::from_secs(30);
const READY_POLL: Duration = Duration::from_millis(100);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// gRPC: a byte that says "not compressed", and four of the message's length.
const FRAME_HEADER: usize = 5;

/// A running cluster. Dropping it ends its processes.
pub(super) struct Etcd {
    nodes: Vec<Node>,
}

struct Node {
    child: Child,
    client_port: u16,
    log: PathBuf,
}

/// One client.
#[derive(Clone)]
pub(super) struct EtcdClient {
    http: reqwest::Client,
    url: String,
}

impl Etcd {
    /// Starts it with its data in `folder`, and waits until every node answers.
    pub(super) async fn start(folder: &Path) -> Result<Self, OpsError> {
        let ports = free_ports(2 * NODES)?;
        let url = |port: u16| format!("http://{}:{port}", Ipv4Addr::LOCALHOST);
        let cluster: Vec<String> = (0..NODES)
            .map(|node| format!("etcd-{node}={}", url(ports[2 * node + 1])))
            .collect();
        let mut nodes = Vec::new();
        for node in 0..NODES {
            let home = folder.join(format!("etcd-{node}"));
            std::fs::create_dir_all(&home).map_err(OpsError::file(&home))?;
            let log = home.join("etcd.log");
            let (client, peer) = (url(ports[2 * node]), url(ports[2 * node + 1]));
            let output = File::create(&log).map_err(OpsError::file(&log))?;
            let child = Command::new("etcd")
                .args(["--name", &format!("etcd-{node}")])
                .arg("--data-dir")
                .arg(home.join("data"))
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &cluster.join(",")])
                .args(["--initial-cluster-state", "new"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(output)
                .kill_on_drop(true)
                .spawn();
            let child = child.map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => OpsError::Usage(
                    "--beside-etcd: there is no `etcd` in PATH (Debian: apt-get install etcd-server)".to_owned(),
                ),
                _ => OpsError::Usage(format!("etcd does not start: {error}")),
            })?;
            nodes.push(Node {
                child,
                client_port: ports[2 * node],
                log,
            });
        }
        let mut etcd = Self { nodes };
        let started = Instant::now();
        // A put on every node tells that it has a leader.
        for (node, client) in etcd.connect(NODES as u32)?.into_iter().enumerate() {
            while let Err(error) = client.send((b"ready".to_vec(), Vec::new())).await {
                let ended = etcd.nodes[node].child.try_wait().ok().flatten();
                if ended.is_some() || started.elapsed() > READY_MAX {
                    return Err(OpsError::Process {
                        provider: "etcd".to_owned(),
                        reason: ended.map_or(error, |status| format!("ended with {status}")),
                        log: etcd.nodes[node].log.clone(),
                    });
                }
                tokio::time::sleep(READY_POLL).await;
            }
        }
        Ok(etcd)
    }

    /// Clients, evenly over the nodes, each with a connection of its own.
    pub(super) fn connect(&self, clients: u32) -> Result<Vec<EtcdClient>, OpsError> {
        // Not used, but the HTTP client of this build wants to be told of its TLS.
        let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| OpsError::Usage(format!("no client for etcd: {error}")))?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let connect = |node: &Node| {
            let http = reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .http2_prior_knowledge()
                .no_proxy()
                .tcp_nodelay(true)
                .timeout(ANSWER_TIMEOUT)
                .build();
            let http = http.map_err(|error| OpsError::Usage(format!("no client for etcd: {error}")))?;
            let url = format!(
                "http://{}:{}/etcdserverpb.KV/Put",
                Ipv4Addr::LOCALHOST,
                node.client_port
            );
            Ok(EtcdClient { http, url })
        };
        self.nodes.iter().cycle().take(clients as usize).map(connect).collect()
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(|node| node.child.id()).collect()
    }

    pub(super) async fn stop(mut self) {
        for node in &mut self.nodes {
            // It ends with this program anyway.
            let _ = node.child.kill().await;
        }
    }
}

impl Target for EtcdClient {
    /// Key and value.
    type Request = (Vec<u8>, Vec<u8>);

    async fn send(&self, (key, value): Self::Request) -> Result<(), String> {
        let answer = self
            .http
            .post(&self.url)
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .body(put_request(&key, &value))
            .send()
            .await
            .map_err(|error| error.to_string())?;
        // A call that failed has its status in the header, and no message.
        if let Some(status) = answer.headers().get("grpc-status") {
            let message = answer.headers().get("grpc-message");
            return Err(format!("grpc-status {status:?}, {message:?}"));
        }
        let status = answer.status();
        let body = answer.bytes().await.map_err(|error| error.to_string())?;
        if !status.is_success() || !is_one_message(&body) {
            return Err(format!("{status}, {} bytes", body.len()));
        }
        Ok(())
    }
}

/// `etcdserverpb.PutRequest` in its gRPC frame: key is field 1, value field 2.
fn put_request(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; FRAME_HEADER];
    for (field, bytes) in [(1, key), (2, value)] {
        frame.push(field << 3 | 2);
        let mut left = bytes.len();
        while left >= 0x80 {
            frame.push((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        frame.push(left as u8);
        frame.extend_from_slice(bytes);
    }
    let length = (frame.len() - FRAME_HEADER) as u32;
    frame[1..FRAME_HEADER].copy_from_slice(&length.to_be_bytes());
    frame
}

/// A PutResponse, whose header is never empty, in its gRPC frame.
fn is_one_message(body: &[u8]) -> bool {
    match body.split_first_chunk::<FRAME_HEADER>() {
        Some(([0, a, b, c, d], message)) => {
            !message.is_empty() && u32::from_be_bytes([*a, *b, *c, *d]) as usize == message.len()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_is_laid_out_as_protocol_buffers_and_grpc_have_it() {
        assert_eq!(put_request(b"k", b"vv"), b"\0\0\0\0\x07\x0a\x01k\x12\x02vv");
        let long = put_request(b"k", &[7; 300]);
        assert_eq!(long[..11], *b"\0\0\0\x01\x32\x0a\x01k\x12\xac\x02");
        assert_eq!(long.len(), 11 + 300);
    }

    #[test]
    fn only_a_whole_message_is_an_answer() {
        assert!(is_one_message(b"\0\0\0\0\x02ab"));
        for bad in [&b""[..], b"\0\0\0\0\0", b"\0\0\0\0\x03ab", b"\x01\0\0\0\x02ab"] {
            assert!(!is_one_message(bad), "{bad:?}");
        }
    }
}
