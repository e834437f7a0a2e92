//! Asking entities whose shard another node leads.
//!
//! Any node takes any request and answers it; what it needs of an entity is asked of the entity's actor, which lives on the
//! node that leads the entity's shard. Here an ask finds its way there, and once more when the leader has changed meanwhile.
//! An ask that may be sent twice is safe: what must happen once carries its request's hash.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mimi_hub_cluster::{HandlerFuture, Leadership, MetaCommand, NodeId, RequestHandler, ShardId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use crate::actor::{AskError, Entity, Registry, Reply};
use crate::command::{FormatError, RequestHash, decode, encode};
use crate::entity::EntityId;
use crate::hub::Hub;
use crate::repair;
use crate::service;
use crate::service::events::{self, Readable, ShardRead};
use crate::service::scan::{self, Scan};

/// How often an ask is sent: to the leader that is known at first, and to whoever follows it.
const ATTEMPTS_MAX: usize = 3;

/// How long a leader that has not answered is passed over. An election takes less; one that still leads then is asked again.
const PASSED_OVER: Duration = Duration::from_secs(1);

/// How long a shard may be without a leader before its requests are refused. Longer than an election takes.
const LEADERLESS_MAX: Duration = Duration::from_secs(2);

/// How long a node may take from its election until it leads.
const TAKING_OVER_MAX: Duration = Duration::from_millis(500);

/// Between two looks at who leads.
const LEADER_POLL: Duration = Duration::from_millis(10);

/// The same for a shard of which there is no replica here: somebody else has to be asked.
const OVERTHROWN_ELSEWHERE_POLL: Duration = Duration::from_millis(500);

/// How long another node may take to say who leads a shard.
const WHO_LEADS_MAX: Duration = Duration::from_millis(300);

/// Between two looks at whether the node that was asked still leads.
const OVERTHROWN_POLL: Duration = Duration::from_millis(50);

/// How long another node may take for an ask.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What one node asks of another.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Asked {
    /// An entity's request, encoded as its kind has it.
    Entity {
        id: EntityId,
        hash: Option<RequestHash>,
        #[serde(with = "serde_bytes")]
        request: Vec<u8>,
    },
    /// What a user may read of a shard's rooms.
    Read(ShardRead),
    /// A change of the cluster, asked of the meta group's leader.
    Meta(MetaCommand),
    /// Which node leads a shard.
    WhoLeads(u32),
    /// How the node stands.
    Report,
    /// A shard's leadership is to go to another node.
    Transfer { shard: u32, to: NodeId },
    /// A comparison of the replicas of a shard, asked of its leader.
    Compare(u32),
    /// The last checksum of a shard.
    Checksum(u32),
    /// The node's replica of a shard differs from those of the majority.
    Differs(u32),
    /// What stands in a shard across its entities.
    Scan(Scan),
}

impl Hub {
    /// Asks an entity's actor, wherever it is.
    pub(crate) async fn ask<E: Entity>(
        self: &Arc<Self>,
        registry: &Registry<E>,
        id: EntityId,
        hash: Option<RequestHash>,
        request: E::Request,
    ) -> Result<Reply<E::Answer>, AskError> {
        if self.network().is_none() {
            return registry.ask(self, &id, hash, request).await;
        }
        let encoded = encode(&request).map_err(|error| AskError::Internal(error.to_string()))?;
        let mut request = Some(request);
        let mut answer = Err(AskError::Unavailable);
        let mut asked_before = None;
        for _ in 0..ATTEMPTS_MAX {
            let leader = self.leader(self.shard_of(&id), asked_before).await?;
            asked_before = Some(leader);
            answer = match leader {
                Leader::Here => {
                    let request = match request.take() {
                        Some(request) => request,
                        None => decode(&encoded).map_err(|error| AskError::Internal(error.to_string()))?,
                    };
                    registry.ask(self, &id, hash, request).await
                }
                Leader::There(node) => {
                    let asked = Asked::Entity {
                        id: id.clone(),
                        hash,
                        request: encoded.clone(),
                    };
                    self.ask_leader(node, self.shard_of(&id), &asked).await
                }
            };
            if !matches!(answer, Err(AskError::Unavailable)) {
                return answer;
            }
        }
        answer
    }

    /// Reads at the node that leads the shard.
    pub(crate) async fn readable(self: &Arc<Self>, read: &ShardRead) -> Result<Vec<Readable>, AskError> {
        // Pages of a stream are large: where they are here, they are not laid out and read again.
        if matches!(self.cluster().leadership(read.shard()), Leadership::Leader { .. }) {
            let answer = events::readable(self, read).await;
            if !matches!(answer, Err(AskError::Unavailable)) {
                return answer;
            }
        }
        self.at_leader(read.shard(), &Asked::Read(read.clone())).await
    }

