//! Commits: what `room::commit` lists as 1 to 6, in its order.

use mimi_hub_proto::UpdateOutcome;
use mimi_hub_proto::components::{PARTICIPANT_LIST, ParticipantListUpdate, ROLES_LIST, UserRolePair};
use mimi_hub_proto::tls;
use openmls::messages::proposals::{AppEphemeralProposal, Proposal};

use super::world::{ALICE, World, added, domain, user};
use crate::testing::client::{Bundle, Client, Plan, app_data_update};
use crate::testing::roles::{ADMIN, BANNED, MEMBER, SILENT, roles};

/// The Commit with one octet of its PublicMessage changed.
fn changed(bundle: &Bundle, at: usize) -> Bundle {
    let mut octets = tls::encode(&bundle.commit);
    octets[at] ^= 1;
    Bundle {
        commit: tls::decode_exact(&octets).unwrap(),
        ..bundle.clone()
    }
}

/// Where in an MLSMessage its PublicMessage's sender leaf ends: version, wire format, group id, epoch, sender type, leaf.
fn end_of_sender(bundle: &Bundle) -> usize {
    2 + 2 + 1 + bundle.commit.group_id().len() + 8 + 1 + 4
}

/// 1; draft-ietf-mimi-protocol, 5.3: "wrongEpoch indicates that the hub provider is using a different epoch."
#[tokio::test]
async fn a_commit_for_another_epoch_learns_the_current_one() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let late = world.people[bob].commit(Plan::default());
    world.people[bob].drop_commit();
    world.commit(ALICE, Plan::default()).unwrap();
    let refused = world.send(bob, &late).unwrap_err();
    assert_eq!(refused.0, UpdateOutcome::WrongEpoch { current_epoch: 2 });
    world.commit(bob, Plan::default()).unwrap();
}

#[tokio::test]
async fn of_two_commits_of_one_epoch_one_is_accepted() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let (first, second) = (
        world.people[ALICE].commit(Plan::default()),
        world.people[bob].commit(Plan::default()),
    );
    let accepted = world.send(bob, &second).unwrap();
    let refused = world.send(ALICE, &first).unwrap_err();
    assert_eq!(refused.0, UpdateOutcome::WrongEpoch { current_epoch: 2 });
    world.people[ALICE].drop_commit();
    world.people[bob].merge();
    world.deliver(bob, &second, &accepted);
    world.check();
}

/// 1.
#[tokio::test]
async fn a_commit_of_another_group_is_refused() {
    let (_hub, mut world) = World::new().await;
    let mut stranger = Client::new(&user("alice@a.example"), 1);
    stranger.create_with(
        "mimi://a.example/g/other",
        Vec::new(),
        &[(user("alice@a.example"), ADMIN)],
        &[],
    );
    let bundle = stranger.commit(Plan::default());
    world.send(ALICE, &bundle).unwrap_err().not_allowed("another group");
}

/// 2.
#[tokio::test]
async fn a_commit_comes_from_the_provider_of_its_committer() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let bundle = world.people[bob].commit(Plan::default());
    for other in ["a.example", "c.example"] {
        let refused = world.send_from(domain(other), &bundle).unwrap_err();
        refused.not_allowed("is not a client of");
    }
    world.send(bob, &bundle).unwrap();
}

/// 2.
#[tokio::test]
async fn a_commit_comes_from_a_leaf_that_is_there() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let leaves = world.leaves(bob);
    let plan = Plan::default().remove(leaves).list(&world.removal(bob));
    world.commit(ALICE, plan).unwrap();
    let bundle = world.people[ALICE].commit(Plan::default());
    let blank = changed(&bundle, end_of_sender(&bundle) - 1);
    world.send(ALICE, &blank).unwrap_err().not_allowed("leaf 1 is blank");
}

