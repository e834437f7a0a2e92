//! Consent, finding users, and abuse reports (draft-ietf-mimi-protocol, 5.7 to 5.9) between real providers.

use std::time::Duration;

use mimi_hub_ops::OpsError;
use mimi_hub_ops::client::{Consent, ConsentAnswer, ProfileEntry, ROLE_MEMBER};
use mimi_hub_proto::components::AppDataDictionary;
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::UserUri;
use mimi_hub_proto::{
    AbuseReport, ConsentChange, ConsentEntry, ConsentScope, FanoutMessage, IdentifierQueryCode, IdentifierRequest,
    IdentifierResponse, QueryElement, SearchType,
};
use mimi_hub_tests::{Nodes, World, room, user};

use crate::scene::Scene;

const SEEN_MAX: Duration = Duration::from_secs(20);

fn bob() -> UserUri {
    user("b.example", "bob")
}

impl Scene {
    /// Alice insults, and Bob has it in evidence.
    async fn insult(&mut self, text: &str) -> mimi_hub_proto::AbusiveMessage {
        self.alice.send_text(&self.room, text).await.unwrap();
        self.follow().await;
        let evidence = self.bob.state.evidence(&self.room);
        evidence.last().expect("a stamped message").message.clone()
    }

    fn report(&self, messages: Vec<mimi_hub_proto::AbusiveMessage>) -> Vec<u8> {
        self.bob.state.abuse_report(&self.alice_uri(), "insults", messages)
    }

    async fn verdicts(&self) -> Vec<String> {
        let page = self.hub.gateway().abuse_reports(None, 100).await.unwrap();
        let messages = page.reports.iter().flat_map(|report| &report.messages);
        messages.map(|message| message.verdict.clone()).collect()
    }
}

#[tokio::test]
async fn protocol_5_9_a_report_is_kept_with_a_verdict_across_a_kill_and_a_rotation() {
    let mut scene = Scene::new().await;
    let said = scene.insult("insult").await;
    assert_eq!(scene.hub.gateway().rotate_franking_key().await.unwrap().newest, 2);
    let later = scene.insult("another").await;
    let mut forged = said.clone();
    forged.accepted_timestamp += 1;
    let body = scene.report(vec![said.clone(), forged, later]);
    let answer = scene.bob.peer.post("reportAbuse", scene.room.as_str(), &body).await;
    assert_eq!((answer.status, answer.body.len()), (201, 0));
    scene.hub.kill().await;
    scene.hub.start().await;
    // The same request again is the same report.
    let again = scene.bob.peer.post("reportAbuse", scene.room.as_str(), &body).await;
    assert_eq!(again.status, 201);
    assert_eq!(scene.verdicts().await, ["proven", "not proven", "proven"]);
    let page = scene.hub.gateway().abuse_reports(None, 1).await.unwrap();
    let report = &page.reports[0];
    assert_eq!(page.next, None);
    assert_eq!(report.reporting_user, Some(bob()));
    assert_eq!(report.alleged_abuser, scene.alice_uri());
    assert_eq!(report.messages[0].text.as_deref(), Some("insult"));
    assert!(report.messages[1].why.as_ref().unwrap().contains("server_frank"));
    scene
        .hub
        .gateway()
        .close_report(&scene.room, report.report)
        .await
        .unwrap();
    assert!(scene.verdicts().await.is_empty());
    let gone = scene.hub.gateway().close_report(&scene.room, report.report).await;
    assert!(matches!(gone, Err(OpsError::Refused { .. })), "{gone:?}");
}

