//! `decide` for one application message and for one Commit, beside bare openmls for the same Commit in the same run:
//!
//! ```sh
//! cargo bench -p mimi-hub --bench decide
//! ```
//!
//! `commit/openmls` and `commit/decide` start from the same octets, the Commit's PublicMessage. The second adds what a hub
//! checks besides: policy, participants, Welcome, and that the GroupInfo is that of the new epoch. `commit/bundle` is what is
//! done ahead of it outside the room's actor, on any core: the GroupInfo's signature.

#![allow(clippy::expect_used, reason = "a bench whose setting fails has nothing to measure")]

mod added;
mod group;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use group::RoomGroup;
use mimi_hub::mls::hub_keys::HubKeys;
use mimi_hub::room::Hosting;
use mimi_hub::room::commit::{CommitBundle, decide_commit};
use mimi_hub::room::create::decide_create;
use mimi_hub::room::message::decide_message;
use mimi_hub::room::state::{RoomLimits, RoomState};
use mimi_hub_proto::RatchetTreeOption;
use mimi_hub_proto::uri::ProviderDomain;
use openmls::framing::{ProcessedMessageContent, ProtocolMessage, PublicMessageIn};
use openmls::group::{ProposalStore, PublicGroup};
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::treesync::RatchetTreeIn;
use openmls_memory_storage::MemoryStorage;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::types::SignatureScheme;
use tls_codec::DeserializeBytes;

const MEMBERS: [usize; 3] = [10, 100, 1_000];

struct Room {
    group: RoomGroup,
    state: RoomState,
    public_group: PublicGroup,
    domain: ProviderDomain,
    keys: HubKeys,
}

impl Room {
    fn new(members: usize) -> Self {
        let domain: ProviderDomain = "a.example".parse().expect("a domain");
        let keys = HubKeys::ephemeral(&domain).expect("keys");
        let sender = keys
            .external_sender(SignatureScheme::ED25519)
            .expect("an ExternalSender");
        let group = RoomGroup::new(members, &sender);
        let (group_info, tree) = group.group_info_and_tree();
        let limits = RoomLimits {
            past_epochs_max: 2,
            pending_proposals_max: 256,
            members_max: 10_000,
            checkpoint_handshake_bytes: 1 << 20,
        };
        let creator = group.creator().clone();
        let (_, state) =
            decide_create(&group.room, &creator, &limits, &keys, &|_| true, &group_info, &tree).expect("a room");
        let (public_group, _) = PublicGroup::from_external(
            &RustCrypto::default(),
            &MemoryStorage::default(),
            RatchetTreeIn::tls_deserialize_exact_bytes(tree.as_bytes()).expect("a tree"),
            VerifiableGroupInfo::tls_deserialize_exact_bytes(group_info.as_bytes()).expect("a GroupInfo"),
            ProposalStore::new(),
        )
        .expect("a public group");
        Room {
            group,
            state,
            public_group,
            domain,
            keys,
        }
    }
}

fn commit(criterion: &mut Criterion) {
    let crypto = RustCrypto::default();
    let mut benches = criterion.benchmark_group("commit");
    for members in MEMBERS {
        let mut room = Room::new(members);
        let (commit, group_info) = room.group.full_path_commit();
        let bundle = CommitBundle::new(
            commit.clone(),
            None,
            group_info.clone(),
            RatchetTreeOption::DistributionService,
        );
        let hosting = Hosting {
            at_ms: 0,
            is_local: &|_| true,
            keys: &room.keys,
            parent: None,
        };
        benches.bench_function(BenchmarkId::new("openmls", members), |bencher| {
            bencher.iter_batched(
                || (),
                |()| {
                    let message = PublicMessageIn::tls_deserialize_exact_bytes(commit.as_bytes()).expect("a message");
                    let processed = room
                        .public_group
                        .process_message(&crypto, ProtocolMessage::from(message));
                    let content = processed.expect("a valid Commit").into_content();
                    assert!(matches!(content, ProcessedMessageContent::StagedCommitMessage(_)));
                    content
                },
                BatchSize::SmallInput,
            );
        });
        benches.bench_function(BenchmarkId::new("bundle", members), |bencher| {
            bencher.iter_batched(
                || (commit.clone(), group_info.clone()),
                |(commit, group_info)| {
                    CommitBundle::new(commit, None, group_info, RatchetTreeOption::DistributionService)
                },
                BatchSize::SmallInput,
            );
        });
        benches.bench_function(BenchmarkId::new("decide", members), |bencher| {
            bencher.iter_batched(
                || (),
                |()| decide_commit(&room.state, &hosting, &room.domain, &bundle).expect("an accepted Commit"),
                BatchSize::SmallInput,
            );
        });
    }
}

fn message(criterion: &mut Criterion) {
    let mut benches = criterion.benchmark_group("message");
    for members in MEMBERS {
        let mut room = Room::new(members);
        let request = room.group.message();
        benches.bench_function(BenchmarkId::new("decide", members), |bencher| {
            bencher.iter(|| {
                decide_message(&room.state, &room.keys, 0, &room.domain, &|_| true, black_box(&request))
                    .expect("a decision")
                    .expect("an accepted message")
            });
        });
    }
}

criterion_group!(benches, commit, message);
criterion_main!(benches);
