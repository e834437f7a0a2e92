//! Consent requests and updates (draft-ietf-mimi-protocol, 5.7 and 8), and the matrix of what they lead to.

use mimi_hub_proto::components::AppDataDictionary;
use mimi_hub_proto::{ConsentChange, ConsentEntry, ConsentScope};

use super::*;
use crate::command::Event;
use crate::config::{Config, ConsentDefault};
use crate::user::consent::{ConsentSent, ConsentView};
use crate::user::event::UserEvent;

fn adam() -> UserUri {
    "mimi://a.example/u/adam".parse().unwrap()
}

fn other_room() -> RoomUri {
    "mimi://b.example/r/other".parse().unwrap()
}

/// What alice, the target, does about one requester: (for the clubhouse, for another room or for any; allow).
#[derive(Clone, Copy, Debug)]
enum For {
    Any,
    Here,
    There,
}

/// Operations of the target; what they lead to: always, or where consent is not implied.
type Said = (&'static [(For, bool)], Option<KeyMaterialUserCode>, KeyMaterialUserCode);

/// A provider's policy, and how it is configured.
type Policy = (&'static str, fn(&mut Config));

impl World {
    fn answer(&mut self, requester: &UserUri, room_of: For, allow: bool) -> ConsentSent {
        let room = match room_of {
            For::Any => None,
            For::Here => Some(room()),
            For::There => Some(other_room()),
        };
        self.sent(UserRequest::AnswerConsent {
            requester: requester.clone(),
            room,
            allow,
            with_key_packages: false,
        })
    }

    fn sent(&mut self, request: UserRequest) -> ConsentSent {
        match self.ask(request).accepted().0 {
            Event::User(UserEvent::ConsentSent(sent)) => sent,
            other => panic!("{other:?}"),
        }
    }

    fn receive(&mut self, scope: &ConsentScope, change: ConsentChange) -> Asked<UserAnswer> {
        self.ask(UserRequest::ConsentReceived(ConsentEntry {
            scope: scope.clone(),
            change,
            consent_extensions: AppDataDictionary::new(),
        }))
    }

    fn view(&mut self) -> ConsentView {
        match self.ask(UserRequest::Consent).answer() {
            UserAnswer::Consent(view) => view,
            other => panic!("{other:?}"),
        }
    }

    fn claim_by(&mut self, requester: &UserUri, shares_room: bool) -> KeyMaterialUserCode {
        let response = self.claim_sharing(shares_room, |tbs| tbs.requesting_user = requester.clone());
        response.user_status()
    }
}

fn entry(sent: &ConsentSent) -> ConsentEntry {
    tls::decode_exact(&sent.entry).unwrap()
}

/// The consent matrix: the provider's policy, what the user has said, who asks, and whether they share a room.
#[tokio::test]
async fn protocol_8_the_consent_matrix() {
    use KeyMaterialUserCode::{NoConsent, NoConsentForThisRoom, Success};
    // What the user has said; what that leads to: always, or where consent is not implied.
    let said: [Said; 10] = [
        (&[], None, NoConsent),
        (&[(For::Any, true)], Some(Success), Success),
        (&[(For::Here, true)], Some(Success), Success),
        (&[(For::There, true)], None, NoConsentForThisRoom),
        (&[(For::Any, false)], Some(NoConsent), NoConsent),
        (&[(For::Here, false)], Some(NoConsent), NoConsent),
        (&[(For::There, false)], None, NoConsent),
        (&[(For::Any, true), (For::Here, false)], Some(NoConsent), NoConsent),
        (&[(For::Any, false), (For::Here, true)], Some(Success), Success),
        (&[(For::Any, true), (For::Any, false)], Some(NoConsent), NoConsent),
    ];
    let policies: [Policy; 4] = [
        ("open", |config| config.consent.default = ConsentDefault::Allow),
        ("closed", |_| {}),
        ("same provider", |config| config.consent.same_provider = true),
        ("shared room", |config| config.consent.shared_room = true),
    ];
    let mut cases = 0;
    for (policy, set) in policies {
        let mut config = config();
        config.consent.default = ConsentDefault::Deny;
        set(&mut config);
        let hub = TestHub::start(config).await;
        for (operations, always, otherwise) in &said {
            for requester in [bob(), adam()] {
                for shares_room in [false, true] {
                    let (mut world, clients) = World::new(&hub.hub, 1);
                    world.publish(&clients[0], vec![lasting(&clients[0], 1_000)]).accepted();
                    for (room_of, allow) in *operations {
                        world.answer(&requester, *room_of, *allow);
                    }
                    let implied = match policy {
                        "open" => true,
                        "same provider" => requester == adam(),
                        "shared room" => shares_room,
                        _ => false,
                    };
                    let wanted = match always {
                        Some(code) => *code,
                        None if implied => Success,
                        None => *otherwise,
                    };
                    // What is said to one requester is nothing to another one.
                    let stranger: UserUri = "mimi://c.example/u/stranger".parse().unwrap();
                    if policy == "closed" {
                        assert_eq!(world.claim_by(&stranger, shares_room), NoConsent);
                    }
                    let found = world.claim_by(&requester, shares_room);
                    assert_eq!(found, wanted, "{policy}, {operations:?}, {requester}, {shares_room}");
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 160);
}

/// "The target provider can use this response as a catch all and in place of other status codes such as `userUnknown`"
#[tokio::test]
async fn protocol_5_2_whether_a_user_is_there_is_told_or_not() {
    use KeyMaterialUserCode::{NoConsent, UserDeleted, UserUnknown};
    for (tell_unknown, unknown, deleted) in [(true, UserUnknown, UserDeleted), (false, NoConsent, NoConsent)] {
        let mut config = config();
        config.consent.tell_unknown = tell_unknown;
        let hub = TestHub::start(config).await;
        let mut world = World::empty(&hub.hub);
        assert_eq!(world.claim_by(&bob(), false), unknown);
        world.ask(UserRequest::Create).accepted();
        world.ask(UserRequest::Delete).accepted();
        assert_eq!(world.claim_by(&bob(), false), deleted);
    }
}

#[tokio::test]
async fn protocol_5_7_a_request_is_sent_once_and_cancelled_with_the_same_scope() {
    let hub = TestHub::start(config()).await;
    let (mut world, _) = World::new(&hub.hub, 0);
    let request = |withdraws, room| UserRequest::RequestConsent {
        target: bob(),
        room,
        withdraws,
    };
    let never_asked = world.ask(request(true, Some(room()))).answer();
    assert!(matches!(never_asked, UserAnswer::NoSuchRequest));
    let sent = world.sent(request(false, Some(room())));
    assert_eq!(sent.to.as_str(), "b.example");
    let scope = ConsentScope {
        requester: alice(),
        target: bob(),
        room: Some(room()),
    };
    assert_eq!(
        (entry(&sent).scope, entry(&sent).change),
        (scope.clone(), ConsentChange::Request)
    );
    let again = world.ask(request(false, Some(room()))).answer();
    assert!(matches!(again, UserAnswer::Unchanged));
    // "A `cancel` MUST use the same `ConsentScope` as a previous `request`"
    let other_scope = world.ask(request(true, None)).answer();
    assert!(matches!(other_scope, UserAnswer::NoSuchRequest));
    assert_eq!(world.view().sent.len(), 1);
    world.user.reload();
    let sent = world.sent(request(true, Some(room())));
    assert_eq!(
        (entry(&sent).scope, entry(&sent).change),
        (scope, ConsentChange::Cancel)
    );
    assert!(world.view().sent.is_empty());
}

#[tokio::test]
async fn protocol_5_7_a_request_that_cannot_be_delivered_is_shown_and_may_be_sent_again() {
    let hub = TestHub::start(config()).await;
    let (mut world, _) = World::new(&hub.hub, 0);
    let request = || UserRequest::RequestConsent {
        target: bob(),
        room: None,
        withdraws: false,
    };
    world.sent(request());
    world
        .ask(UserRequest::ConsentUndeliverable {
            target: bob(),
            room: None,
        })
        .accepted();
    assert!(world.view().sent[0].undeliverable);
    world.sent(request());
    assert!(!world.view().sent[0].undeliverable);
    assert_eq!(world.view().sent.len(), 1);
}

#[tokio::test]
async fn protocol_5_7_requests_wait_for_an_answer_until_they_are_cancelled_or_covered() {
    let hub = TestHub::start(config()).await;
    let (mut world, _) = World::new(&hub.hub, 0);
    let scope = |requester: UserUri, room| ConsentScope {
        requester,
        target: alice(),
        room,
    };
    let (here, any) = (scope(bob(), Some(room())), scope(bob(), None));
    world.receive(&here, ConsentChange::Request).accepted();
    world.receive(&any, ConsentChange::Request).accepted();
    let twice = world.receive(&any, ConsentChange::Request).answer();
    assert!(matches!(twice, UserAnswer::Unchanged));
    world.receive(&any, ConsentChange::Cancel).accepted();
    // "in response to a `cancel` which has no `request` matching the `ConsentScope` [...] no further action is taken"
    let none_left = world.receive(&any, ConsentChange::Cancel).answer();
    assert!(matches!(none_left, UserAnswer::Unchanged));
    world.user.reload();
    assert_eq!(world.view().requests.len(), 1);
    // "A connection grant or revoke does not need to specify a room if a connection request did, or vice versa."
    world.answer(&bob(), For::Any, true);
    assert!(world.view().requests.is_empty());
    // Who was denied is not heard any more.
    world.answer(&bob(), For::Any, false);
    let denied = world.receive(&here, ConsentChange::Request).answer();
    assert!(matches!(denied, UserAnswer::Unchanged));
    assert!(world.view().requests.is_empty());
}

#[tokio::test]
async fn protocol_5_7_a_grant_brings_one_key_package_of_each_client_and_none_twice() {
    let hub = TestHub::start(config()).await;
    let (mut world, clients) = World::new(&hub.hub, 3);
    for client in &clients[..2] {
        world
            .publish(client, vec![lasting(client, 1_000), lasting(client, 2_000)])
            .accepted();
    }
    let mut seen = Vec::new();
    for wanted in [2, 2, 0] {
        let sent = world.sent(UserRequest::AnswerConsent {
            requester: bob(),
            room: Some(room()),
            allow: true,
            with_key_packages: true,
        });
        let ConsentChange::Grant { client_key_packages } = entry(&sent).change else {
            panic!("no grant")
        };
        assert_eq!(client_key_packages.len(), wanted);
        seen.extend(client_key_packages);
        world.user.reload();
    }
    seen.sort_by_key(|package| package.as_bytes().to_vec());
    let all = seen.len();
    seen.dedup();
    assert_eq!((seen.len(), all), (4, 4), "each was given once");
    assert_eq!(given(&world.claim()), []);
}

#[tokio::test]
async fn protocol_5_7_unsolicited_grants_and_revocations_are_shown() {
    let hub = TestHub::start(config()).await;
    let (mut world, _) = World::new(&hub.hub, 0);
    let scope = ConsentScope {
        requester: alice(),
        target: bob(),
        room: None,
    };
    let grant = || ConsentChange::Grant {
        client_key_packages: Vec::new(),
    };
    world.receive(&scope, grant()).accepted();
    assert!(matches!(world.receive(&scope, grant()).answer(), UserAnswer::Unchanged));
    assert!(world.view().updates[0].granted);
    world.receive(&scope, ConsentChange::Revoke).accepted();
    world.user.reload();
    let view = world.view();
    assert_eq!((view.updates.len(), view.updates[0].granted), (1, false));
}

#[tokio::test]
async fn one_provider_cannot_push_out_the_requests_of_others() {
    let hub = TestHub::start(config()).await;
    let (mut world, _) = World::new(&hub.hub, 0);
    let scope = |requester: String| ConsentScope {
        requester: requester.parse().unwrap(),
        target: alice(),
        room: None,
    };
    let first = scope("mimi://c.example/u/carol".to_owned());
    world.receive(&first, ConsentChange::Request).accepted();
    for number in 0..150 {
        let spam = scope(format!("mimi://b.example/u/{number}"));
        world.receive(&spam, ConsentChange::Request).accepted();
    }
    let view = world.view();
    assert_eq!(view.requests.len(), 101);
    assert_eq!(view.requests[0].requester, first.requester);
    assert_eq!(view.requests[1].requester.as_str(), "mimi://b.example/u/50");
}

#[tokio::test]
async fn an_unknown_user_is_told_nothing() {
    let hub = TestHub::start(config()).await;
    let mut world = World::empty(&hub.hub);
    let scope = ConsentScope {
        requester: bob(),
        target: alice(),
        room: None,
    };
    let answer = world.receive(&scope, ConsentChange::Request).answer();
    assert!(matches!(answer, UserAnswer::Unknown));
}
