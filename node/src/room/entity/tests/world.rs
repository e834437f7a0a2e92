//! A room of a.example, its people, and the hub's decisions. After each of them, what must always hold is checked.

use std::sync::Arc;

use mimi_hub_proto::components::{ParticipantListUpdate, UserRolePair, UserindexRolePair};
use mimi_hub_proto::mls::{ApplicationMessage, ProposalMessage, RatchetTree};
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use mimi_hub_proto::{
    ClientKeyMaterial, ClientKeyMaterialOutcome, HandshakeBundle, KeyMaterialResponse, RatchetTreeOption,
    SubmitMessageRequest, SubmitMessageResponse, UpdateOutcome, UpdateRoomResponse, tls,
};
use openmls::prelude::KeyPackage;
use openmls_traits::types::SignatureScheme;

use crate::clock;
use crate::command::Event;
use crate::config::Config;
use crate::entity::EntityId;
use crate::hub::Hub;
use crate::room::entity::checks::{self, digest};
use crate::room::entity::{HostedRoom, RoomAnswer, RoomRequest};
use crate::room::event::{CommitAccepted, RoomEvent};
use crate::room::group_info::ratchet_tree;
use crate::testing::client::{Bundle, Client, Plan, wire_key_package};
use crate::testing::entity::{Asked, Driven};
use crate::testing::hub::{TestHub, config};
use crate::testing::roles::ADMIN;

pub(super) fn room_uri() -> RoomUri {
    "mimi://a.example/r/clubhouse".parse().unwrap()
}

pub(super) fn domain(name: &str) -> ProviderDomain {
    name.parse().unwrap()
}

pub(super) fn user(name: &str) -> UserUri {
    let (name, domain) = name.split_once('@').unwrap();
    format!("mimi://{domain}/u/{name}").parse().unwrap()
}

/// An update's refusal: its code and its description.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refused(pub(super) UpdateOutcome, pub(super) String);

impl Refused {
    /// `notAllowed`, for this reason.
    #[track_caller]
    pub(super) fn not_allowed(&self, reason: &str) {
        assert_eq!(self.0, UpdateOutcome::NotAllowed, "{self:?}");
        assert!(self.1.contains(reason), "{self:?}");
    }

    /// `invalidProposal`, for this reason. Gives the ProposalRefs.
    #[track_caller]
    pub(super) fn invalid(&self, reason: &str) -> usize {
        let UpdateOutcome::InvalidProposal { invalid_proposals } = &self.0 else {
            panic!("{self:?}")
        };
        assert!(self.1.contains(reason), "{self:?}");
        invalid_proposals.len()
    }
}

pub(super) struct World {
    pub(super) room: Driven<HostedRoom>,
    /// alice@a.example, the administrator who made the room, comes first.
    pub(super) people: Vec<Client>,
    pub(super) now_ms: u64,
}

pub(super) const ALICE: usize = 0;

impl World {
    pub(super) async fn new() -> (TestHub, World) {
        Self::configured(|_| {}).await
    }

    pub(super) async fn configured(change: impl FnOnce(&mut Config)) -> (TestHub, World) {
        let mut config = config();
        change(&mut config);
        let hub = TestHub::start(config).await;
        let world = Self::on(&hub.hub);
        (hub, world)
    }

    pub(super) fn on(hub: &Arc<Hub>) -> World {
        Self::made_by(hub, Client::new(&user("alice@a.example"), 1))
    }

    /// The room of this client, the administrator.
    pub(super) fn made_by(hub: &Arc<Hub>, mut alice: Client) -> World {
        let sender = hub.keys().external_sender(SignatureScheme::ED25519).unwrap();
        let participants = [(alice.user().clone(), ADMIN)];
        let (group_info, ratchet_tree) = alice.create(&room_uri(), &sender, &participants, &[]);
        let mut world = World {
            room: Driven::new(hub.settings(), EntityId::Room(room_uri())),
            people: vec![alice],
            now_ms: clock::now_ms(),
        };
        let creator = world.people[ALICE].user().clone();
        world
            .ask(RoomRequest::Create {
                creator,
                group_info,
                ratchet_tree,
            })
            .accepted();
        world.check();
        world
    }

    pub(super) fn ask(&mut self, request: RoomRequest) -> Asked<RoomAnswer> {
        self.now_ms += 1;
        self.room.ask(self.now_ms, request)
    }

    /// The hub hears of a KeyPackage that this client has given out for the room.
    pub(super) fn claim(&mut self, client: &Client) -> KeyPackage {
        let key_package = client.key_package();
        self.claimed(client, &key_package);
        key_package
    }

