//! What a committer uploads (draft-mahy-mls-ratchet-tree-options; draft-ietf-mimi-protocol, 5.3).

use mimi_hub_proto::{HandshakeBundle, RatchetTreeOption};

use super::world::{ALICE, Refused, World, domain};
use crate::room::event::{CommitAccepted, RoomEvent};
use crate::testing::client::{Bundle, Plan};
use crate::testing::roles::MEMBER;

fn upload(world: &mut World, bundle: &Bundle, ratchet_tree: RatchetTreeOption) -> Result<CommitAccepted, Refused> {
    let bundle = HandshakeBundle::Commit {
        commit: bundle.commit.clone(),
        welcome: bundle.welcome.clone(),
        group_info: bundle.group_info.clone(),
        ratchet_tree,
    };
    match world.update(domain("a.example"), bundle)? {
        RoomEvent::Commit(accepted) => Ok(accepted),
        other => panic!("{other:?}"),
    }
}

/// `full` and `distributionService`: the hub has the tree from the handshakes, and takes a Commit either way.
#[tokio::test]
async fn the_tree_may_be_uploaded_or_left_to_the_hub() {
    for full in [true, false] {
        let (_hub, mut world) = World::new().await;
        let bob = world.add("bob@b.example", MEMBER);
        let bundle = world.people[ALICE].commit(Plan::default());
        let tree = if full {
            RatchetTreeOption::Full(world.people[ALICE].ratchet_tree())
        } else {
            RatchetTreeOption::DistributionService
        };
        upload(&mut world, &bundle, tree).unwrap();
        world.people[ALICE].merge();
        world.people[bob].follow(&bundle.commit);
        world.check();
    }
}

/// `httpsUri` and `outOfBand`: refused, with the reason, and nothing changes.
#[tokio::test]
async fn the_hub_fetches_no_tree() {
    let (_hub, mut world) = World::new().await;
    let bundle = world.people[ALICE].commit(Plan::default());
    let tree_signature = vec![1; 64];
    let elsewhere = [
        RatchetTreeOption::HttpsUri {
            ratchet_tree_url: "https://a.example/tree".to_owned(),
            tree_signature: tree_signature.clone(),
        },
        RatchetTreeOption::OutOfBand { tree_signature },
    ];
    for tree in elsewhere {
        upload(&mut world, &bundle, tree)
            .unwrap_err()
            .not_allowed("`full` or `distributionService`");
    }
    upload(&mut world, &bundle, RatchetTreeOption::DistributionService).unwrap();
}
