//! Proposals ahead of a Commit (draft-ietf-mimi-protocol, 3.5 and 5.3).

use mimi_hub_proto::UpdateOutcome;
use mimi_hub_proto::components::ParticipantListUpdate;
use mimi_hub_proto::mls::ProposalMessage;
use mimi_hub_proto::tls;

use super::world::{ALICE, World, domain, user};
use crate::room::event::RoomEvent;
use crate::testing::client::{Client, Plan};
use crate::testing::credential::identity;
use crate::testing::roles::{ADMIN, BANNED, MEMBER};

/// draft-ietf-mimi-protocol, 3.5: the hub keeps a leaving user's proposals and tells everybody.
#[tokio::test]
async fn a_user_leaves_when_somebody_commits() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let carol = world.add("carol@c.example", MEMBER);
    let proposals = world.people[bob].propose_to_leave();
    let event = world.propose(bob, &proposals).unwrap();
    let RoomEvent::Proposals { messages, fan_out } = event else {
        panic!("another event")
    };
    let sent: Vec<Vec<u8>> = proposals.iter().map(tls::encode).collect();
    assert_eq!(
        messages.iter().map(|message| message.to_vec()).collect::<Vec<_>>(),
        sent
    );
    assert_eq!(fan_out, [domain("b.example"), domain("c.example")]);
    assert!(world.state().leaving.contains(&user("bob@b.example")));
    world.room.reload();
    world.check();
    world.commit(carol, Plan::default()).unwrap();
    assert!(!world.state().is_active(&user("bob@b.example")));
    assert!(world.state().policy.role_of(&user("bob@b.example")).is_none());
}

#[tokio::test]
async fn two_users_leave_in_one_commit() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let carol = world.add("carol@c.example", MEMBER);
    for who in [carol, bob] {
        let proposals = world.people[who].propose_to_leave();
        world.propose(who, &proposals).unwrap();
    }
    assert_eq!(world.state().pending.len(), 4);
    world.commit(ALICE, Plan::default()).unwrap();
    assert_eq!(world.state().policy.participants().participants.len(), 1);
}

#[tokio::test]
async fn a_client_may_leave_and_its_user_stay() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let second = world.add_client(bob);
    let leaf = world.people[second].leaf();
    let proposals = [world.people[second].propose_remove(leaf)];
    world.propose(second, &proposals).unwrap();
    assert!(world.state().leaving.is_empty());
    world.commit(bob, Plan::default()).unwrap();
    assert_eq!(world.leaves(bob).len(), 1);
}

/// draft-ietf-mls-extensions, 4.8 (SelfRemove).
#[tokio::test]
async fn a_client_removes_itself_by_self_remove() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let second = world.add_client(bob);
    let proposals = [world.people[second].propose_self_remove()];
    world.propose(second, &proposals).unwrap();
    world.commit(ALICE, Plan::default()).unwrap();
    assert!(world.people[second].group.is_none());
    assert_eq!(world.leaves(bob).len(), 1);
}

#[tokio::test]
async fn a_member_updates_its_leaf_through_another_ones_commit() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let proposals = [world.people[bob].propose_update(None)];
    world.propose(bob, &proposals).unwrap();
    world.commit(ALICE, Plan::default()).unwrap();
}

/// RFC 9420, 12.2: a Commit with the committer's own Update is not valid; else its proposer could not commit, and a room
/// of one client could not go on.
#[tokio::test]
async fn the_own_update_is_not_missed_in_a_commit() {
    let (_hub, mut world) = World::new().await;
    let proposals = [world.people[ALICE].propose_update(None)];
    world.propose(ALICE, &proposals).unwrap();
    world.room.reload();
    world.commit(ALICE, Plan::default()).unwrap();
    let bob = world.add("bob@b.example", MEMBER);
    let proposals = [world.people[bob].propose_update(None)];
    world.propose(bob, &proposals).unwrap();
    let ignoring = Plan {
        ignores_pending: true,
        ..Plan::default()
    };
    world
        .commit(ALICE, ignoring)
        .unwrap_err()
        .not_allowed("leaves out 1 pending proposals");
    world.commit(bob, Plan::default()).unwrap();
}

