mod consent;
mod properties;
mod publishing;
mod requests;

use std::sync::Arc;

use mimi_hub_proto::mls::{
    CipherSuite, Credential, ExtensionType, KeyPackage, RequiredCapabilities, SignaturePublicKey,
};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{
    ClientKeyMaterialOutcome, KeyMaterialClientCode, KeyMaterialRequest, KeyMaterialRequestTbs, KeyMaterialResponse,
    KeyMaterialUserCode, tls,
};
use openmls::prelude::Lifetime;

use super::event::ConsentRule;
use super::state::UserState;
use super::{UserAnswer, UserRequest};
use crate::clock;
use crate::entity::EntityId;
use crate::hub::Hub;
use crate::testing::client::{Client, SUITE, wire_key_package};
use crate::testing::entity::{Asked, Driven};
use crate::testing::hub::{TestHub, config};

const SECOND: u64 = 1_000;

fn alice() -> UserUri {
    "mimi://a.example/u/alice".parse().unwrap()
}

fn bob() -> UserUri {
    "mimi://b.example/u/bob".parse().unwrap()
}

fn room() -> RoomUri {
    "mimi://b.example/r/clubhouse".parse().unwrap()
}

/// alice, and the time it is there.
struct World {
    user: Driven<UserState>,
    now_ms: u64,
}

impl World {
    /// Without the user.
    fn empty(hub: &Arc<Hub>) -> Self {
        World {
            user: Driven::new(hub.settings(), EntityId::User(alice())),
            now_ms: clock::now_ms(),
        }
    }

    /// With these many clients, each with its KeyPackage maker.
    fn new(hub: &Arc<Hub>, clients: u32) -> (Self, Vec<Client>) {
        let mut world = Self::empty(hub);
        world.ask(UserRequest::Create).accepted();
        let clients: Vec<Client> = (1..=clients).map(|number| Client::new(&alice(), number)).collect();
        for client in &clients {
            world
                .ask(UserRequest::AddClient(client.identity.client().clone()))
                .accepted();
        }
        (world, clients)
    }

    fn ask(&mut self, request: UserRequest) -> Asked<UserAnswer> {
        self.user.ask(self.now_ms, request)
    }

    fn publish(&mut self, client: &Client, key_packages: Vec<KeyPackage>) -> Asked<UserAnswer> {
        let client = client.identity.client().clone();
        self.ask(UserRequest::StoreKeyPackages { client, key_packages })
    }

    fn claim_with(&mut self, change: impl FnOnce(&mut KeyMaterialRequestTbs)) -> KeyMaterialResponse {
        self.claim_sharing(false, change)
    }

    fn claim_sharing(
        &mut self,
        shares_room: bool,
        change: impl FnOnce(&mut KeyMaterialRequestTbs),
    ) -> KeyMaterialResponse {
        let mut tbs = KeyMaterialRequestTbs {
            requesting_user: bob(),
            target_user: alice(),
            room_id: Some(room()),
            acceptable_ciphersuites: vec![suite()],
            required_capabilities: RequiredCapabilities::default(),
            requester_signature_key: SignaturePublicKey::new(vec![1]),
            requester_credential: Credential::basic(b"bob".to_vec()),
        };
        change(&mut tbs);
        // The signature is checked before the user's actor is asked.
        let request = KeyMaterialRequest {
            tbs,
            key_material_request_signature: Vec::new(),
        };
        match self.ask(UserRequest::Claim { request, shares_room }) {
            Asked::Accepted { reply, .. } => tls::decode_exact(&reply).unwrap(),
            Asked::Answer(UserAnswer::KeyMaterial(response)) => response,
            Asked::Answer(other) => panic!("{other:?}"),
        }
    }

    fn claim(&mut self) -> KeyMaterialResponse {
        self.claim_with(|_| {})
    }
}

fn suite() -> CipherSuite {
    CipherSuite(SUITE.into())
}

/// A KeyPackage that is valid for so many seconds from now on.
fn lasting(client: &Client, seconds: u64) -> KeyPackage {
    let now_s = clock::now_ms() / SECOND;
    let lifetime = Lifetime::init(now_s - 3_600, now_s + seconds);
    wire_key_package(&client.key_package_for(&client.identity, lifetime))
}

fn given(response: &KeyMaterialResponse) -> Vec<KeyPackage> {
    let outcomes = response.clients().iter().map(|client| &client.outcome);
    outcomes
        .filter_map(|outcome| match outcome {
            ClientKeyMaterialOutcome::Success(key_package) => Some(key_package.clone()),
            _ => None,
        })
        .collect()
}

fn codes(response: &KeyMaterialResponse) -> (KeyMaterialUserCode, Vec<KeyMaterialClientCode>) {
    let clients = response.clients().iter().map(|client| client.client_status());
    (response.user_status(), clients.collect())
}

