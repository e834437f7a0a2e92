//! What the hub does as an external sender (draft-ietf-mimi-protocol, 5.3, 5.5 and 7.2; draft-ietf-mimi-room-policy, 4, 8.3
//! and 8.6).

use mimi_hub_proto::mls::{ProposalMessage, Sender};
use mimi_hub_proto::uri::ClientUri;
use mimi_hub_proto::{FanoutEvent, SubmitMessageResponse, UpdateOutcome, tls};

use super::world::{ALICE, World, domain, user};
use crate::command::{Accepted, Event};
use crate::entity::EntityId;
use crate::room::entity::{RoomAnswer, RoomRequest};
use crate::room::event::RoomEvent;
use crate::room::fan_out;
use crate::room::moderation::ModerationRequest;
use crate::testing::client::{Client, Plan};
use crate::testing::credential::identity;
use crate::testing::entity::Asked;
use crate::testing::roles::{BANNED, MEMBER, SILENT};

impl World {
    /// The provider asks; everybody hears of the hub's proposals.
    fn moderate(&mut self, request: ModerationRequest) -> Result<RoomEvent, String> {
        match self.ask(RoomRequest::Moderate(request)) {
            Asked::Accepted { event, .. } => {
                let Event::Room(event) = *event else {
                    panic!("{event:?}")
                };
                if let RoomEvent::Proposals { messages, .. } | RoomEvent::Barred { messages, .. } = &event {
                    for message in messages {
                        let proposal: ProposalMessage = tls::decode_exact(message).unwrap();
                        assert!(matches!(proposal.sender(), Sender::External(0)));
                        self.people
                            .iter_mut()
                            .for_each(|client| client.follow_proposal(&proposal));
                    }
                }
                self.check();
                Ok(event)
            }
            Asked::Answer(RoomAnswer::Unchanged) => Err("unchanged".to_owned()),
            Asked::Answer(RoomAnswer::ModerationRefused(reason)) => Err(reason),
            Asked::Answer(other) => panic!("{other:?}"),
        }
    }

    fn remove(&mut self, name: &str, client: Option<ClientUri>) -> Result<RoomEvent, String> {
        let user = user(name);
        self.moderate(ModerationRequest::Remove { user, client })
    }
}

pub(super) fn delivered(event: RoomEvent) -> Accepted {
    let room = "mimi://a.example/r/clubhouse".parse().unwrap();
    Accepted {
        entity: EntityId::Room(room),
        seq: 1,
        decided_by: 1,
        decided_after: 0,
        at_ms: 1,
        request: None,
        reply: Vec::new(),
        event: Event::Room(event),
    }
}

/// protocol 5.5: "the hub generates Remove proposals to remove a lost client or a deleted user".
#[tokio::test]
async fn the_hub_removes_a_deleted_user_when_a_member_commits() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let second = world.add_client(bob);
    let message = world.people[bob].message(b"still here");
    let event = world.remove("bob@b.example", None).unwrap();
    let RoomEvent::Proposals { messages, fan_out } = &event else {
        panic!("{event:?}")
    };
    assert_eq!(messages.len(), 2);
    assert_eq!(*fan_out, [domain("b.example")]);
    assert_eq!(world.remove("bob@b.example", None), Err("unchanged".to_owned()));
    // It can do nothing any more, and nobody may leave the proposals out.
    let submitted = world.submit("b.example", "bob@b.example", message);
    assert_eq!(submitted, SubmitMessageResponse::NotAllowed);
    let ignoring = Plan {
        ignores_pending: true,
        ..Plan::default()
    };
    world.commit(ALICE, ignoring).unwrap_err().not_allowed("leaves out 2");
    world.room.reload();
    world.commit(ALICE, Plan::default()).unwrap();
    assert!(!world.state().is_active(&user("bob@b.example")));
    assert!(world.people[second].group.is_none());
    // openmls takes no AppDataUpdate of an external sender: the user stays on the list, inactive.
    assert!(world.state().policy.role_of(&user("bob@b.example")).is_some());
}

#[tokio::test]
async fn the_hub_removes_a_lost_client_and_the_others_go_on() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    world.add_client(bob);
    let lost = identity(&user("bob@b.example"), 1).client().clone();
    world.remove("bob@b.example", Some(lost)).unwrap();
    assert!(!world.state().is_silenced(&user("bob@b.example")));
    world.commit(ALICE, Plan::default()).unwrap();
    assert_eq!(world.leaves(bob).len(), 1);
    let nobody: ClientUri = "mimi://b.example/d/unheard-of".parse().unwrap();
    assert_eq!(world.remove("bob@b.example", Some(nobody)), Err("unchanged".to_owned()));
}