    /// Asks whoever leads the shard something that is no entity's, this node included.
    pub(crate) async fn at_leader<T: DeserializeOwned>(
        self: &Arc<Self>,
        shard: ShardId,
        asked: &Asked,
    ) -> Result<T, AskError> {
        let mut answer = Err(AskError::Unavailable);
        let mut asked_before = None;
        for _ in 0..ATTEMPTS_MAX {
            let leader = self.leader(shard, asked_before).await?;
            asked_before = Some(leader);
            answer = match leader {
                Leader::Here => {
                    let bytes = self.answer(asked.clone()).await;
                    understood(bytes.and_then(|bytes| decode(&bytes)))
                }
                Leader::There(node) => self.ask_leader(node, shard, asked).await,
            };
            if !matches!(answer, Err(AskError::Unavailable)) {
                return answer;
            }
        }
        answer
    }

    /// Reads across the entities of a shard, at the node that leads it. `T` is what the kind of scan gives.
    pub(crate) async fn scan<T: DeserializeOwned>(self: &Arc<Self>, scan: &Scan) -> Result<T, AskError> {
        self.at_leader(scan.shard(), &Asked::Scan(scan.clone())).await
    }

    /// Asks the node that leads a shard, for as long as it does: one that hangs is not waited for when another has taken over.
    async fn ask_leader<T: DeserializeOwned>(
        &self,
        node: NodeId,
        shard: ShardId,
        asked: &Asked,
    ) -> Result<T, AskError> {
        let overthrown = async {
            while !self.cluster().has_replica(shard) {
                // It does not hear of it by itself.
                sleep(OVERTHROWN_ELSEWHERE_POLL).await;
                if self
                    .named_elsewhere(shard, Some(node))
                    .await
                    .is_some_and(|leader| leader != node)
                {
                    return;
                }
            }
            loop {
                sleep(OVERTHROWN_POLL).await;
                match self.cluster().leadership(shard) {
                    Leadership::Follower { leader } if leader.is_none_or(|leader| leader == node) => {}
                    Leadership::Follower { .. } | Leadership::Leader { .. } => return,
                }
            }
        };
        tokio::select! {
            answer = self.ask_node(node, asked, ANSWER_MAX) => answer,
            () = overthrown => {
                tracing::debug!(%node, %shard, "another node leads now than was asked");
                Err(AskError::Unavailable)
            }
        }
    }

    pub(crate) async fn ask_node<T: DeserializeOwned>(
        &self,
        node: NodeId,
        asked: &Asked,
        time: Duration,
    ) -> Result<T, AskError> {
        let network = self.network().ok_or(AskError::Unavailable)?;
        let request = encode(asked).map_err(|error| AskError::Internal(error.to_string()))?;
        match network.forward(node, request.into(), time).await {
            Ok(answer) => understood(decode(&answer)),
            Err(error) => {
                tracing::debug!(%node, %error, "another node does not answer");
                Err(AskError::Unavailable)
            }
        }
    }

    /// The node that leads an entity's shard, once one does.
    pub(crate) async fn leader_of(&self, id: &EntityId) -> Result<NodeId, AskError> {
        Ok(match self.leader(self.shard_of(id), None).await? {
            Leader::Here => self.cluster().node(),
            Leader::There(node) => node,
        })
    }

    /// Who leads the shard, once somebody does; preferably not who was asked before and did not answer.
    async fn leader(&self, shard: ShardId, asked_before: Option<Leader>) -> Result<Leader, AskError> {
        let started = Instant::now();
        loop {
            let leader = match self.cluster().leadership(shard) {
                Leadership::Leader { .. } => Some(Leader::Here),
                Leadership::Follower { leader: Some(node) } => Some(Leader::There(node)),
                Leadership::Follower { leader: None } if self.cluster().has_replica(shard) => None,
                Leadership::Follower { leader: None } => self.leader_elsewhere(shard, asked_before).await,
            };
            match leader {
                Some(leader) if Some(leader) != asked_before || started.elapsed() >= PASSED_OVER => return Ok(leader),
                None if started.elapsed() >= LEADERLESS_MAX => return Err(AskError::Unavailable),
                Some(_) | None => sleep(LEADER_POLL).await,
            }
        }
    }

    /// Who leads a shard of which this node has no replica: whoever did the last time, or whom its replicas name.
    async fn leader_elsewhere(&self, shard: ShardId, asked_before: Option<Leader>) -> Option<Leader> {
        if let Some(node) = self.leaders_elsewhere().get(shard)
            && asked_before != Some(Leader::There(node))
        {
            return Some(Leader::There(node));
        }
        self.named_elsewhere(shard, None).await.map(Leader::There)
    }

    /// Whom a replica of the shard on another node names as its leader; all but one, of which it is known what it says.
    async fn named_elsewhere(&self, shard: ShardId, except: Option<NodeId>) -> Option<NodeId> {
        let state = self.cluster().meta()?;
        let others = |node: &&NodeId| **node != self.cluster().node() && Some(**node) != except;
        for node in state.place(shard).iter().filter(others) {
            let named = self.ask_node(*node, &Asked::WhoLeads(shard.0), WHO_LEADS_MAX).await;
            if let Ok(Some(leader)) = named {
                self.leaders_elsewhere().set(shard, leader);
                return Some(leader);
            }
        }
        None
    }

