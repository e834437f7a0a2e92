//! The wires between the nodes: a TCP proxy on loopback for each ordered pair, which can be cut in either direction.
//!
//! A cut wire is silent, as one with a firewall in it that drops packets: connections stay, new ones are taken, and nothing
//! goes through. What was on its way when the wire was cut arrives when it is healed, as TCP would resend it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::OpsError;
use crate::providers::Node;

const BUFFER: usize = 64 << 10;

/// All wires of a cluster. Dropping it takes them away.
pub(super) struct Links {
    gates: Arc<Gates>,
    _proxies: JoinSet<()>,
}

/// What may pass: one gate for each ordered pair of nodes, open when true.
struct Gates {
    nodes: usize,
    open: Vec<watch::Sender<bool>>,
}

impl Links {
    /// Listens where the nodes look for each other. Nothing is cut.
    pub(super) async fn start(nodes: &[Node]) -> Result<Self, OpsError> {
        let gates = Arc::new(Gates::new(nodes.len()));
        let mut proxies = JoinSet::new();
        for (from, node) in nodes.iter().enumerate() {
            for (to, port) in node.links.iter().enumerate() {
                if from == to {
                    continue;
                }
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).await;
                let listener = listener.map_err(|error| OpsError::Usage(format!("port {port}: {error}")))?;
                let target = nodes[to].cluster_port;
                proxies.spawn(serve(listener, target, Arc::clone(&gates), from, to));
            }
        }
        Ok(Self {
            gates,
            _proxies: proxies,
        })
    }

    /// Nothing that `from` sends reaches `to` any more.
    pub(super) fn cut(&self, from: usize, to: usize) {
        self.gates.gate(from, to).send_replace(false);
    }

    /// Everything passes again.
    pub(super) fn heal(&self) {
        for gate in &self.gates.open {
            gate.send_replace(true);
        }
    }
}

impl Gates {
    fn new(nodes: usize) -> Self {
        let open = (0..nodes * nodes).map(|_| watch::Sender::new(true)).collect();
        Self { nodes, open }
    }

    fn gate(&self, from: usize, to: usize) -> &watch::Sender<bool> {
        &self.open[from * self.nodes + to]
    }
}

async fn serve(listener: TcpListener, target: u16, gates: Arc<Gates>, from: usize, to: usize) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A connection that cannot be passed on is closed, and its node tries again.
                if let Ok((dialled, _)) = accepted {
                    connections.spawn(pass(dialled, target, Arc::clone(&gates), from, to));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn pass(dialled: TcpStream, target: u16, gates: Arc<Gates>, from: usize, to: usize) {
    let Ok(reached) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else {
        return;
    };
    if dialled.set_nodelay(true).is_err() || reached.set_nodelay(true).is_err() {
        return;
    }
    let (there, back) = (gates.gate(from, to).subscribe(), gates.gate(to, from).subscribe());
    let (dialled_read, dialled_write) = dialled.into_split();
    let (reached_read, reached_write) = reached.into_split();
    // When one side is gone the other is closed too.
    tokio::select! {
        () = carry(dialled_read, reached_write, there) => {}
        () = carry(reached_read, dialled_write, back) => {}
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut gate: watch::Receiver<bool>) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or_default();
        if gate.wait_for(|open| *open).await.is_err() || read == 0 {
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    async fn arrives(stream: &mut TcpStream) -> Option<u8> {
        let mut octet = [0];
        let read = tokio::time::timeout(SHORT, stream.read_exact(&mut octet)).await;
        read.ok().map(|read| {
            read.unwrap();
            octet[0]
        })
    }

    #[tokio::test]
    async fn a_wire_is_cut_in_one_direction_and_healed_without_loss() {
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = wire.local_addr().unwrap().port();
        let gates = Arc::new(Gates::new(2));
        let _proxy = tokio::spawn(serve(
            wire,
            target.local_addr().unwrap().port(),
            Arc::clone(&gates),
            0,
            1,
        ));
        let mut dialler = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (mut listener, _) = target.accept().await.unwrap();
        dialler.write_all(&[1]).await.unwrap();
        assert_eq!(arrives(&mut listener).await, Some(1));

        gates.gate(0, 1).send_replace(false);
        dialler.write_all(&[2]).await.unwrap();
        assert_eq!(arrives(&mut listener).await, None);
        listener.write_all(&[3]).await.unwrap();
        assert_eq!(arrives(&mut dialler).await, Some(3), "the other direction");

        gates.gate(0, 1).send_replace(true);
        assert_eq!(arrives(&mut listener).await, Some(2));
        drop(listener);
        assert_eq!(dialler.read(&mut [0]).await.unwrap(), 0, "an end is passed on");
    }
}