/// 2; draft-ietf-mimi-protocol, 5.3: "MUST prevent any of those clients from sending Commit messages in that group".
#[tokio::test]
async fn who_is_about_to_leave_does_not_commit() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let second = world.add_client(bob);
    let proposals = world.people[bob].propose_to_leave();
    world.propose(bob, &proposals).unwrap();
    for who in [bob, second] {
        let plan = Plan {
            ignores_pending: true,
            ..Plan::default()
        };
        world.commit(who, plan).unwrap_err().not_allowed("leaving");
    }
    let accepted = world.commit(ALICE, Plan::default()).unwrap();
    assert_eq!(accepted.fan_out, [domain("b.example")], "it is for those who go, too");
    assert!(world.people[bob].group.is_none() && world.people[second].group.is_none());
}

/// 3; draft-ietf-mimi-protocol, 3.5: "The next time a client attempts to commit, the hub requires the client to include
/// the cached proposals."
#[tokio::test]
async fn a_commit_includes_all_pending_proposals() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let carol = world.add("carol@c.example", MEMBER);
    let proposals = world.people[bob].propose_to_leave();
    world.propose(bob, &proposals).unwrap();
    let ignoring = || Plan {
        ignores_pending: true,
        ..Plan::default()
    };
    world
        .commit(carol, ignoring())
        .unwrap_err()
        .not_allowed("leaves out 2 pending proposals");
    // Its own removal of the same leaf is no substitute.
    let leaves = world.leaves(bob);
    let plan = ignoring().remove(leaves).list(&world.removal(bob));
    world
        .commit(ALICE, plan)
        .unwrap_err()
        .not_allowed("leaves out 2 pending proposals");
    world.commit(carol, Plan::default()).unwrap();
    assert!(world.state().pending.is_empty() && world.state().leaving.is_empty());
}

/// 3.
#[tokio::test]
async fn nobody_joins_by_itself_while_proposals_are_pending() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let carol = world.add("carol@c.example", MEMBER);
    let proposals = world.people[carol].propose_to_leave();
    world.propose(carol, &proposals).unwrap();
    let (_, bundle) = world.external_commit(&Client::new(&user("bob@b.example"), 2));
    world
        .send(bob, &bundle)
        .unwrap_err()
        .not_allowed("proposals are pending");
    world.commit(bob, Plan::default()).unwrap();
    world.join(Client::new(&user("bob@b.example"), 2)).unwrap();
}

/// 4.
#[tokio::test]
async fn a_commit_that_was_changed_on_its_way_is_refused() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let bundle = world.people[bob].commit(Plan::default());
    let length = tls::encode(&bundle.commit).len();
    // The confirmation tag, and the path's last ciphertext. The membership tag at the end is for members only.
    for at in [length - 40, length - 200] {
        world.send(bob, &changed(&bundle, at)).unwrap_err().not_allowed("");
    }
    world.send(bob, &bundle).unwrap();
}

/// 4; draft-ietf-mimi-protocol, 7.5: indices refer to the list before the Commit.
#[tokio::test]
async fn a_change_of_the_list_must_make_sense() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let nobody = ParticipantListUpdate {
        removed_indices: vec![7],
        ..ParticipantListUpdate::default()
    };
    world
        .commit(ALICE, Plan::default().list(&nobody))
        .unwrap_err()
        .invalid("");
    let again = added(&user("bob@b.example"), MEMBER);
    world.commit(ALICE, Plan::default().list(&again)).unwrap_err();
    let unknown = world.role_change(bob, 77);
    world.commit(ALICE, Plan::default().list(&unknown)).unwrap_err();
    let garbage = app_data_update(PARTICIPANT_LIST, vec![0xff; 3]);
    world
        .commit(ALICE, Plan::default().with(garbage))
        .unwrap_err()
        .invalid("");
}

