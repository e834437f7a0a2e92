//! What passes between nodes, and who carries it.
//!
//! The rest of the crate knows the [`Transport`] trait alone. [`ClusterNetwork`] is the one that servers use: every node
//! dials every other, three times, with a TCP connection of its own for each [`Class`] of traffic, so that a snapshot does
//! not hold up a forwarded request and neither of them a heartbeat.
//!
//! | class | dialer to acceptor | back | when the queue is full |
//! |---|---|---|---|
//! | Raft | frames of Raft messages | nothing | the frame is dropped, Raft sends again |
//! | request | requests of [`ClusterNetwork::forward`] | their responses | [`ForwardError::Overloaded`] |
//! | snapshot | chunks | what became of each | [`ForwardError::Overloaded`] |
//!
//! A connection begins with TLS 1.3, both sides with a certificate of the cluster's own CA for their node's name
//! ([`ClusterTls`]), then a hello and its answer. What is wrong with a peer is said in that answer, in words that tell the
//! operator of either side what to do.
//!
//! | file | owns |
//! |---|---|
//! | `frame` | layout of Raft messages in a frame |
//! | `wire` | layout of what goes over a connection |
//! | `hello` | who may talk to whom, and the words when not |
//! | `tls` | certificates |
//! | `dial` | a connection to a peer: kept up, and what leaves on it |
//! | `accept` | connections from peers, and what arrives on them |
//! | `requests` | requests under way |
//! | `network` | all of it together |

mod accept;
mod dial;
mod frame;
mod hello;
mod network;
mod requests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::oneshot;

pub use self::frame::DeliverError;
pub(crate) use self::frame::{decode, encode};
pub use self::network::{ClusterNetwork, HandlerFuture, NetworkConfig, NetworkLimits, PeerStatus, RequestHandler};
pub use self::requests::ForwardError;
pub use self::tls::{ClusterTls, node_name};
use crate::config::NodeId;
use crate::runtime::Delivery;

/// Where the answer to a bulk request goes.
pub type BulkReply = oneshot::Sender<Result<Bytes, ForwardError>>;

/// Carries frames to other nodes.
pub trait Transport: Send + Sync + 'static {
    /// Where everything that arrives from other nodes has to be given. Called once, before anything is sent.
    fn connect(&self, delivery: Delivery) {
        drop(delivery);
    }

    /// The other nodes, from now on, and where they are: to be dialed and let in; any that is not named is not any more.
    fn set_peers(&self, peers: &BTreeMap<NodeId, String>) {
        let _ = peers;
    }

    /// Sends `frame` to node `to`, or drops it: a loss is survived, a stall of the caller is not. To be given to the other
    /// node's [`Delivery::frame`]. On the worker's thread.
    fn send(&self, to: NodeId, frame: Vec<u8>);

    /// Sends a piece of a snapshot, to be given to the other node's [`Delivery::bulk`], and answers with what that returns.
    /// Must not hold up what [`send`](Self::send) carries. The default carries none.
    fn send_bulk(&self, to: NodeId, request: Bytes, reply: BulkReply) {
        drop(request);
        // Whoever asked may have lost interest.
        let _ = reply.send(Err(ForwardError::UnknownPeer(to)));
    }
}

/// The transport of a node without others.
pub(crate) struct NoPeers;

impl Transport for NoPeers {
    fn send(&self, to: NodeId, _frame: Vec<u8>) {
        // Nobody is in any group but this node, or the configuration would have been refused.
        tracing::error!(%to, "a message for another node on a node that has no transport");
    }
}
