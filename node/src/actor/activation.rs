//! What an entity's actor does, without the actor: no clock, no mailbox, no async. Requests and outcomes of proposals come
//! in, [`Effect`]s come out; whoever drives it carries them out in order.
//!
//! An activation begins when the entity's state is loaded by the shard's leader, and is over with [`Effect::Stop`]: what
//! comes after that is answered with an error.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use mimi_hub_cluster::planted::{self, Bug};
use mimi_hub_cluster::{Outcome as Committed, ProposeError, ShardReader};

use super::{AskError, Decision, Entity, Reply};
use crate::command::{Accepted, Command, Event, Head, Outcome, RequestHash, decode, encode};
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::keys;
use crate::settings::Settings;

/// Trimming is proposed when this many events are beyond the retention limit, so that it is not done at each event.
const TRIM_BATCH_EVENTS: u64 = 256;

/// Something to be done. `W` is who waits for a reply.
pub(crate) enum Effect<A, W> {
    /// The command is to be proposed, and [`Activation::committed`] to be told what came of it.
    Propose { seq: u64, command: Vec<u8> },
    /// The command is to be proposed. Nobody depends on what comes of it: whoever leads next proposes it again.
    ProposeTrim { command: Vec<u8> },
    /// The reply is to be given.
    Reply { to: W, reply: Result<Reply<A>, AskError> },
    /// The reply is to be given if this node can make sure that it still leads in the term in which the state was loaded:
    /// then no other node has decided since. And if [`Activation::is_current`] then. If not, [`AskError::Unavailable`], and the activation is of no use any more. To
    /// lead again is not enough: another leader may have decided in between.
    ReplyIfLed { to: W, reply: Reply<A>, term: u64 },
    /// It is over.
    Stop,
}

pub(crate) struct Activation<E: Entity, W> {
    settings: Arc<Settings>,
    id: EntityId,
    reader: ShardReader,
    /// `Err` when the state could not be rebuilt; every request is answered with it until there is another activation.
    state: Result<E, AskError>,
    head: Head,
    /// Tells the decisions of this activation from those of any other of the same entity, here or on another node.
    number: u64,
    /// In which this node led when the state was loaded.
    term: u64,
    /// The last event of the state that was loaded.
    loaded_seq: u64,
    /// Proposals on their way, by sequence number.
    in_flight: BTreeMap<u64, InFlight<E::Answer, W>>,
    /// The same, by request.
    hashes: HashMap<RequestHash, u64>,
    effects: Vec<Effect<E::Answer, W>>,
}

struct InFlight<A, W> {
    hash: Option<RequestHash>,
    reply: Bytes,
    askers: Vec<W>,
    /// Answers that must not be given before this proposal is committed.
    behind: Vec<(W, Reply<A>)>,
}

impl<E: Entity, W> Activation<E, W> {
    /// One that has nothing loaded yet.
    pub(crate) fn new(settings: Arc<Settings>, id: EntityId, reader: ShardReader) -> Self {
        Activation {
            settings,
            id,
            reader,
            state: Err(AskError::Unavailable),
            head: Head::default(),
            number: 0,
            term: 0,
            loaded_seq: 0,
            in_flight: BTreeMap::new(),
            hashes: HashMap::new(),
            effects: Vec::new(),
        }
    }

