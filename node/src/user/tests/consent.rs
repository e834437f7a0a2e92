//! Who may fetch KeyPackages (draft-ietf-mimi-protocol, 5.2 and "Consent").

use super::*;
use crate::config::ConsentDefault;

fn rule(requester: Option<UserUri>, room: Option<RoomUri>, allow: bool) -> ConsentRule {
    ConsentRule { requester, room, allow }
}

fn other_room() -> RoomUri {
    "mimi://b.example/r/other".parse().unwrap()
}

fn carol() -> UserUri {
    "mimi://b.example/u/carol".parse().unwrap()
}

/// The code for bob's claim for the clubhouse, after these rules.
async fn code(default: ConsentDefault, rules: &[ConsentRule]) -> KeyMaterialUserCode {
    let mut config = config();
    config.consent.default = default;
    let hub = TestHub::start(config).await;
    let (mut world, clients) = World::new(&hub.hub, 1);
    world.publish(&clients[0], vec![lasting(&clients[0], 1_000)]).accepted();
    for rule in rules {
        world.ask(UserRequest::SetConsent(rule.clone())).accepted();
    }
    world.claim().user_status()
}

#[tokio::test]
async fn the_most_specific_rule_holds() {
    use ConsentDefault::{Allow, Deny};
    use KeyMaterialUserCode::{NoConsent, NoConsentForThisRoom, Success};
    let (bobs, here, there) = (Some(bob()), Some(room()), Some(other_room()));
    let cases = [
        (Allow, vec![], Success),
        (Deny, vec![], NoConsent),
        (Allow, vec![rule(None, None, false)], NoConsent),
        (Deny, vec![rule(None, None, true)], Success),
        (Allow, vec![rule(bobs.clone(), None, false)], NoConsent),
        (Deny, vec![rule(bobs.clone(), None, true)], Success),
        (Deny, vec![rule(Some(carol()), None, true)], NoConsent),
        (Allow, vec![rule(Some(carol()), None, false)], Success),
        (Deny, vec![rule(bobs.clone(), here.clone(), true)], Success),
        (Deny, vec![rule(None, here.clone(), true)], Success),
        (
            Deny,
            vec![rule(bobs.clone(), there.clone(), true)],
            NoConsentForThisRoom,
        ),
        (Deny, vec![rule(None, there.clone(), true)], NoConsentForThisRoom),
        (Deny, vec![rule(Some(carol()), there.clone(), true)], NoConsent),
        (Deny, vec![rule(bobs.clone(), there.clone(), false)], NoConsent),
        (
            Allow,
            vec![rule(bobs.clone(), None, true), rule(bobs.clone(), here.clone(), false)],
            NoConsent,
        ),
        (
            Allow,
            vec![rule(None, here.clone(), false), rule(bobs.clone(), None, true)],
            Success,
        ),
        (
            Deny,
            vec![rule(None, here.clone(), true), rule(bobs.clone(), None, false)],
            NoConsent,
        ),
        (
            Deny,
            vec![
                rule(bobs.clone(), here.clone(), true),
                rule(bobs.clone(), here.clone(), false),
            ],
            NoConsent,
        ),
        (
            Deny,
            vec![rule(bobs.clone(), None, false), rule(bobs, here, true)],
            Success,
        ),
    ];
    for (number, (default, rules, wanted)) in cases.into_iter().enumerate() {
        assert_eq!(
            code(default, &rules).await,
            wanted,
            "case {number}: {default:?}, {rules:?}"
        );
    }
}

/// A user that adds a client of its own does not ask itself.
#[tokio::test]
async fn the_own_user_needs_no_consent() {
    let mut config = config();
    config.consent.default = ConsentDefault::Deny;
    let hub = TestHub::start(config).await;
    let (mut world, clients) = World::new(&hub.hub, 1);
    world.publish(&clients[0], vec![lasting(&clients[0], 1_000)]).accepted();
    let response = world.claim_with(|tbs| tbs.requesting_user = alice());
    assert_eq!(response.user_status(), KeyMaterialUserCode::Success);
}

#[tokio::test]
async fn a_refused_claim_gives_nothing_out() {
    let hub = TestHub::start(config()).await;
    let (mut world, clients) = World::new(&hub.hub, 1);
    let package = lasting(&clients[0], 1_000);
    world.publish(&clients[0], vec![package.clone()]).accepted();
    world
        .ask(UserRequest::SetConsent(rule(Some(bob()), None, false)))
        .accepted();
    let seq = world.user.last_seq();
    assert_eq!(world.claim().user_status(), KeyMaterialUserCode::NoConsent);
    assert_eq!(world.user.last_seq(), seq);
    world
        .ask(UserRequest::SetConsent(rule(Some(bob()), None, true)))
        .accepted();
    assert_eq!(given(&world.claim()), [package]);
}

#[tokio::test]
async fn rules_survive_a_restart_and_end_with_the_user() {
    let hub = TestHub::start(config()).await;
    let (mut world, clients) = World::new(&hub.hub, 1);
    world.publish(&clients[0], vec![lasting(&clients[0], 1_000)]).accepted();
    world.ask(UserRequest::SetConsent(rule(None, None, false))).accepted();
    world.user.reload();
    assert_eq!(world.claim().user_status(), KeyMaterialUserCode::NoConsent);
    world.ask(UserRequest::Delete).accepted();
    world.ask(UserRequest::Create).accepted();
    assert_eq!(world.claim().user_status(), KeyMaterialUserCode::IncompatibleProtocol);
}

#[tokio::test]
async fn a_rule_can_be_changed_when_no_more_may_be_set() {
    let hub = TestHub::start(config()).await;
    let (mut world, _) = World::new(&hub.hub, 0);
    let of = |number: usize| Some(format!("mimi://b.example/u/{number}").parse().unwrap());
    world.user.entity.profile.consent = (0..10_000).map(|number| rule(of(number), None, true)).collect();
    let another = world.ask(UserRequest::SetConsent(rule(of(10_000), None, true)));
    assert!(matches!(another.answer(), UserAnswer::TooMany(what) if what == "consent rules"));
    world.ask(UserRequest::SetConsent(rule(of(77), None, false))).accepted();
    assert_eq!(world.user.entity.profile.consent.len(), 10_000);
}
