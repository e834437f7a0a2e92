//! Application messages (draft-ietf-mimi-protocol, 5.4).

use mimi_hub_proto::SubmitMessageRequest;
use mimi_hub_proto::SubmitMessageResponse as Response;
use mimi_hub_proto::tls;

use super::world::{ALICE, World, domain, user};
use crate::command::Event;
use crate::room::entity::RoomRequest;
use crate::room::event::RoomEvent;
use crate::testing::client::{Client, Plan};
use crate::testing::roles::{ADMIN, BANNED, MEMBER, SILENT};

#[tokio::test]
async fn a_message_goes_to_every_other_provider_with_clients() {
    let (_hub, mut world) = World::new().await;
    world.add("bob@b.example", MEMBER);
    world.add("carol@c.example", MEMBER);
    world.add("adam@a.example", MEMBER);
    let message = world.people[ALICE].message(b"hello");
    let request = SubmitMessageRequest {
        app_message: message.clone(),
        sending_uri: user("alice@a.example"),
    };
    let asked = world.ask(RoomRequest::Submit {
        source: domain("a.example"),
        request,
    });
    let (event, reply) = asked.accepted();
    let Event::Room(RoomEvent::Message {
        message: kept,
        frank,
        fan_out,
        withheld,
    }) = event
    else {
        panic!("another event")
    };
    assert_eq!(kept.as_slice(), tls::encode(&message));
    assert_eq!(fan_out, [domain("b.example"), domain("c.example")]);
    assert!(withheld.is_empty());
    assert_eq!(frank, None);
    let accepted_timestamp = world.now_ms;
    assert_eq!(
        tls::decode_exact(&reply),
        Ok(Response::Accepted {
            accepted_timestamp,
            frank: None
        })
    );
}

/// "It was sent by a participant": with a client, through its own provider, under its own name.
#[tokio::test]
async fn only_active_participants_send_and_through_their_own_provider() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let message = world.people[bob].message(b"hello");
    for (source, sender) in [
        ("a.example", "bob@b.example"),
        ("b.example", "alice@a.example"),
        ("b.example", "eve@b.example"),
        ("c.example", "bob@b.example"),
    ] {
        assert_eq!(
            world.submit(source, sender, message.clone()),
            Response::NotAllowed,
            "{sender} by {source}"
        );
    }
    assert!(matches!(
        world.submit("b.example", "bob@b.example", message.clone()),
        Response::Accepted { .. }
    ));
    let leaves = world.leaves(bob);
    world.commit(ALICE, Plan::default().remove(leaves)).unwrap();
    assert_eq!(
        world.submit("b.example", "bob@b.example", message),
        Response::NotAllowed,
        "without a client"
    );
}

/// draft-ietf-mimi-protocol, 5.3: "MUST prevent any of its clients from sending or receiving any additional application
/// messages".
#[tokio::test]
async fn who_is_about_to_leave_does_not_send() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let message = world.people[bob].message(b"hello");
    let proposals = world.people[bob].propose_to_leave();
    world.propose(bob, &proposals).unwrap();
    assert_eq!(
        world.submit("b.example", "bob@b.example", message),
        Response::NotAllowed
    );
}

/// draft-ietf-mimi-room-policy, 8.3 (canSendMessage).
#[tokio::test]
async fn a_role_says_who_may_send() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", SILENT);
    let message = world.people[bob].message(b"hello");
    assert_eq!(
        world.submit("b.example", "bob@b.example", message.clone()),
        Response::NotAllowed
    );
    let voice = world.role_change(bob, MEMBER);
    world.commit(ALICE, Plan::default().list(&voice)).unwrap();
    assert!(matches!(
        world.submit("b.example", "bob@b.example", message.clone()),
        Response::Accepted { .. }
    ));
    let ban = world.role_change(bob, BANNED);
    let leaves = world.leaves(bob);
    world.commit(ALICE, Plan::default().list(&ban).remove(leaves)).unwrap();
    assert_eq!(
        world.submit("b.example", "bob@b.example", message),
        Response::NotAllowed
    );
}

/// draft-ietf-mimi-protocol, 5.4: "epochTooOld"; two epochs back is the default limit here.
#[tokio::test]
async fn a_message_of_few_epochs_ago_is_accepted_and_of_more_is_not() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let message = world.people[bob].message(b"hello");
    for _ in 0..2 {
        world.commit(ALICE, Plan::default()).unwrap();
        assert!(matches!(
            world.submit("b.example", "bob@b.example", message.clone()),
            Response::Accepted { .. }
        ));
    }
    world.commit(ALICE, Plan::default()).unwrap();
    let too_old = Response::EpochTooOld { current_epoch: 4 };
    assert_eq!(world.submit("b.example", "bob@b.example", message), too_old);
}

/// draft-ietf-mimi-protocol, 5.4: "nonsensical inputs such as an MLS epoch more recent than the hub's".
#[tokio::test]
async fn a_message_of_a_later_epoch_or_another_group_is_refused() {
    let (_hub, mut world) = World::new().await;
    let mut other = Client::new(&user("alice@a.example"), 1);
    other.create_with(
        "mimi://a.example/g/other",
        Vec::new(),
        &[(user("alice@a.example"), ADMIN)],
        &[],
    );
    let message = other.message(b"hello");
    assert_eq!(
        world.submit("a.example", "alice@a.example", message),
        Response::NotAllowed
    );
    world.people[ALICE].commit(Plan::default());
    world.people[ALICE].merge();
    let message = world.people[ALICE].message(b"hello");
    assert_eq!(message.epoch(), 1);
    assert_eq!(
        world.submit("a.example", "alice@a.example", message),
        Response::NotAllowed
    );
}
