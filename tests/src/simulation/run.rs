//! One run: a seed's cluster, its nodes' entities, its clients, and what goes wrong between them.

use std::collections::BTreeMap;
use std::time::Duration;

use mimi_hub::simulation::{Action, Hub, Machine, Moment, Node, Reply, Request, Token, record};
use mimi_hub_cluster::simulation::{Happening, RequestId, Simulation, Violation};
use mimi_hub_cluster::{Leadership, NodeId, Outcome, ProposeError, ShardId};
use rand::RngExt;

use super::clients::{Call, Client, Kind, Room, people};
use super::history::History;
use super::mls::key_pair;
use super::scenario::Scenario;

/// Within this virtual time after the last fault, every request under way must be answered, and every replica agree.
const RECOVERY: Duration = Duration::from_secs(20);
/// How long clients go on asking after the last fault.
const AFTERWARDS: Duration = Duration::from_secs(2);
/// What the wall clocks show at first, in milliseconds since the UNIX epoch.
const WALL_CLOCK_MS: u64 = 1_800_000_000_000;

/// What came of a run.
pub(super) struct Outcomes {
    pub(super) violation: Option<Violation>,
    pub(super) simulated: Duration,
    pub(super) faults: BTreeMap<&'static str, u64>,
    pub(super) counts: Counts,
    pub(super) trace: [u8; 32],
}

/// How much was done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Requests that were begun, and how often they were sent.
    pub(super) requests: u64,
    pub(super) attempts: u64,
    /// Requests that were accepted.
    pub(super) acked: u64,
    pub(super) refused: u64,
    pub(super) reads: u64,
    pub(super) repeated: u64,
    pub(super) commits: u64,
    pub(super) fenced: u64,
    pub(super) snapshots: u64,
}

#[derive(Debug)]
enum Event {
    /// A client may ask.
    Think(usize),
    /// A request arrives at a node.
    Arrive {
        node: NodeId,
        ask: u64,
    },
    /// A reply arrives at the node that has passed the request on.
    Back {
        node: NodeId,
        ask: u64,
        reply: Reply,
    },
    /// A reply arrives at a client.
    Answer {
        client: usize,
        call: u64,
        reply: Reply,
    },
    /// A client sends its request again, if it still waits.
    Retry {
        client: usize,
        call: u64,
        attempt: u64,
    },
    /// A node's actors hear that another one leads.
    Resign {
        node: NodeId,
        life: u64,
        shard: ShardId,
    },
    Fault,
}

/// A request on its way to an entity.
struct Ask {
    client: usize,
    call: u64,
    request: Request,
    /// The node that has passed it on, and under which number it waits there.
    by: Option<(NodeId, u64)>,
}

pub(super) struct Run {
    scenario: Scenario,
    sim: Simulation<Event>,
    hub: Hub,
    /// Those that are up, each with the number of its life.
    nodes: BTreeMap<NodeId, (u64, Node)>,
    lives: u64,
    /// How far each wall clock is off, in milliseconds.
    clocks: BTreeMap<NodeId, i64>,
    tokens: BTreeMap<RequestId, (ShardId, Token)>,
    asks: BTreeMap<u64, Ask>,
    numbers: u64,
    rooms: Vec<Room>,
    clients: Vec<Client>,
    history: History,
    counts: Counts,
    calm: bool,
    quiet: bool,
}

impl Run {
    pub(super) fn new(seed: u64) -> Self {
        let scenario = Scenario::of(seed);
        let mut sim = Simulation::new(scenario.setup.clone(), scenario.weather, std::sync::Arc::new(Machine));
        let (private, public) = key_pair(sim.rng());
        let hub = Hub::new(scenario.setup.shards, &private, &public).unwrap();
        let sender = hub.external_sender().unwrap();
        let (rooms, clients) = people(sim.rng(), scenario.rooms, scenario.users, &sender);
        for client in 0..clients.len() {
            let delay = sim.millis(1..300);
            sim.schedule(delay, Event::Think(client));
        }
        sim.schedule(Duration::from_secs(1), Event::Fault);
        Run {
            scenario,
            sim,
            hub,
            nodes: BTreeMap::new(),
            lives: 0,
            clocks: BTreeMap::new(),
            tokens: BTreeMap::new(),
            asks: BTreeMap::new(),
            numbers: 0,
            rooms,
            clients,
            history: History::default(),
            counts: Counts::default(),
            calm: false,
            quiet: false,
        }
    }