    pub(super) fn claimed(&mut self, client: &Client, key_package: &KeyPackage) {
        let entry = ClientKeyMaterial {
            client_uri: client.identity.client().clone(),
            outcome: ClientKeyMaterialOutcome::Success(wire_key_package(key_package)),
        };
        let response = KeyMaterialResponse::from_clients(client.user().clone(), vec![entry]).unwrap();
        let provider = client.user().provider();
        self.ask(RoomRequest::Claimed { provider, response }).accepted();
    }

    /// The administrator adds a user with one client.
    pub(super) fn add(&mut self, name: &str, role: u32) -> usize {
        let client = Client::new(&user(name), 1);
        let plan = self.plan_to_add(&client, role);
        self.people.push(client);
        self.commit(ALICE, plan).unwrap();
        self.people.len() - 1
    }

    pub(super) fn plan_to_add(&mut self, client: &Client, role: u32) -> Plan {
        let key_package = self.claim(client);
        Plan::default().add([key_package]).list(&added(client.user(), role))
    }

    /// Another client of the same user, which that user's first one adds.
    pub(super) fn add_client(&mut self, of: usize) -> usize {
        let number = 1 + u32::try_from(self.people[of].leaves_of(self.people[of].user()).len()).unwrap();
        let client = Client::new(self.people[of].user(), number);
        let key_package = self.claim(&client);
        self.people.push(client);
        self.commit(of, Plan::default().add([key_package])).unwrap();
        self.people.len() - 1
    }

    /// The change of the list by which the user gets this role.
    pub(super) fn role_change(&self, who: usize, role_index: u32) -> ParticipantListUpdate {
        let user_index = self.people[ALICE].place_of(self.people[who].user());
        ParticipantListUpdate {
            changed_role_participants: vec![UserindexRolePair { user_index, role_index }],
            ..ParticipantListUpdate::default()
        }
    }

    pub(super) fn removal(&self, who: usize) -> ParticipantListUpdate {
        ParticipantListUpdate {
            removed_indices: vec![self.people[ALICE].place_of(self.people[who].user())],
            ..ParticipantListUpdate::default()
        }
    }

    /// All leaves of the user.
    pub(super) fn leaves(&self, who: usize) -> Vec<u32> {
        self.people[ALICE].leaves_of(self.people[who].user())
    }

    /// Builds a Commit and sends it. Everybody follows if it is accepted; if not, it is as if it had never been.
    pub(super) fn commit(&mut self, who: usize, plan: Plan) -> Result<CommitAccepted, Refused> {
        let bundle = self.people[who].commit(plan);
        let sent = self.send(who, &bundle);
        match &sent {
            Ok(accepted) => {
                self.people[who].merge();
                self.deliver(who, &bundle, accepted);
                self.check();
            }
            Err(_) => self.people[who].drop_commit(),
        }
        sent
    }

    pub(super) fn deliver(&mut self, who: usize, bundle: &Bundle, accepted: &CommitAccepted) {
        for (number, client) in self.people.iter_mut().enumerate() {
            if number != who {
                client.follow(&bundle.commit);
            }
        }
        for proposal in &accepted.external_proposals {
            let proposal: ProposalMessage = tls::decode_exact(proposal).unwrap();
            self.people
                .iter_mut()
                .for_each(|client| client.follow_proposal(&proposal));
        }
        if let Some(welcome) = &accepted.welcome {
            let tree: RatchetTree = tls::decode_exact(&welcome.ratchet_tree).unwrap();
            let sent = bundle.welcome.as_ref().unwrap();
            let joining = self.people.iter_mut().filter(|client| client.group.is_none());
            assert!(
                joining
                    .filter_map(|client| client.welcome(sent, &tree).then_some(()))
                    .count()
                    > 0
            );
        }
    }

    /// Sends a Commit from its sender's own provider.
    pub(super) fn send(&mut self, who: usize, bundle: &Bundle) -> Result<CommitAccepted, Refused> {
        let source = self.people[who].user().provider();
        self.send_from(source, bundle)
    }

    pub(super) fn send_from(&mut self, source: ProviderDomain, bundle: &Bundle) -> Result<CommitAccepted, Refused> {
        let bundle = HandshakeBundle::Commit {
            commit: bundle.commit.clone(),
            welcome: bundle.welcome.clone(),
            group_info: bundle.group_info.clone(),
            ratchet_tree: RatchetTreeOption::DistributionService,
        };
        match self.update(source, bundle)? {
            RoomEvent::Commit(accepted) => Ok(accepted),
            other => panic!("{other:?}"),
        }
    }

