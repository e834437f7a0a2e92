//! Follower providers as external senders (draft-ietf-mimi-protocol, 7.4).

use mimi_hub_proto::mls::ProposalMessage;
use mimi_hub_proto::tls;
use openmls::extensions::{Extension, ExtensionType, Extensions, ExternalSender, RequiredCapabilitiesExtension};
use openmls::group::GroupContext;
use tls_codec::Deserialize as _;

use super::world::{ALICE, World, domain, user};
use crate::mls::hub_keys::HubKeys;
use crate::room::moderation;
use crate::testing::client::Plan;
use crate::testing::roles::{ADMIN, MEMBER};

fn keys(of: &str) -> HubKeys {
    HubKeys::ephemeral(&domain(of)).unwrap()
}

impl World {
    fn extensions(&self) -> Extensions<GroupContext> {
        self.state().group.group_context().extensions().clone()
    }

    /// A Commit that changes the list of external senders, and whatever else the plan has.
    fn with_senders(&self, plan: Plan, change: impl FnOnce(&mut Vec<ExternalSender>)) -> Plan {
        let mut extensions = self.extensions();
        let mut senders = extensions.external_senders().unwrap().to_vec();
        change(&mut senders);
        extensions.add_or_replace(Extension::ExternalSenders(senders)).unwrap();
        Plan {
            extensions: Some(extensions),
            ..plan
        }
    }

    fn plan_with(&self, keys: &HubKeys) -> Plan {
        self.with_senders(Plan::default(), |senders| senders.push(self.sender(keys)))
    }

    fn sender(&self, keys: &HubKeys) -> ExternalSender {
        let scheme = self.state().group.ciphersuite().signature_algorithm();
        ExternalSender::tls_deserialize_exact(keys.external_sender(scheme).unwrap()).unwrap()
    }

    fn senders(&self) -> usize {
        self.extensions().external_senders().unwrap().len()
    }

    /// What a follower proposes: to remove the clients of one of the people.
    fn removals(&self, keys: &HubKeys, of: usize) -> Vec<ProposalMessage> {
        moderation::remove_proposals(self.state(), keys, self.state().epoch(), self.leaves(of)).unwrap()
    }

    fn propose_as(&mut self, source: &str, proposals: &[ProposalMessage]) {
        self.propose_from(domain(source), proposals).unwrap();
        for client in &mut self.people {
            proposals.iter().for_each(|proposal| client.follow_proposal(proposal));
        }
        self.check();
    }
}

/// "When a user from a follower server becomes a participant in the room, the Certificate of the follower server MAY be added"
#[tokio::test]
async fn a_follower_becomes_an_external_sender_by_a_client_of_its_own_7_4() {
    let (_hub, mut world) = World::new().await;
    let b = keys("b.example");
    let plan = world.plan_with(&b);
    world.commit(ALICE, plan).unwrap_err().not_allowed("no participant");
    let bob = world.add("bob@b.example", MEMBER);
    let plan = world.plan_with(&b);
    world
        .commit(ALICE, plan)
        .unwrap_err()
        .not_allowed("only a client of b.example makes b.example");
    let plan = world.plan_with(&b);
    world.commit(bob, plan).unwrap();
    assert_eq!(world.senders(), 2);
    let plan = world.plan_with(&keys("b.example"));
    world.commit(bob, plan).unwrap_err().not_allowed("once");
    // It survives a restart, and is part of the GroupInfo that the hub holds Commits to.
    world.room.reload();
    world.commit(ALICE, Plan::default()).unwrap();
    assert_eq!(world.senders(), 2);
}

/// "That extension MUST contain at least the Certificate of the Hub."
#[tokio::test]
async fn the_hub_stays_an_external_sender_7_4() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let plan = world.with_senders(Plan::default(), Vec::clear);
    world.commit(bob, plan).unwrap_err().not_allowed("stays it");
    let b = world.sender(&keys("b.example"));
    let plan = world.with_senders(Plan::default(), |senders| senders.insert(0, b));
    world.commit(bob, plan).unwrap_err().not_allowed("stays it");
}

#[tokio::test]
async fn no_other_extension_is_changed_7_4() {
    let (_hub, mut world) = World::new().await;
    let mut extensions = world.extensions();
    let capabilities = RequiredCapabilitiesExtension::new(&[ExtensionType::AppDataDictionary], &[], &[]);
    extensions
        .add_or_replace(Extension::RequiredCapabilities(capabilities))
        .unwrap();
    let plan = Plan {
        extensions: Some(extensions),
        ..Plan::default()
    };
    world.commit(ALICE, plan).unwrap_err().not_allowed("and nothing else");
}