    pub(super) fn play(mut self) -> Outcomes {
        let faults = self.scenario.faults_for;
        self.advance(faults, |_| false);
        self.calm = true;
        self.sim.mend();
        self.advance(faults + AFTERWARDS, |_| false);
        self.quiet = true;
        let recovered = |run: &Self| run.clients.iter().all(|client| client.call.is_none()) && run.sim.is_settled();
        if !self.advance(faults + RECOVERY, recovered) && self.sim.violations().is_empty() {
            let waiting = self.clients.iter().filter_map(|client| client.call.as_ref());
            let waiting: Vec<_> = waiting
                .map(|call| format!("{:?} since {:?}", call.kind, call.begun))
                .collect();
            let settled = self.sim.is_settled();
            self.sim.violate(format!(
                "recovery: {RECOVERY:?} after the last fault, settled: {settled}, without an answer: {waiting:?}"
            ));
        }
        if self.sim.violations().is_empty() {
            self.compare();
        }
        self.counts.fenced = self.history.fenced;
        self.counts.snapshots = self.sim.installed() as u64;
        Outcomes {
            violation: self.sim.violations().first().cloned(),
            simulated: self.sim.now(),
            faults: self.sim.faults().clone(),
            counts: self.counts,
            trace: self.sim.trace(),
        }
    }

    /// Goes on until a time, or until something holds; answers whether it does.
    fn advance(&mut self, until: Duration, done: impl Fn(&Self) -> bool) -> bool {
        loop {
            // Looked at now and then.
            let step = (self.sim.now() + Duration::from_millis(100)).min(until);
            while let Some(happening) = self.sim.next(step) {
                self.take(happening);
                if !self.sim.violations().is_empty() {
                    return false;
                }
            }
            if done(self) {
                return true;
            }
            if step == until || !self.sim.violations().is_empty() {
                return false;
            }
        }
    }

    fn compare(&mut self) {
        self.sim.compare_replicas();
        for id in self.history.ids() {
            let shard = self.hub.shard_of(&id);
            let reader = self.sim.leader(shard).and_then(|leader| self.sim.reader(leader, shard));
            let Some(reader) = reader else { continue };
            if let Err(what) = self.history.compare(&id, &reader) {
                self.sim.violate(what);
            }
        }
    }

    fn take(&mut self, happening: Happening<Event>) {
        match happening {
            Happening::Due(event) => self.due(event),
            Happening::Started(node) => {
                self.lives += 1;
                self.nodes.insert(node, (self.lives, Node::new(&self.hub)));
            }
            Happening::Stopped(node) => {
                self.nodes.remove(&node);
            }
            Happening::Leadership { node, shard, state } => {
                let life = self.nodes.get(&node).map(|(life, _)| *life);
                if let (Leadership::Follower { .. }, Some(life)) = (state, life) {
                    // Actors have a mailbox, which may be long.
                    let slow = self.sim.one_in(self.scenario.slow_actor_one_in);
                    let delay = self.sim.millis(if slow { 100..3000 } else { 0..20 });
                    self.sim.schedule(delay, Event::Resign { node, life, shard });
                }
            }
            Happening::Answered { node, id, answer } => self.answered(node, id, answer),
            Happening::Applied { command, outcome, .. } => {
                // The groups of all rooms begin alike.
                let first_epoch = self.rooms[0].first_epoch;
                let taken = record(&command, &outcome).map_err(|error| error.to_string());
                if let Err(what) = taken.and_then(|record| self.history.applied(record, first_epoch)) {
                    self.sim.violate(what);
                }
            }
        }
    }

    fn due(&mut self, event: Event) {
        match event {
            Event::Think(client) => self.think(client),
            Event::Arrive { node, ask } => self.arrive(node, ask),
            Event::Back { node, ask, reply } => {
                if self.sim.is_up(node) {
                    self.reply(node, ask, reply);
                }
            }
            Event::Answer { client, call, reply } => self.answer(client, call, reply),
            Event::Retry { client, call, attempt } => {
                let waiting = self.clients[client].call.as_ref();
                if waiting.is_some_and(|waiting| (waiting.number, waiting.attempts) == (call, attempt)) {
                    self.send(client);
                }
            }
            Event::Resign { node, life, shard } => {
                if let Some((now, up)) = self.nodes.get_mut(&node)
                    && *now == life
                {
                    up.resign(shard);
                    self.perform(node);
                }
            }
            Event::Fault => self.fault(),
        }
    }

    fn fault(&mut self) {
        if self.calm {
            return;
        }
        let node = self.sim.any_node();
        if self.sim.one_in(self.scenario.clock_jump_one_in) {
            let jump = self.sim.rng().random_range(-3_600_000..=3_600_000);
            self.clocks.insert(node, jump);
            self.sim.count("clock jump");
        }
        if self.sim.one_in(6)
            && let Some((_, up)) = self.nodes.get_mut(&node)
        {
            up.passivate();
        }
        self.scenario.fault(&mut self.sim);
        let pause = self.sim.pause();
        self.sim.schedule(pause, Event::Fault);
    }