/// protocol 5.5: "The hub would then be expected to regenerate any relevant, comparable proposals in the new epoch."
#[tokio::test]
async fn removals_that_an_external_commit_makes_void_are_stapled_to_it() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let carol = world.add("carol@c.example", MEMBER);
    world.remove("bob@b.example", None).unwrap();
    let accepted = world.join(Client::new(&user("carol@c.example"), 2)).unwrap();
    assert_eq!(accepted.external_proposals.len(), 1);
    assert_eq!(world.state().pending.len(), 1);
    assert!(world.state().is_silenced(&user("bob@b.example")));
    // Followers receive them with the Commit.
    let sent = fan_out::to_provider(&delivered(RoomEvent::Commit(accepted.clone())), &domain("c.example")).unwrap();
    let FanoutEvent::Commit { external_proposals, .. } = &sent[0].event else {
        panic!("{sent:?}")
    };
    assert_eq!(external_proposals.len(), 1);
    // Whoever joins once more staples them once more; then a member commits.
    world.join(Client::new(&user("alice@a.example"), 2)).unwrap();
    world.room.reload();
    world.commit(carol, Plan::default()).unwrap();
    assert!(world.people[bob].group.is_none());
    assert!(world.state().pending.is_empty());
}

#[tokio::test]
async fn stapled_removals_outlive_a_checkpoint() {
    let (_hub, mut world) = World::new().await;
    world.add("bob@b.example", MEMBER);
    let carol = world.add("carol@c.example", MEMBER);
    world.remove("bob@b.example", None).unwrap();
    world
        .room
        .entity
        .state
        .as_mut()
        .unwrap()
        .limits
        .checkpoint_handshake_bytes = 1;
    world.join(Client::new(&user("carol@c.example"), 2)).unwrap();
    world.room.reload();
    assert_eq!(world.state().pending.len(), 1);
    world.check();
    world.commit(carol, Plan::default()).unwrap();
    assert!(!world.state().is_active(&user("bob@b.example")));
}

/// What others have pending cannot be made anew: the external Commit waits.
#[tokio::test]
async fn an_external_commit_still_waits_for_the_proposals_of_others() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    world.add("carol@c.example", MEMBER);
    let proposals = world.people[bob].propose_to_leave();
    world.propose(bob, &proposals).unwrap();
    world
        .join(Client::new(&user("carol@c.example"), 2))
        .unwrap_err()
        .not_allowed("only a member's Commit");
}

/// protocol 7.2: nobody speaks for the hub.
#[tokio::test]
async fn the_hubs_proposals_are_not_taken_from_a_provider() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let leaf = world.leaves(bob)[0];
    let keys = &world.room.settings.keys;
    let forged = crate::room::moderation::remove_proposals(world.state(), keys, world.state().epoch(), [leaf]).unwrap();
    for source in ["b.example", "a.example"] {
        let refused = world.propose_from(domain(source), &forged).unwrap_err();
        assert_eq!(refused.0, UpdateOutcome::NotAllowed);
    }
    assert!(world.state().pending.is_empty());
}

