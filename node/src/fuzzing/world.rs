//! The room, its people, and what they have sent before.

use std::sync::{Arc, OnceLock};

use mimi_hub_proto::components::{ParticipantListUpdate, UserRolePair};
use mimi_hub_proto::mls::{ApplicationMessage, GroupInfo, ProposalMessage, RatchetTree, Welcome};
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use mimi_hub_proto::{
    AbusiveMessage, ClientKeyMaterial, ClientKeyMaterialOutcome, HandshakeBundle, KeyMaterialResponse, tls,
};
use openmls::prelude::KeyPackage;
use openmls_traits::types::SignatureScheme;

use super::Watch;
use super::choices::Choices;
use crate::command::{Event, decode, encode};
use crate::config::Config;
use crate::entity::EntityId;
use crate::mls::hub_keys::HubKeys;
use crate::room::entity::checks::{check, digest};
use crate::room::entity::{HostedRoom, RoomAnswer, RoomRequest};
use crate::room::event::{CommitAccepted, RoomEvent};
use crate::room::group_info::ratchet_tree;
use crate::room::state::RoomState;
use crate::settings::Settings;
use crate::testing::client::{Client, Plan, wire_key_package};
use crate::testing::entity::{Asked, Driven};
use crate::testing::roles::{ADMIN, MEMBER};

/// After how many octets of handshakes a room is laid down again: after each, after some, never.
const CHECKPOINTS: [u64; 3] = [1, 5_000, 1 << 30];

/// Roles that the room has, and one that it has not.
pub(super) const ROLES: [u32; 8] = [MEMBER, MEMBER, ADMIN, 4, 1, 0, 77, MEMBER];

const DOMAINS: [&str; 3] = ["a.example", "b.example", "c.example"];

/// How many clients there may be: what is checked after each step is as much as there are.
const PEOPLE_MAX: usize = 12;

fn settings(checkpoint: usize) -> &'static Arc<Settings> {
    static SETTINGS: OnceLock<Vec<Arc<Settings>>> = OnceLock::new();
    let all = SETTINGS.get_or_init(|| {
        let keys = HubKeys::ephemeral(&domain("a.example")).unwrap().to_bytes().unwrap();
        let settings = CHECKPOINTS.iter().map(|octets| {
            let text = format!(
                r#"
                hub = {{ domains = ["a.example"] }}
                federation = {{ listen = "127.0.0.1:0", certificate = "", private_key = "", peer_ca = "" }}
                local = {{ listen = "127.0.0.1:0", certificate = "", private_key = "", client_ca = "" }}
                room = {{ checkpoint_handshake_bytes = {octets}, past_epochs_max = 2, pending_proposals_max = 6, members_max = 10 }}
                "#
            );
            let config: Config = toml::from_str(&text).unwrap();
            let keys = HubKeys::from_bytes(&keys, &domain("a.example")).unwrap();
            Arc::new(Settings { config, keys })
        });
        settings.collect()
    });
    &all[checkpoint]
}

pub(super) fn room_uri() -> RoomUri {
    "mimi://a.example/r/clubhouse".parse().unwrap()
}

pub(super) fn domain(name: &str) -> ProviderDomain {
    name.parse().unwrap()
}

pub(super) fn some_domain(choices: &mut Choices<'_>) -> ProviderDomain {
    domain(DOMAINS[choices.below(DOMAINS.len())])
}

pub(super) fn user(name: &str, domain: &str) -> UserUri {
    format!("mimi://{domain}/u/{name}").parse().unwrap()
}

pub(super) fn added(user: &UserUri, role_index: u32) -> ParticipantListUpdate {
    ParticipantListUpdate {
        added_participants: vec![UserRolePair {
            user: user.clone(),
            role_index,
        }],
        ..ParticipantListUpdate::default()
    }
}

/// A Commit that is on its way.
pub(super) struct Sent {
    pub(super) bundle: HandshakeBundle,
    pub(super) welcome: Option<Welcome>,
}