/// draft-ietf-mls-extensions, 4.8: it tells the members something, as a message does, and changes nothing.
#[tokio::test]
async fn an_app_ephemeral_proposal_takes_what_a_message_takes() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let mute = world.add("carol@c.example", SILENT);
    let said = || Proposal::AppEphemeral(Box::new(AppEphemeralProposal::new(0x8000, b"typing".to_vec())));
    let before = world.state().dictionary.clone();
    world.commit(bob, Plan::default().with(said())).unwrap();
    assert_eq!(world.state().dictionary, before);
    world.room.reload();
    world.check();
    world
        .commit(mute, Plan::default().with(said()))
        .unwrap_err()
        .not_allowed("canSendMessage");
}

/// 5; draft-ietf-mimi-room-policy, 8.1.
#[tokio::test]
async fn a_member_changes_nobody_elses_place() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let carol = world.add("carol@c.example", MEMBER);
    let dave = Client::new(&user("dave@b.example"), 1);
    let plan = world.plan_to_add(&dave, MEMBER);
    world.commit(bob, plan).unwrap_err().not_allowed("canAddParticipant");
    let second = Client::new(&user("carol@c.example"), 2);
    let key_package = world.claim(&second);
    world
        .commit(bob, Plan::default().add([key_package]))
        .unwrap_err()
        .not_allowed("canAddParticipant");
    let leaves = world.leaves(carol);
    world
        .commit(bob, Plan::default().remove(leaves.clone()))
        .unwrap_err()
        .not_allowed("canKick");
    let plan = Plan::default().remove(leaves).list(&world.removal(carol));
    world.commit(bob, plan).unwrap_err().not_allowed("canKick");
    for role in [ADMIN, SILENT] {
        let plan = Plan::default().list(&world.role_change(carol, role));
        world.commit(bob, plan).unwrap_err().not_allowed("canChangeUserRole");
        let plan = Plan::default().list(&world.role_change(bob, role));
        world.commit(bob, plan).unwrap_err().not_allowed("canChangeOwnRole");
    }
    let definitions = app_data_update(ROLES_LIST, tls::encode(&roles()));
    world
        .commit(bob, Plan::default().with(definitions))
        .unwrap_err()
        .not_allowed("canChangeRoleDefinitions");
}

/// 5.
#[tokio::test]
async fn an_administrator_does_all_that() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let carol = world.add("carol@c.example", MEMBER);
    let plan = Plan::default().list(&world.role_change(bob, ADMIN));
    world.commit(ALICE, plan).unwrap();
    let dave = Client::new(&user("dave@b.example"), 1);
    let plan = world.plan_to_add(&dave, MEMBER);
    world.people.push(dave);
    world.commit(bob, plan).unwrap();
    let leaves = world.leaves(carol);
    world.commit(bob, Plan::default().remove(leaves)).unwrap();
    assert!(
        world.state().policy.role_of(&user("carol@c.example")).is_some(),
        "kicked, and still a participant"
    );
    let definitions = app_data_update(ROLES_LIST, tls::encode(&roles()));
    world.commit(bob, Plan::default().with(definitions)).unwrap();
}

/// 5: what a proposal does is done under the name of who proposed it, not of who commits it.
#[tokio::test]
async fn a_member_commits_what_it_may_not_do_itself() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let carol = world.add("carol@c.example", MEMBER);
    let leaf = world.leaves(carol)[0];
    let proposals = [world.people[ALICE].propose_remove(leaf)];
    world.propose(ALICE, &proposals).unwrap();
    world.commit(bob, Plan::default()).unwrap();
    assert!(world.people[carol].group.is_none());
}

/// 6; draft-ietf-mimi-protocol, 5.2: "KeyPackages requested using this primitive MUST be sent via the hub provider of
/// whatever room they will be used in."
#[tokio::test]
async fn a_key_package_was_claimed_through_this_hub() {
    let (_hub, mut world) = World::new().await;
    let bob = Client::new(&user("bob@b.example"), 1);
    let plan = Plan::default()
        .add([bob.key_package()])
        .list(&added(bob.user(), MEMBER));
    world
        .commit(ALICE, plan)
        .unwrap_err()
        .invalid("was not claimed through this hub");
    let plan = world.plan_to_add(&bob, MEMBER);
    world.people.push(bob);
    world.commit(ALICE, plan).unwrap();
}

