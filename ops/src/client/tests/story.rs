//! draft-ietf-mimi-protocol, section 3, from one end to the other.

use super::*;
use crate::OpsError;

#[test]
fn protocol_3_2_alice_adds_bob_with_all_his_clients() {
    let (_, all) = alice_and_bob();
    assert!(all.iter().all(|client| client.is_member(&room()) && epoch(client) == 1));
    let state = all[2].room(&room()).unwrap();
    assert_eq!(state.role_of(&user("alice")), Some(ROLE_ADMIN));
    assert_eq!(state.role_of(&user("bob")), Some(ROLE_MEMBER));
    assert_eq!(state.roles, default_roles());
    assert_eq!(state.metadata.unwrap().room_name, "Clubhouse");
    assert_eq!(state.members.len(), 3);
}

#[test]
fn protocol_3_3_and_3_4_bob_adds_cathy_and_everybody_hears_everybody() {
    let (mut hub, mut all) = alice_and_bob();
    all.push(client("cathy", "C1"));
    hub.add(&mut all, 1, "cathy");
    assert_agreement(&all);
    let said = ["from A1", "from B1", "from B2", "from C1"];
    for (sender, text) in said.iter().enumerate() {
        hub.say(&mut all, sender, text);
    }
    for client in &all {
        assert_eq!(texts(client), said);
        let senders: Vec<_> = client
            .transcript(&room())
            .iter()
            .map(|entry| entry.user.clone())
            .collect();
        assert_eq!(senders, [user("alice"), user("bob"), user("bob"), user("cathy")]);
        assert!(
            client
                .transcript(&room())
                .iter()
                .all(|entry| entry.accepted_ms == ACCEPTED_MS && entry.epoch == 2)
        );
    }
}

#[test]
fn protocol_3_5_bob_leaves_and_the_next_commit_removes_him() {
    let (mut hub, mut all) = alice_and_bob();
    all.push(client("cathy", "C1"));
    hub.add(&mut all, 0, "cathy");
    let update = all[1].leave(&room()).unwrap();
    hub.update(&mut all, 1, &update);
    for client in &all {
        assert_eq!(
            client.room(&room()).unwrap().pending_proposals,
            3,
            "two Removes and the participant list"
        );
    }
    // draft-ietf-mimi-protocol, 5.3: neither of Bob's clients may commit or send any more.
    let content = all[1].text(&room(), "too late").unwrap();
    assert!(matches!(
        all[1].encrypt(&room(), &content),
        Err(OpsError::Leaving { .. })
    ));
    for bob in [1, 2] {
        assert!(matches!(
            all[bob].commit(&room(), &RoomChange::Pending),
            Err(OpsError::Leaving { .. })
        ));
    }
    hub.commit(&mut all, 3, &RoomChange::Pending);
    assert!(all[1].is_removed(&room()) && all[2].is_removed(&room()));
    assert!(!all[1].is_member(&room()) && !all[2].is_member(&room()));
    assert_agreement(&all);
    let state = all[0].room(&room()).unwrap();
    assert_eq!(state.role_of(&user("bob")), None);
    assert_eq!(state.pending_proposals, 0);
    // And he can be brought back.
    hub.add(&mut all, 0, "bob");
    assert!(all[1].is_member(&room()) && !all[1].is_removed(&room()));
    assert_agreement(&all);
}

#[test]
fn a_leave_is_committed_together_with_another_change() {
    let (mut hub, mut all) = alice_and_bob();
    all.extend([client("cathy", "C1"), client("dora", "D1")]);
    hub.add(&mut all, 0, "cathy");
    let update = all[1].leave(&room()).unwrap();
    hub.update(&mut all, 1, &update);
    hub.add(&mut all, 3, "dora");
    assert_agreement(&all);
    let participants = all[4].room(&room()).unwrap().participants.participants;
    let users: Vec<_> = participants.into_iter().map(|entry| entry.user).collect();
    assert_eq!(users, [user("alice"), user("cathy"), user("dora")]);
}

#[test]
fn removing_somebody_who_is_leaving_commits_their_own_proposals() {
    let (mut hub, mut all) = alice_and_bob();
    let update = all[1].leave(&room()).unwrap();
    hub.update(&mut all, 1, &update);
    hub.commit(&mut all, 0, &RoomChange::RemoveUser(user("bob")));
    assert!(all[1].is_removed(&room()) && all[2].is_removed(&room()));
    assert_eq!(all[0].room(&room()).unwrap().members.len(), 1);
}

