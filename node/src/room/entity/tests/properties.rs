//! Random sequences of what people do, with real MLS groups. After each accepted step `World::check` compares the hub's
//! view with the group, with every client's, and with the room as it is rebuilt from the store.

use std::sync::Arc;

use proptest::prelude::*;

use super::world::{ALICE, World, user};
use crate::hub::Hub;
use crate::room::state::PendingEffect;
use crate::testing::client::{Client, Plan};
use crate::testing::hub::{TestHub, config};
use crate::testing::roles::{ADMIN, BANNED, MEMBER, SILENT};

/// Whoever is chosen by a number is the one at that place among those who can.
#[derive(Clone, Debug)]
enum Step {
    AddUser(u8),
    AddOwnClient(usize),
    Join(usize),
    SelfUpdate(usize),
    Remove(usize),
    Kick(usize),
    ChangeRole(usize, u32),
    Ban(usize),
    /// Proposes to leave; somebody commits later.
    Leave(usize),
    ProposeUpdate(usize),
    Message(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let who = || any::<usize>();
    let role = prop_oneof![Just(MEMBER), Just(ADMIN), Just(SILENT)];
    prop_oneof![
        4 => (0u8..3).prop_map(Step::AddUser),
        2 => who().prop_map(Step::AddOwnClient),
        2 => who().prop_map(Step::Join),
        3 => who().prop_map(Step::SelfUpdate),
        1 => who().prop_map(Step::Remove),
        1 => who().prop_map(Step::Kick),
        2 => (who(), role).prop_map(|(who, role)| Step::ChangeRole(who, role)),
        1 => who().prop_map(Step::Ban),
        3 => who().prop_map(Step::Leave),
        1 => who().prop_map(Step::ProposeUpdate),
        2 => who().prop_map(Step::Message),
        1 => Just(Step::Restart),
    ]
}

struct Play {
    world: World,
    /// Numbers the clients that there have ever been.
    clients: u32,
}

impl Play {
    /// The place among the people of a client that has a group and meets the condition, alice's first one apart.
    fn other(&self, number: usize, may: impl Fn(&Client) -> bool) -> Option<usize> {
        let state = self.world.state();
        let can: Vec<usize> = (1..self.world.people.len())
            .filter(|who| {
                let client = &self.world.people[*who];
                client.group.is_some() && client.user() != self.world.people[ALICE].user() && may(client)
            })
            .filter(|who| !state.leaving.contains(self.world.people[*who].user()))
            .collect();
        (!can.is_empty()).then(|| can[number % can.len()])
    }

    fn role(&self, client: &Client) -> u32 {
        self.world
            .state()
            .policy
            .role_of(client.user())
            .map_or(0, |role| role.role_index)
    }

