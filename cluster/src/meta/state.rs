//! What the nodes agree on about themselves, and what each command does to it. Pure and deterministic.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::moves::Target;
use super::placement::Candidate;
use crate::config::NodeId;
use crate::members::Members;
use crate::shard::ShardId;

/// Voters of the meta group, at most. The other nodes have a replica without a vote.
pub(crate) const META_VOTERS_MAX: usize = 5;

const VERSION: u8 = 1;

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// Holds replicas.
    Active,
    /// Is to lose its replicas, and then to be removed or taken back.
    Draining,
    /// Has not been heard of for so long that its replicas are placed on others.
    Away,
    /// Belongs to the cluster no more. Its number is not given again.
    Removed,
}

/// A node, as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Where the others reach it, `host:port`.
    pub address: String,
    /// What it fails together with.
    pub zone: String,
    /// How it stands.
    pub standing: Standing,
    /// The newest format that it understands; 0 while it has not said so.
    pub format: u16,
}

/// What the nodes agree on about themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaState {
    /// How often it has changed.
    pub version: u64,
    /// Replicas that a shard should have.
    pub replicas: u32,
    /// Every node that there is or was.
    pub nodes: BTreeMap<NodeId, NodeRecord>,
    /// By shard: the nodes that should hold it, the one that should lead it first.
    pub places: Vec<Vec<NodeId>>,
    /// The format that every node understands.
    pub format: u16,
    /// How often the keys have changed; 0 while there are none.
    pub keys_version: u64,
    /// The hub's keys, sealed by whoever uses the cluster.
    pub keys: Vec<u8>,
}

/// A change of the [`MetaState`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetaCommand {
    /// The cluster is created.
    Found {
        /// Where its first nodes are.
        nodes: BTreeMap<NodeId, String>,
        /// Replicas that a shard should have.
        replicas: u32,
        /// Where the shards are.
        places: Vec<Vec<NodeId>>,
    },
    /// A node that runs says what it is.
    Announce {
        /// The node.
        node: NodeId,
        /// Where the others reach it.
        address: String,
        /// Its zone.
        zone: String,
        /// The newest format that it understands.
        format: u16,
    },
    /// A new node is let in.
    Join {
        /// Its number, never used before.
        node: NodeId,
        /// Where the others reach it.
        address: String,
        /// Its zone.
        zone: String,
    },
    /// A node is to lose its replicas.
    Drain {
        /// The node.
        node: NodeId,
        /// Even when fewer nodes remain than a shard should have replicas.
        force: bool,
    },
    /// A node that was to be drained stays.
    Undrain {
        /// The node.
        node: NodeId,
    },
    /// A drained node, or one that is away, is removed for good.
    Remove {
        /// The node.
        node: NodeId,
    },
    /// A node has been silent for too long.
    Away {
        /// The node.
        node: NodeId,
    },
    /// It is back.
    Back {
        /// The node.
        node: NodeId,
    },
    /// Shards get new places.
    Place {
        /// The version of the state that this was decided against.
        against: u64,
        /// By shard.
        places: BTreeMap<u32, Vec<NodeId>>,
    },
    /// The keys are replaced.
    Keys {
        /// The version of the keys that this was decided against.
        against: u64,
        /// The new ones, sealed.
        keys: Vec<u8>,
    },
    /// Every node understands this format by now.
    Raise {
        /// The format.
        format: u16,
    },
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum MetaError {
    /// The cluster exists.
    #[error("the cluster has been created already")]
    Founded,
    /// No such node.
    #[error("node {0} does not belong to the cluster: let it in with `mimi-hub cluster join`")]
    Unknown(NodeId),
    /// The number has been used.
    #[error("there is a node {0} already: give the new one a number that was never used")]
    Taken(NodeId),
    /// The node was removed.
    #[error(
        "node {0} was removed from the cluster: give the machine a new number and an empty data folder, and join it"
    )]
    Removed(NodeId),
    /// Too few nodes would remain.
    #[error(
        "without node {node} there are {remaining} active nodes for {replicas} replicas of each shard: join another node \
         first, or insist with --force"
    )]
    TooFew {
        /// The node.
        node: NodeId,
        /// Active nodes without it.
        remaining: u32,
        /// Replicas that a shard should have.
        replicas: u32,
    },
    /// The node still works.
    #[error("node {0} is active: drain it first")]
    Active(NodeId),
    /// It has replicas.
    #[error("node {node} still has {shards} shards: wait until `mimi-hub cluster nodes` says that it has none")]
    Holding {
        /// The node.
        node: NodeId,
        /// How many.
        shards: u32,
    },
    /// Another change came first.
    #[error("the cluster has changed meanwhile: look again")]
    Stale,
    /// It names a node that cannot hold a replica.
    #[error("a placement names node {0}, which cannot hold a replica")]
    Misplaced(NodeId),
    /// A node is of an older release than the cluster's data.
    #[error("node {node} understands formats up to {understood}, the cluster writes {written}: upgrade the node")]
    TooOld {
        /// The node.
        node: NodeId,
        /// What it understands.
        understood: u16,
        /// What the cluster writes.
        written: u16,
    },
    /// A node does not understand the format.
    #[error("node {node} does not understand format {format} yet: upgrade it")]
    NotYet {
        /// A node that does not.
        node: NodeId,
        /// The format.
        format: u16,
    },
}

