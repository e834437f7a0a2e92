//! Making a room (draft-ietf-mimi-protocol, 3.1 and 7).

use mimi_hub_proto::mls::{GroupInfo, RatchetTree};
use mimi_hub_proto::tls;
use mimi_hub_proto::uri::UserUri;
use openmls::prelude::ExternalSender;
use openmls_traits::types::SignatureScheme;
use tls_codec::Deserialize as _;

use super::world::{World, room_uri, user};
use crate::command::Event;
use crate::entity::EntityId;
use crate::mls::hub_keys::HubKeys;
use crate::room::entity::checks::digest;
use crate::room::entity::{HostedRoom, RoomAnswer, RoomRequest};
use crate::room::event::RoomEvent;
use crate::testing::client::{Client, Plan};
use crate::testing::entity::{Asked, Driven};
use crate::testing::hub::{TestHub, config};
use crate::testing::roles::{ADMIN, MEMBER};

struct Making {
    hub: TestHub,
    room: Driven<HostedRoom>,
    alice: Client,
}

impl Making {
    async fn new() -> Self {
        let hub = TestHub::start(config()).await;
        let room = Driven::new(hub.hub.settings(), EntityId::Room(room_uri()));
        Making {
            hub,
            room,
            alice: Client::new(&user("alice@a.example"), 1),
        }
    }

    fn sender(&self) -> Vec<u8> {
        self.hub.hub.keys().external_sender(SignatureScheme::ED25519).unwrap()
    }

    /// alice's group with these participants and clients.
    fn group(&mut self, participants: &[(UserUri, u32)], others: &[&Client]) -> (GroupInfo, RatchetTree) {
        let sender = self.sender();
        self.alice.create(&room_uri(), &sender, participants, others)
    }

    fn ask(&mut self, creator: &str, (group_info, ratchet_tree): (GroupInfo, RatchetTree)) -> Asked<RoomAnswer> {
        let creator = user(creator);
        self.room.ask(
            1_000,
            RoomRequest::Create {
                creator,
                group_info,
                ratchet_tree,
            },
        )
    }

    #[track_caller]
    fn refused(&mut self, creator: &str, group: (GroupInfo, RatchetTree), wanted: &str) {
        match self.ask(creator, group).answer() {
            RoomAnswer::CreateRefused(reason) => assert!(reason.contains(wanted), "{reason}"),
            other => panic!("{other:?}"),
        }
        assert!(
            self.room.entity.state.is_none() && self.room.last_seq() == 0,
            "nothing is made"
        );
    }
}

fn alice() -> (UserUri, u32) {
    (user("alice@a.example"), ADMIN)
}

