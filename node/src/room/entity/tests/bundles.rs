//! Commits: what `room::commit` lists as 8, the GroupInfo and the Welcome.

use mimi_hub_proto::mls::{Extension, GroupInfo, Welcome};
use mimi_hub_proto::{GroupInfoOption, PartialGroupInfo, RatchetTreePresence, tls};

use super::world::{ALICE, World, domain, user};
use crate::room::event::RoomEvent;
use crate::room::fan_out;
use crate::testing::client::{Bundle, Client, Plan};
use crate::testing::roles::MEMBER;

fn with(bundle: &Bundle, group_info: GroupInfo) -> Bundle {
    Bundle {
        group_info: GroupInfoOption::Full(group_info),
        ..bundle.clone()
    }
}

/// The GroupInfo with the octet at `from_end` changed; the last 64 are the signature.
fn damaged(group_info: &GroupInfo, from_end: usize) -> GroupInfo {
    let mut octets = group_info.as_bytes().to_vec();
    let at = octets.len() - from_end;
    octets[at] ^= 1;
    tls::decode_exact(&octets).unwrap()
}

fn extensions(group_info: &GroupInfo) -> Vec<Extension> {
    let extensions = group_info.extensions();
    extensions
        .iter()
        .map(|(extension_type, data)| Extension {
            extension_type,
            data: data.to_vec(),
        })
        .collect()
}

fn partial(bundle: &Bundle, presence: RatchetTreePresence, signature: Vec<u8>) -> Bundle {
    let partial = PartialGroupInfo::new(presence, extensions(bundle.group_info()), signature).unwrap();
    Bundle {
        group_info: GroupInfoOption::Partial(partial),
        ..bundle.clone()
    }
}

/// 8.
#[tokio::test]
async fn the_group_info_is_signed_by_the_committer() {
    let (_hub, mut world) = World::new().await;
    world.add("bob@b.example", MEMBER);
    let bundle = world.people[ALICE].commit(Plan::default());
    let group_info = bundle.group_info().clone();
    for from_end in [1, 64] {
        let refused = world
            .send(ALICE, &with(&bundle, damaged(&group_info, from_end)))
            .unwrap_err();
        refused.not_allowed("its signature is not the committer's");
    }
    world.send(ALICE, &bundle).unwrap();
}

/// 8: without a path the committer's key is that of its leaf before the Commit.
#[tokio::test]
async fn the_group_info_of_a_commit_without_path_is_checked_too() {
    let (_hub, mut world) = World::new().await;
    let bob = Client::new(&user("bob@b.example"), 1);
    let plan = world.plan_to_add(&bob, MEMBER);
    world.people.push(bob);
    let bundle = world.people[ALICE].commit(Plan { pathless: true, ..plan });
    assert!(bundle.commit.commit().path_leaf().is_none());
    let forged = with(&bundle, damaged(bundle.group_info(), 1));
    world
        .send(ALICE, &forged)
        .unwrap_err()
        .not_allowed("its signature is not the committer's");
    let accepted = world.send(ALICE, &bundle).unwrap();
    world.people[ALICE].merge();
    world.deliver(ALICE, &bundle, &accepted);
    world.check();
}

/// 8; draft-ietf-mimi-protocol, 5.3: "Both the Welcome and GroupInfo omit the ratchet_tree".
#[tokio::test]
async fn the_group_info_does_not_hold_the_tree() {
    let (_hub, mut world) = World::new().await;
    let plan = Plan {
        tree_in_group_info: true,
        ..Plan::default()
    };
    world
        .commit(ALICE, plan)
        .unwrap_err()
        .not_allowed("it contains the ratchet tree");
}

/// 8.
#[tokio::test]
async fn the_group_info_describes_exactly_the_new_epoch() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let current = world.people[ALICE].export_group_info(false);
    let bundle = world.people[ALICE].commit(Plan::default());
    world
        .send(ALICE, &with(&bundle, current))
        .unwrap_err()
        .not_allowed("not that of the new epoch");
    let others = world.people[bob].commit(Plan::default());
    world.people[bob].drop_commit();
    let refused = world
        .send(ALICE, &with(&bundle, others.group_info().clone()))
        .unwrap_err();
    refused.not_allowed("another member has signed it");
    world.people[ALICE].drop_commit();
    let again = world.people[ALICE].commit(Plan::default());
    let refused = world
        .send(ALICE, &with(&again, bundle.group_info().clone()))
        .unwrap_err();
    refused.not_allowed("its confirmation tag differs");
    world.send(ALICE, &again).unwrap();
}