/// protocol 5.3: a banned user's clients are kept "from sending or receiving any additional application messages", from
/// Commits and from proposals.
#[tokio::test]
async fn a_barred_user_is_kept_out_before_anybody_commits() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let from_bob = world.people[bob].message(b"let me");
    let from_alice = world.people[ALICE].message(b"without him");
    let event = world.moderate(ModerationRequest::Bar(user("bob@b.example"))).unwrap();
    let RoomEvent::Barred { messages, .. } = &event else {
        panic!("{event:?}")
    };
    assert_eq!(messages.len(), 1);
    let sent = fan_out::to_provider(&delivered(event.clone()), &domain("b.example")).unwrap();
    assert!(matches!(sent[0].event, FanoutEvent::Proposals { .. }));
    assert_eq!(
        world.moderate(ModerationRequest::Bar(user("bob@b.example"))),
        Err("unchanged".to_owned())
    );
    assert_eq!(
        world.submit("b.example", "bob@b.example", from_bob),
        SubmitMessageResponse::NotAllowed
    );
    let accepted = world.ask(RoomRequest::Submit {
        source: domain("a.example"),
        request: mimi_hub_proto::SubmitMessageRequest {
            app_message: from_alice,
            sending_uri: user("alice@a.example"),
        },
    });
    let (Event::Room(RoomEvent::Message { fan_out, .. }), _) = accepted.accepted() else {
        panic!("another event")
    };
    assert!(fan_out.is_empty());
    world.room.reload();
    world.commit(ALICE, Plan::default()).unwrap();
    // It neither comes back by itself, nor is it brought back.
    world
        .join(Client::new(&user("bob@b.example"), 3))
        .unwrap_err()
        .not_allowed("barred");
    let key_package = world.claim(&Client::new(&user("bob@b.example"), 4));
    world
        .commit(ALICE, Plan::default().add([key_package]))
        .unwrap_err()
        .not_allowed("barred");
    // A member makes it a ban of the room.
    let ban = world.role_change(bob, BANNED);
    world.commit(ALICE, Plan::default().list(&ban)).unwrap();
    let role = world.state().policy.role_of(&user("bob@b.example")).unwrap();
    assert_eq!(role.role_index, BANNED);
}

#[tokio::test]
async fn who_is_barred_no_longer_comes_back() {
    let (_hub, mut world) = World::new().await;
    world.add("bob@b.example", MEMBER);
    world.moderate(ModerationRequest::Bar(user("bob@b.example"))).unwrap();
    world.commit(ALICE, Plan::default()).unwrap();
    world.moderate(ModerationRequest::Unbar(user("bob@b.example"))).unwrap();
    assert_eq!(
        world.moderate(ModerationRequest::Unbar(user("bob@b.example"))),
        Err("unchanged".to_owned())
    );
    world.join(Client::new(&user("bob@b.example"), 2)).unwrap();
    assert!(world.state().is_active(&user("bob@b.example")));
}

/// room-policy 8.3: the hub "can also withhold fanout of application messages to clients of a user".
#[tokio::test]
async fn messages_are_withheld_from_who_may_not_receive_them() {
    let (_hub, mut world) = World::new().await;
    world.add("bob@b.example", MEMBER);
    world.add("carol@c.example", SILENT);
    world.add("adam@a.example", SILENT);
    let message = world.people[ALICE].message(b"for some");
    let accepted = world.ask(RoomRequest::Submit {
        source: domain("a.example"),
        request: mimi_hub_proto::SubmitMessageRequest {
            app_message: message,
            sending_uri: user("alice@a.example"),
        },
    });
    let (Event::Room(event), _) = accepted.accepted() else {
        panic!("another event")
    };
    let accepted = delivered(event);
    let to_user = |name: &str| fan_out::to_user(&accepted, &user(name)).unwrap().len();
    let to_provider = |name: &str| fan_out::to_provider(&accepted, &domain(name)).unwrap().len();
    assert_eq!((to_user("alice@a.example"), to_user("adam@a.example")), (1, 0));
    assert_eq!((to_provider("b.example"), to_provider("c.example")), (1, 0));
    // Handshakes are for everybody.
    let commit = delivered(RoomEvent::Commit(world.commit(ALICE, Plan::default()).unwrap()));
    assert_eq!(fan_out::to_user(&commit, &user("adam@a.example")).unwrap().len(), 1);
    assert_eq!(fan_out::to_provider(&commit, &domain("c.example")).unwrap().len(), 1);
}

/// room-policy 8.6, `canDestroyRoom`.
#[tokio::test]
async fn a_room_is_destroyed_by_who_may() {
    let (_hub, mut world) = World::new().await;
    let bob = world.add("bob@b.example", MEMBER);
    let destroy = |name: &str| ModerationRequest::Destroy { by: user(name) };
    assert!(
        world
            .moderate(destroy("bob@b.example"))
            .unwrap_err()
            .contains("canDestroyRoom")
    );
    assert_eq!(world.moderate(destroy("alice@a.example")), Ok(RoomEvent::Destroyed));
    world.room.reload();
    let message = world.people[bob].message(b"anybody?");
    let request = mimi_hub_proto::SubmitMessageRequest {
        app_message: message,
        sending_uri: user("bob@b.example"),
    };
    let source = domain("b.example");
    assert!(matches!(
        world.ask(RoomRequest::Submit { source, request }),
        Asked::Answer(RoomAnswer::NoSuchRoom)
    ));
}
