//! The simulated hub: nothing breaks in it, the same seed is the same run, and it finds what is broken on purpose.
//!
//! Few seeds: `simulate` runs thousands (see the README of this crate).
#![allow(clippy::unwrap_used, reason = "what fails here is the failure of the test")]

use mimi_hub_cluster::planted::Bug;
use mimi_hub_tests::simulation::{Options, Report, simulate};

fn run(first_seed: u64, seeds: u64, plant: Option<Bug>, threads: usize) -> Report {
    simulate(Options {
        first_seed,
        seeds,
        plant,
        threads,
    })
    .unwrap()
}

#[test]
fn faults_break_no_invariant() {
    let report = run(0, 8, None, 2);
    assert!(report.violations.is_empty(), "{:?}", report.violations);
    let json = report.to_json();
    // What tests nothing finds nothing.
    for (count, least) in [
        ("acked", 500),
        ("reads", 200),
        ("commits", 50),
        ("repeated", 50),
        ("snapshots", 3),
    ] {
        assert!(json[count].as_u64() > Some(least), "{count}: {json}");
    }
    for fault in [
        "crash",
        "partition",
        "dropped",
        "duplicated",
        "reordered",
        "torn write",
        "clock jump",
    ] {
        assert!(report.faults.contains_key(fault), "no {fault}: {json}");
    }
}

/// Seeds that have found something.
#[test]
fn seeds_that_once_failed() {
    // 1: a deposed leader applied what it had proposed before, and let a read that had waited for that go without a barrier.
    // 16: an actor that had not heard yet that another node had led meanwhile answered from its old state.
    // 68, 278, 313: an actor was started anew while what the one before it had proposed was still on its way.
    for seed in [1, 16, 68, 278, 313] {
        let report = run(seed, 1, None, 1);
        assert!(report.violations.is_empty(), "{:?}", report.violations);
    }
}

#[test]
fn the_same_seed_is_the_same_run_in_whatever_order() {
    let (one, two) = (run(3, 3, None, 1), run(3, 3, None, 2));
    assert_eq!(one.trace_hash, two.trace_hash);
    assert_ne!(one.trace_hash, run(6, 3, None, 2).trace_hash);
}

fn is_found(name: &str) {
    let bug = Bug::named(name).unwrap();
    let report = run(0, 1000, Some(bug), 2);
    assert!(
        !report.violations.is_empty(),
        "{name} is not found within {} seeds",
        report.seeds
    );
}

#[test]
fn ack_before_commit_is_found() {
    is_found("ack-before-commit");
}

#[test]
fn skip_fsync_is_found() {
    is_found("skip-fsync");
}

#[test]
fn skip_fencing_is_found() {
    is_found("skip-fencing");
}

#[test]
fn apply_before_snapshot_complete_is_found() {
    is_found("apply-before-snapshot-complete");
}

#[test]
fn forget_vote_on_restart_is_found() {
    is_found("forget-vote-on-restart");
}

#[test]
fn stale_read_is_found() {
    is_found("stale-read");
}

#[test]
fn every_planted_bug_has_a_test() {
    let tested = [
        "ack-before-commit",
        "skip-fsync",
        "skip-fencing",
        "apply-before-snapshot-complete",
        "forget-vote-on-restart",
        "stale-read",
    ];
    assert!(Bug::ALL.iter().map(|(name, _)| *name).eq(tested));
}