/// draft-mahy-mls-ratchet-tree-options: the hub puts the GroupInfo together from the parts it does not have.
#[tokio::test]
async fn a_partial_group_info_stands_for_the_whole() {
    let (_hub, mut world) = World::new().await;
    world.add("bob@b.example", MEMBER);
    let bundle = world.people[ALICE].commit(Plan::default());
    let whole = bundle.group_info().clone();
    let mut forged = whole.signature().to_vec();
    forged[0] ^= 1;
    let none = RatchetTreePresence::NoRatchetTree;
    world
        .send(ALICE, &partial(&bundle, none, forged))
        .unwrap_err()
        .not_allowed("its signature");
    let accepted = world
        .send(ALICE, &partial(&bundle, none, whole.signature().to_vec()))
        .unwrap();
    assert_eq!(accepted.group_info.as_slice(), whole.as_bytes());
    world.people[ALICE].merge();
    world.deliver(ALICE, &bundle, &accepted);
    world.check();
    world.join(Client::new(&user("bob@b.example"), 2)).unwrap();
}

/// 8.
#[tokio::test]
async fn the_welcome_is_for_exactly_the_added_clients() {
    let (_hub, mut world) = World::new().await;
    let (bob, carol) = (
        Client::new(&user("bob@b.example"), 1),
        Client::new(&user("carol@c.example"), 1),
    );
    let plan = world.plan_to_add(&bob, MEMBER);
    let for_bob = world.people[ALICE].commit(plan.clone());
    world.people[ALICE].drop_commit();
    let other = world.plan_to_add(&carol, MEMBER);
    let for_carol = world.people[ALICE].commit(other);
    let sent = |welcome: Option<&Welcome>| Bundle {
        welcome: welcome.cloned(),
        ..for_carol.clone()
    };
    world
        .send(ALICE, &sent(None))
        .unwrap_err()
        .not_allowed("the Welcome for 1 added clients is missing");
    let refused = world.send(ALICE, &sent(for_bob.welcome.as_ref())).unwrap_err();
    refused.not_allowed("not for the clients that the Commit adds");
    world.people[ALICE].drop_commit();
    let nobody = world.people[ALICE].commit(Plan::default());
    let surplus = Bundle {
        welcome: for_bob.welcome.clone(),
        ..nobody.clone()
    };
    world
        .send(ALICE, &surplus)
        .unwrap_err()
        .not_allowed("not for the clients that the Commit adds");
    world.send(ALICE, &nobody).unwrap();
}

/// Whoever is to join by it gets it encrypted, from [`crate::room::group_info::seal`]; nobody gets it otherwise.
#[tokio::test]
async fn protocol_5_6_no_group_info_is_in_what_is_fanned_out() {
    let (_hub, mut world) = World::new().await;
    let bob = Client::new(&user("bob@b.example"), 1);
    let plan = world.plan_to_add(&bob, MEMBER);
    let bundle = world.people[ALICE].commit(plan);
    let accepted = world.send(ALICE, &bundle).unwrap();
    assert_eq!(accepted.group_info, bundle.group_info().as_bytes(), "the hub has it");
    let event = super::moderation::delivered(RoomEvent::Commit(accepted));
    let mut sent = fan_out::to_provider(&event, &domain("b.example")).unwrap();
    sent.extend(fan_out::to_user(&event, &user("alice@a.example")).unwrap());
    assert_eq!(sent.len(), 2, "the Welcome to one, the Commit to the other");
    let sent: Vec<u8> = sent.iter().flat_map(tls::encode).collect();
    let holds = |octets: &[u8]| sent.windows(octets.len()).any(|window| window == octets);
    let group_info = bundle.group_info();
    assert!(holds(bundle.commit.as_bytes()));
    assert!(!holds(group_info.signature()));
    for extension in extensions(group_info) {
        assert!(!holds(&extension.data), "{:?}", extension.extension_type);
    }
}