    /// A client begins its next request.
    fn think(&mut self, number: usize) {
        if self.quiet {
            return;
        }
        let call = self.number();
        let now = self.sim.now();
        let client = &mut self.clients[number];
        match client.next(self.sim.rng(), &self.rooms, &mut self.history, call) {
            Some((request, kind, room)) => {
                self.counts.requests += 1;
                let floor = room.map_or(0, |room| self.rooms[room].seen);
                client.call = Some(Call {
                    number: call,
                    request,
                    kind,
                    room,
                    begun: now,
                    attempts: 0,
                    floor,
                });
                self.send(number);
            }
            None => self.think_later(number),
        }
    }

    fn think_later(&mut self, client: usize) {
        let pause = self.clients[client].think(self.sim.rng());
        self.sim.schedule(pause, Event::Think(client));
    }

    /// A client sends its request to any node, and again after a while.
    fn send(&mut self, client: usize) {
        let Some(call) = &mut self.clients[client].call else {
            return;
        };
        call.attempts += 1;
        let (number, attempt, request) = (call.number, call.attempts, call.request.clone());
        self.counts.attempts += 1;
        let twice = !self.calm && self.sim.one_in(20);
        for _ in 0..=usize::from(twice) {
            let node = self.sim.any_node();
            let ask = self.number();
            let request = request.clone();
            self.asks.insert(
                ask,
                Ask {
                    client,
                    call: number,
                    request,
                    by: None,
                },
            );
            if let Some(delay) = self.outside() {
                self.sim.schedule(delay, Event::Arrive { node, ask });
            }
        }
        let patience = self.sim.millis(200..900);
        let call = number;
        self.sim.schedule(patience, Event::Retry { client, call, attempt });
    }

    /// How long something takes between a client and a node; `None` when it is lost.
    fn outside(&mut self) -> Option<Duration> {
        if self.calm {
            return Some(self.sim.millis(1..5));
        }
        if self.sim.one_in(40) {
            self.sim.count("request or reply lost");
            return None;
        }
        let late = self.sim.one_in(30);
        Some(self.sim.millis(if late { 50..1500 } else { 1..10 }))
    }

    fn arrive(&mut self, node: NodeId, number: u64) {
        if !self.sim.is_up(node) {
            self.asks.remove(&number);
            return;
        }
        let Some(ask) = self.asks.get(&number) else { return };
        let awake = self.sim.stalled_until(node).saturating_sub(self.sim.now());
        if !awake.is_zero() {
            return self.sim.schedule(awake, Event::Arrive { node, ask: number });
        }
        let shard = self.hub.shard_of(&ask.request.id);
        match self.sim.known_leader(node, shard) {
            Some(leader) if leader == node => {
                let request = ask.request.clone();
                let moment = self.moment(node, shard);
                let reader = self.sim.reader(node, shard);
                if let (Some((_, up)), Some(reader)) = (self.nodes.get_mut(&node), reader) {
                    up.ask(moment, reader, request, number);
                    self.perform(node);
                }
            }
            Some(leader) if ask.by.is_none() => {
                let passed_on = Ask {
                    client: ask.client,
                    call: ask.call,
                    request: ask.request.clone(),
                    by: Some((node, number)),
                };
                if let Some(delay) = self.sim.transit(node, leader) {
                    let ask = self.number();
                    self.asks.insert(ask, passed_on);
                    self.sim.schedule(delay, Event::Arrive { node: leader, ask });
                }
            }
            Some(_) | None => self.reply(node, number, Reply::Unavailable),
        }
    }

    /// A node gives a reply.
    fn reply(&mut self, node: NodeId, ask: u64, reply: Reply) {
        let Some(Ask { client, call, by, .. }) = self.asks.remove(&ask) else {
            return;
        };
        match by {
            Some((by, ask)) => {
                if let Some(delay) = self.sim.transit(node, by) {
                    self.sim.schedule(delay, Event::Back { node: by, ask, reply });
                }
            }
            None => {
                if let Some(delay) = self.outside() {
                    self.sim.schedule(delay, Event::Answer { client, call, reply });
                }
            }
        }
    }

    fn answered(&mut self, node: NodeId, id: RequestId, answer: Result<Option<Outcome>, ProposeError>) {
        // Changes of members are nobody's.
        let Some((shard, token)) = self.tokens.remove(&id) else {
            return;
        };
        let moment = self.moment(node, shard);
        if let Some((_, up)) = self.nodes.get_mut(&node) {
            up.answered(moment, token, answer);
            self.perform(node);
        }
    }

