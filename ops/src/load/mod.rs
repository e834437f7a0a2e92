//! `mimi-hub load`: how many messages a hub acknowledges, and how soon.
//!
//! Closed loop: each client has one connection of its own, sends one message, waits for the answer, and sends the next.
//! The messages are real MLS PrivateMessages, encrypted before the clock starts; the connections are TLS 1.3; an answer of
//! success means that the hub has synced the message to disk. Nothing is retried: what is not acknowledged is an error.
//!
//! Server and clients share this machine. The report says how many cores each of them used.
//!
//! For comparison the same clients can put values of the same size into etcd afterwards, on the same disk.

mod cpu;
mod drive;
mod etcd;
mod prepare;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::folder::Folder;
use crate::{OpsError, providers, terminal};
use drive::Driven;
use etcd::Etcd;

/// How long the first, uncounted run is. It warms everything up and tells how many messages the counted one needs.
const TRIAL: Duration = Duration::from_secs(2);

/// More messages than the trial run suggests, so that a faster run does not end early.
const SPARE: f64 = 1.5;

/// Put a hub under load and measure it.
///
/// Starts a hub on this machine in a temporary folder, makes rooms, encrypts messages, and has clients send them for a
/// while, each waiting for one answer before it sends the next.
#[derive(Args, Debug)]
pub struct LoadArgs {
    /// Nodes of the hub's cluster.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=7))]
    spawn_nodes: u16,
    /// Rooms that the messages are spread over.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rooms: u32,
    /// Clients that send at the same time, each over a connection of its own.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    clients: u32,
    /// Seconds that are counted.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    seconds: u32,
    /// Bytes of text in a message, before encryption.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    payload: u32,
    /// Print a JSON object with the results as the last line.
    #[arg(long)]
    json: bool,
    /// Run three nodes of etcd afterwards, on the same disk, and let the same number of clients put values of the same size
    /// for the same time. `etcd` must be in PATH (Debian: apt-get install etcd-server).
    #[arg(long)]
    beside_etcd: bool,
    /// Folder for certificates, configuration, data and log; it must be empty or missing, and is kept.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    nodes: u16,
    rooms: u32,
    clients: u32,
    seconds: f64,
    payload: u32,
    /// Messages that the hub acknowledged.
    acked: u64,
    acked_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Messages that it did not.
    errors: u64,
    /// Cores that the clients used, on average.
    client_cores: f64,
    /// Cores that the hub's processes used, on average.
    server_cores: f64,
    /// Does an acknowledgement mean that the message is synced to disk? Always, here.
    fsync: bool,
    /// The same of etcd.
    #[serde(skip_serializing_if = "Option::is_none")]
    etcd: Option<Beside>,
    /// The hub's `acked_per_s` by etcd's.
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio_acked_per_s: Option<f64>,
}

/// What etcd did.
#[derive(Debug, Serialize)]
struct Beside {
    acked: u64,
    acked_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    errors: u64,
    client_cores: f64,
    server_cores: f64,
}

/// Carries out `mimi-hub load`. The server processes are this same program, started with `serve --config FILE`.
///
/// # Errors
/// [`OpsError::LoadErrors`] when a message was not acknowledged, or
/// what kept the load from starting.
pub async fn run(args: LoadArgs) -> Result<(), OpsError> {
    let folder = Folder::open(args.dir.as_deref(), "mimi-load-")?;
    let domain = "a.example".parse().map_err(OpsError::mls("name the provider"))?;
    let mut providers = providers::prepare(folder.path(), &[domain], args.spawn_nodes)?;
    let [provider] = providers.as_mut_slice() else {
        return Err(OpsError::Usage("one provider was asked for".to_owned()));
    };
    provider.start().await?;
    let pids: Vec<u32> = provider.nodes.iter().filter_map(providers::Node::pid).collect();
    terminal::line(&format!(
        "a.example on {} nodes, in {}",
        pids.len(),
        folder.path().display()
    ));

    let mut rooms = prepare::rooms(provider, args.rooms).await?;
    terminal::line(&format!("{} rooms made", rooms.len()));
    let clients = drive::connect(&provider.gateway_settings, args.clients)?;
    let trial = prepare::messages(&mut rooms, TRIAL_MESSAGES, args.payload).await?;
    let trial = drive::drive(&clients, trial, TRIAL, &pids).await?;
    let rate = trial.acked as f64 / trial.elapsed.as_secs_f64();
    let wanted = (rate * f64::from(args.seconds) * SPARE) as usize + TRIAL_MESSAGES;
    terminal::line(&format!(
        "trial run: {rate:.0} messages/s; encrypting {wanted} messages"
    ));
    let messages = prepare::messages(&mut rooms, wanted, args.payload).await?;
    terminal::line(&format!("{} clients send for {} s", args.clients, args.seconds));
    let driven = drive::drive(&clients, messages, Duration::from_secs(args.seconds.into()), &pids).await?;
    for node in &mut provider.nodes {
        node.kill().await?;
    }
    let etcd = if args.beside_etcd {
        Some(beside_etcd(&args, folder.path(), wanted).await?)
    } else {
        None
    };
    let result = report(&args, &driven, etcd);
    folder.close(result.is_err())?;
    result
}

