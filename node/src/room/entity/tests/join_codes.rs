//! Join codes (draft-ietf-mimi-room-policy, 6.2 and 8.1.1; draft-ietf-mimi-protocol, 5.6).

use mimi_hub_proto::components::{JOIN_LINK_POLICY, JoinLinkPolicy};
use mimi_hub_proto::mls::{HpkePublicKey, SignaturePublicKey};
use mimi_hub_proto::{GroupInfoRequest, GroupInfoRequestTbs, UpdateOutcome, tls};
use openmls_traits::signatures::Signer;

use super::world::{ALICE, World, user};
use crate::room::entity::{RoomAnswer, RoomRequest};
use crate::room::event::RoomEvent;
use crate::room::join_codes::{JoinCodeRefusal, JoinCodeRequest, JoinCodeTerms, derive, link};
use crate::room::moderation::ModerationRequest;
use crate::testing::client::{Client, SUITE};
use crate::testing::entity::Asked;
use crate::testing::roles::{ADMIN, MEMBER, SILENT};

const TERMS: JoinCodeTerms = JoinCodeTerms {
    role: MEMBER,
    expires_in_s: 60,
    uses_max: 2,
};

impl World {
    fn codes(&mut self, request: JoinCodeRequest) -> Result<(), JoinCodeRefusal> {
        match self.ask(RoomRequest::JoinCodes(request)) {
            Asked::Accepted { .. } => {
                self.check();
                Ok(())
            }
            Asked::Answer(RoomAnswer::JoinCodeRefused(refusal)) => Err(refusal),
            Asked::Answer(other) => panic!("{other:?}"),
        }
    }

    fn make_code(&mut self, by: &str, id: &str, terms: JoinCodeTerms) -> Result<String, JoinCodeRefusal> {
        self.codes(JoinCodeRequest::Create {
            by: user(by),
            id: id.to_owned(),
            terms,
        })?;
        let created_at_ms = self.state().records.codes[id].created_at_ms;
        Ok(derive(&self.room.settings.keys, &self.state().room, id, created_at_ms).unwrap())
    }

    /// Asks for the GroupInfo with a code, as often as it takes.
    fn show(&mut self, client: &Client, code: Option<&str>) -> bool {
        for _ in 0..2 {
            let tbs = GroupInfoRequestTbs {
                cipher_suite: mimi_hub_proto::mls::CipherSuite(SUITE.into()),
                requesting_signature_key: SignaturePublicKey::new(client.signer.public()),
                requesting_credential: client.identity.to_credential(),
                group_info_public_key: HpkePublicKey::new([7; 32]),
                joining_code: code.map(|code| code.as_bytes().to_vec()),
            };
            let signature = client.signer.sign(&tbs.sign_content()).unwrap();
            let source = client.user().provider();
            let request = GroupInfoRequest { tbs, signature };
            match self.ask(RoomRequest::GroupInfo { source, request }) {
                Asked::Accepted { event, .. } => {
                    let crate::command::Event::Room(RoomEvent::JoinCodeShown { .. }) = *event else {
                        panic!("another event")
                    };
                }
                Asked::Answer(RoomAnswer::GroupInfo(_)) => return true,
                Asked::Answer(RoomAnswer::NotAuthorized(_)) => return false,
                Asked::Answer(other) => panic!("{other:?}"),
            }
        }
        panic!("the GroupInfo is neither given nor refused")
    }
}

fn dave(number: u32) -> Client {
    Client::new(&user("dave@d.example"), number)
}

/// room-policy 8.1.1, `canUseJoinCode`: "can externally join a room using a join code for that room".
#[tokio::test]
async fn a_user_joins_by_code() {
    let (_hub, mut world) = World::new().await;
    let code = world.make_code("alice@a.example", "friends", TERMS).unwrap();
    assert!(link(&world.state().room, &code).ends_with(&format!("/r/clubhouse#{code}")));
    assert!(world.show(&dave(1), Some(&code)));
    world.room.reload();
    let accepted = world.join_as(dave(1), MEMBER).unwrap();
    assert_eq!(accepted.join_code.as_deref(), Some("friends"));
    let records = &world.state().records;
    assert_eq!(records.codes["friends"].uses, 1);
    assert!(records.admitted.is_empty());
    // A participant now, it brings in another client without a code.
    assert!(world.show(&dave(2), None));
    world.join(dave(2)).unwrap();
    assert_eq!(world.state().records.codes["friends"].uses, 1);
}

