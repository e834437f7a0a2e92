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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn founded(nodes: u64) -> MetaState {
        let mut state = MetaState::default();
        let nodes: BTreeMap<_, _> = (1..=nodes)
            .map(|id| (NodeId(id), format!("10.0.0.{id}:7400")))
            .collect();
        let places = vec![nodes.keys().copied().take(3).collect(); 4];
        state
            .apply(MetaCommand::Found {
                nodes,
                replicas: 3,
                places,
            })
            .unwrap();
        state
    }

    fn refused(state: &MetaState, command: MetaCommand) -> MetaError {
        let mut after = state.clone();
        let error = after.apply(command).unwrap_err();
        assert_eq!(after, *state, "a refused command changes nothing");
        error
    }

    #[test]
    fn a_node_is_drained_and_removed_only_when_enough_remain_and_it_holds_nothing() {
        let three = founded(3);
        let drain = |id, force| MetaCommand::Drain {
            node: NodeId(id),
            force,
        };
        let remove = |id| MetaCommand::Remove { node: NodeId(id) };
        assert!(matches!(
            refused(&three, drain(1, false)),
            MetaError::TooFew { remaining: 2, .. }
        ));
        assert_eq!(refused(&three, remove(1)), MetaError::Active(NodeId(1)));
        assert_eq!(refused(&three, drain(9, true)), MetaError::Unknown(NodeId(9)));
        let mut four = founded(4);
        four.apply(drain(1, false)).unwrap();
        let holding = MetaError::Holding {
            node: NodeId(1),
            shards: 4,
        };
        assert_eq!(refused(&four, remove(1)), holding);
        let places = (0..4).map(|shard| (shard, [2, 3, 4].map(NodeId).to_vec())).collect();
        four.apply(MetaCommand::Place {
            against: four.version,
            places,
        })
        .unwrap();
        four.apply(remove(1)).unwrap();
        let join = MetaCommand::Join {
            node: NodeId(1),
            address: "10.0.0.1:7400".to_owned(),
            zone: String::new(),
        };
        assert_eq!(refused(&four, join), MetaError::Removed(NodeId(1)));
        let mut lone = founded(1);
        assert!(matches!(refused(&lone, drain(1, true)), MetaError::TooFew { .. }));
        lone.apply(MetaCommand::Undrain { node: NodeId(1) }).unwrap();
        let mut forced = founded(3);
        forced.apply(drain(1, true)).unwrap();
        forced.apply(MetaCommand::Undrain { node: NodeId(1) }).unwrap();
        assert_eq!(forced.nodes[&NodeId(1)].standing, Standing::Active);
    }

    #[test]
    fn a_placement_decided_against_an_older_state_is_refused() {
        let mut state = founded(4);
        let against = state.version;
        let place = |ids: &[u64]| MetaCommand::Place {
            against,
            places: BTreeMap::from([(0, ids.iter().copied().map(NodeId).collect())]),
        };
        assert_eq!(refused(&state, place(&[1, 1, 2])), MetaError::Misplaced(NodeId(1)));
        assert_eq!(refused(&state, place(&[1, 2, 7])), MetaError::Misplaced(NodeId(7)));
        state.apply(place(&[2, 3, 4])).unwrap();
        assert_eq!(refused(&state, place(&[1, 2, 3])), MetaError::Stale);
        assert_eq!(state.place(ShardId(0)), [2, 3, 4].map(NodeId));
    }

    #[test]
    fn a_format_is_raised_when_every_node_understands_it_and_older_nodes_are_refused_then() {
        let mut state = founded(3);
        let announce = |id, format| MetaCommand::Announce {
            node: NodeId(id),
            address: format!("10.0.0.{id}:7400"),
            zone: "z".to_owned(),
            format,
        };
        let raise = MetaCommand::Raise { format: 2 };
        for (id, format) in [(1, 2), (2, 2), (3, 1)] {
            state.apply(announce(id, format)).unwrap();
        }
        let not_yet = MetaError::NotYet {
            node: NodeId(3),
            format: 2,
        };
        assert_eq!(refused(&state, raise.clone()), not_yet);
        state.apply(announce(3, 2)).unwrap();
        state.apply(raise).unwrap();
        assert_eq!(state.format, 2);
        assert!(matches!(refused(&state, announce(3, 1)), MetaError::TooOld { .. }));
    }

    #[test]
    fn keys_are_replaced_only_by_who_has_seen_the_last() {
        let mut state = founded(1);
        let keys = |against| MetaCommand::Keys { against, keys: vec![7] };
        state.apply(keys(0)).unwrap();
        assert_eq!(refused(&state, keys(0)), MetaError::Stale);
        state.apply(keys(1)).unwrap();
        assert_eq!(state.keys_version, 2);
    }

    #[test]
    fn the_meta_group_has_few_voters_spread_over_zones_and_every_node_as_a_learner() {
        let mut state = founded(9);
        for id in 1..=9 {
            let zone = if id <= 6 { "a" } else { "b" };
            let announce = MetaCommand::Announce {
                node: NodeId(id),
                address: String::new(),
                zone: zone.to_owned(),
                format: 1,
            };
            state.apply(announce).unwrap();
        }
        let target = state.meta_target(&Members::default());
        assert_eq!(target.voters.len(), 5);
        assert_eq!(target.learners.len(), 4);
        let in_b = target.voters.iter().filter(|node| node.0 > 6).count();
        assert_eq!(in_b, 2);
        let members = Members {
            voters: target.voters.iter().copied().collect(),
            ..Members::default()
        };
        let again = state.meta_target(&members);
        assert_eq!(
            again.voters.iter().collect::<BTreeSet<_>>(),
            target.voters.iter().collect()
        );
    }

    fn any_command() -> impl Strategy<Value = MetaCommand> {
        let node = || (1_u64..7).prop_map(NodeId);
        prop_oneof![
            (node(), any::<bool>()).prop_map(|(node, force)| MetaCommand::Drain { node, force }),
            node().prop_map(|node| MetaCommand::Undrain { node }),
            node().prop_map(|node| MetaCommand::Remove { node }),
            node().prop_map(|node| MetaCommand::Away { node }),
            node().prop_map(|node| MetaCommand::Back { node }),
            (node(), 0_u16..4).prop_map(|(node, format)| MetaCommand::Announce {
                node,
                address: "x:1".to_owned(),
                zone: "z".to_owned(),
                format,
            }),
            node().prop_map(|node| MetaCommand::Join {
                node,
                address: "x:1".to_owned(),
                zone: "z".to_owned(),
            }),
            (0_u64..12, prop::collection::vec(node(), 0..4)).prop_map(|(against, place)| MetaCommand::Place {
                against,
                places: BTreeMap::from([(1, place)]),
            }),
            (0_u16..4).prop_map(|format| MetaCommand::Raise { format }),
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_asked_places_name_present_nodes_once_and_the_last_active_node_stays(
            commands in prop::collection::vec(any_command(), 0..40),
        ) {
            let mut state = founded(4);
            for command in commands {
                let before = state.clone();
                let bytes = encode(&command).unwrap();
                prop_assert_eq!(&decode::<MetaCommand>(&bytes).unwrap(), &command);
                if state.apply(command).is_err() {
                    prop_assert_eq!(&before, &state);
                }
                for place in &state.places {
                    let distinct: BTreeSet<_> = place.iter().collect();
                    prop_assert_eq!(distinct.len(), place.len());
                    prop_assert!(place.iter().all(|node| state.nodes[node].standing != Standing::Removed));
                }
                prop_assert!(state.format >= before.format);
            }
        }
    }
}
