//! A node's entities without sockets, threads and actors, for a simulated cluster: the real decisions, the real state
//! machine, and the real bookkeeping of an actor ([`crate::actor`]'s `Activation`). Time, randomness and the cluster are the
//! caller's: [`Action`]s come out, their [`answered`](Node::answered) outcomes go in.

mod record;
mod request;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mimi_hub_cluster::{
    ApplyError, EntryMeta, Outcome, ProposeError, ShardId, ShardReader, ShardTxn, StateMachine, shard_of,
};
use mimi_hub_proto::{UpdateOutcome, UpdateRoomResponse};
use openmls_traits::types::SignatureScheme;

pub use self::record::{Record, What, events, record};
pub use self::request::Request;
use crate::actor::{self, Activation, AskError, Effect, Entity};
use crate::command::decode;
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::mls::hub_keys::HubKeys;
use crate::room::RoomAnswer;
use crate::room::entity::HostedRoom;
use crate::settings::Settings;
use crate::state_machine;
use crate::user::UserAnswer;
use crate::user::state::UserState;

/// The state machine as every replica runs it; nobody is told what is applied.
pub struct Machine;

impl StateMachine for Machine {
    fn apply(&self, txn: &mut ShardTxn<'_>, _: EntryMeta, command: &[u8]) -> Result<Vec<u8>, ApplyError> {
        state_machine::apply(txn, command).map(|(outcome, _)| outcome)
    }
}

/// What all nodes of a simulated hub share.
#[derive(Clone)]
pub struct Hub {
    settings: Arc<Settings>,
    shards: u32,
}

impl Hub {
    /// The hub of a.example, with this Ed25519 key pair. Checkpoints are so frequent that a short run sees some.
    ///
    /// # Errors
    /// The configuration is not understood.
    pub fn new(shards: u32, private_key: &[u8], public_key: &[u8]) -> Result<Self, toml::de::Error> {
        let text = r#"
            hub = { domains = ["a.example"] }
            federation = { listen = "127.0.0.1:0", certificate = "", private_key = "", peer_ca = "" }
            local = { listen = "127.0.0.1:0", certificate = "", private_key = "", client_ca = "" }
            consent = { default = "allow" }
            room = { checkpoint_handshake_bytes = 8192 }
        "#;
        let config: crate::config::Config = toml::from_str(text)?;
        let keys = HubKeys::of_pair(
            config.primary_domain(),
            SignatureScheme::ED25519,
            private_key,
            public_key,
            private_key,
        );
        let settings = Arc::new(Settings { config, keys });
        Ok(Hub { settings, shards })
    }

    /// The hub's ExternalSender, which a room's group has to hold.
    ///
    /// # Errors
    /// It cannot be laid out.
    pub fn external_sender(&self) -> Result<Vec<u8>, NodeError> {
        Ok(self.settings.keys.external_sender(SignatureScheme::ED25519)?)
    }

    /// Where an entity's events and state are.
    pub fn shard_of(&self, id: &EntityId) -> ShardId {
        shard_of(&id.shard_key(), self.shards)
    }
}

/// What a request gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was accepted, now or before: the encoded response.
    Accepted(Bytes),
    /// It is so already.
    Unchanged,
    /// The room is in another epoch than the Commit.
    WrongEpoch(u64),
    /// It was refused, in words.
    Refused(String),
    /// The room, as the hub has it.
    View {
        /// Its epoch.
        epoch: u64,
        /// Its last event.
        seq: u64,
    },
    /// Nothing is known of the outcome: to be asked again.
    Unavailable,
    /// The stored state is unreadable, or the like.
    Broken(String),
}

/// Something that the cluster or a caller has to be told.
#[derive(Debug)]
pub enum Action {
    /// A command is to be proposed; then [`Node::answered`].
    Propose {
        /// In this shard's log.
        shard: ShardId,
        /// The command.
        command: Vec<u8>,
        /// What for.
        token: Token,
    },
    /// A linearizable read is to be asked for; then [`Node::answered`].
    Read {
        /// Of this shard.
        shard: ShardId,
        /// What for.
        token: Token,
    },
    /// A reply is to be given.
    Reply {
        /// To whom.
        to: u64,
        /// It.
        reply: Reply,
    },
}

/// What something was asked of the cluster for.
#[derive(Debug)]
pub struct Token(Purpose);

#[derive(Debug)]
enum Purpose {
    Load {
        id: EntityId,
        activation: u64,
    },
    Event {
        id: EntityId,
        activation: u64,
        seq: u64,
    },
    Trim,
    Reply {
        to: u64,
        reply: Reply,
        id: EntityId,
        activation: u64,
        term: u64,
    },
}

/// What a node knows at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Its wall clock, in milliseconds since the UNIX epoch.
    pub now_ms: u64,
    /// A random number.
    pub random: u64,
    /// The term in which it takes itself for the leader of the shard that this is about.
    pub leads: Option<u64>,
}