/// "When the last participant belonging to a follower server leaves the room, the certificate of that user MUST be removed
/// from the list."
#[tokio::test]
async fn a_follower_goes_with_its_last_participant_7_4() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let carol = world.add("carol@b.example", MEMBER);
    let plan = world.plan_with(&keys("b.example"));
    world.commit(bob, plan).unwrap();
    let plan = world.with_senders(Plan::default(), |senders| senders.truncate(1));
    world
        .commit(ALICE, plan)
        .unwrap_err()
        .not_allowed("b.example has participants");
    let plan = Plan::default().remove(world.leaves(carol)).list(&world.removal(carol));
    world.commit(ALICE, plan).unwrap();
    let plan = Plan::default().remove(world.leaves(bob)).list(&world.removal(bob));
    world
        .commit(ALICE, plan)
        .unwrap_err()
        .not_allowed("take it out of `external_senders`");
    let plan = Plan::default().remove(world.leaves(bob)).list(&world.removal(bob));
    let plan = world.with_senders(plan, |senders| senders.truncate(1));
    world.commit(ALICE, plan).unwrap();
    assert_eq!(world.senders(), 1);
}

/// The same when its last participant leaves of its own accord. openmls makes and takes no Commit in which a waiting
/// AppDataUpdate comes before GroupContextExtensions: it goes in the Commit after.
#[tokio::test]
async fn a_follower_goes_with_its_last_participants_pending_leave_7_4() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let plan = world.plan_with(&keys("b.example"));
    world.commit(bob, plan).unwrap();
    let proposals = world.people[bob].propose_to_leave();
    world.propose(bob, &proposals).unwrap();
    world.commit(ALICE, Plan::default()).unwrap();
    assert!(world.state().policy.role_of(&user("bob@b.example")).is_none());
    assert_eq!(world.senders(), 2);
    world
        .commit(ALICE, Plan::default())
        .unwrap_err()
        .not_allowed("take it out of `external_senders`");
    let plan = world.with_senders(Plan::default(), |senders| senders.truncate(1));
    world.commit(ALICE, plan).unwrap();
    assert_eq!(world.senders(), 1);
}

/// "MLS requires that MLS proposals from the Hub and from follower servers be authenticated using key material contained in
/// the `external_senders` extension"
#[tokio::test]
async fn a_follower_proposes_to_remove_its_own_users_clients_7_4() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let carol = world.add("carol@c.example", ADMIN);
    let b = keys("b.example");
    let plan = world.plan_with(&b);
    world.commit(bob, plan).unwrap();
    let others = world.removals(&b, carol);
    world
        .propose_from(domain("b.example"), &others)
        .unwrap_err()
        .not_allowed("its own users");
    let own = world.removals(&b, bob);
    for source in ["c.example", "a.example"] {
        world
            .propose_from(domain(source), &own)
            .unwrap_err()
            .not_allowed("come from that provider");
    }
    let mut octets = tls::encode(&own[0]);
    *octets.last_mut().unwrap() ^= 1;
    let forged: ProposalMessage = tls::decode_exact(&octets).unwrap();
    world
        .propose_from(domain("b.example"), &[forged])
        .unwrap_err()
        .not_allowed("");
    world.propose_as("b.example", &own);
    assert!(world.state().leaving.contains(&user("bob@b.example")));
    world.room.reload();
    world.check();
    world.commit(carol, Plan::default()).unwrap();
    assert!(!world.state().is_active(&user("bob@b.example")));
    // It stays on the list, inactive, and its provider an external sender.
    assert_eq!(world.senders(), 2);
}

/// The hub's own key is not a follower's, and a follower's is not the hub's.
#[tokio::test]
async fn nobody_sends_the_hubs_proposals_but_the_hub_7_4() {
    let (hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let forged = {
        let state = world.state();
        moderation::remove_proposals(state, hub.hub.keys(), state.epoch(), world.leaves(bob)).unwrap()
    };
    for source in ["a.example", "b.example"] {
        world
            .propose_from(domain(source), &forged)
            .unwrap_err()
            .not_allowed("come from that provider");
    }
}
