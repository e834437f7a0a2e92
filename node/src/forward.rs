//! Asking entities whose shard another node leads.
//!
//! Any node takes any request and answers it; what it needs of an entity is asked of the entity's actor, which lives on the
//! node that leads the entity's shard. Here an ask finds its way there, and once more when the leader has changed meanwhile.
//! An ask that may be sent twice is safe: what must happen once carries its request's hash.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mimi_hub_cluster::{HandlerFuture, Leadership, NodeId, RequestHandler, ShardId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep};

use crate::actor::{AskError, Entity, Registry, Reply};
use crate::command::{RequestHash, decode, encode};
use crate::entity::EntityId;
use crate::hub::Hub;
use crate::service::events::{self, Readable, ShardRead};
use crate::service::scan::{self, Scan};

/// How often an ask is sent: to the leader that is known at first, and to whoever follows it.
const ATTEMPTS_MAX: usize = 3;

/// How long a leader that has not answered is passed over. An election takes less; one that still leads then is asked again.
const PASSED_OVER: Duration = Duration::from_secs(1);

/// How long a shard may be without a leader before its requests are refused. Longer than an election takes.
const LEADERLESS_MAX: Duration = Duration::from_secs(4);

/// Between two looks at who leads.
const LEADER_POLL: Duration = Duration::from_millis(10);

/// How long another node may take for an ask.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What one node asks of another.
#[derive(Serialize, Deserialize)]
enum Asked {
    /// An entity's request, encoded as its kind has it.
    Entity {
        id: EntityId,
        hash: Option<RequestHash>,
        #[serde(with = "serde_bytes")]
        request: Vec<u8>,
    },
    /// What a user may read of a shard's rooms.
    Read(ShardRead),
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
                    self.ask_node(node, &asked).await
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
        let mut answer = Err(AskError::Unavailable);
        let mut asked_before = None;
        for _ in 0..ATTEMPTS_MAX {
            let leader = self.leader(read.shard(), asked_before).await?;
            asked_before = Some(leader);
            answer = match leader {
                Leader::Here => events::readable(self, read).await,
                Leader::There(node) => self.ask_node(node, &Asked::Read(read.clone())).await,
            };
            if !matches!(answer, Err(AskError::Unavailable)) {
                return answer;
            }
        }
        answer
    }

    /// Reads across the entities of a shard, at the node that leads it. `T` is what the kind of scan gives.
    pub(crate) async fn scan<T: DeserializeOwned>(self: &Arc<Self>, scan: &Scan) -> Result<T, AskError> {
        let mut answer = Err(AskError::Unavailable);
        let mut asked_before = None;
        for _ in 0..ATTEMPTS_MAX {
            let leader = self.leader(scan.shard(), asked_before).await?;
            asked_before = Some(leader);
            answer = match leader {
                Leader::Here => {
                    let read = scan::answer(self, scan).await;
                    read.and_then(|bytes| decode::<Result<T, AskError>>(&bytes))
                        .unwrap_or_else(|error| Err(AskError::Internal(error.to_string())))
                }
                Leader::There(node) => self.ask_node(node, &Asked::Scan(scan.clone())).await,
            };
            if !matches!(answer, Err(AskError::Unavailable)) {
                return answer;
            }
        }
        answer
    }

    async fn ask_node<T: DeserializeOwned>(&self, node: NodeId, asked: &Asked) -> Result<T, AskError> {
        let network = self.network().ok_or(AskError::Unavailable)?;
        let request = encode(asked).map_err(|error| AskError::Internal(error.to_string()))?;
        match network.forward(node, request.into(), ANSWER_MAX).await {
            Ok(answer) => {
                decode::<Result<T, AskError>>(&answer).map_err(|error| AskError::Internal(error.to_string()))?
            }
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
                Leadership::Follower { leader } => leader.map(Leader::There),
            };
            match leader {
                Some(leader) if Some(leader) != asked_before || started.elapsed() >= PASSED_OVER => return Ok(leader),
                None if started.elapsed() >= LEADERLESS_MAX => return Err(AskError::Unavailable),
                Some(_) | None => sleep(LEADER_POLL).await,
            }
        }
    }

    /// Carries out what another node asks.
    async fn answer(self: &Arc<Self>, asked: Asked) -> Result<Vec<u8>, crate::command::FormatError> {
        match asked {
            Asked::Read(read) => encode(&events::readable(self, &read).await),
            Asked::Scan(scan) => scan::answer(self, &scan).await,
            Asked::Entity { id, hash, request } => match &id {
                EntityId::Room(_) => self.answer_as(self.rooms(), &id, hash, &request).await,
                EntityId::Followed(_) => self.answer_as(self.followed(), &id, hash, &request).await,
                EntityId::User(_) => self.answer_as(self.users(), &id, hash, &request).await,
            },
        }
    }

    async fn answer_as<E: Entity>(
        self: &Arc<Self>,
        registry: &Registry<E>,
        id: &EntityId,
        hash: Option<RequestHash>,
        request: &[u8],
    ) -> Result<Vec<u8>, crate::command::FormatError> {
        // Not passed on any further: whoever asks looks again who leads.
        let leads = matches!(self.cluster().leadership(self.shard_of(id)), Leadership::Leader { .. });
        let answer = if leads {
            registry.ask(self, id, hash, decode(request)?).await
        } else {
            Err(AskError::Unavailable)
        };
        encode(&answer)
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