#[test]
fn protocol_3_6_a_new_device_joins_by_external_commit() {
    let (mut hub, mut all) = alice_and_bob();
    hub.say(&mut all, 0, "before");
    all.push(client("bob", "B3"));
    let (query, request) = all[3].group_info_request(&room(), None).unwrap();
    let update = all[3]
        .external_commit(&room(), &query, &hub.group_info_response(&request), None)
        .unwrap();
    assert!(!all[3].is_member(&room()), "not before the hub agrees");
    hub.update(&mut all, 3, &update);
    assert!(all.iter().all(|client| client.is_member(&room()) && epoch(client) == 2));
    assert_agreement(&all);
    hub.say(&mut all, 3, "from B3");
    hub.say(&mut all, 1, "to B3");
    assert_eq!(texts(&all[3]), ["from B3", "to B3"]);
    assert_eq!(texts(&all[0]), ["before", "from B3", "to B3"]);
    hub.commit(&mut all, 3, &RoomChange::Pending);
    assert_agreement(&all);
}

#[test]
fn admins_remove_change_roles_and_ban() {
    let (mut hub, mut all) = alice_and_bob();
    all.push(client("cathy", "C1"));
    hub.add(&mut all, 0, "cathy");
    let promote = RoomChange::ChangeRole {
        user: user("cathy"),
        role_index: ROLE_MODERATOR,
    };
    hub.commit(&mut all, 0, &promote);
    assert_eq!(
        all[1].room(&room()).unwrap().role_of(&user("cathy")),
        Some(ROLE_MODERATOR)
    );
    let ban = RoomChange::ChangeRole {
        user: user("bob"),
        role_index: ROLE_BANNED,
    };
    hub.commit(&mut all, 3, &ban);
    assert!(
        all[1].is_removed(&room()) && all[2].is_removed(&room()),
        "who is banned keeps no clients"
    );
    assert_eq!(all[0].room(&room()).unwrap().role_of(&user("bob")), Some(ROLE_BANNED));
    hub.commit(&mut all, 0, &RoomChange::RemoveUser(user("cathy")));
    assert!(all[3].is_removed(&room()));
    assert_eq!(all[0].room(&room()).unwrap().role_of(&user("cathy")), None);
}

#[test]
fn metadata_is_replaced_as_a_whole() {
    let (mut hub, mut all) = alice_and_bob();
    let mut metadata = all[1].room(&room()).unwrap().metadata.unwrap();
    metadata.room_name = "The Clubhouse".to_owned();
    hub.commit(&mut all, 1, &RoomChange::Metadata(Box::new(metadata.clone())));
    assert_eq!(all[0].room(&room()).unwrap().metadata, Some(metadata));
    assert_agreement(&all);
}

#[test]
fn a_change_that_cannot_be_is_not_sent() {
    let (_, mut all) = alice_and_bob();
    let stranger = RoomChange::RemoveUser(user("dora"));
    assert!(matches!(
        all[0].commit(&room(), &stranger),
        Err(OpsError::NotParticipant { .. })
    ));
    let nonsense = RoomChange::ChangeRole {
        user: user("bob"),
        role_index: 99,
    };
    assert!(matches!(all[0].commit(&room(), &nonsense), Err(OpsError::Mls { .. })));
    let again = add_user(&all, "bob");
    assert!(matches!(all[0].commit(&room(), &again), Err(OpsError::Mls { .. })));
    assert!(all[0].unanswered_update(&room()).is_none());
    all[0].commit(&room(), &RoomChange::Pending).unwrap();
}

#[test]
fn the_hub_may_make_the_tree_itself() {
    let mut hub = Hub::new();
    let mut alice = client("alice", "A1");
    alice.tree = TreeOption::DistributionService;
    hub.create(&mut alice);
    let update = alice.commit(&room(), &RoomChange::Pending).unwrap();
    let UpdateRequest { bundle } = decode_exact(&update).unwrap();
    let HandshakeBundle::Commit {
        ratchet_tree,
        group_info,
        ..
    } = bundle
    else {
        panic!("not a Commit")
    };
    assert_eq!(ratchet_tree, RatchetTreeOption::DistributionService);
    let GroupInfoOption::Partial(partial) = group_info else {
        panic!("the GroupInfo is whole")
    };
    assert_eq!(
        partial.ratchet_tree_presence(),
        mimi_hub_proto::RatchetTreePresence::NoRatchetTree
    );
}
