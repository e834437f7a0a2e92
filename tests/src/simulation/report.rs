//! Many runs, and what came of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mimi_hub_cluster::planted::{self, Bug};
use mimi_hub_cluster::simulation::Violation;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::run::{Counts, Outcomes, Run};

/// Which runs.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The first seed.
    pub first_seed: u64,
    /// How many seeds, one run each.
    pub seeds: u64,
    /// A defect that is planted in all of them. The first violation ends it then.
    pub plant: Option<Bug>,
    /// How many runs at the same time.
    pub threads: usize,
}

/// What came of all runs. The order in which they ended makes no difference.
#[derive(Debug)]
pub struct Report {
    /// How many runs there were.
    pub seeds: u64,
    /// By seed: when, and what.
    pub violations: BTreeMap<u64, Violation>,
    /// The virtual time of all runs.
    pub simulated: Duration,
    /// The real time.
    pub elapsed: Duration,
    /// What went wrong on purpose, and how often.
    pub faults: BTreeMap<&'static str, u64>,
    /// SHA-256 over the traces of all runs, in the order of their seeds.
    pub trace_hash: String,
    counts: Counts,
}

/// Simulates.
///
/// # Errors
/// A planted defect is wanted, and this build has none.
pub fn simulate(options: Options) -> Result<Report, String> {
    if !planted::choose(options.plant) {
        return Err("no defects are built in: build with `--features planted-bugs`".to_owned());
    }
    planted::choose(None);
    let begun = Instant::now();
    let next = AtomicU64::new(options.first_seed);
    let end = options.first_seed.saturating_add(options.seeds);
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(|| {
                planted::choose(options.plant);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let outcomes = run(seed);
                    if outcomes.violation.is_some() && options.plant.is_some() {
                        // Those before it, which were begun before it, come to their end.
                        next.store(end, Ordering::Relaxed);
                    }
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .insert(seed, outcomes);
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Report::new(&done, begun.elapsed()))
}

/// One run. A panic in it is a violation, too.
fn run(seed: u64) -> Outcomes {
    catch_unwind(|| Run::new(seed).play()).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Outcomes {
            violation: Some(Violation {
                at: Duration::ZERO,
                what: format!("a panic: {}", text.unwrap_or("?")),
            }),
            simulated: Duration::ZERO,
            faults: BTreeMap::new(),
            counts: Counts::default(),
            trace: [0; 32],
        }
    })
}

impl Report {
    fn new(done: &BTreeMap<u64, Outcomes>, elapsed: Duration) -> Self {
        let mut report = Report {
            seeds: done.len() as u64,
            violations: BTreeMap::new(),
            simulated: Duration::ZERO,
            elapsed,
            faults: BTreeMap::new(),
            trace_hash: String::new(),
            counts: Counts::default(),
        };
        let mut trace = Sha256::new();
        for (seed, outcomes) in done {
            trace.update(seed.to_be_bytes());
            trace.update(outcomes.trace);
            report.simulated += outcomes.simulated;
            for (fault, count) in &outcomes.faults {
                *report.faults.entry(fault).or_default() += count;
            }
            if let Some(violation) = &outcomes.violation {
                report.violations.insert(*seed, violation.clone());
            }
            report.counts.add(&outcomes.counts);
        }
        for byte in trace.finalize() {
            // Writing to a string cannot fail.
            let _ = write!(report.trace_hash, "{byte:02x}");
        }
        report
    }

    /// As one JSON object.
    pub fn to_json(&self) -> Value {
        let seconds = |time: Duration| (time.as_secs_f64() * 1000.0).round() / 1000.0;
        let violations = self.violations.iter().map(
            |(seed, violation)| json!({ "seed": seed, "at_seconds": seconds(violation.at), "what": violation.what }),
        );
        let Counts {
            requests,
            attempts,
            acked,
            refused,
            reads,
            repeated,
            commits,
            fenced,
            snapshots,
        } = self.counts;
        json!({
            "seeds": self.seeds,
            "violations": self.violations.len(),
            "first_seed_with_violation": self.violations.keys().next(),
            "violation_list": violations.collect::<Vec<_>>(),
            "simulated_seconds": seconds(self.simulated),
            "elapsed_seconds": seconds(self.elapsed),
            "seeds_per_second": seconds(Duration::from_secs_f64(
                self.seeds as f64 / self.elapsed.as_secs_f64().max(0.001)
            )),
            "requests": requests,
            "attempts": attempts,
            "acked": acked,
            "refused": refused,
            "reads": reads,
            "repeated": repeated,
            "commits": commits,
            "fenced": fenced,
            "snapshots": snapshots,
            "faults": self.faults,
            "trace_hash": self.trace_hash,
        })
    }
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.requests += other.requests;
        self.attempts += other.attempts;
        self.acked += other.acked;
        self.refused += other.refused;
        self.reads += other.reads;
        self.repeated += other.repeated;
        self.commits += other.commits;
        self.fenced += other.fenced;
        self.snapshots += other.snapshots;
    }
}
