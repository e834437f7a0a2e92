use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Publishes these of a client's KeyPackages; any may have been published before.
    Publish(usize, Vec<usize>),
    Claim {
        own_suite: bool,
        by_alice: bool,
    },
    RemoveClient(usize),
    AddClient(usize),
    Forbid(bool),
    Wait(u64),
    Restart,
    Recreate,
}

const CLIENTS: usize = 2;
const PACKAGES: usize = 5;

fn step() -> impl Strategy<Value = Step> {
    let packages = prop::collection::vec(0..PACKAGES, 0..4);
    prop_oneof![
        4 => (0..CLIENTS, packages).prop_map(|(client, packages)| Step::Publish(client, packages)),
        5 => (prop::bool::weighted(0.8), any::<bool>())
            .prop_map(|(own_suite, by_alice)| Step::Claim { own_suite, by_alice }),
        1 => (0..CLIENTS).prop_map(Step::RemoveClient),
        2 => (0..CLIENTS).prop_map(Step::AddClient),
        1 => any::<bool>().prop_map(Step::Forbid),
        1 => (1u64..400).prop_map(Step::Wait),
        2 => Just(Step::Restart),
        1 => Just(Step::Recreate),
    ]
}

fn check(
    hub: &Arc<Hub>,
    clients: &[Client],
    packages: &[Vec<KeyPackage>],
    steps: Vec<Step>,
) -> Result<(), TestCaseError> {
    let (mut world, _) = World::new(hub, 0);
    let mut claimed: HashSet<Vec<u8>> = HashSet::new();
    for step in steps {
        match step {
            Step::Publish(client, chosen) => {
                let chosen: Vec<KeyPackage> = chosen.iter().map(|number| packages[client][*number].clone()).collect();
                let used = chosen.iter().any(|package| claimed.contains(package.as_bytes()));
                let asked = world.publish(&clients[client], chosen);
                prop_assert!(!(used && matches!(asked, Asked::Accepted { .. })), "republished");
            }
            Step::Claim { own_suite, by_alice } => {
                let response = world.claim_with(|tbs| {
                    if !own_suite {
                        tbs.acceptable_ciphersuites = vec![CipherSuite(2)];
                    }
                    if by_alice {
                        tbs.requesting_user = alice();
                    }
                });
                for package in given(&response) {
                    prop_assert!(own_suite);
                    prop_assert!(
                        package.lifetime().not_after * SECOND > world.now_ms,
                        "given when it had expired"
                    );
                    prop_assert!(claimed.insert(package.as_bytes().to_vec()), "given twice");
                }
            }
            Step::RemoveClient(client) => {
                let client = clients[client].identity.client().clone();
                world.ask(UserRequest::RemoveClient(client));
            }
            Step::AddClient(client) => {
                let client = clients[client].identity.client().clone();
                world.ask(UserRequest::AddClient(client));
            }
            Step::Forbid(allow) => {
                let rule = ConsentRule {
                    requester: Some(bob()),
                    room: None,
                    allow,
                };
                world.ask(UserRequest::SetConsent(rule)).accepted();
            }
            Step::Wait(seconds) => world.now_ms += seconds * SECOND,
            Step::Restart => world.user.reload(),
            Step::Recreate => {
                world.ask(UserRequest::Delete).accepted();
                world.ask(UserRequest::Create).accepted();
            }
        }
        let (live, rebuilt) = (&world.user.entity, world.user.rebuilt());
        prop_assert_eq!(&live.profile, &rebuilt.profile);
        prop_assert_eq!(&live.key_packages, &rebuilt.key_packages);
        prop_assert_eq!(&live.given, &rebuilt.given);
    }
    Ok(())
}

/// draft-ietf-mimi-protocol, 5.2: whatever happens, no KeyPackage is given out twice, and none after its lifetime; and
/// what is in memory is what is in the store.
#[tokio::test]
async fn no_key_package_is_ever_given_twice() {
    let hub = TestHub::start(config()).await;
    let clients: Vec<Client> = (1..=2).map(|number| Client::new(&alice(), number)).collect();
    let packages = |client| {
        (1..=PACKAGES as u64)
            .map(|number| lasting(client, number * 300))
            .collect()
    };
    let packages: Vec<Vec<KeyPackage>> = clients.iter().map(packages).collect();
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(96)
    };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..40))| {
        check(&hub.hub, &clients, &packages, steps)?;
    });
}