    /// Does what a node's entities ask for.
    fn perform(&mut self, node: NodeId) {
        let actions = self.nodes.get_mut(&node).map(|(_, up)| up.take_actions());
        for action in actions.into_iter().flatten() {
            match action {
                Action::Propose { shard, command, token } => {
                    let id = self.sim.propose(node, shard, &command);
                    self.tokens.insert(id, (shard, token));
                }
                Action::Read { shard, token } => {
                    let id = self.sim.read(node, shard);
                    self.tokens.insert(id, (shard, token));
                }
                Action::Reply { to, reply } => self.reply(node, to, reply),
            }
        }
    }

    /// A reply arrives at its client.
    fn answer(&mut self, client: usize, number: u64, reply: Reply) {
        self.sim.note(format!("{number} {reply:?}").as_bytes());
        let waiting = &mut self.clients[client].call;
        // It may be a late one to a request that was answered.
        let Some(call) = waiting.take_if(|call| call.number == number && reply != Reply::Unavailable) else {
            if let Some(Call { attempts, .. }) = waiting.as_ref().filter(|call| call.number == number) {
                let (call, attempt) = (number, *attempts);
                let pause = self.sim.millis(10..100);
                self.sim.schedule(pause, Event::Retry { client, call, attempt });
            }
            return;
        };
        if let Err(what) = self.check(client, call, reply) {
            self.sim.violate(what);
        }
        self.think_later(client);
    }

    fn check(&mut self, client: usize, call: Call, reply: Reply) -> Result<(), String> {
        let Call {
            request,
            kind,
            room,
            floor,
            begun,
            ..
        } = call;
        let entity = self.history.of(&request.id);
        let known = request.hash.as_ref().and_then(|hash| entity.answer_of(hash));
        match (reply, kind) {
            (Reply::Accepted(reply), kind) => {
                self.counts.acked += 1;
                match (&kind, known) {
                    (Kind::Again(first), _) if *first != reply => {
                        return Err(format!(
                            "the reply repeats: {} answers differently when asked again",
                            request.id
                        ));
                    }
                    (Kind::User, _) => {}
                    (_, None) => {
                        return Err(format!(
                            "acknowledged is in the history: a {kind:?} of {}, begun at {begun:?}, is not",
                            request.id
                        ));
                    }
                    (_, Some((_, stored))) if stored != &reply[..] => {
                        return Err(format!(
                            "the reply is that of the event: {} answers another",
                            request.id
                        ));
                    }
                    (_, Some((seq, _))) => {
                        if let Some(room) = room {
                            self.rooms[room].seen = self.rooms[room].seen.max(seq);
                        }
                    }
                }
                match kind {
                    Kind::Create => room.into_iter().for_each(|room| self.rooms[room].created = true),
                    Kind::Commit => self.counts.commits += 1,
                    Kind::Again(_) => {
                        self.counts.repeated += 1;
                        return Ok(());
                    }
                    _ => {}
                }
                self.clients[client].accepted(request, reply);
                Ok(())
            }
            (Reply::View { epoch, seq }, Kind::View) => {
                self.counts.reads += 1;
                let Some(room) = room.map(|room| &mut self.rooms[room]) else {
                    return Ok(());
                };
                if seq < floor || seq > entity.last_seq() {
                    let last = entity.last_seq();
                    return Err(format!(
                        "linearizable reads: event {seq} of {} is said to be the last, after {floor} was seen; there are {last}",
                        request.id
                    ));
                }
                if epoch != room.first_epoch + entity.commits_up_to(seq) {
                    return Err(format!(
                        "a read shows epoch {epoch} of {} after event {seq}",
                        request.id
                    ));
                }
                room.seen = room.seen.max(seq);
                Ok(())
            }
            // Nothing was in store yet: by now, the same request may have found something.
            (Reply::Refused(_), Kind::Claim) => {
                self.counts.refused += 1;
                Ok(())
            }
            (Reply::WrongEpoch(_), Kind::Commit) | (Reply::Unchanged, Kind::User) => {
                self.counts.refused += 1;
                match known {
                    Some((seq, _)) => Err(format!(
                        "the reply repeats: a request of {} is refused that event {seq} has answered",
                        request.id
                    )),
                    None => Ok(()),
                }
            }
            // A message of an epoch that is long over.
            (Reply::Refused(why), Kind::Message) if why.contains("EpochTooOld") => {
                self.counts.refused += 1;
                Ok(())
            }
            (reply, kind) => Err(format!("a {kind:?} of {} is answered with {reply:?}", request.id)),
        }
    }

    fn moment(&mut self, node: NodeId, shard: ShardId) -> Moment {
        let off = self.clocks.get(&node).copied().unwrap_or_default();
        let now_ms = (WALL_CLOCK_MS + self.sim.now().as_millis() as u64).saturating_add_signed(off);
        Moment {
            now_ms,
            random: self.sim.rng().random(),
            leads: self.sim.leads(node, shard),
        }
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}