#[tokio::test]
async fn without_a_valid_code_nobody_joins() {
    let (_hub, mut world) = World::new().await;
    let code = world.make_code("alice@a.example", "friends", TERMS).unwrap();
    assert!(!world.show(&dave(1), None));
    assert!(!world.show(&dave(1), Some("guessed")));
    assert!(!world.show(&dave(1), Some("")));
    world.join_as(dave(1), MEMBER).unwrap_err().not_allowed("canOpenJoin");
    // A code that somebody else has shown is not this user's.
    assert!(world.show(&Client::new(&user("eve@e.example"), 1), Some(&code)));
    world.join_as(dave(1), MEMBER).unwrap_err().not_allowed("canOpenJoin");
    // Nor is it one for another role.
    assert!(world.show(&dave(1), Some(&code)));
    world.join_as(dave(1), ADMIN).unwrap_err().not_allowed("canOpenJoin");
    world.join_as(dave(1), MEMBER).unwrap();
}

#[tokio::test]
async fn a_code_ends_with_its_time() {
    let (_hub, mut world) = World::new().await;
    let code = world.make_code("alice@a.example", "friends", TERMS).unwrap();
    assert!(world.show(&dave(1), Some(&code)));
    world.now_ms += 60_000;
    world.join_as(dave(1), MEMBER).unwrap_err().not_allowed("canOpenJoin");
    assert!(!world.show(&dave(1), Some(&code)));
}

#[tokio::test]
async fn a_code_ends_with_its_uses() {
    let (_hub, mut world) = World::new().await;
    let code = world.make_code("alice@a.example", "friends", TERMS).unwrap();
    let guests: Vec<Client> = ["carl@c.example", "dave@d.example", "eve@e.example"]
        .iter()
        .map(|name| Client::new(&user(name), 1))
        .collect();
    // All may try, and two get in.
    for guest in &guests {
        assert!(world.show(guest, Some(&code)));
    }
    let outcomes: Vec<bool> = guests
        .into_iter()
        .map(|guest| world.join_as(guest, MEMBER).is_ok())
        .collect();
    assert_eq!(outcomes, [true, true, false]);
    assert!(!world.show(&Client::new(&user("fred@f.example"), 1), Some(&code)));
}

#[tokio::test]
async fn a_code_that_is_revoked_lets_nobody_in() {
    let (_hub, mut world) = World::new().await;
    let code = world.make_code("alice@a.example", "friends", TERMS).unwrap();
    assert!(world.show(&dave(1), Some(&code)));
    let revoke = |id: &str| JoinCodeRequest::Revoke {
        by: user("alice@a.example"),
        id: id.to_owned(),
    };
    assert_eq!(world.codes(revoke("others")), Err(JoinCodeRefusal::Unknown));
    world.codes(revoke("friends")).unwrap();
    world.join_as(dave(1), MEMBER).unwrap_err().not_allowed("canOpenJoin");
    assert!(!world.show(&dave(1), Some(&code)));
    // Another code of the same name is another code.
    let other = world.make_code("alice@a.example", "friends", TERMS).unwrap();
    assert_ne!(code, other);
}

#[tokio::test]
async fn who_makes_and_revokes_codes_must_be_able_to() {
    let (_hub, mut world) = World::new().await;
    world.add("adam@a.example", MEMBER);
    world.make_code("alice@a.example", "friends", TERMS).unwrap();
    assert_eq!(
        world.make_code("alice@a.example", "friends", TERMS),
        Err(JoinCodeRefusal::Exists)
    );
    for by in ["adam@a.example", "eve@a.example"] {
        let denied = |refusal| matches!(refusal, JoinCodeRefusal::Denied(_));
        assert!(denied(world.make_code(by, "mine", TERMS).unwrap_err()));
        let revoke = JoinCodeRequest::Revoke {
            by: user(by),
            id: "friends".to_owned(),
        };
        assert!(denied(world.codes(revoke).unwrap_err()));
        assert!(denied(world.codes(JoinCodeRequest::List { by: user(by) }).unwrap_err()));
    }
    // Role 0 leads to members alone.
    let terms = JoinCodeTerms { role: SILENT, ..TERMS };
    assert!(matches!(
        world.make_code("alice@a.example", "silent", terms),
        Err(JoinCodeRefusal::Denied(_))
    ));
    let list = RoomRequest::JoinCodes(JoinCodeRequest::List {
        by: user("alice@a.example"),
    });
    let Asked::Answer(RoomAnswer::JoinCodes(codes)) = world.ask(list) else {
        panic!("no list")
    };
    assert_eq!(codes.into_keys().collect::<Vec<_>>(), ["friends"]);
}

