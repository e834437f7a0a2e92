//! What a committer uploads in a room of 1,000 members, in octets: the GroupInfo and the ratchet tree whole (`full`), against
//! what a hub that follows the handshakes needs (`partial`, `distributionService`; draft-mahy-mls-ratchet-tree-options).
//!
//! The hub decides both uploads: each is one that it accepts. `cargo run --release -p mimi-hub --example upload_bytes`, or
//! with another number of members behind `--`.

#![allow(
    clippy::expect_used,
    reason = "a measurement whose setting fails has nothing to show"
)]
#![allow(clippy::print_stdout, reason = "it is what the command is for")]

#[path = "../../benches/decide/group.rs"]
mod group;
mod grown;

use group::RoomGroup;
use mimi_hub::mls::hub_keys::HubKeys;
use mimi_hub::room::Hosting;
use mimi_hub::room::commit::{CommitBundle, decide_commit};
use mimi_hub::room::create::decide_create;
use mimi_hub::room::state::RoomLimits;
use mimi_hub_proto::tls::encode;
use mimi_hub_proto::uri::ProviderDomain;
use mimi_hub_proto::{GroupInfoOption, HandshakeBundle, PartialGroupInfo, RatchetTreeOption, UpdateRequest};
use openmls_traits::types::SignatureScheme;

const MEMBERS: usize = 1_000;

fn main() {
    let members = std::env::args()
        .nth(1)
        .map_or(MEMBERS, |text| text.parse().expect("a number of members"));
    let domain: ProviderDomain = "a.example".parse().expect("a domain");
    let keys = HubKeys::ephemeral(&domain).expect("keys");
    let sender = keys
        .external_sender(SignatureScheme::ED25519)
        .expect("an ExternalSender");
    let mut room = RoomGroup::grown(members, &sender);
    let (group_info, tree) = room.group_info_and_tree();
    let limits = RoomLimits {
        past_epochs_max: 2,
        pending_proposals_max: 256,
        members_max: members,
        checkpoint_handshake_bytes: u64::MAX,
    };
    let creator = room.creator().clone();
    let (_, state) =
        decide_create(&room.room, &creator, &limits, &keys, &|_| true, &group_info, &tree).expect("a room");
    let (commit, group_info) = room.full_path_commit();
    let GroupInfoOption::Full(whole) = &group_info else {
        unreachable!("the client exports a whole GroupInfo")
    };
    let partial = GroupInfoOption::Partial(PartialGroupInfo::of(whole).expect("no tree in it"));
    // The tree of the new epoch differs from this one in the keys of one path: it is as long.
    let full_tree = RatchetTreeOption::Full(tree);
    let hosting = Hosting {
        at_ms: 0,
        is_local: &|_| true,
        keys: &keys,
        parent: None,
    };

    println!("a Commit with a path in a room of {members} members, in octets");
    println!("{:>10} {:>10} {:>10} {:>10}", "Commit", "GroupInfo", "tree", "upload");
    let mut totals = Vec::new();
    for (name, group_info, ratchet_tree) in [
        ("full, full", group_info.clone(), full_tree),
        (
            "partial, distributionService",
            partial,
            RatchetTreeOption::DistributionService,
        ),
    ] {
        let parts = [
            encode(&commit).len(),
            encode(&group_info).len(),
            encode(&ratchet_tree).len(),
        ];
        let bundle = CommitBundle::new(commit.clone(), None, group_info.clone(), ratchet_tree.clone());
        decide_commit(&state, &hosting, &domain, &bundle).expect("an accepted Commit");
        let request = UpdateRequest {
            bundle: HandshakeBundle::Commit {
                commit: commit.clone(),
                welcome: None,
                group_info,
                ratchet_tree,
            },
        };
        let total = encode(&request).len();
        println!(
            "{:>10} {:>10} {:>10} {:>10}  {name}",
            parts[0], parts[1], parts[2], total
        );
        totals.push(total);
    }
    if let [full, short] = totals[..] {
        let percent = 100.0 * short as f64 / full as f64;
        println!("{percent:.2} % of the full upload");
    }
}