#[tokio::test]
async fn protocol_5_9_reports_that_are_malformed_or_of_others_change_nothing() {
    let mut scene = Scene::new().await;
    let said = scene.insult("insult").await;
    let body = scene.report(vec![said]);
    let room = scene.room.as_str().to_owned();
    let by_carols = scene.carol.peer.post("reportAbuse", &room, &body).await;
    by_carols.expect_problem(403, "wrong-source");
    let mut report: AbuseReport = decode_exact(&body).unwrap();
    report.reporting_user = Some(user("b.example", "mallory"));
    let stranger = scene.bob.peer.post("reportAbuse", &room, &encode(&report)).await;
    stranger.expect_problem(403, "may-not-report");
    for cut in [0, 1, body.len() / 2, body.len() - 1] {
        let answer = scene.bob.peer.post("reportAbuse", &room, &body[..cut]).await;
        answer.expect_problem(400, "malformed-body");
    }
    let nowhere = scene
        .bob
        .peer
        .post("reportAbuse", "mimi://a.example/r/none", &body)
        .await;
    nowhere.expect_problem(404, "no-such-room");
    let elsewhere = scene
        .bob
        .peer
        .post("reportAbuse", "mimi://b.example/r/none", &body)
        .await;
    elsewhere.expect_problem(404, "not-hosted-here");
    assert!(scene.verdicts().await.is_empty());
}

/// Alice's and Bob's providers, and a room of Alice's.
#[tokio::test]
async fn protocol_5_7_a_grant_brings_the_key_packages_to_add_its_user() {
    let world = crate::world();
    let alices = world.hub("a.example").await;
    let bobs = world.hub_with("b.example", "consent.default = 'deny'").await;
    let room = room("a.example", "tearoom");
    let mut alice = alices.client("alice", "ClientA1", 0).await;
    let mut bob_client = bobs.client("bob", "ClientB1", 2).await;
    alice.create_room(&room, "Tearoom").await.unwrap();
    let refused = alice.add_user(&room, &bob(), ROLE_MEMBER).await;
    assert!(
        matches!(&refused, Err(OpsError::NoKeyMaterial { status, .. }) if status == "NoConsent"),
        "{refused:?}"
    );

    alice.request_consent(&bob(), Some(&room)).await.unwrap();
    let asked = |view: &mimi_hub_ops::client::ConsentView| !view.requests.is_empty();
    let view = bob_client.consent_until("the request", SEEN_MAX, asked).await.unwrap();
    assert_eq!(view.requests[0].room.as_ref(), Some(&room));
    let answer = ConsentAnswer {
        requester: user("a.example", "alice"),
        room: Some(room.clone()),
        allow: true,
        notify: true,
        key_packages: true,
    };
    bobs.gateway().answer_consent(&bob(), &answer).await.unwrap();
    let told = |view: &mimi_hub_ops::client::ConsentView| !view.updates.is_empty();
    let view = alice.consent_until("the grant", SEEN_MAX, told).await.unwrap();
    alice.add_granted(&room, &view.updates[0], ROLE_MEMBER).await.unwrap();
    let joined = |state: &mimi_hub_ops::client::ClientState| state.is_member(&room);
    bob_client.sync_until("the Welcome", SEEN_MAX, joined).await.unwrap();

    // For this room he consents; for another one he does not.
    let other = mimi_hub_tests::room("a.example", "other");
    alice.create_room(&other, "Other").await.unwrap();
    let refused = alice.add_user(&other, &bob(), ROLE_MEMBER).await;
    let status = "NoConsentForThisRoom";
    assert!(
        matches!(&refused, Err(OpsError::NoKeyMaterial { status: found, .. }) if found == status),
        "{refused:?}"
    );
}

/// What is sent while the other provider is away arrives when it is back, in its order.
#[tokio::test]
async fn protocol_5_7_consent_operations_wait_for_a_provider_that_is_away() {
    let world = crate::world();
    let mut alices = world.hub("a.example").await;
    let mut bobs = world.hub("b.example").await;
    let bob_client = bobs.client("bob", "ClientB1", 0).await;
    bobs.kill().await;
    let alice = alices.client("alice", "ClientA1", 0).await;
    let me = user("a.example", "alice");
    let tearoom = room("a.example", "tearoom");
    alice.request_consent(&bob(), None).await.unwrap();
    alice.request_consent(&bob(), Some(&tearoom)).await.unwrap();
    let gateway = alices.gateway();
    gateway.request_consent(&me, &bob(), None, true).await.unwrap();
    alices.kill().await;
    alices.start().await;
    bobs.start().await;
    // Out of order, the cancel would have left the first request there.
    let asked = |view: &mimi_hub_ops::client::ConsentView| {
        view.requests
            .iter()
            .map(|asked| &asked.room)
            .eq([&Some(tearoom.clone())])
    };
    bob_client
        .consent_until("the request that is left", SEEN_MAX, asked)
        .await
        .unwrap();
    // Users of one provider reach each other, too.
    let adam = user("a.example", "adam");
    let adams = alices.client("adam", "ClientA2", 0).await;
    alices.gateway().request_consent(&me, &adam, None, false).await.unwrap();
    let one = |view: &mimi_hub_ops::client::ConsentView| view.requests.len() == 1;
    let view = adams.consent_until("the request", SEEN_MAX, one).await.unwrap();
    assert_eq!(view.requests[0].requester, me);
}