    /// What is to be done since the last time.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect<E::Answer, W>> {
        std::mem::take(&mut self.effects)
    }

    /// Nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Loads the state. To be called when this node is known to have applied all that was acknowledged, and to have led
    /// in `term` since. `number` was drawn at random.
    ///
    /// # Errors
    /// The stored state is unreadable; requests are answered with that.
    pub(crate) fn load(&mut self, number: u64, term: u64) -> Result<(), AskError> {
        (self.number, self.term) = (number, term);
        match self.rebuild() {
            Ok((head, state)) => {
                self.loaded_seq = head.last_seq;
                self.head = head;
                self.state = Ok(state);
                Ok(())
            }
            Err(error) => {
                let error = self.internal(&error);
                self.state = Err(error.clone());
                Err(error)
            }
        }
    }

    fn rebuild(&self) -> Result<(Head, E), NodeError> {
        let head = match self.reader.get(&keys::head(&self.id))? {
            Some(bytes) => decode(&bytes)?,
            None => Head::default(),
        };
        let state = E::load(&self.settings, &self.reader, &self.id, &head)?;
        Ok((head, state))
    }

    /// Whether nobody else has decided since the state was loaded, by what this node has applied. It may be an activation on
    /// this very node, before this one: what it had proposed can be committed after it was given up.
    pub(crate) fn is_current(&self) -> bool {
        let head = match self.reader.get(&keys::head(&self.id)) {
            Ok(Some(bytes)) => decode::<Head>(&bytes).ok(),
            Ok(None) => Some(Head::default()),
            Err(_) => None,
        };
        head.is_some_and(|head| head.last_seq == self.loaded_seq || head.last_decided_by == self.number)
    }

    /// The reply of the event that answered the same request before.
    fn earlier_reply(&self, hash: &RequestHash) -> Result<Option<Bytes>, NodeError> {
        let Some(seq) = self.reader.get(&keys::request(&self.id, hash))? else {
            return Ok(None);
        };
        let Some(record) = self.reader.get(&keys::event(&self.id, decode(&seq)?))? else {
            return Ok(None);
        };
        match decode(&record)? {
            Command::Accepted(accepted) => Ok(Some(accepted.reply.into())),
            Command::CursorsMoved(_) | Command::Trimmed { .. } => Ok(None),
        }
    }

    /// Takes a request, which `asker` waits for. `now_ms` is what the wall clock says.
    pub(crate) fn ask(&mut self, now_ms: u64, hash: Option<RequestHash>, mut request: E::Request, asker: W) {
        if let Some(seq) = hash.and_then(|hash| self.hashes.get(&hash)) {
            if let Some(in_flight) = self.in_flight.get_mut(seq) {
                in_flight.askers.push(asker);
            }
            return;
        }
        if let Err(error) = &self.state {
            let error = error.clone();
            return self.refuse(asker, error);
        }
        match hash.map_or(Ok(None), |hash| self.earlier_reply(&hash)) {
            Ok(Some(earlier)) => return self.answer(asker, Reply::Accepted(earlier)),
            Ok(None) => {}
            Err(error) => {
                let error = self.internal(&error);
                return self.refuse(asker, error);
            }
        }
        let Ok(state) = &mut self.state else { return };
        let at_ms = now_ms.max(self.head.last_at_ms);
        let decided = E::prepare(&self.reader, &self.id, &mut request)
            .and_then(|()| state.decide(self.head.last_seq + 1, at_ms, request));
        match decided {
            Ok(Decision::Answer(answer)) => {
                self.answer(asker, Reply::Answer(answer));
                self.follow_up(at_ms);
            }
            Ok(Decision::Accept { event, reply }) => {
                self.propose(at_ms, hash, event, reply, Some(asker));
                self.follow_up(at_ms);
                self.trim();
            }
            Err(error) => {
                // The state may have been advanced in part: it is rebuilt from what is durable.
                let error = self.internal(&error);
                self.refuse(asker, error.clone());
                self.give_up(&error);
            }
        }
    }

    fn follow_up(&mut self, at_ms: u64) {
        if let Some(event) = self.state.as_mut().ok().and_then(E::follow_up) {
            self.propose(at_ms, None, event, Vec::new(), None);
        }
    }

    fn propose(&mut self, at_ms: u64, hash: Option<RequestHash>, event: Event, reply: Vec<u8>, asker: Option<W>) {
        let seq = self.head.last_seq + 1;
        let accepted = Accepted {
            entity: self.id.clone(),
            seq,
            decided_by: self.number,
            decided_after: self.head.last_decided_by,
            at_ms,
            request: hash,
            reply,
            event,
        };
        let command = Command::Accepted(accepted);
        let bytes = match encode(&command) {
            Ok(bytes) => bytes,
            Err(error) => {
                // The state has moved on without the log: it must be rebuilt.
                let error = self.internal(&NodeError::from(error));
                if let Some(asker) = asker {
                    self.refuse(asker, error.clone());
                }
                return self.give_up(&error);
            }
        };
        let Command::Accepted(accepted) = command else { return };
        self.head.last_seq = seq;
        self.head.last_decided_by = self.number;
        self.head.first_seq = self.head.first_seq.max(1);
        self.head.last_at_ms = at_ms;
        if let Some(hash) = hash {
            self.hashes.insert(hash, seq);
        }
        let mut in_flight = InFlight {
            hash,
            reply: accepted.reply.into(),
            askers: asker.into_iter().collect(),
            behind: Vec::new(),
        };
        if planted::is(Bug::AckBeforeCommit) {
            for to in in_flight.askers.drain(..) {
                let reply = Ok(Reply::Accepted(in_flight.reply.clone()));
                self.effects.push(Effect::Reply { to, reply });
            }
        }
        self.in_flight.insert(seq, in_flight);
        self.effects.push(Effect::Propose { seq, command: bytes });
    }

    /// Takes in what came of the proposal of event `seq`.
    pub(crate) fn committed(&mut self, seq: u64, result: Result<Committed, ProposeError>) {
        let outcome = result
            .map_err(|error| error.to_string())
            .and_then(|committed| decode::<Outcome>(&committed.bytes).map_err(|error| error.to_string()));
        match outcome {
            Ok(Outcome::Applied) => {
                let Some(done) = self.in_flight.remove(&seq) else {
                    return;
                };
                if let Some(hash) = done.hash {
                    self.hashes.remove(&hash);
                }
                for to in done.askers {
                    let reply = Ok(Reply::Accepted(done.reply.clone()));
                    self.effects.push(Effect::Reply { to, reply });
                }
                // The commit may be older than the request, and another leader have decided since: still to be made sure of.
                let term = self.term;
                for (to, reply) in done.behind {
                    self.effects.push(Effect::ReplyIfLed { to, reply, term });
                }
            }
            Ok(Outcome::Fenced { last_seq }) => {
                tracing::info!(entity = %self.id, seq, last_seq, "another leader has decided in between: starting over");
                self.give_up(&AskError::Unavailable);
            }
            Err(error) => {
                tracing::info!(entity = %self.id, seq, error, "a proposal has failed: starting over");
                self.give_up(&AskError::Unavailable);
            }
        }
    }

    /// Answers without an event, but not before what was decided earlier is committed, and only if this node still leads.
    fn answer(&mut self, to: W, reply: Reply<E::Answer>) {
        match self.in_flight.last_entry() {
            Some(mut last) => last.get_mut().behind.push((to, reply)),
            None => {
                let term = self.term;
                self.effects.push(Effect::ReplyIfLed { to, reply, term });
            }
        }
    }

    fn refuse(&mut self, to: W, error: AskError) {
        self.effects.push(Effect::Reply { to, reply: Err(error) });
    }

    /// Ends it: the outcome of what is on its way is not known here.
    pub(crate) fn give_up(&mut self, error: &AskError) {
        self.state = Err(error.clone());
        self.hashes.clear();
        for (_, in_flight) in std::mem::take(&mut self.in_flight) {
            let behind = in_flight.behind.into_iter().map(|(asker, _)| asker);
            for asker in in_flight.askers.into_iter().chain(behind) {
                self.refuse(asker, error.clone());
            }
        }
        self.effects.push(Effect::Stop);
    }

    fn trim(&mut self) {
        let kept = self.head.last_seq.saturating_sub(self.head.first_seq);
        let excess = kept.saturating_sub(E::events_max(&self.settings));
        if excess < TRIM_BATCH_EVENTS {
            return;
        }
        let first_seq = self.head.first_seq + excess.min(crate::state_machine::TRIM_EVENTS_MAX);
        let Ok(command) = encode(&Command::Trimmed {
            entity: self.id.clone(),
            first_seq,
        }) else {
            return;
        };
        self.head.first_seq = first_seq;
        self.effects.push(Effect::ProposeTrim { command });
    }

    fn internal(&self, error: &NodeError) -> AskError {
        tracing::error!(entity = %self.id, %error, "cannot decide");
        AskError::Internal(error.to_string())
    }
}
