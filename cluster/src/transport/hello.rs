//! Who may talk to whom.
//!
//! The dialer's first frame. Its head never changes, so that nodes of any two releases can tell each other that they do not
//! fit: `magic (8 bytes) | oldest protocol (2) | newest protocol (2)`. What follows belongs to the newest protocol that the
//! dialer speaks.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use mimi_hub_storage::ClusterId;

use super::wire::WireError;
use crate::config::NodeId;

const MAGIC: &[u8; 8] = b"mimi-hub";
/// The oldest and the newest protocol between nodes that this release speaks.
pub(super) const PROTOCOLS: (u16, u16) = (1, 1);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Class {
    /// Raft's messages.
    Raft = 1,
    /// Forwarded requests.
    Request = 2,
    /// Snapshots.
    Snapshot = 3,
}

impl Class {
    pub(super) const ALL: [Self; 3] = [Self::Raft, Self::Request, Self::Snapshot];
}

/// Who the dialer is, whom it wants, and what it takes for given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) protocols: (u16, u16),
    pub(super) cluster: ClusterId,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    /// Drawn anew at every start of the process.
    pub(super) instance: u64,
    pub(super) shards: u32,
    pub(super) class: Class,
    /// The dialer's clock, milliseconds since the Unix epoch.
    pub(super) now_ms: u64,
}

/// What the acceptor takes for given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    pub(super) instance: u64,
    pub(super) shards: u32,
    pub(super) now_ms: u64,
    pub(super) max_skew_ms: u64,
}

/// Why a dialer is not taken in. Said to both sides.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "node {from} has a certificate that is not for {name}: give it the certificate that was made for this node id"
    )]
    Certificate { from: NodeId, name: String },
    #[error(
        "the clock of node {from} is {seconds} s {direction} that of node {node}: let NTP set the clocks of both machines"
    )]
    Clock {
        from: NodeId,
        node: NodeId,
        seconds: u64,
        direction: &'static str,
    },
    #[error(
        "node {from} belongs to cluster {theirs}, node {node} to cluster {ours}: correct the addresses, or give the node the \
         data folder and configuration of one cluster"
    )]
    Cluster {
        from: NodeId,
        node: NodeId,
        theirs: ClusterId,
        ours: ClusterId,
    },
    #[error(
        "two running processes say that they are node {0}: stop one of them, and give every node an id and a data folder of \
         its own"
    )]
    Duplicate(NodeId),
    #[error("the hello does not read: the other side is not a node of this software")]
    Malformed,
    #[error(
        "protocol versions {} to {} meet {} to {} of this node: upgrade the node with the lower ones",
        .theirs.0, .theirs.1, .ours.0, .ours.1
    )]
    Protocol { theirs: (u16, u16), ours: (u16, u16) },
    #[error("node {from} counts {theirs} shards, node {node} {ours}: the number is fixed when a cluster is created")]
    Shards {
        from: NodeId,
        node: NodeId,
        theirs: u32,
        ours: u32,
    },
    #[error("node {from} is not among the nodes that node {node} knows: let it in with `mimi-hub cluster join`")]
    Stranger { from: NodeId, node: NodeId },
    #[error(
        "node {from} looked for node {wanted} and found node {node}: correct the address that it has for node {wanted}"
    )]
    WrongNode { from: NodeId, wanted: NodeId, node: NodeId },
}