/// The entities of a node, from its start to its end.
pub struct Node {
    hub: Hub,
    rooms: Entities<HostedRoom>,
    users: Entities<UserState>,
    actions: Vec<Action>,
}

struct Entities<E: Entity> {
    active: BTreeMap<EntityId, Active<E>>,
    activations: u64,
}

struct Active<E: Entity> {
    activation: Activation<E, u64>,
    number: u64,
    loaded: bool,
    /// Requests that came before the state was there.
    waiting: Vec<(Request, u64)>,
    over: bool,
}

impl Node {
    /// A node on which nothing is active yet.
    pub fn new(hub: &Hub) -> Self {
        Node {
            hub: hub.clone(),
            rooms: Entities::new(),
            users: Entities::new(),
            actions: Vec::new(),
        }
    }

    /// Takes a request that `to` waits for. `reader` reads the entity's shard on this node.
    pub fn ask(&mut self, moment: Moment, reader: ShardReader, request: Request, to: u64) {
        let hub = &self.hub;
        match request.id {
            EntityId::Room(_) => self.rooms.ask(hub, moment, reader, request, to, &mut self.actions),
            EntityId::User(_) => self.users.ask(hub, moment, reader, request, to, &mut self.actions),
            // Nobody follows a room in the simulation.
            EntityId::Followed(_) => self.actions.push(Action::Reply {
                to,
                reply: Reply::Refused("not simulated".to_owned()),
            }),
        }
    }

    /// Takes in what the cluster answered.
    pub fn answered(&mut self, moment: Moment, token: Token, answer: Result<Option<Outcome>, ProposeError>) {
        let hub = &self.hub;
        match token.0 {
            Purpose::Trim => {}
            Purpose::Reply {
                to,
                reply,
                id,
                activation,
                term,
            } => {
                let current = match id {
                    EntityId::User(_) => self.users.is_current(&id, activation),
                    _ => self.rooms.is_current(&id, activation),
                };
                let led = answer.is_ok() && moment.leads == Some(term) && current;
                let reply = if led { reply } else { Reply::Unavailable };
                self.actions.push(Action::Reply { to, reply });
                match id {
                    _ if led => {}
                    EntityId::User(_) => self.users.give_up(hub, &id, activation, &mut self.actions),
                    _ => self.rooms.give_up(hub, &id, activation, &mut self.actions),
                }
            }
            Purpose::Load { id, activation } => match id {
                EntityId::User(_) => self
                    .users
                    .load(hub, moment, &id, activation, answer.is_ok(), &mut self.actions),
                _ => self
                    .rooms
                    .load(hub, moment, &id, activation, answer.is_ok(), &mut self.actions),
            },
            Purpose::Event { id, activation, seq } => {
                let answer = answer.and_then(|outcome| outcome.ok_or(ProposeError::Unknown));
                match id {
                    EntityId::User(_) => self
                        .users
                        .committed(hub, &id, activation, seq, answer, &mut self.actions),
                    _ => self
                        .rooms
                        .committed(hub, &id, activation, seq, answer, &mut self.actions),
                }
            }
        }
    }

    /// The shard is led by another node now.
    pub fn resign(&mut self, shard: ShardId) {
        self.rooms.resign(&self.hub, shard, &mut self.actions);
        self.users.resign(&self.hub, shard, &mut self.actions);
    }

    /// What is idle goes, as after a while without requests.
    pub fn passivate(&mut self) {
        self.rooms.passivate();
        self.users.passivate();
    }

    /// What is to be done since the last time.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }
}

impl<E: Entity<Answer: Into<Reply>>> Entities<E> {
    fn new() -> Self {
        Entities {
            active: BTreeMap::new(),
            activations: 0,
        }
    }

    fn ask(
        &mut self,
        hub: &Hub,
        moment: Moment,
        reader: ShardReader,
        request: Request,
        to: u64,
        actions: &mut Vec<Action>,
    ) {
        let id = request.id.clone();
        let activations = &mut self.activations;
        let active = self.active.entry(id.clone()).or_insert_with(|| {
            *activations += 1;
            let (shard, number) = (hub.shard_of(&id), *activations);
            let token = Token(Purpose::Load {
                id: id.clone(),
                activation: number,
            });
            actions.push(Action::Read { shard, token });
            Active {
                activation: Activation::new(Arc::clone(&hub.settings), id.clone(), reader),
                number,
                loaded: false,
                waiting: Vec::new(),
                over: false,
            }
        });
        if active.loaded {
            active.decide(moment, &request, to, actions);
            self.perform(hub, &id, actions);
        } else {
            active.waiting.push((request, to));
        }
    }