fn consent(requester: UserUri, target: UserUri, change: ConsentChange) -> Vec<u8> {
    encode(&ConsentEntry {
        scope: ConsentScope {
            requester,
            target,
            room: None,
        },
        change,
        consent_extensions: AppDataDictionary::new(),
    })
}

#[tokio::test]
async fn protocol_5_7_consent_operations_of_others_or_at_the_wrong_endpoint_change_nothing() {
    let world = crate::world();
    for (settings, unknown) in [("", 404), ("consent.tell_unknown = false", 201)] {
        let mut hub = world.hub_with("a.example", settings).await;
        let alice = hub.client("alice", "ClientA1", 0).await;
        let (me, nobody) = (user("a.example", "alice"), user("a.example", "nobody"));
        let peer = world.peer("b.example", "a.example");
        let request = |requester, target| consent(requester, target, ConsentChange::Request);
        let grant = ConsentChange::Grant {
            client_key_packages: Vec::new(),
        };
        let post =
            async |endpoint: &str, about: &UserUri, body: Vec<u8>| peer.post(endpoint, about.as_str(), &body).await;
        post("requestConsent", &me, request(user("c.example", "carol"), me.clone()))
            .await
            .expect_problem(403, "wrong-source");
        post("requestConsent", &bob(), request(bob(), bob()))
            .await
            .expect_problem(404, "not-served");
        post("requestConsent", &nobody, request(bob(), me.clone()))
            .await
            .expect_problem(400, "malformed-body");
        post("requestConsent", &me, consent(bob(), me.clone(), grant.clone()))
            .await
            .expect_problem(400, "malformed-body");
        post("updateConsent", &me, request(bob(), me.clone()))
            .await
            .expect_problem(400, "malformed-body");
        post(
            "updateConsent",
            &me,
            consent(me.clone(), user("c.example", "carol"), grant.clone()),
        )
        .await
        .expect_problem(403, "wrong-source");
        post("requestConsent", &me, vec![9])
            .await
            .expect_problem(400, "malformed-body");
        let asked_nobody = post("requestConsent", &nobody, request(bob(), nobody.clone())).await;
        assert_eq!(asked_nobody.status, unknown);
        let told_nobody = post("updateConsent", &nobody, consent(nobody.clone(), bob(), grant.clone())).await;
        assert_eq!(told_nobody.status, unknown);
        let view = alice.gateway().consent(&me).await.unwrap();
        assert!(view.requests.is_empty() && view.updates.is_empty(), "{view:?}");
        // A cancel of what was never asked is taken, and nothing comes of it.
        let cancel = post("requestConsent", &me, consent(bob(), me.clone(), ConsentChange::Cancel)).await;
        assert_eq!(cancel.status, 201);
        // The domain in the path, as 5.7 has it, is understood like the user, as 5.1 has it.
        let by_domain = peer
            .post("requestConsent", "a.example", &request(bob(), me.clone()))
            .await;
        assert_eq!(by_domain.status, 201);
        assert_eq!(alice.gateway().consent(&me).await.unwrap().requests.len(), 1);
        hub.kill().await;
        std::fs::remove_dir_all(hub.home().join("data")).unwrap();
    }
}