#[tokio::test]
async fn names_times_and_numbers_have_bounds() {
    let (_hub, mut world) = World::new().await;
    let terms = |refusal| matches!(refusal, JoinCodeRefusal::Terms(_));
    for id in ["", "with space", "a/b", &"x".repeat(65)] {
        assert!(
            terms(world.make_code("alice@a.example", id, TERMS).unwrap_err()),
            "{id}"
        );
    }
    for bad in [
        JoinCodeTerms {
            expires_in_s: 0,
            ..TERMS
        },
        JoinCodeTerms {
            expires_in_s: u64::MAX,
            ..TERMS
        },
        JoinCodeTerms { uses_max: 0, ..TERMS },
    ] {
        assert!(terms(world.make_code("alice@a.example", "friends", bad).unwrap_err()));
    }
}

/// room-policy 6.2: `on_request`, `multiuser` and `expiration` of the JoinLinkPolicy.
#[tokio::test]
async fn the_join_link_policy_holds_for_codes() {
    let (_hub, mut world) = World::new().await;
    let policy = JoinLinkPolicy {
        on_request: true,
        multiuser: false,
        expiration: 30,
        ..JoinLinkPolicy::default()
    };
    let mut dictionary = world.state().dictionary.clone();
    dictionary.set(JOIN_LINK_POLICY, tls::encode(&policy));
    let policy = mimi_hub_proto::policy::RoomPolicy::from_dictionary(&dictionary).unwrap();
    let state = world.room.entity.state.as_mut().unwrap();
    state.policy = policy;
    let single = JoinCodeTerms {
        uses_max: 1,
        expires_in_s: 30,
        ..TERMS
    };
    let at_ms = world.now_ms;
    let state = world.state();
    let decide = |terms: JoinCodeTerms, state: &crate::room::state::RoomState| {
        crate::room::join_codes::decide_create(
            state,
            at_ms,
            &world.room.settings.keys,
            &user("alice@a.example"),
            "one",
            &terms,
        )
    };
    for bad in [
        JoinCodeTerms {
            uses_max: 2,
            ..single.clone()
        },
        JoinCodeTerms {
            expires_in_s: 31,
            ..single.clone()
        },
    ] {
        assert!(matches!(decide(bad, state), Err(JoinCodeRefusal::Terms(_))));
    }
    let event = decide(single.clone(), state).unwrap();
    world.room.entity.state.as_mut().unwrap().advance_records(&event);
    let state = world.state();
    let second = crate::room::join_codes::decide_create(
        state,
        at_ms,
        &world.room.settings.keys,
        &user("alice@a.example"),
        "two",
        &single,
    );
    assert!(matches!(second, Err(JoinCodeRefusal::Terms(reason)) if reason.contains("one join link")));
}

/// A user whom the provider keeps out has no use of a code.
#[tokio::test]
async fn a_barred_user_joins_by_no_code() {
    let (_hub, mut world) = World::new().await;
    let code = world.make_code("alice@a.example", "friends", TERMS).unwrap();
    assert!(world.show(&dave(1), Some(&code)));
    world.ask(RoomRequest::Moderate(ModerationRequest::Bar(user("dave@d.example"))));
    assert!(!world.show(&dave(1), Some(&code)));
    let refused = world.join_as(dave(1), MEMBER).unwrap_err();
    assert_eq!(refused.0, UpdateOutcome::NotAllowed);
}

#[tokio::test]
async fn codes_outlive_a_checkpoint() {
    let (_hub, mut world) = World::new().await;
    world.make_code("alice@a.example", "friends", TERMS).unwrap();
    world
        .room
        .entity
        .state
        .as_mut()
        .unwrap()
        .limits
        .checkpoint_handshake_bytes = 1;
    world.commit(ALICE, crate::testing::client::Plan::default()).unwrap();
    world.room.reload();
    assert!(world.state().records.codes.contains_key("friends"));
    world.check();
}