    fn load(&mut self, hub: &Hub, moment: Moment, id: &EntityId, number: u64, led: bool, actions: &mut Vec<Action>) {
        let Some(active) = self.current(id, number) else { return };
        active.loaded = true;
        if let Some(term) = moment.leads.filter(|_| led) {
            if active.activation.load(moment.random, term).is_err() {
                // Requests are answered with what is wrong; the next one begins anew.
                active.over = true;
            }
        } else {
            active.activation.give_up(&AskError::Unavailable);
        }
        for (request, to) in std::mem::take(&mut active.waiting) {
            active.decide(moment, &request, to, actions);
        }
        self.perform(hub, id, actions);
    }

    fn committed(
        &mut self,
        hub: &Hub,
        id: &EntityId,
        number: u64,
        seq: u64,
        answer: Result<Outcome, ProposeError>,
        actions: &mut Vec<Action>,
    ) {
        let Some(active) = self.current(id, number) else { return };
        active.activation.committed(seq, answer);
        self.perform(hub, id, actions);
    }

    fn is_current(&self, id: &EntityId, number: u64) -> bool {
        let active = self.active.get(id).filter(|active| active.number == number);
        active.is_some_and(|active| active.activation.is_current())
    }

    fn give_up(&mut self, hub: &Hub, id: &EntityId, number: u64, actions: &mut Vec<Action>) {
        let Some(active) = self.current(id, number) else { return };
        active.activation.give_up(&AskError::Unavailable);
        self.perform(hub, id, actions);
    }

    fn resign(&mut self, hub: &Hub, shard: ShardId, actions: &mut Vec<Action>) {
        let ids: Vec<_> = self
            .active
            .keys()
            .filter(|id| hub.shard_of(id) == shard)
            .cloned()
            .collect();
        for id in ids {
            if let Some(active) = self.active.get_mut(&id) {
                active.activation.give_up(&AskError::Unavailable);
                let waiting = active.waiting.drain(..);
                actions.extend(waiting.map(|(_, to)| Action::Reply {
                    to,
                    reply: Reply::Unavailable,
                }));
            }
            self.perform(hub, &id, actions);
        }
    }

    fn passivate(&mut self) {
        self.active
            .retain(|_, active| !active.loaded || !active.activation.is_idle());
    }

    fn current(&mut self, id: &EntityId, number: u64) -> Option<&mut Active<E>> {
        self.active.get_mut(id).filter(|active| active.number == number)
    }

    fn perform(&mut self, hub: &Hub, id: &EntityId, actions: &mut Vec<Action>) {
        let Some(active) = self.active.get_mut(id) else { return };
        let (shard, activation) = (hub.shard_of(id), active.number);
        for effect in active.activation.take_effects() {
            actions.push(match effect {
                Effect::Propose { seq, command } => {
                    let id = id.clone();
                    let token = Token(Purpose::Event { id, activation, seq });
                    Action::Propose { shard, command, token }
                }
                Effect::ProposeTrim { command } => {
                    let token = Token(Purpose::Trim);
                    Action::Propose { shard, command, token }
                }
                Effect::Reply { to, reply } => {
                    let reply = into_reply(reply);
                    Action::Reply { to, reply }
                }
                Effect::ReplyIfLed { to, reply, term } => {
                    let token = Token(Purpose::Reply {
                        to,
                        reply: into_reply(Ok(reply)),
                        id: id.clone(),
                        activation,
                        term,
                    });
                    Action::Read { shard, token }
                }
                Effect::Stop => {
                    active.over = true;
                    continue;
                }
            });
        }
        if active.over {
            self.active.remove(id);
        }
    }
}

impl<E: Entity> Active<E> {
    fn decide(&mut self, moment: Moment, request: &Request, to: u64, actions: &mut Vec<Action>) {
        match decode(&request.body) {
            Ok(body) => self.activation.ask(moment.now_ms, request.hash, body, to),
            Err(error) => actions.push(Action::Reply {
                to,
                reply: Reply::Broken(error.to_string()),
            }),
        }
    }
}

fn into_reply<A: Into<Reply>>(reply: Result<actor::Reply<A>, AskError>) -> Reply {
    match reply {
        Ok(actor::Reply::Accepted(bytes)) => Reply::Accepted(bytes),
        Ok(actor::Reply::Answer(answer)) => answer.into(),
        Err(AskError::Unavailable | AskError::Overloaded) => Reply::Unavailable,
        Err(AskError::Internal(error)) => Reply::Broken(error),
    }
}

impl From<RoomAnswer> for Reply {
    fn from(answer: RoomAnswer) -> Self {
        match answer {
            RoomAnswer::View(view) => Reply::View {
                epoch: view.epoch(),
                seq: view.seq(),
            },
            RoomAnswer::Update(UpdateRoomResponse {
                outcome: UpdateOutcome::WrongEpoch { current_epoch },
                ..
            }) => Reply::WrongEpoch(current_epoch),
            other => Reply::Refused(format!("{other:?}")),
        }
    }
}

impl From<UserAnswer> for Reply {
    fn from(answer: UserAnswer) -> Self {
        match answer {
            UserAnswer::Unchanged => Reply::Unchanged,
            other => Reply::Refused(format!("{other:?}")),
        }
    }
}