impl MetaState {
    /// Whether the cluster has been created.
    pub fn is_founded(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// Where a shard should be: the node that should lead it first.
    pub fn place(&self, shard: ShardId) -> &[NodeId] {
        self.places.get(shard.0 as usize).map_or(&[], Vec::as_slice)
    }

    /// The nodes that were not removed.
    pub fn present(&self) -> impl Iterator<Item = (NodeId, &NodeRecord)> {
        let present = self.nodes.iter().filter(|(_, node)| node.standing != Standing::Removed);
        present.map(|(id, node)| (*id, node))
    }

    /// Carries out a command, or says why not; then nothing has changed.
    ///
    /// # Errors
    /// See [`MetaError`].
    pub fn apply(&mut self, command: MetaCommand) -> Result<(), MetaError> {
        let mut after = self.clone();
        after.carry_out(command)?;
        if after != *self {
            after.version += 1;
            *self = after;
        }
        Ok(())
    }

    fn carry_out(&mut self, command: MetaCommand) -> Result<(), MetaError> {
        match command {
            MetaCommand::Found {
                nodes,
                replicas,
                places,
            } => {
                if self.is_founded() {
                    return Err(MetaError::Founded);
                }
                let record = |address| NodeRecord {
                    address,
                    zone: String::new(),
                    standing: Standing::Active,
                    format: 0,
                };
                self.nodes = nodes.into_iter().map(|(id, address)| (id, record(address))).collect();
                (self.replicas, self.format) = (replicas, 1);
                for place in &places {
                    self.check_place(place)?;
                }
                self.places = places;
            }
            MetaCommand::Announce {
                node,
                address,
                zone,
                format,
            } => {
                let written = self.format;
                let record = self.present_mut(node)?;
                if format < written {
                    return Err(MetaError::TooOld {
                        node,
                        understood: format,
                        written,
                    });
                }
                (record.address, record.zone, record.format) = (address, zone, format);
            }
            MetaCommand::Join { node, address, zone } => match self.nodes.get(&node) {
                Some(known) if known.standing == Standing::Removed => return Err(MetaError::Removed(node)),
                // The same again, after an answer that got lost.
                Some(known) if known.address == address && known.zone == zone => {}
                Some(_) => return Err(MetaError::Taken(node)),
                None => {
                    let record = NodeRecord {
                        address,
                        zone,
                        standing: Standing::Active,
                        format: 0,
                    };
                    self.nodes.insert(node, record);
                }
            },
            MetaCommand::Drain { node, force } => {
                self.present_mut(node)?;
                let others = self
                    .nodes
                    .iter()
                    .filter(|(id, record)| **id != node && record.standing == Standing::Active);
                let (remaining, replicas) = (others.count() as u32, self.replicas);
                if remaining == 0 || remaining < replicas && !force {
                    return Err(MetaError::TooFew {
                        node,
                        remaining,
                        replicas,
                    });
                }
                self.present_mut(node)?.standing = Standing::Draining;
            }
            MetaCommand::Undrain { node } => {
                let record = self.present_mut(node)?;
                if record.standing == Standing::Draining {
                    record.standing = Standing::Active;
                }
            }
            MetaCommand::Remove { node } => {
                match self.nodes.get(&node).map(|record| record.standing) {
                    None => return Err(MetaError::Unknown(node)),
                    Some(Standing::Active) => return Err(MetaError::Active(node)),
                    Some(Standing::Draining | Standing::Away | Standing::Removed) => {}
                }
                let shards = self.places.iter().filter(|places| places.contains(&node)).count() as u32;
                if shards > 0 {
                    return Err(MetaError::Holding { node, shards });
                }
                if let Some(record) = self.nodes.get_mut(&node) {
                    record.standing = Standing::Removed;
                }
            }
            MetaCommand::Away { node } => {
                let record = self.present_mut(node)?;
                if record.standing == Standing::Active {
                    record.standing = Standing::Away;
                }
            }
            MetaCommand::Back { node } => {
                let record = self.present_mut(node)?;
                if record.standing == Standing::Away {
                    record.standing = Standing::Active;
                }
            }
            MetaCommand::Place { against, places } => {
                if against != self.version {
                    return Err(MetaError::Stale);
                }
                for (shard, place) in places {
                    self.check_place(&place)?;
                    if let Some(slot) = self.places.get_mut(shard as usize) {
                        *slot = place;
                    }
                }
            }
            MetaCommand::Keys { against, keys } => {
                if against != self.keys_version {
                    return Err(MetaError::Stale);
                }
                self.keys_version += 1;
                self.keys = keys;
            }
            MetaCommand::Raise { format } => {
                if let Some((node, _)) = self.present().find(|(_, record)| record.format < format) {
                    return Err(MetaError::NotYet { node, format });
                }
                self.format = self.format.max(format);
            }
        }
        Ok(())
    }

    fn present_mut(&mut self, node: NodeId) -> Result<&mut NodeRecord, MetaError> {
        match self.nodes.get_mut(&node) {
            None => Err(MetaError::Unknown(node)),
            Some(record) if record.standing == Standing::Removed => Err(MetaError::Removed(node)),
            Some(record) => Ok(record),
        }
    }

    fn check_place(&self, place: &[NodeId]) -> Result<(), MetaError> {
        let mut seen = BTreeSet::new();
        for node in place {
            let record = self.nodes.get(node);
            let gone = record.is_none_or(|record| record.standing == Standing::Removed);
            if gone || !seen.insert(*node) {
                return Err(MetaError::Misplaced(*node));
            }
        }
        Ok(())
    }

    /// The nodes that may hold replicas.
    pub(crate) fn candidates(&self) -> BTreeMap<NodeId, Candidate> {
        let active = self
            .nodes
            .iter()
            .filter(|(_, record)| record.standing == Standing::Active);
        active
            .map(|(id, record)| {
                let zone = record.zone.clone();
                (*id, Candidate { zone })
            })
            .collect()
    }

    /// Where a shard's replicas should be.
    pub(crate) fn target(&self, shard: ShardId) -> Target {
        Target {
            voters: self.place(shard).to_vec(),
            learners: BTreeSet::new(),
        }
    }

    /// Where the meta group's replicas should be: a vote for a few active nodes, those that have one first, spread over zones;
    /// none for the others.
    pub(crate) fn meta_target(&self, members: &Members) -> Target {
        let active = self
            .nodes
            .iter()
            .filter(|(_, record)| record.standing == Standing::Active);
        let mut rest: Vec<(NodeId, &str)> = active.map(|(id, record)| (*id, record.zone.as_str())).collect();
        let mut voters: Vec<NodeId> = Vec::new();
        let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
        while voters.len() < META_VOTERS_MAX {
            let best = rest.iter().enumerate().min_by_key(|(_, (node, zone))| {
                let crowd = zones.get(zone).copied().unwrap_or_default();
                (crowd, !members.voters.contains(node), *node)
            });
            let Some((at, _)) = best else { break };
            let (node, zone) = rest.remove(at);
            *zones.entry(zone).or_default() += 1;
            voters.push(node);
        }
        let learners = self
            .present()
            .map(|(id, _)| id)
            .filter(|id| !voters.contains(id))
            .collect();
        Target { voters, learners }
    }
}

/// Lays out a command, a state or an answer: the format version and bincode.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, String> {
    let mut bytes = vec![VERSION];
    let body = bincode::serde::encode_to_vec(value, bincode::config::standard()).map_err(|error| error.to_string())?;
    bytes.extend(body);
    Ok(bytes)
}

/// Reads what [`encode`] laid out.
pub(crate) fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, String> {
    let body = match bytes.split_first() {
        Some((&VERSION, body)) => body,
        Some((version, _)) => return Err(format!("format version {version}, this binary knows {VERSION}")),
        None => return Err("empty".to_owned()),
    };
    let read = bincode::serde::decode_from_slice(body, bincode::config::standard());
    read.map(|(value, _)| value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
