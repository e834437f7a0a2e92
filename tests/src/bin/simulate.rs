//! Simulates hubs, one a seed, and says what went wrong. See the README of this crate.

use std::process::ExitCode;

use clap::Parser;
use mimi_hub_cluster::planted::Bug;
use mimi_hub_tests::simulation::{Options, simulate};

/// Simulate a hub of several nodes: the real cluster core, entities and snapshots on a virtual clock, network and disks.
#[derive(Parser)]
struct Arguments {
    /// How many seeds, one run each. With `--seed` alone: one.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Plant a defect, and stop at the first run that finds it; `list` names them. Needs a build with `planted-bugs`.
    #[arg(long)]
    plant: Option<String>,
    /// How many runs at the same time. Default: one a core.
    #[arg(long)]
    threads: Option<usize>,
    /// End with one JSON object, and print nothing else.
    #[arg(long)]
    json: bool,
}

#[allow(clippy::print_stdout, reason = "a command line's output")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let plant = match arguments.plant.as_deref() {
        Some("list") => {
            Bug::ALL.iter().for_each(|(name, _)| println!("{name}"));
            return ExitCode::SUCCESS;
        }
        Some(name) => match Bug::named(name) {
            Some(bug) => Some(bug),
            None => {
                eprintln!("simulate: no defect is called {name}: see `--plant list`");
                return ExitCode::from(2);
            }
        },
        None => None,
    };
    let seeds = arguments
        .seeds
        .unwrap_or(if arguments.seed.is_some() { 1 } else { 100 });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options {
        first_seed: arguments.seed.unwrap_or(0),
        seeds,
        plant,
        threads: arguments.threads.unwrap_or(cores),
    };
    if arguments.json {
        // What panics is in the JSON.
        std::panic::set_hook(Box::new(|_| {}));
    }
    let report = match simulate(options) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("simulate: {error}");
            return ExitCode::from(2);
        }
    };
    if arguments.json {
        println!("{}", report.to_json());
    } else {
        println!("{:#}", report.to_json());
    }
    ExitCode::from(u8::from(!report.violations.is_empty()))
}