/// The provider's policy on what is implied by a shared room, and among its own users.
#[tokio::test]
async fn protocol_8_what_a_provider_takes_for_consent() {
    let world = crate::world();
    let settings = "consent.default = 'deny'\nconsent.shared_room = true\nconsent.same_provider = false";
    let hub = world.hub_with("a.example", settings).await;
    let mut alice = hub.client("alice", "ClientA1", 4).await;
    let mut adam = hub.client("adam", "ClientA2", 4).await;
    let (first, second) = (room("a.example", "first"), room("a.example", "second"));
    alice.create_room(&first, "First").await.unwrap();
    let adams = user("a.example", "adam");
    let refused = alice.add_user(&first, &adams, ROLE_MEMBER).await;
    assert!(matches!(refused, Err(OpsError::NoKeyMaterial { .. })), "{refused:?}");
    let rule = Consent {
        requester: None,
        room: Some(first.clone()),
        allow: true,
    };
    hub.gateway().put_consent(&adams, &rule).await.unwrap();
    alice.add_user(&first, &adams, ROLE_MEMBER).await.unwrap();
    let joined = |state: &mimi_hub_ops::client::ClientState| state.is_member(&first);
    adam.sync_until("the Welcome", SEEN_MAX, joined).await.unwrap();
    // They are in a room together now.
    alice.create_room(&second, "Second").await.unwrap();
    alice.add_user(&second, &adams, ROLE_MEMBER).await.unwrap();
}

fn query(elements: &[(SearchType, &str)]) -> Vec<u8> {
    let elements = elements.iter().map(|(search_type, value)| QueryElement {
        search_type: search_type.clone(),
        search_value: (*value).to_owned(),
    });
    encode(&IdentifierRequest {
        query_elements: elements.collect(),
        id_request_extensions: AppDataDictionary::new(),
    })
}

/// Users are spread over the shards of three nodes: a query at any of them finds each.
#[tokio::test]
async fn protocol_5_8_a_cluster_finds_users_in_all_its_shards() {
    let world: World = crate::world();
    let mut nodes = Nodes::start(&world, "a.example", 3, "discovery.results_max = 12")
        .await
        .hubs;
    for number in 0..24 {
        let someone = user("a.example", &format!("user{number}"));
        let gateway = nodes[number % 3].gateway();
        gateway.put_user(&someone).await.unwrap();
        let team = if number < 12 { "red" } else { "blue" };
        let fields = [
            ProfileEntry::new("vcard", "IMPP", &format!("im:user{number}@a.example"), "exact"),
            ProfileEntry::new("oidc", "given_name", &format!("Matt{number}"), "partial"),
            ProfileEntry::new("vcard", "ORG", team, "exact"),
        ];
        gateway.put_profile(&someone, &fields).await.unwrap();
    }
    let peer = world.peer("b.example", "a.example");
    let ask = async |elements: &[(SearchType, &str)]| -> IdentifierResponse {
        peer.post("identifierQuery", "a.example", &query(elements)).await.mimi()
    };
    let org = || SearchType::VcardField("ORG".to_owned());
    for number in 0..24 {
        let handle = format!("im:user{number}@a.example");
        let response = ask(&[(SearchType::Handle, &handle)]).await;
        assert_eq!(response.found_profiles().len(), 1, "{handle}");
        let name = format!("user{number}");
        let response = ask(&[(SearchType::Nick, &name)]).await;
        assert_eq!(response.found_profiles()[0].stable_uri, user("a.example", &name));
    }
    assert_eq!(ask(&[(org(), "red")]).await.found_profiles().len(), 12);
    let both = ask(&[(SearchType::PartialName, "matt1"), (org(), "red")]).await;
    assert_eq!(both.found_profiles().len(), 3, "1, 10 and 11");
    for (elements, code) in [
        (vec![(SearchType::PartialName, "matt")], IdentifierQueryCode::Ambiguous),
        (vec![(SearchType::PartialName, "ma")], IdentifierQueryCode::Ambiguous),
        (
            vec![(SearchType::Handle, "im:nobody@a.example")],
            IdentifierQueryCode::NotFound,
        ),
        (
            vec![(SearchType::OidcStdClaim("shoe_size".to_owned()), "44")],
            IdentifierQueryCode::UnsupportedField,
        ),
    ] {
        let response = ask(&elements).await;
        assert_eq!(response.response_code(), code, "{elements:?}");
        assert!(response.found_profiles().is_empty());
    }
    // A node is lost: the others find everybody.
    nodes[2].kill().await;
    let handle = "im:user7@a.example";
    let mut found = 0;
    for _ in 0..20 {
        let answer = peer
            .post("identifierQuery", "a.example", &query(&[(SearchType::Handle, handle)]))
            .await;
        if answer.status == 200 {
            found = answer.mimi::<IdentifierResponse>().found_profiles().len();
            break;
        }
    }
    assert_eq!(found, 1);
    // Who is deleted is not found any more, nor by what was in the profile before.
    nodes[0]
        .gateway()
        .delete_user(&user("a.example", "user3"))
        .await
        .unwrap();
    assert!(ask(&[(SearchType::Nick, "user3")]).await.found_profiles().is_empty());
    let fields = [ProfileEntry::new("vcard", "NICKNAME", "sunny", "exact")];
    nodes[0]
        .gateway()
        .put_profile(&user("a.example", "user4"), &fields)
        .await
        .unwrap();
    assert!(ask(&[(SearchType::Nick, "user4")]).await.found_profiles().is_empty());
    assert_eq!(ask(&[(SearchType::Nick, "sunny")]).await.found_profiles().len(), 1);
}