pub(super) struct World<'w> {
    watch: &'w Watch<'w>,
    pub(super) room: Driven<HostedRoom>,
    /// Members, and those who were or will be.
    pub(super) people: Vec<Client>,
    pub(super) now_ms: u64,
    /// Numbers the clients that there have ever been.
    pub(super) clients: u32,
    /// What has been sent to `update`, accepted or not.
    pub(super) updates: Vec<(ProviderDomain, HandshakeBundle)>,
    pub(super) messages: Vec<ApplicationMessage>,
    /// Messages that were franked, with their senders.
    pub(super) franked: Vec<(UserUri, AbusiveMessage)>,
    /// The names of join codes, and when they were made.
    pub(super) codes: Vec<(String, u64)>,
    pub(super) accepted: usize,
    pub(super) refused: usize,
    /// The clients no longer follow the room, or there is none.
    pub(super) over: bool,
    /// Of the room as it is.
    digest: Vec<String>,
}

impl<'w> World<'w> {
    /// The room with an administrator at a.example and members at all three providers.
    pub(super) fn new(choices: &mut Choices<'_>, watch: &'w Watch<'w>) -> Self {
        let settings = settings(choices.below(CHECKPOINTS.len()));
        let mut alice = Client::new(&user("alice", "a.example"), 1);
        let sender = settings.keys.external_sender(SignatureScheme::ED25519).unwrap();
        let creator = alice.user().clone();
        let (group_info, ratchet_tree) = alice.create(&room_uri(), &sender, &[(creator.clone(), ADMIN)], &[]);
        let mut world = World {
            watch,
            room: Driven::new(settings, EntityId::Room(room_uri())),
            people: vec![alice],
            now_ms: crate::clock::now_ms(),
            clients: 1,
            updates: Vec::new(),
            messages: Vec::new(),
            franked: Vec::new(),
            codes: Vec::new(),
            accepted: 0,
            refused: 0,
            over: false,
            digest: Vec::new(),
        };
        let create = RoomRequest::Create {
            creator,
            group_info,
            ratchet_tree,
        };
        world.ask(&create).accepted();
        let mut plan = Plan::default();
        let mut list = ParticipantListUpdate::default();
        for (name, domain) in [("bob", "b.example"), ("cathy", "c.example")] {
            let client = Client::new(&user(name, domain), 1);
            list.added_participants
                .extend(added(client.user(), MEMBER).added_participants);
            plan = plan.add([world.claim(&client)]);
            world.people.push(client);
        }
        plan.pathless = true;
        let sent = world.honest(0, plan.list(&list)).expect("an honest Commit");
        world.send_commit(0, &domain("a.example"), &sent, true);
        assert_eq!(world.state().members.len(), 3);
        world
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.room.settings
    }

    pub(super) fn state(&self) -> &RoomState {
        self.room.entity.state().expect("the room is made")
    }

    /// Asks as another node would pass it on. A refusal changes nothing; what is accepted is applied, and rebuilds the
    /// room as it is.
    pub(super) fn ask(&mut self, request: &RoomRequest) -> Asked<RoomAnswer> {
        let octets = encode(request).unwrap();
        let (room, now_ms) = (&mut self.room, self.now_ms);
        let mut asked = None;
        (self.watch)(octets.len(), &mut || {
            let request = decode(&octets).expect("a request is read as it was written");
            asked = Some(room.ask(now_ms, request));
        });
        self.now_ms += 1;
        let asked = asked.expect("it was asked");
        let after = digest(&self.room.entity);
        match &asked {
            Asked::Accepted { .. } => {
                self.accepted += 1;
                assert_eq!(after, digest(&self.room.rebuilt()), "what is rebuilt is what lives");
            }
            Asked::Answer(_) => {
                self.refused += 1;
                assert_eq!(self.digest, after, "an answer changes nothing");
            }
        }
        self.digest = after;
        asked
    }

    pub(super) fn check(&self) {
        if !self.over {
            check(&self.room, &self.people);
        }
    }

    /// One of the clients in the group.
    pub(super) fn someone(&self, choices: &mut Choices<'_>) -> Option<usize> {
        let members: Vec<usize> = (0..self.people.len())
            .filter(|who| self.people[*who].group.is_some())
            .collect();
        (!members.is_empty()).then(|| *choices.of(&members))
    }

    /// A user, mostly one that is or was there.
    pub(super) fn some_user(&mut self, choices: &mut Choices<'_>) -> UserUri {
        if choices.rarely(4) {
            let name = format!("stranger{}", choices.below(4));
            return user(&name, DOMAINS[choices.below(DOMAINS.len())]);
        }
        choices.of(&self.people).user().clone()
    }