/// Messages for the trial run; it ends early when they do.
const TRIAL_MESSAGES: usize = 20_000;

/// The same with etcd: `wanted` values at least, a new key for each, as each message is a new event.
async fn beside_etcd(args: &LoadArgs, folder: &Path, wanted: usize) -> Result<Beside, OpsError> {
    let etcd = Etcd::start(folder).await?;
    let clients = etcd.connect(args.clients)?;
    let pids = etcd.pids();
    let value = vec![b'x'; args.payload as usize];
    let puts = |count: usize, run: &str| -> Vec<(Vec<u8>, Vec<u8>)> {
        let rooms = args.rooms as usize;
        let key = |number: usize| format!("{run}/{}/{}", number % rooms, number / rooms).into_bytes();
        (0..count).map(|number| (key(number), value.clone())).collect()
    };
    let trial = drive::drive(&clients, puts(TRIAL_MESSAGES, "trial"), TRIAL, &pids).await?;
    let rate = trial.acked as f64 / trial.elapsed.as_secs_f64();
    let wanted = wanted.max((rate * f64::from(args.seconds) * SPARE) as usize);
    terminal::line(&format!("etcd, trial run: {rate:.0} puts/s"));
    let driven = drive::drive(
        &clients,
        puts(wanted, "run"),
        Duration::from_secs(args.seconds.into()),
        &pids,
    )
    .await?;
    etcd.stop().await;
    if let Some(error) = &driven.first_error {
        terminal::line(&format!("etcd: {} puts failed; the first: {error}", driven.errors));
    }
    Ok(Beside {
        acked: driven.acked,
        acked_per_s: driven.acked as f64 / driven.elapsed.as_secs_f64(),
        p50_ms: driven.percentile_ms(0.50),
        p99_ms: driven.percentile_ms(0.99),
        errors: driven.errors,
        client_cores: driven.client_cores,
        server_cores: driven.server_cores,
    })
}

fn report(args: &LoadArgs, driven: &Driven, etcd: Option<Beside>) -> Result<(), OpsError> {
    let seconds = driven.elapsed.as_secs_f64();
    let report = Report {
        nodes: args.spawn_nodes,
        rooms: args.rooms,
        clients: args.clients,
        seconds,
        payload: args.payload,
        acked: driven.acked,
        acked_per_s: driven.acked as f64 / seconds,
        p50_ms: driven.percentile_ms(0.50),
        p99_ms: driven.percentile_ms(0.99),
        errors: driven.errors,
        client_cores: driven.client_cores,
        server_cores: driven.server_cores,
        fsync: true,
        ratio_acked_per_s: etcd
            .as_ref()
            .map(|etcd| driven.acked as f64 / seconds / etcd.acked_per_s),
        etcd,
    };
    terminal::line(&format!(
        "{} messages acknowledged in {seconds:.1} s: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, {} errors; {:.2} cores of \
         clients, {:.2} of the hub",
        report.acked,
        report.acked_per_s,
        report.p50_ms,
        report.p99_ms,
        report.errors,
        report.client_cores,
        report.server_cores
    ));
    if let (Some(etcd), Some(ratio)) = (&report.etcd, report.ratio_acked_per_s) {
        terminal::line(&format!(
            "etcd: {} puts acknowledged: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, {} errors; {:.2} cores of clients, {:.2} of etcd. \
             The hub acknowledges {ratio:.2} times as many",
            etcd.acked, etcd.acked_per_s, etcd.p50_ms, etcd.p99_ms, etcd.errors, etcd.client_cores, etcd.server_cores
        ));
    }
    if args.json {
        let json = serde_json::to_string(&report).map_err(|error| OpsError::Request {
            call: "report",
            source: Box::new(error),
        })?;
        terminal::line(&json);
    }
    match (driven.errors, &driven.first_error) {
        (0, _) => Ok(()),
        (errors, first) => Err(OpsError::LoadErrors {
            errors,
            first: first.clone().unwrap_or_default(),
        }),
    }
}