/// 6.
#[tokio::test]
async fn a_key_package_is_used_once() {
    for checkpoint_bytes in [1, 1 << 20] {
        used_once(checkpoint_bytes).await;
    }
}

async fn used_once(checkpoint_bytes: u64) {
    let (_hub, mut world) = World::configured(|config| config.room.checkpoint_handshake_bytes = checkpoint_bytes).await;
    let bob = Client::new(&user("bob@b.example"), 1);
    let key_package = world.claim(&bob);
    world.people.push(bob);
    let plan = Plan::default()
        .add([key_package.clone()])
        .list(&added(&user("bob@b.example"), MEMBER));
    world.commit(ALICE, plan).unwrap();
    let leaves = world.leaves(1);
    world.commit(ALICE, Plan::default().remove(leaves)).unwrap();
    world.room.reload();
    // Its provider gives it out once more.
    let bob = Client::new(&user("bob@b.example"), 1);
    for _ in 0..2 {
        world.claimed(&bob, &key_package);
        let refused = world
            .commit(ALICE, Plan::default().add([key_package.clone()]))
            .unwrap_err();
        refused.invalid("was used before");
        world.room.reload();
    }
    let fresh = world.people[1].key_package();
    world
        .commit(ALICE, Plan::default().add([fresh]))
        .unwrap_err()
        .invalid("was not claimed");
}

#[tokio::test]
async fn a_room_has_at_most_so_many_clients() {
    let (_hub, mut world) = World::configured(|config| config.room.members_max = 3).await;
    let bob = world.add("bob@b.example", MEMBER);
    let carol = world.add("carol@c.example", MEMBER);
    let dave = Client::new(&user("dave@b.example"), 1);
    let plan = world.plan_to_add(&dave, MEMBER);
    world.commit(ALICE, plan).unwrap_err().not_allowed("at most 3 clients");
    let (_, bundle) = world.external_commit(&Client::new(&user("bob@b.example"), 2));
    world.send(bob, &bundle).unwrap_err().not_allowed("at most 3 clients");
    let leaves = world.leaves(carol);
    let mut plan = world.plan_to_add(&dave, MEMBER);
    plan.proposals.clear();
    let both = ParticipantListUpdate {
        added_participants: vec![UserRolePair {
            user: dave.user().clone(),
            role_index: MEMBER,
        }],
        ..world.removal(carol)
    };
    world.people.push(dave);
    world.commit(ALICE, plan.remove(leaves).list(&both)).unwrap();
}

/// RFC 9420, 12.4.2: the committer's leaf is replaced by that of the path.
#[tokio::test]
async fn a_committer_keeps_its_name() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    for other in ["alice@a.example", "bob@b.example", "eve@b.example"] {
        let renamed = crate::testing::credential::identity(&user(other), 9);
        let plan = Plan {
            renamed: Some(renamed),
            ..Plan::default()
        };
        world.commit(bob, plan).unwrap_err().not_allowed("");
    }
}

#[tokio::test]
async fn the_banned_role_is_for_those_without_clients() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let ban = world.role_change(bob, BANNED);
    world
        .commit(ALICE, Plan::default().list(&ban))
        .unwrap_err()
        .not_allowed("");
    let leaves = world.leaves(bob);
    let accepted = world.commit(ALICE, Plan::default().list(&ban).remove(leaves)).unwrap();
    assert_eq!(accepted.fan_out, [domain("b.example")]);
    assert_eq!(
        world.state().policy.role_of(&user("bob@b.example")).unwrap().role_index,
        BANNED
    );
    assert!(world.people[bob].group.is_none());
}