    /// A client of a user, which is not in the group yet.
    fn another(&mut self, name: &str) -> Client {
        self.clients += 1;
        Client::new(&user(name), self.clients)
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::AddUser(number) => {
                let name = format!("user{}@{}.example", self.clients, ["a", "b", "c"][usize::from(number)]);
                let client = self.another(&name);
                let plan = self.world.plan_to_add(&client, MEMBER);
                self.world.people.push(client);
                self.world.commit(ALICE, plan).unwrap();
            }
            Step::AddOwnClient(number) => {
                let Some(who) = self.other(number, |client| self.role(client) != SILENT) else {
                    return;
                };
                let mut client = Client::new(self.world.people[who].user(), self.clients + 1);
                self.clients += 1;
                let key_package = self.world.claim(&client);
                client.group = None;
                self.world.people.push(client);
                self.world.commit(who, Plan::default().add([key_package])).unwrap();
            }
            Step::Join(number) => {
                let Some(who) = self.other(number, |client| self.role(client) != SILENT) else {
                    return;
                };
                self.clients += 1;
                let client = Client::new(self.world.people[who].user(), self.clients);
                if self.world.state().pending.is_empty() {
                    self.world.join(client).unwrap();
                } else {
                    let (_, bundle) = self.world.external_commit(&client);
                    self.world.send(who, &bundle).unwrap_err().not_allowed("pending");
                }
            }
            Step::SelfUpdate(number) => {
                let who = self.other(number, |_| true).unwrap_or(ALICE);
                self.world.commit(who, Plan::default()).unwrap();
            }
            Step::Remove(number) => {
                let Some(who) = self.other(number, |_| true) else {
                    return;
                };
                let leaves = self.world.leaves(who);
                let plan = Plan::default().remove(leaves).list(&self.world.removal(who));
                self.world.commit(ALICE, plan).unwrap();
            }
            Step::Kick(number) => {
                let Some(who) = self.other(number, |_| true) else {
                    return;
                };
                let leaf = self.world.people[who].leaf();
                self.world.commit(ALICE, Plan::default().remove([leaf])).unwrap();
            }
            Step::ChangeRole(number, role) => {
                let Some(who) = self.other(number, |client| self.role(client) != role) else {
                    return;
                };
                let change = self.world.role_change(who, role);
                self.world.commit(ALICE, Plan::default().list(&change)).unwrap();
            }
            Step::Ban(number) => {
                let Some(who) = self.other(number, |_| true) else {
                    return;
                };
                let leaves = self.world.leaves(who);
                let plan = Plan::default()
                    .remove(leaves)
                    .list(&self.world.role_change(who, BANNED));
                self.world.commit(ALICE, plan).unwrap();
            }
            Step::Leave(number) => {
                let Some(who) = self.other(number, |client| self.role(client) == MEMBER) else {
                    return;
                };
                let proposals = self.world.people[who].propose_to_leave();
                self.world.propose(who, &proposals).unwrap();
                assert!(self.world.state().leaving.contains(self.world.people[who].user()));
            }
            Step::ProposeUpdate(number) => {
                let updates = |client: &Client| {
                    let pending = self.world.state().pending.iter();
                    pending
                        .filter(|pending| pending.effect == PendingEffect::UpdateLeaf(client.leaf()))
                        .count()
                };
                let Some(who) = self.other(number, |client| updates(client) == 0) else {
                    return;
                };
                let proposal = self.world.people[who].propose_update(None);
                self.world.propose(who, &[proposal]).unwrap();
            }
            Step::Message(number) => {
                let Some(who) = self.other(number, |client| self.role(client) != SILENT) else {
                    return;
                };
                let client = &mut self.world.people[who];
                // openmls gives no message while proposals are pending (RFC 9420, 12.4).
                if client.group().pending_proposals().next().is_none() {
                    let message = client.message(b"hello");
                    let (source, sender) = (client.user().provider(), client.user().clone());
                    let name = sender.as_str().rsplit('/').next().unwrap();
                    let response = self.world.submit(source.as_str(), &format!("{name}@{source}"), message);
                    assert!(matches!(
                        response,
                        mimi_hub_proto::SubmitMessageResponse::Accepted { .. }
                    ));
                }
            }
            Step::Restart => self.world.room.reload(),
        }
        self.world.check();
    }
}

fn play(hub: &Arc<Hub>, steps: Vec<Step>) {
    let mut play = Play {
        world: World::on(hub),
        clients: 1,
    };
    for step in steps {
        play.step(&step);
    }
    play.world.commit(ALICE, Plan::default()).unwrap();
}

async fn with_checkpoint_after(bytes: u64) {
    let mut config = config();
    config.room.checkpoint_handshake_bytes = bytes;
    let hub = TestHub::start(config).await;
    let config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 40,
        ..ProptestConfig::with_cases(12)
    };
    proptest!(config, |(steps in prop::collection::vec(step(), 4..24))| play(&hub.hub, steps));
}

#[tokio::test]
async fn the_hubs_view_is_the_groups_whatever_people_do() {
    with_checkpoint_after(1 << 20).await;
}

#[tokio::test]
async fn a_checkpoint_after_each_commit_makes_no_difference() {
    with_checkpoint_after(1).await;
}

#[tokio::test]
async fn nor_does_one_after_some_commits() {
    with_checkpoint_after(5_000).await;
}