/// RFC 9420, 12.2: nor is one valid with an Update and a Remove of the same leaf.
#[tokio::test]
async fn an_update_of_a_leaf_that_goes_is_not_missed_in_a_commit() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let carol = world.add("carol@c.example", MEMBER);
    for who in [bob, carol] {
        let proposals = [world.people[who].propose_update(None)];
        world.propose(who, &proposals).unwrap();
    }
    let proposals = world.people[bob].propose_to_leave();
    world.propose(bob, &proposals).unwrap();
    let leaves = world.leaves(carol);
    world.commit(ALICE, Plan::default().remove(leaves)).unwrap();
    assert_eq!(world.state().members.len(), 1);
}

#[tokio::test]
async fn a_leaf_is_updated_once() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let first = world.people[bob].propose_update(None);
    world.propose(bob, &[first]).unwrap();
    let second = world.people[bob].propose_update(None);
    let refused = world.propose_from(domain("b.example"), &[second]).unwrap_err();
    refused.invalid("pending already");
}

#[tokio::test]
async fn an_updated_leaf_keeps_its_name() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let other = identity(&user("bob@b.example"), 9);
    let proposals = [world.people[bob].propose_update(Some(&other))];
    world.propose(bob, &proposals).unwrap_err();
}

/// draft-ietf-mimi-protocol, 5.3: "wrongEpoch".
#[tokio::test]
async fn proposals_are_for_the_current_epoch_and_from_the_own_provider() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let proposals = world.people[bob].propose_to_leave();
    let refused = world.propose_from(domain("a.example"), &proposals).unwrap_err();
    refused.not_allowed("is not a client of");
    world.people[bob].drop_proposals();
    world.commit(ALICE, Plan::default()).unwrap();
    let refused = world.propose(bob, &proposals).unwrap_err();
    assert_eq!(refused.0, UpdateOutcome::WrongEpoch { current_epoch: 2 });
}

#[tokio::test]
async fn a_proposal_that_was_changed_on_its_way_is_refused() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let proposal = world.people[bob].propose_update(None);
    let mut octets = tls::encode(&proposal);
    // Within the signature, which the membership tag follows.
    let at = octets.len() - 40;
    octets[at] ^= 1;
    let changed: ProposalMessage = tls::decode_exact(&octets).unwrap();
    world.propose(bob, &[changed]).unwrap_err().not_allowed("not valid");
}

#[tokio::test]
async fn nobody_goes_off_the_list_while_its_clients_stay() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    world.add_client(bob);
    let all = world.people[bob].propose_to_leave();
    world.people[bob].drop_proposals();
    for some in [vec![all[2].clone()], vec![all[0].clone(), all[2].clone()]] {
        world
            .propose(bob, &some)
            .unwrap_err()
            .invalid("would stay in the group");
    }
    world
        .propose(bob, &[all[2].clone(), all[1].clone(), all[0].clone()])
        .unwrap();
    // What the client has dropped it must have again to follow the Commit.
    all.iter()
        .for_each(|proposal| assert_eq!(proposal.epoch(), world.state().epoch()));
}

#[tokio::test]
async fn a_user_may_leave_in_several_steps() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let mut proposals = world.people[bob].propose_to_leave();
    let list = proposals.split_off(1);
    world.propose(bob, &proposals).unwrap();
    assert!(world.state().leaving.is_empty());
    world.propose(bob, &list).unwrap();
    assert!(world.state().leaving.contains(&user("bob@b.example")));
    world.commit(ALICE, Plan::default()).unwrap();
}

#[tokio::test]
async fn nothing_is_proposed_twice() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let source = domain("b.example");
    let proposals = world.people[bob].propose_to_leave();
    let twice = [proposals[0].clone(), proposals[0].clone()];
    assert_eq!(
        world
            .propose_from(source.clone(), &twice)
            .unwrap_err()
            .invalid("pending already"),
        1
    );
    world.propose(bob, &proposals).unwrap();
    assert_eq!(
        world
            .propose_from(source.clone(), &proposals)
            .unwrap_err()
            .invalid("pending already"),
        1
    );
    let leaf = world.leaves(bob)[0];
    let again = world.people[bob].propose_remove(leaf);
    assert_eq!(
        world
            .propose_from(source, &[again])
            .unwrap_err()
            .invalid("pending already"),
        1
    );
    let by_alice = world.people[ALICE].propose_remove(leaf);
    world
        .propose_from(domain("a.example"), &[by_alice])
        .unwrap_err()
        .invalid("pending already");
}