impl Hello {
    /// Lays out the hello.
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_slice(MAGIC);
        bytes.put_u16(self.protocols.0);
        bytes.put_u16(self.protocols.1);
        bytes.put_slice(&self.cluster.0);
        bytes.put_u64(self.from.0);
        bytes.put_u64(self.to.0);
        bytes.put_u64(self.instance);
        bytes.put_u32(self.shards);
        bytes.put_u8(self.class as u8);
        bytes.put_u64(self.now_ms);
        bytes.freeze()
    }

    /// Reads a hello, as far as the protocols allow.
    pub(super) fn decode(mut bytes: Bytes) -> Result<Self, Refusal> {
        let malformed = |_| Refusal::Malformed;
        if !bytes.starts_with(MAGIC) {
            return Err(Refusal::Malformed);
        }
        bytes.advance(MAGIC.len());
        let theirs = (
            bytes.try_get_u16().map_err(malformed)?,
            bytes.try_get_u16().map_err(malformed)?,
        );
        if theirs.1 < PROTOCOLS.0 || theirs.0 > PROTOCOLS.1 {
            return Err(Refusal::Protocol {
                theirs,
                ours: PROTOCOLS,
            });
        }
        let mut cluster = [0; 16];
        bytes.try_copy_to_slice(&mut cluster).map_err(malformed)?;
        let from = NodeId(bytes.try_get_u64().map_err(malformed)?);
        let to = NodeId(bytes.try_get_u64().map_err(malformed)?);
        let instance = bytes.try_get_u64().map_err(malformed)?;
        let shards = bytes.try_get_u32().map_err(malformed)?;
        let class = bytes.try_get_u8().map_err(malformed)?;
        let class = Class::ALL.into_iter().find(|known| *known as u8 == class);
        Ok(Self {
            protocols: theirs,
            cluster: ClusterId(cluster),
            from,
            to,
            instance,
            shards,
            class: class.ok_or(Refusal::Malformed)?,
            now_ms: bytes.try_get_u64().map_err(malformed)?,
        })
    }

    /// Checks the dialer against what the acceptor takes for given.
    pub(super) fn check(&self, expected: &Expected) -> Result<(), Refusal> {
        let (from, node) = (self.from, expected.node);
        if self.cluster != expected.cluster {
            return Err(Refusal::Cluster {
                from,
                node,
                theirs: self.cluster,
                ours: expected.cluster,
            });
        }
        if from == node && self.instance != expected.instance {
            return Err(Refusal::Duplicate(node));
        }
        if self.to != node {
            return Err(Refusal::WrongNode {
                from,
                wanted: self.to,
                node,
            });
        }
        if self.shards != expected.shards {
            return Err(Refusal::Shards {
                from,
                node,
                theirs: self.shards,
                ours: expected.shards,
            });
        }
        let skew = self.now_ms.abs_diff(expected.now_ms);
        if skew > expected.max_skew_ms {
            return Err(Refusal::Clock {
                from,
                node,
                seconds: skew / 1000,
                direction: if self.now_ms > expected.now_ms {
                    "ahead of"
                } else {
                    "behind"
                },
            });
        }
        Ok(())
    }
}

/// Why a dialer did not get through.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("cannot connect to {address}: {source}")]
    Connect { address: String, source: std::io::Error },
    #[error("the other side refuses: {0}")]
    Refused(String),
    #[error("{0}")]
    Tls(String),
    #[error("no answer in time")]
    Timeout,
    #[error(transparent)]
    Wire(#[from] WireError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hello() -> Hello {
        Hello {
            protocols: PROTOCOLS,
            cluster: ClusterId([1; 16]),
            from: NodeId(2),
            to: NodeId(1),
            instance: 77,
            shards: 64,
            class: Class::Request,
            now_ms: 5_000_000,
        }
    }

    fn expected() -> Expected {
        Expected {
            cluster: ClusterId([1; 16]),
            node: NodeId(1),
            instance: 11,
            shards: 64,
            now_ms: 5_000_400,
            max_skew_ms: 500,
        }
    }

    #[test]
    fn a_hello_reads_as_written_and_not_in_part() {
        let bytes = hello().encode();
        assert_eq!(Hello::decode(bytes.clone()), Ok(hello()));
        for length in 0..bytes.len() {
            assert_eq!(Hello::decode(bytes.slice(..length)), Err(Refusal::Malformed));
        }
    }

    #[test]
    fn other_protocols_are_told_before_anything_else_is_read() {
        let (old, new) = ((0, PROTOCOLS.0 - 1), (PROTOCOLS.1 + 1, PROTOCOLS.1 + 3));
        for theirs in [old, new] {
            let bytes = Hello {
                protocols: theirs,
                ..hello()
            }
            .encode();
            // Their layout may be any other one.
            let error = Hello::decode(bytes.slice(..13)).unwrap_err();
            assert_eq!(
                error,
                Refusal::Protocol {
                    theirs,
                    ours: PROTOCOLS
                }
            );
            assert!(error.to_string().contains("upgrade the node with the lower ones"));
        }
        let wider = Hello {
            protocols: (0, PROTOCOLS.1 + 9),
            ..hello()
        };
        assert_eq!(Hello::decode(wider.encode()), Ok(wider));
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        assert_eq!(hello().check(&expected()), Ok(()));
        let refused = |change: fn(&mut Hello)| {
            let mut hello = hello();
            change(&mut hello);
            hello.check(&expected()).unwrap_err().to_string()
        };
        assert!(refused(|hello| hello.cluster = ClusterId([2; 16])).contains("of one cluster"));
        assert!(refused(|hello| hello.from = NodeId(1)).contains("stop one of them"));
        assert!(refused(|hello| hello.to = NodeId(3)).contains("correct the address"));
        assert!(refused(|hello| hello.shards = 63).contains("fixed when a cluster is created"));
        let behind = refused(|hello| hello.now_ms -= 3_600_000);
        assert!(behind.contains("3600 s behind that of node 1: let NTP set"), "{behind}");
        let ahead = refused(|hello| hello.now_ms += 3_600_000);
        assert!(ahead.contains("3599 s ahead of that of node 1"), "{ahead}");
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Hello::decode(Bytes::from([MAGIC.as_slice(), &bytes].concat()));
            let _ = Hello::decode(bytes.into());
        }
    }
}