    /// Carries out what another node asks.
    async fn answer(self: &Arc<Self>, asked: Asked) -> Result<Vec<u8>, FormatError> {
        match asked {
            Asked::Read(read) => encode(&events::readable(self, &read).await),
            Asked::Meta(command) => encode(&self.change_meta(&command).await),
            Asked::WhoLeads(shard) => {
                let leader = match self.cluster().leadership(ShardId(shard)) {
                    Leadership::Leader { .. } => Some(self.cluster().node()),
                    Leadership::Follower { leader } => leader,
                };
                encode(&Ok::<_, AskError>(leader))
            }
            Asked::Report => encode(&Ok::<_, AskError>(service::cluster::report(self))),
            Asked::Compare(shard) => encode(&repair::compare(self, ShardId(shard)).await),
            Asked::Checksum(shard) => encode(&Ok::<_, AskError>(self.cluster().checksum(ShardId(shard)))),
            Asked::Differs(shard) => {
                let hub = Arc::clone(self);
                // After the answer.
                self.runtime().spawn(async move {
                    sleep(Duration::from_secs(1)).await;
                    repair::give_up(&hub, ShardId(shard));
                });
                encode(&Ok::<_, AskError>(()))
            }
            Asked::Transfer { shard, to } => {
                self.cluster().transfer(ShardId(shard), to);
                encode(&Ok::<_, AskError>(()))
            }
            Asked::Scan(scan) => scan::answer(self, &scan).await,
            Asked::Entity { id, hash, request } => match &id {
                EntityId::Room(_) => self.answer_as(self.rooms(), &id, hash, &request).await,
                EntityId::Followed(_) => self.answer_as(self.followed(), &id, hash, &request).await,
                EntityId::User(_) => self.answer_as(self.users(), &id, hash, &request).await,
            },
        }
    }

    /// Whether this node leads the shard, or does in a moment: others hear of an election before the one that has won it has
    /// applied the entry that makes it the leader. One that is sent away then would pass this node over for a second.
    async fn leads_soon(&self, shard: ShardId) -> bool {
        let until = Instant::now() + TAKING_OVER_MAX;
        loop {
            match self.cluster().leadership(shard) {
                Leadership::Leader { .. } => return true,
                Leadership::Follower { leader: None }
                    if self.cluster().has_replica(shard) && Instant::now() < until =>
                {
                    sleep(LEADER_POLL).await;
                }
                Leadership::Follower { .. } => return false,
            }
        }
    }

    async fn answer_as<E: Entity>(
        self: &Arc<Self>,
        registry: &Registry<E>,
        id: &EntityId,
        hash: Option<RequestHash>,
        request: &[u8],
    ) -> Result<Vec<u8>, FormatError> {
        // Not passed on any further: whoever asks looks again who leads.
        let answer = if self.leads_soon(self.shard_of(id)).await {
            registry.ask(self, id, hash, decode(request)?).await
        } else {
            Err(AskError::Unavailable)
        };
        encode(&answer)
    }
}

/// What another node answered, or that this cannot be read.
fn understood<T>(answer: Result<Result<T, AskError>, FormatError>) -> Result<T, AskError> {
    answer.map_err(|error| AskError::Internal(error.to_string()))?
}

/// The leaders of shards of which this node has no replica, as they were last named. A wrong one costs another look.
#[derive(Default)]
pub(crate) struct LeadersElsewhere(Mutex<HashMap<ShardId, NodeId>>);

impl LeadersElsewhere {
    fn get(&self, shard: ShardId) -> Option<NodeId> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&shard)
            .copied()
    }

    fn set(&self, shard: ShardId, leader: NodeId) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(shard, leader);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leader {
    Here,
    There(NodeId),
}

/// What carries out other nodes' asks. The hub comes after the network that brings them.
#[derive(Default)]
pub(crate) struct Answering {
    hub: OnceCell<Arc<Hub>>,
}

impl Answering {
    pub(crate) fn with(&self, hub: &Arc<Hub>) {
        // Set once, by the server's start.
        drop(self.hub.set(Arc::clone(hub)));
    }
}

impl RequestHandler for Answering {
    fn handle(&self, from: NodeId, request: Bytes) -> HandlerFuture {
        let hub = self.hub.get().cloned();
        Box::pin(async move {
            let asked = decode::<Asked>(&request);
            let answer = match (hub, asked) {
                (Some(hub), Ok(asked)) => hub.answer(asked).await,
                (None, _) => encode(&Err::<(), _>(AskError::Unavailable)),
                (Some(_), Err(error)) => {
                    tracing::error!(%from, %error, "another node asks what is not understood here");
                    encode(&Err::<(), _>(AskError::Internal(error.to_string())))
                }
            };
            answer.map(Bytes::from).unwrap_or_default()
        })
    }
}