    /// Another client of a user, not in the group yet.
    pub(super) fn another(&mut self, user: &UserUri) -> Option<Client> {
        if self.people.len() >= PEOPLE_MAX {
            return None;
        }
        self.clients += 1;
        Some(Client::new(user, self.clients))
    }

    /// The hub hears of a KeyPackage that this client has given out for the room.
    pub(super) fn claim(&mut self, client: &Client) -> KeyPackage {
        let key_package = client.key_package();
        let entry = ClientKeyMaterial {
            client_uri: client.identity.client().clone(),
            outcome: ClientKeyMaterialOutcome::Success(wire_key_package(&key_package)),
        };
        let response = KeyMaterialResponse::from_clients(client.user().clone(), vec![entry]).unwrap();
        let provider = client.user().provider();
        self.ask(&RoomRequest::Claimed { provider, response });
        key_package
    }

    /// What somebody needs who wants to join.
    pub(super) fn group_info(&self) -> (GroupInfo, RatchetTree) {
        let state = self.state();
        let tree = ratchet_tree(state).unwrap();
        (tls::decode_exact(&state.group_info).unwrap(), tree)
    }

    pub(super) fn update(&mut self, source: &ProviderDomain, bundle: &HandshakeBundle) -> Option<RoomEvent> {
        if self.updates.len() < 16 {
            self.updates.push((source.clone(), bundle.clone()));
        }
        match self.ask(&RoomRequest::Update {
            source: source.clone(),
            update: bundle.clone().into(),
        }) {
            Asked::Accepted { event, .. } => match *event {
                Event::Room(event) => Some(event),
                other => panic!("{other:?}"),
            },
            Asked::Answer(RoomAnswer::Update(_) | RoomAnswer::NoSuchRoom | RoomAnswer::NeedsParent(_)) => None,
            Asked::Answer(other) => panic!("{other:?}"),
        }
    }

    /// Sends a Commit of a member. Everybody follows if it is accepted; if not, its sender forgets it. `genuine`: it is
    /// what the client has made.
    pub(super) fn send_commit(&mut self, who: usize, source: &ProviderDomain, sent: &Sent, genuine: bool) {
        match self.update(source, &sent.bundle) {
            // A hub has no means to see a membership tag or path secrets that are wrong: the clients may be lost by now.
            Some(_) if !genuine => self.over = true,
            Some(event) => {
                self.people[who].merge();
                self.deliver(who, sent, &event);
            }
            None => self.people[who].drop_commit(),
        }
        self.check();
    }

    /// Tells everybody but its sender of a Commit.
    pub(super) fn deliver(&mut self, who: usize, sent: &Sent, event: &RoomEvent) {
        let (RoomEvent::Commit(accepted), HandshakeBundle::Commit { commit, .. }) = (event, &sent.bundle) else {
            panic!("{event:?}")
        };
        for (number, client) in self.people.iter_mut().enumerate() {
            if number != who {
                client.follow(commit);
            }
        }
        let stapled = accepted.external_proposals.iter();
        let stapled: Vec<ProposalMessage> = stapled.map(|octets| tls::decode_exact(octets).unwrap()).collect();
        self.tell(usize::MAX, &stapled);
        self.welcome(sent, accepted);
    }

    fn welcome(&mut self, sent: &Sent, accepted: &CommitAccepted) {
        if let (Some(recorded), Some(welcome)) = (&accepted.welcome, &sent.welcome) {
            let tree: RatchetTree = tls::decode_exact(&recorded.ratchet_tree).unwrap();
            for client in self.people.iter_mut().filter(|client| client.group.is_none()) {
                client.welcome(welcome, &tree);
            }
        }
    }

    /// Tells everybody but `who` of proposals.
    pub(super) fn tell(&mut self, who: usize, proposals: &[ProposalMessage]) {
        for (number, client) in self.people.iter_mut().enumerate() {
            if number != who {
                proposals.iter().for_each(|proposal| client.follow_proposal(proposal));
            }
        }
    }

    /// The proposals of an event of the hub itself.
    pub(super) fn tell_of(&mut self, event: &Event) {
        if let Event::Room(RoomEvent::Proposals { messages, .. } | RoomEvent::Barred { messages, .. }) = event {
            let proposals: Vec<ProposalMessage> = messages
                .iter()
                .map(|octets| tls::decode_exact(octets).unwrap())
                .collect();
            self.tell(usize::MAX, &proposals);
        }
    }
}