/// draft-ietf-mimi-protocol, 5.2: "The keying material is designed for use in a single room and may not be reused."
#[tokio::test]
async fn a_claim_gives_one_key_package_of_each_client_and_never_again() {
    let hub = TestHub::start(config()).await;
    let (mut world, clients) = World::new(&hub.hub, 2);
    for client in &clients {
        let packages = vec![lasting(client, 1_000), lasting(client, 2_000)];
        world.publish(client, packages).accepted();
    }
    let (first, second) = (world.claim(), world.claim());
    for response in [&first, &second] {
        let success = KeyMaterialClientCode::Success;
        assert_eq!(codes(response), (KeyMaterialUserCode::Success, vec![success; 2]));
    }
    let mut all = [given(&first), given(&second)].concat();
    all.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    all.dedup();
    assert_eq!(all.len(), 4, "all four are different");
    let exhausted = KeyMaterialClientCode::KeyMaterialExhausted;
    let wanted = (KeyMaterialUserCode::NoCompatibleMaterial, vec![exhausted; 2]);
    assert_eq!(codes(&world.claim()), wanted);
    world.user.reload();
    assert_eq!(codes(&world.claim()), wanted, "nor after a restart");
}

#[tokio::test]
async fn the_key_package_that_expires_first_is_given_first_and_none_that_has() {
    let hub = TestHub::start(config()).await;
    let (mut world, clients) = World::new(&hub.hub, 1);
    let client = &clients[0];
    let [soon, later, last] = [500, 5_000, 50_000].map(|seconds| lasting(client, seconds));
    let packages = vec![later.clone(), last.clone(), soon.clone()];
    world.publish(client, packages).accepted();
    assert_eq!(given(&world.claim()), [soon]);
    world.now_ms += 5_001 * SECOND;
    assert_eq!(given(&world.claim()), [last], "{later:?} has expired");
    assert_eq!(given(&world.claim()), []);
}

#[tokio::test]
async fn the_second_in_which_a_key_package_ends_is_too_late() {
    let hub = TestHub::start(config()).await;
    let (mut world, clients) = World::new(&hub.hub, 1);
    let package = lasting(&clients[0], 500);
    let end_ms = package.lifetime().not_after * SECOND;
    world.publish(&clients[0], vec![package.clone()]).accepted();
    world.now_ms = end_ms;
    assert_eq!(given(&world.claim()), []);
    world.now_ms = end_ms - 1;
    assert_eq!(given(&world.claim()), [package]);
}

#[tokio::test]
async fn only_acceptable_suites_and_capabilities_are_given() {
    let hub = TestHub::start(config()).await;
    let (mut world, clients) = World::new(&hub.hub, 2);
    world.publish(&clients[0], vec![lasting(&clients[0], 1_000)]).accepted();
    let nothing = KeyMaterialClientCode::NothingCompatible;
    let exhausted = KeyMaterialClientCode::KeyMaterialExhausted;
    let none = (KeyMaterialUserCode::NoCompatibleMaterial, vec![nothing, exhausted]);
    let other_suite = world.claim_with(|tbs| tbs.acceptable_ciphersuites = vec![CipherSuite(2), CipherSuite(3)]);
    assert_eq!(codes(&other_suite), none);
    let unknown = ExtensionType(0xf0f0);
    let other_extension = world.claim_with(|tbs| tbs.required_capabilities.extension_types = vec![unknown]);
    assert_eq!(codes(&other_extension), none);
    let fits = world.claim_with(|tbs| {
        tbs.acceptable_ciphersuites = vec![CipherSuite(3), suite()];
        tbs.required_capabilities.extension_types = vec![ExtensionType::APP_DATA_DICTIONARY];
    });
    let success = KeyMaterialClientCode::Success;
    assert_eq!(
        codes(&fits),
        (KeyMaterialUserCode::PartialSuccess, vec![success, exhausted])
    );
}

#[tokio::test]
async fn unknown_deleted_and_clientless_users_have_their_codes() {
    let hub = TestHub::start(config()).await;
    let mut world = World::empty(&hub.hub);
    let code = |response: KeyMaterialResponse| {
        assert!(response.clients().is_empty());
        response.user_status()
    };
    assert_eq!(code(world.claim()), KeyMaterialUserCode::UserUnknown);
    world.ask(UserRequest::Create).accepted();
    assert_eq!(code(world.claim()), KeyMaterialUserCode::IncompatibleProtocol);
    let client = Client::new(&alice(), 1);
    world
        .ask(UserRequest::AddClient(client.identity.client().clone()))
        .accepted();
    world.publish(&client, vec![lasting(&client, 1_000)]).accepted();
    world.ask(UserRequest::Delete).accepted();
    assert_eq!(code(world.claim()), KeyMaterialUserCode::UserDeleted);
    world.user.reload();
    assert_eq!(code(world.claim()), KeyMaterialUserCode::UserDeleted);
    world.ask(UserRequest::Create).accepted();
    assert_eq!(
        code(world.claim()),
        KeyMaterialUserCode::IncompatibleProtocol,
        "its clients are gone"
    );
}