#[tokio::test]
async fn protocol_5_8_a_provider_says_by_what_and_how_often_may_be_searched() {
    let world = crate::world();
    let settings = "discovery.search = ['handle']\ndiscovery.queries_per_minute_per_provider = 3";
    let hub = world.hub_with("a.example", settings).await;
    let peer = world.peer("b.example", "a.example");
    let body = query(&[(SearchType::Handle, "im:alice@a.example"), (SearchType::Nick, "alice")]);
    let forbidden: IdentifierResponse = peer.post("identifierQuery", "a.example", &body).await.mimi();
    assert_eq!(forbidden.response_code(), IdentifierQueryCode::Forbidden);
    let elsewhere = peer.post("identifierQuery", "c.example", &body).await;
    elsewhere.expect_problem(404, "not-served");
    let empty = peer.post("identifierQuery", "a.example", &query(&[])).await;
    empty.expect_problem(400, "malformed-body");
    let once_more = peer.post("identifierQuery", "a.example", &body).await;
    once_more.expect_problem(429, "rate-exceeded");
    // Another provider has queries of its own, and other endpoints are not concerned.
    let other = world.peer("c.example", "a.example");
    assert_eq!(other.post("identifierQuery", "a.example", &body).await.status, 200);
    hub.gateway().put_user(&user("a.example", "alice")).await.unwrap();
    let unrelated = consent(bob(), user("a.example", "alice"), ConsentChange::Request);
    let unrelated = peer
        .post("requestConsent", "mimi://a.example/u/alice", &unrelated)
        .await;
    assert_eq!(unrelated.status, 201);
}