/// draft-ietf-mimi-protocol, 5.3: "MUST prevent it from sending any proposals except for Remove and SelfRemove proposals
/// for its users".
#[tokio::test]
async fn who_is_about_to_leave_proposes_nothing_else() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let second = world.add_client(bob);
    let proposals = world.people[bob].propose_to_leave();
    world.propose(bob, &proposals).unwrap();
    let update = world.people[second].propose_update(None);
    world
        .propose_from(domain("b.example"), &[update])
        .unwrap_err()
        .not_allowed("leaving");
    let list = ParticipantListUpdate::default();
    let list = world.people[second].propose_list(&list);
    world
        .propose_from(domain("b.example"), &[list])
        .unwrap_err()
        .not_allowed("leaving");
}

/// draft-ietf-mimi-room-policy, 8.1.
#[tokio::test]
async fn a_proposer_must_be_allowed_to_do_it() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let carol = world.add("carol@c.example", MEMBER);
    let leaf = world.leaves(carol)[0];
    let remove = world.people[bob].propose_remove(leaf);
    assert_eq!(
        world
            .propose(bob, std::slice::from_ref(&remove))
            .unwrap_err()
            .invalid("canKick"),
        1
    );
    let removal = world.removal(carol);
    let list = world.people[bob].propose_list(&removal);
    world.propose(bob, &[remove, list]).unwrap_err().invalid("lacks");
    let promotion = world.role_change(bob, ADMIN);
    let list = world.people[bob].propose_list(&promotion);
    world.propose(bob, &[list]).unwrap_err().invalid("canChangeOwnRole");
    let ban = world.role_change(bob, BANNED);
    let list = world.people[ALICE].propose_list(&ban);
    world
        .propose(ALICE, &[list])
        .unwrap_err()
        .invalid("would stay in the group");
}

#[tokio::test]
async fn what_all_propose_must_fit_together() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    world.add("carol@c.example", MEMBER);
    let proposals = world.people[bob].propose_to_leave();
    world.propose(bob, &proposals).unwrap();
    let promotion = world.role_change(bob, ADMIN);
    let list = world.people[ALICE].propose_list(&promotion);
    let refused = world.propose_from(domain("a.example"), &[list]).unwrap_err();
    refused.invalid("");
}

#[tokio::test]
async fn clients_are_added_by_commits_only() {
    let (_hub, mut world) = World::new().await;
    let second = Client::new(&user("alice@a.example"), 2);
    let key_package = world.claim(&second);
    let proposals = vec![world.people[ALICE].propose_add(&key_package)];
    world
        .propose(ALICE, &proposals)
        .unwrap_err()
        .not_allowed("not accepted here");
}

#[tokio::test]
async fn so_many_proposals_may_wait() {
    let (_hub, mut world) = World::configured(|config| config.room.pending_proposals_max = 3).await;
    let bob = world.add("bob@b.example", MEMBER);
    let carol = world.add("carol@c.example", MEMBER);
    let proposals = world.people[bob].propose_to_leave();
    world.propose(bob, &proposals).unwrap();
    let proposals = world.people[carol].propose_to_leave();
    let refused = world.propose_from(domain("c.example"), &proposals).unwrap_err();
    refused.not_allowed("too many proposals are pending");
    world.propose_from(domain("c.example"), &proposals[..1]).unwrap();
}

/// "The `moreProposals` list in a `FanoutMessage` MUST be the same as the corresponding `moreProposals` list in the
/// `HandshakeBundle`"
#[tokio::test]
async fn protocol_5_5_more_proposals_are_fanned_out_as_they_came() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let proposals = world.people[bob].propose_to_leave();
    assert!(proposals.len() > 1);
    let event = world.propose(bob, &proposals).unwrap();
    let accepted = crate::command::Accepted {
        entity: crate::entity::EntityId::Room(super::world::room_uri()),
        seq: 9,
        decided_by: 0,
        decided_after: 0,
        at_ms: 77,
        request: None,
        reply: Vec::new(),
        event: crate::command::Event::Room(event),
    };
    let sent = crate::room::fan_out::to_provider(&accepted, &super::world::domain("b.example")).unwrap();
    let [message] = sent.as_slice() else { panic!("{sent:?}") };
    let mimi_hub_proto::FanoutEvent::Proposals {
        proposal,
        more_proposals,
    } = &message.event
    else {
        panic!("{message:?}")
    };
    assert_eq!(proposal, &proposals[0]);
    assert_eq!(more_proposals, &proposals[1..]);
    assert_eq!(message.timestamp, 77);
}