#[tokio::test]
async fn a_room_is_made_of_its_first_clients_group() {
    let mut making = Making::new().await;
    let second = Client::new(&user("alice@a.example"), 2);
    let adam = Client::new(&user("adam@a.example"), 1);
    let participants = [
        alice(),
        (user("adam@a.example"), MEMBER),
        (user("bob@b.example"), MEMBER),
    ];
    let group = making.group(&participants, &[&second, &adam]);
    let (event, reply) = making.ask("alice@a.example", group).accepted();
    assert_eq!(reply, br#"{"acceptedTimestamp":1000}"#);
    let Event::Room(RoomEvent::Created { joined, .. }) = event else {
        panic!("another event")
    };
    assert_eq!(joined, [user("adam@a.example"), user("alice@a.example")]);
    let state = making.room.entity.state.as_ref().unwrap();
    assert_eq!((state.epoch(), state.members.len()), (1, 3));
    assert!(
        state.policy.role_of(&user("bob@b.example")).is_some(),
        "on the list, to be added later"
    );
    assert_eq!(digest(&making.room.entity), digest(&making.room.rebuilt()));
}

#[tokio::test]
async fn a_room_is_made_once() {
    let (_hub, mut world) = World::new().await;
    let before = digest(&world.room.entity);
    let alice = &world.people[0];
    let (group_info, ratchet_tree) = (alice.export_group_info(false), alice.ratchet_tree());
    let creator = user("alice@a.example");
    let asked = world.ask(RoomRequest::Create {
        creator,
        group_info,
        ratchet_tree,
    });
    assert!(matches!(asked.answer(), RoomAnswer::Exists));
    assert_eq!(before, digest(&world.room.entity));
}

#[tokio::test]
async fn before_it_is_made_there_is_no_room() {
    let mut making = Making::new().await;
    assert!(matches!(
        making.room.ask(1, RoomRequest::View).answer(),
        RoomAnswer::NoSuchRoom
    ));
}

#[tokio::test]
async fn the_group_info_comes_without_the_tree() {
    let mut making = Making::new().await;
    let (_, tree) = making.group(&[alice()], &[]);
    let with_tree = making.alice.export_group_info(true);
    making.refused("alice@a.example", (with_tree, tree), "contains the ratchet tree");
}

#[tokio::test]
async fn the_groups_id_is_that_of_the_room() {
    let mut making = Making::new().await;
    let sender = ExternalSender::tls_deserialize_exact(making.sender()).unwrap();
    let group = making
        .alice
        .create_with("mimi://a.example/g/other", vec![sender], &[alice()], &[]);
    making.refused("alice@a.example", group, "the group's id is not");
}

/// draft-ietf-mimi-protocol, 7.4: "That extension MUST contain at least the Certificate of the Hub."
#[tokio::test]
async fn the_hub_is_an_external_sender() {
    let mut making = Making::new().await;
    let group_id = room_uri().group_uri();
    let group = making.alice.create_with(group_id.as_str(), Vec::new(), &[alice()], &[]);
    making.refused("alice@a.example", group, "external_senders");
    let stranger = HubKeys::ephemeral(&"a.example".parse().unwrap()).unwrap();
    let stranger = stranger.external_sender(SignatureScheme::ED25519).unwrap();
    let stranger = ExternalSender::tls_deserialize_exact(stranger).unwrap();
    let group = making
        .alice
        .create_with(group_id.as_str(), vec![stranger.clone()], &[alice()], &[]);
    making.refused("alice@a.example", group, "external_senders");
    let ours = ExternalSender::tls_deserialize_exact(making.sender()).unwrap();
    for both in [vec![stranger.clone(), ours.clone()], vec![ours.clone(), stranger]] {
        let group = making.alice.create_with(group_id.as_str(), both, &[alice()], &[]);
        making.refused("alice@a.example", group, "and it alone");
    }
    let group = making.alice.create_with(group_id.as_str(), vec![ours], &[alice()], &[]);
    making.ask("alice@a.example", group).accepted();
}

#[tokio::test]
async fn who_makes_a_room_is_in_it() {
    let mut making = Making::new().await;
    let group = making.group(&[alice(), (user("adam@a.example"), ADMIN)], &[]);
    making.refused("adam@a.example", group, "has no client in the group");
}

/// room-policy 5: "A parent-dependent room is always hosted on the same Hub as the parent room."
#[tokio::test]
async fn room_policy_5_the_parent_is_hosted_by_the_same_hub() {
    let mut making = Making::new().await;
    making.alice.base.parent_room = Some("mimi://b.example/r/parent".parse().unwrap());
    let group = making.group(&[alice()], &[]);
    making.refused("alice@a.example", group, "hosted by another provider");
    making.alice.base.parent_room = Some("mimi://a.example/r/parent".parse().unwrap());
    let group = making.group(&[alice()], &[]);
    match making.ask("alice@a.example", group).answer() {
        RoomAnswer::NeedsParent(parent) => assert_eq!(parent.as_str(), "mimi://a.example/r/parent"),
        other => panic!("{other:?}"),
    }
}

/// room-policy 5: "the list of participants of the room MUST be a strict subset of the participants of the parent room", when
/// it is made and when it changes.
#[tokio::test]
async fn room_policy_5_participants_are_a_strict_subset_of_the_parents() {
    let mut making = Making::new().await;
    making.alice.base.parent_room = Some("mimi://a.example/r/parent".parse().unwrap());
    let (bob, carol) = (user("bob@b.example"), user("carol@c.example"));
    let within = |parent: &[UserUri], request| RoomRequest::Within {
        parent: parent.to_vec(),
        request: Box::new(request),
    };
    let (group_info, ratchet_tree) = making.group(&[alice()], &[]);
    let create = || RoomRequest::Create {
        creator: alice().0,
        group_info: group_info.clone(),
        ratchet_tree: ratchet_tree.clone(),
    };
    for parent in [vec![], vec![alice().0], vec![bob.clone(), carol.clone()]] {
        match making.room.ask(1_000, within(&parent, create())).answer() {
            RoomAnswer::CreateRefused(reason) => assert!(reason.contains("strict subset"), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
    let parent = [alice().0, bob.clone(), carol];
    making.room.ask(1_000, within(&parent, create())).accepted();
    for (added, allowed) in [(user("eve@e.example"), false), (bob, true)] {
        let bundle = making
            .alice
            .commit(Plan::default().list(&super::world::added(&added, MEMBER)));
        let update = || RoomRequest::Update {
            source: alice().0.provider(),
            update: mimi_hub_proto::HandshakeBundle::Commit {
                commit: bundle.commit.clone(),
                welcome: None,
                group_info: bundle.group_info.clone(),
                ratchet_tree: mimi_hub_proto::RatchetTreeOption::DistributionService,
            }
            .into(),
        };
        assert!(matches!(
            making.room.ask(1_000, update()).answer(),
            RoomAnswer::NeedsParent(_)
        ));
        let asked = making.room.ask(1_000, within(&parent, update()));
        if allowed {
            asked.accepted();
        } else {
            match asked.answer() {
                RoomAnswer::Update(response) => assert!(response.error_description.contains("strict subset")),
                other => panic!("{other:?}"),
            }
            making.alice.drop_commit();
        }
    }
}

/// Their KeyPackages have not come through this hub.
#[tokio::test]
async fn nobody_of_another_provider_is_in_the_first_group() {
    let mut making = Making::new().await;
    let bob = Client::new(&user("bob@b.example"), 1);
    let group = making.group(&[alice(), (user("bob@b.example"), MEMBER)], &[&bob]);
    making.refused("alice@a.example", group, "is of another provider");
}

#[tokio::test]
async fn every_client_of_the_first_group_is_of_a_participant() {
    let mut making = Making::new().await;
    let adam = Client::new(&user("adam@a.example"), 1);
    let group = making.group(&[alice()], &[&adam]);
    making.refused("alice@a.example", group, "not on the participant list");
}

#[tokio::test]
async fn the_first_group_is_checked() {
    let mut making = Making::new().await;
    let second = Client::new(&user("alice@a.example"), 2);
    let (group_info, tree) = making.group(&[alice()], &[&second]);
    let mut octets = group_info.as_bytes().to_vec();
    *octets.last_mut().unwrap() ^= 1;
    let forged = tls::decode_exact(&octets).unwrap();
    making.refused("alice@a.example", (forged, tree), "the group is not valid");
    let (_, other_tree) = making.group(&[alice()], &[]);
    making.refused("alice@a.example", (group_info, other_tree), "the group is not valid");
}
