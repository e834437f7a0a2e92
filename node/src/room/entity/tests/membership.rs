//! Commits: what `room::commit` lists as 7, who hears of them, and joining by oneself.

use super::world::{ALICE, World, added, domain, user};
use crate::testing::client::{Client, Plan};
use crate::testing::roles::{BANNED, MEMBER, SILENT};

/// 7; draft-ietf-mimi-protocol, 5.3: "the proposal containing the participant list change MUST be committed either before
/// or simultaneously with the corresponding MLS operation."
#[tokio::test]
async fn a_client_comes_after_its_user_or_with_it() {
    let (_hub, mut world) = World::new().await;
    let bob = Client::new(&user("bob@b.example"), 1);
    let key_package = world.claim(&bob);
    world
        .commit(ALICE, Plan::default().add([key_package.clone()]))
        .unwrap_err()
        .not_allowed("not a participant");
    world
        .commit(ALICE, Plan::default().list(&added(bob.user(), MEMBER)))
        .unwrap();
    assert!(
        !world.state().is_active(&user("bob@b.example")),
        "on the list, with no client yet"
    );
    world.people.push(bob);
    world.commit(ALICE, Plan::default().add([key_package])).unwrap();
    assert!(world.state().is_active(&user("bob@b.example")));
}

/// 7; draft-ietf-mimi-protocol, 5.3: removing an active user and its clients happens "simultaneously".
#[tokio::test]
async fn a_user_goes_off_the_list_with_all_its_clients() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    world.add_client(bob);
    let leaves = world.leaves(bob);
    let removal = world.removal(bob);
    world
        .commit(ALICE, Plan::default().list(&removal))
        .unwrap_err()
        .not_allowed("clients");
    let one = Plan::default().list(&removal).remove([leaves[0]]);
    world.commit(ALICE, one).unwrap_err().not_allowed("clients");
    world
        .commit(ALICE, Plan::default().list(&removal).remove(leaves))
        .unwrap();
    assert!(!world.state().is_active(&user("bob@b.example")));
    assert!(world.state().policy.role_of(&user("bob@b.example")).is_none());
}

/// 7; draft-ietf-mimi-room-policy, 7.1.3.
#[tokio::test]
async fn a_banned_user_has_no_clients() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let ban = world.role_change(bob, BANNED);
    let leaves = world.leaves(bob);
    world.commit(ALICE, Plan::default().list(&ban).remove(leaves)).unwrap();
    let client = Client::new(&user("bob@b.example"), 2);
    let key_package = world.claim(&client);
    world
        .commit(ALICE, Plan::default().add([key_package]))
        .unwrap_err()
        .not_allowed("banned");
    let (_, bundle) = world.external_commit(&client);
    world.send(bob, &bundle).unwrap_err().not_allowed("canAddOwnClient");
}

#[tokio::test]
async fn who_is_added_and_removed_is_told_with_its_provider() {
    let (_hub, mut world) = World::new().await;
    let adam = Client::new(&user("adam@a.example"), 1);
    let plan = world.plan_to_add(&adam, MEMBER);
    world.people.push(adam);
    let accepted = world.commit(ALICE, plan).unwrap();
    assert_eq!(
        (accepted.fan_out, accepted.joined),
        (vec![], vec![user("adam@a.example")])
    );
    let welcome = accepted.welcome.unwrap();
    assert_eq!((welcome.fan_out, welcome.users), (vec![], vec![user("adam@a.example")]));

    let bob = Client::new(&user("bob@b.example"), 1);
    let plan = world.plan_to_add(&bob, MEMBER);
    world.people.push(bob);
    let accepted = world.commit(ALICE, plan).unwrap();
    assert_eq!(
        (accepted.fan_out, accepted.joined),
        (vec![], vec![]),
        "b.example has nobody in the old epoch"
    );
    let welcome = accepted.welcome.unwrap();
    assert_eq!((welcome.fan_out, welcome.users), (vec![domain("b.example")], vec![]));

    let second = world.people.len();
    world.add_client(1);
    assert_eq!(world.people[second].leaf(), 3);
    let accepted = world.commit(2, Plan::default()).unwrap();
    assert_eq!((accepted.fan_out, accepted.welcome), (vec![domain("b.example")], None));
    let leaves = world.leaves(1);
    let accepted = world.commit(ALICE, Plan::default().remove([leaves[0]])).unwrap();
    assert_eq!(accepted.left, [], "adam has another client");
    let accepted = world.commit(ALICE, Plan::default().remove([leaves[1]])).unwrap();
    assert_eq!(accepted.left, [user("adam@a.example")]);
    let leaves = world.leaves(2);
    let plan = Plan::default().remove(leaves).list(&world.removal(2));
    let accepted = world.commit(ALICE, plan).unwrap();
    assert_eq!((accepted.fan_out, accepted.left), (vec![domain("b.example")], vec![]));
    assert!(world.commit(ALICE, Plan::default()).unwrap().fan_out.is_empty());
}

/// draft-ietf-mimi-protocol, 3.6: a participant's new client joins by itself.
#[tokio::test]
async fn a_participants_client_joins_by_itself() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let carol = world.add("carol@c.example", MEMBER);
    let leaves = world.leaves(carol);
    world.commit(ALICE, Plan::default().remove(leaves)).unwrap();
    let accepted = world.join(Client::new(&user("bob@b.example"), 2)).unwrap();
    assert_eq!(accepted.fan_out, [domain("b.example")]);
    let accepted = world.join(Client::new(&user("carol@c.example"), 2)).unwrap();
    assert_eq!(
        accepted.fan_out,
        [domain("b.example"), domain("c.example")],
        "carol had no client in the old epoch"
    );
    let accepted = world.join(Client::new(&user("alice@a.example"), 2)).unwrap();
    assert_eq!(accepted.joined, []);
    let last = world.people.len() - 1;
    world.commit(last, Plan::default()).unwrap();
    world.commit(bob, Plan::default()).unwrap();
}

/// draft-ietf-mimi-room-policy, 8.1.1.
#[tokio::test]
async fn nobody_joins_by_itself_who_may_not() {
    let (_hub, mut world) = World::new().await;
    let (_, bundle) = world.external_commit(&Client::new(&user("eve@e.example"), 1));
    world
        .send_from(domain("e.example"), &bundle)
        .unwrap_err()
        .not_allowed("");
    let silent = world.add("silent@b.example", SILENT);
    let (_, bundle) = world.external_commit(&Client::new(&user("silent@b.example"), 2));
    world.send(silent, &bundle).unwrap_err().not_allowed("canAddOwnClient");
    let (_, bundle) = world.external_commit(&Client::new(&user("alice@a.example"), 2));
    world
        .send_from(domain("b.example"), &bundle)
        .unwrap_err()
        .not_allowed("is not a client of");
}

#[tokio::test]
async fn a_local_user_without_clients_joins_and_leaves_the_readers() {
    let (_hub, mut world) = World::new().await;
    let adam = world.add("adam@a.example", MEMBER);
    let leaves = world.leaves(adam);
    let accepted = world.commit(ALICE, Plan::default().remove(leaves)).unwrap();
    assert_eq!(accepted.left, [user("adam@a.example")]);
    let accepted = world.join(Client::new(&user("adam@a.example"), 2)).unwrap();
    assert_eq!(accepted.joined, [user("adam@a.example")]);
}