/// Fanned out, too: what a follower gets carries the frank that the sender was given.
#[tokio::test]
async fn protocol_5_5_a_follower_receives_the_frank_and_the_time_of_the_answer() {
    let mut scene = Scene::new().await;
    let follower = scene.world.follower("b.example").await;
    let answer = scene.carol.send(&scene.room, "hello").await;
    let mimi_hub_proto::SubmitMessageResponse::Accepted {
        accepted_timestamp,
        frank: Some(frank),
    } = answer.mimi()
    else {
        panic!("not franked")
    };
    let is_it = |message: &FanoutMessage| {
        matches!(&message.event, mimi_hub_proto::FanoutEvent::Application { frank: Some(found), .. } if *found == frank)
            && message.timestamp == accepted_timestamp
    };
    let started = std::time::Instant::now();
    while !follower.accepted().iter().any(is_it) {
        assert!(started.elapsed() < SEEN_MAX, "{:?}", follower.accepted());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What gateways get wrong.
#[tokio::test]
async fn requests_of_gateways_that_make_no_sense_change_nothing() {
    use reqwest::Method;
    let world = crate::world();
    let hub = world.hub("a.example").await;
    let alice = hub.client("alice", "ClientA1", 0).await;
    let me = "mimi%3A%2F%2Fa.example%2Fu%2Falice";
    let call = async |method: Method, path: String, body: serde_json::Value| {
        let request = hub.local(method, &path).header("content-type", "application/json");
        hub.call(request.body(body.to_string())).await
    };
    let field = |source: &str, name: &str, value: &str| {
        serde_json::json!({"fields": [
            {"source": source, "name": name, "value": value, "search": "exact", "shown": true},
        ]})
    };
    let bob = "mimi://b.example/u/bob";
    let room = "mimi://a.example/r/x";
    for (method, path, body, status, slug) in [
        (
            Method::PUT,
            "profile",
            field("oidc", "shoe_size", "44"),
            422,
            "bad-profile",
        ),
        (Method::PUT, "profile", field("oidc", "name", ""), 422, "bad-profile"),
        (
            Method::PUT,
            "profile",
            field("ldap", "name", "Alice"),
            400,
            "malformed-body",
        ),
        (
            Method::PUT,
            "consent",
            serde_json::json!({"allow": true, "notify": true}),
            400,
            "malformed-body",
        ),
        (
            Method::PUT,
            "consent",
            serde_json::json!({"requester": bob, "allow": true, "keyPackages": true}),
            400,
            "malformed-body",
        ),
        (
            Method::PUT,
            "consent",
            serde_json::json!({"requester": bob, "room": room, "allow": true, "notify": true, "keyPackages": true}),
            400,
            "malformed-body",
        ),
        (
            Method::POST,
            "consentRequests",
            serde_json::json!({"target": bob, "cancel": true}),
            404,
            "no-such-request",
        ),
        (
            Method::POST,
            "consentRequests",
            serde_json::json!({"target": "mimi://a.example/u/alice"}),
            400,
            "malformed-body",
        ),
    ] {
        let answer = call(method, format!("/users/{me}/{path}"), body.clone()).await;
        assert_eq!(answer.status, status, "{path} {body}");
        answer.expect_problem(status, slug);
    }
    let view = alice.gateway().consent(&user("a.example", "alice")).await.unwrap();
    assert!(view.sent.is_empty() && view.requests.is_empty());
    let unknown = alice.gateway().consent(&user("a.example", "nobody")).await;
    assert!(matches!(unknown, Err(OpsError::Refused { .. })), "{unknown:?}");
    for query in ["limit=0", "limit=101", "after=%21", "other=1"] {
        let answer = hub
            .call(hub.local(Method::GET, &format!("/abuseReports?{query}")))
            .await;
        assert_eq!(answer.status, 400, "{query}");
    }
}

/// The reports of rooms in all shards, led by several nodes, come in the order of time, in pages, each once.
#[tokio::test]
async fn protocol_5_9_moderators_see_the_reports_of_all_shards_in_pages() {
    let world = crate::world();
    let nodes = Nodes::start(&world, "a.example", 3, "").await.hubs;
    let me = user("a.example", "alice");
    let mut alice = nodes[0].client("alice", "ClientA1", 0).await;
    let mut reported = Vec::new();
    for number in 0..7 {
        let room = room("a.example", &format!("room{number}"));
        alice.create_room(&room, "Room").await.unwrap();
        alice.report_abuse(&room, &me, "nothing", Vec::new()).await.unwrap();
        reported.push(room);
    }
    for node in &nodes {
        let mut seen = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = node.gateway().abuse_reports(after.as_deref(), 3).await.unwrap();
            assert!(page.reports.len() <= 3);
            seen.extend(page.reports.into_iter().map(|report| report.room));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, reported);
    }
    // A new franking key is all nodes' own, soon, and outlives them.
    nodes[0].gateway().rotate_franking_key().await.unwrap();
    for node in &nodes {
        let mut known = 0;
        for _ in 0..100 {
            known = node.gateway().franking_key().await.unwrap().newest;
            if known == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(known, 2);
    }
}