    /// Sends proposals; everybody hears of those that are accepted.
    pub(super) fn propose(&mut self, who: usize, proposals: &[ProposalMessage]) -> Result<RoomEvent, Refused> {
        let source = self.people[who].user().provider();
        let sent = self.propose_from(source, proposals);
        match &sent {
            Ok(_) => {
                for (number, client) in self.people.iter_mut().enumerate() {
                    if number != who {
                        proposals.iter().for_each(|proposal| client.follow_proposal(proposal));
                    }
                }
                self.check();
            }
            Err(_) => {
                // What is pending by itself stays with the others; this client has no part in it any more.
                let pending = self.state().pending.len();
                assert_eq!(
                    pending, 0,
                    "the proposals of a refused client cannot be told from those that are pending"
                );
                self.people[who].drop_proposals();
            }
        }
        sent
    }

    pub(super) fn propose_from(
        &mut self,
        source: ProviderDomain,
        proposals: &[ProposalMessage],
    ) -> Result<RoomEvent, Refused> {
        let (proposal, more_proposals) = proposals.split_first().unwrap();
        let bundle = HandshakeBundle::Proposals {
            proposal: proposal.clone(),
            more_proposals: more_proposals.to_vec(),
        };
        self.update(source, bundle)
    }

    pub(super) fn update(&mut self, source: ProviderDomain, bundle: HandshakeBundle) -> Result<RoomEvent, Refused> {
        let before = digest(&self.room.entity);
        match self.ask(RoomRequest::Update {
            source,
            update: bundle.into(),
        }) {
            Asked::Accepted { event, reply } => {
                let Event::Room(event) = *event else {
                    panic!("{event:?}")
                };
                let response: UpdateRoomResponse = tls::decode_exact(&reply).unwrap();
                let accepted_timestamp = self.now_ms;
                assert_eq!(response.outcome, UpdateOutcome::Success { accepted_timestamp });
                Ok(event)
            }
            Asked::Answer(RoomAnswer::Update(response)) => {
                assert_eq!(before, digest(&self.room.entity), "a refusal changes nothing");
                Err(Refused(response.outcome, response.error_description))
            }
            Asked::Answer(other) => panic!("{other:?}"),
        }
    }

    pub(super) fn submit(&mut self, source: &str, who: &str, message: ApplicationMessage) -> SubmitMessageResponse {
        let request = SubmitMessageRequest {
            app_message: message,
            sending_uri: user(who),
        };
        let before = digest(&self.room.entity);
        let asked = self.ask(RoomRequest::Submit {
            source: domain(source),
            request,
        });
        assert_eq!(before, digest(&self.room.entity), "a message changes no state");
        match asked {
            Asked::Accepted { reply, .. } => tls::decode_exact(&reply).unwrap(),
            Asked::Answer(RoomAnswer::Submit(response)) => response,
            Asked::Answer(other) => panic!("{other:?}"),
        }
    }

    /// A client of a participant joins by itself.
    pub(super) fn join(&mut self, client: Client) -> Result<CommitAccepted, Refused> {
        let (group, bundle) = self.external_commit(&client);
        self.joined(client, group, &bundle)
    }

    /// A user that is not on the list joins by itself, with a role.
    pub(super) fn join_as(&mut self, client: Client, role: u32) -> Result<CommitAccepted, Refused> {
        let state = self.state();
        let group_info = tls::decode_exact(&state.group_info).unwrap();
        let update = added(client.user(), role);
        let (group, bundle) = client.external_commit_with(&group_info, &ratchet_tree(state).unwrap(), Some(&update));
        self.joined(client, group, &bundle)
    }

    fn joined(
        &mut self,
        mut client: Client,
        group: openmls::prelude::MlsGroup,
        bundle: &Bundle,
    ) -> Result<CommitAccepted, Refused> {
        let bundle = bundle.clone();
        let accepted = self.send_from(client.user().provider(), &bundle)?;
        client.group = Some(group);
        self.people.push(client);
        self.deliver(self.people.len() - 1, &bundle, &accepted);
        self.check();
        Ok(accepted)
    }

    pub(super) fn external_commit(&self, client: &Client) -> (openmls::prelude::MlsGroup, Bundle) {
        let state = self.state();
        let group_info = tls::decode_exact(&state.group_info).unwrap();
        client.external_commit(&group_info, &ratchet_tree(state).unwrap())
    }

    pub(super) fn state(&self) -> &crate::room::state::RoomState {
        self.room.entity.state.as_ref().expect("the room is made")
    }

    /// What must hold after each accepted operation.
    #[track_caller]
    pub(super) fn check(&self) {
        checks::check(&self.room, &self.people);
    }
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
