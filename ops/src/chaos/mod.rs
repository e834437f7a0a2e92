//! `mimi-hub chaos`: a hub of several nodes, other providers and real MLS clients, and everything that goes wrong with machines
//! while they talk; then the question whether anybody noticed.
//!
//! | module | owns |
//! |---|---|
//! | `schedule` | which faults come when; follows from the seed |
//! | `stage` | the processes, and the faults that happen to them |
//! | `links` | the wires between the nodes, which can be cut |
//! | `disk` | a disk that can be filled |
//! | `traffic` | the clients |
//! | `log` | what they saw while it went on |
//! | `audit` | what must hold at the end |
//! | `report` | the numbers and the verdict |
//!
//! A client sends a request that gets no answer again, octet for octet, at the next node; that it is carried out once is the
//! hub's part, and judged here. Never more nodes than a minority are away at the same time.

mod audit;
mod disk;
mod links;
mod log;
mod report;
mod schedule;
mod stage;
mod traffic;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use mimi_hub_proto::uri::ProviderDomain;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::client::{Gateway, GatewaySettings, Resent, RetryPolicy, RoomEvent};
use crate::folder::Folder;
use crate::{OpsError, terminal};
use audit::{Findings, Witness};
use log::Log;
use report::{Report, ResentReport, millis};
pub use schedule::FaultKind;
use schedule::{Fault, Schedule};
use stage::{Incident, Stage};
use traffic::{Cast, Member, Role, Site};

/// How long the clients may take at the end to see everything.
const SETTLE_MAX: Duration = Duration::from_secs(60);
const SETTLE_POLL: Duration = Duration::from_millis(500);
/// Longer than a rolling restart of one node, or than any other fault takes beyond what it is meant to last.
const FAULT_OVERHEAD: Duration = Duration::from_secs(4);
/// What moving a node's replicas away and back takes.
const DRAIN_TIME: Duration = Duration::from_secs(25);
const PAGE_EVENTS_MAX: u16 = 1_000;

/// Let things go wrong under load, and check that nothing is lost.
///
/// Starts a hub of several nodes (a.example) and two other providers (b.example, c.example) on this machine in a temporary
/// folder, with MLS clients that talk, add and remove each other; kills, pauses, cuts off, starves, restarts and drains nodes by a
/// schedule that follows from the seed; and compares at the end what the clients have decrypted. Fails when a message was
/// lost, doubled or out of order, when an epoch forked, when a KeyPackage was handed out twice, or when a client's request
/// failed for good. With --url it is the clients of a hub that runs already, and faults are somebody else's part.
#[derive(Args, Debug)]
pub struct ChaosArgs {
    /// Nodes of the hub's cluster: 3, 5 or 7.
    #[arg(long, default_value_t = 5, value_parser = number_of_nodes)]
    nodes: u16,
    /// Seconds of traffic.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(5..=86_400))]
    seconds: u32,
    /// The same seed gives the same schedule. A victim that has to lead is "the node that leads room 3".
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kinds of faults, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = FaultKind::ALL)]
    faults: Vec<FaultKind>,
    /// Rooms, each with four clients that stay and guests that come and go.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rooms: u32,
    /// Print a JSON object with the results as the last line.
    #[arg(long)]
    json: bool,
    /// Folder for certificates, configuration, data and logs; it must be empty or missing, and is kept. Without it a
    /// temporary folder is used, which is kept only when something fails.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    given: Given,
}

/// A hub that runs already.
#[derive(Args, Debug)]
struct Given {
    /// Local API of a hub that runs already, once for each of its nodes: https://localhost:7443. No faults then.
    #[arg(long, value_name = "URL", requires_all = ["domain", "ca", "certificate", "private_key"], conflicts_with_all = ["nodes", "faults", "dir"])]
    url: Vec<String>,
    /// The provider's domain.
    #[arg(long, requires = "url")]
    domain: Option<ProviderDomain>,
    /// The root of the provider's internal CA, PEM.
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// A gateway's certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "url")]
    certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, value_name = "FILE", requires = "url")]
    private_key: Option<PathBuf>,
}

impl Given {
    fn site(&self) -> Option<Site> {
        let (url, more_urls) = self.url.split_first()?;
        Some(Site {
            domain: self.domain.clone()?,
            settings: GatewaySettings {
                url: url.clone(),
                more_urls: more_urls.to_vec(),
                ca: self.ca.clone()?,
                certificate: self.certificate.clone()?,
                private_key: self.private_key.clone()?,
                retry: RetryPolicy::default(),
            },
        })
    }
}

/// Four nodes survive no more losses than three.
fn number_of_nodes(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(nodes @ (3 | 5 | 7)) => Ok(nodes),
        _ => Err("3, 5 or 7 nodes survive the loss of some".to_owned()),
    }
}

/// Carries out `mimi-hub chaos`. The server processes are this same program, started with `serve --config FILE`.
///
/// # Errors
/// [`OpsError::ChaosBroke`] when something did not hold, or what kept it from starting.
pub async fn run(args: ChaosArgs) -> Result<(), OpsError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| OpsError::Usage(error.to_string()))?;
    let mut report = Report {
        seed: args.seed,
        rooms: args.rooms as usize,
        ..Report::default()
    };
    let folder = Folder::open(args.dir.as_deref(), "mimi-chaos-")?;
    let mut stage = match args.given.site() {
        Some(_) => None,
        None => {
            report.nodes = args.nodes;
            terminal::line(&format!("chaos with seed {} in {}", args.seed, folder.path().display()));
            Some(Stage::prepare(folder.path(), args.nodes, args.seed, &args.faults)?)
        }
    };
    let outcome = tokio::select! {
        outcome = Box::pin(play(&args, stage.as_mut(), &mut report)) => outcome,
        _ = tokio::signal::ctrl_c() => Err(OpsError::Usage("interrupted".to_owned())),
        _ = terminate.recv() => Err(OpsError::Usage("interrupted".to_owned())),
    };
    if let Some(stage) = &mut stage {
        stage.stop().await;
    }
    drop(stage);
    let result = match outcome {
        Ok(()) => report.close(args.json),
        Err(error) => Err(error),
    };
    if result.is_err() && args.given.url.is_empty() {
        terminal::line(&format!("The logs are kept in {}", folder.path().display()));
    }
    folder.close(result.is_err())?;
    result
}

async fn play(args: &ChaosArgs, mut stage: Option<&mut Stage>, report: &mut Report) -> Result<(), OpsError> {
    let sites = match (&mut stage, args.given.site()) {
        (Some(stage), _) => {
            stage.start().await?;
            stage.sites()
        }
        (None, given) => given.into_iter().collect(),
    };
    // Names that no run before has used at a given hub.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let prefix = format!("chaos-{}", now.as_millis());
    let mut cast = Cast::assemble(&sites, &prefix, args.rooms as usize, args.seed).await?;
    report.clients = cast.members.len();
    let gateways: Vec<Gateway> = cast
        .members
        .iter()
        .map(|member| member.client.gateway().clone())
        .collect();
    terminal::line(&format!(
        "{} clients of {} providers in {} rooms",
        cast.members.len(),
        sites.len(),
        cast.rooms.len()
    ));

    let log = Arc::new(Log::new(cast.rooms.len()));
    let began = Instant::now();
    let (stop, stopping) = watch::channel(false);
    let mut running = cast.begin(&log, &stopping);
    let end = began + Duration::from_secs(args.seconds.into());
    let incidents = match stage {
        Some(stage) => {
            stage.begin();
            let mut faults = Faults {
                args,
                stage,
                cast: &cast,
                log: &log,
                gateways: &gateways,
                end,
            };
            faults.happen(report).await?
        }
        None => {
            tokio::time::sleep_until(end.into()).await;
            Vec::new()
        }
    };
    let over = Instant::now();
    stop.send_replace(true);
    while let Some(member) = running.join_next().await {
        cast.members
            .push(member.map_err(|error| OpsError::Usage(format!("a client failed: {error}")))?);
    }
    report.seconds = (over - began).as_secs_f64();
    report.faults(&log, &incidents);
    report.totals(log.totals());
    report.resent = ResentReport::between(Resent::default(), resent(&gateways));
    let longest = (0..cast.rooms.len())
        .filter_map(|room| log.longest_gap(room, began, over))
        .max();
    report.longest_unavailable_ms = longest.map_or(0, |gap| millis(gap.lasts));
    judge(&mut cast, report).await
}

/// The faults, as long as there is time.
struct Faults<'a> {
    args: &'a ChaosArgs,
    stage: &'a mut Stage,
    cast: &'a Cast,
    log: &'a Log,
    gateways: &'a [Gateway],
    end: Instant,
}

impl Faults<'_> {
    async fn happen(&mut self, report: &mut Report) -> Result<Vec<Incident>, OpsError> {
        let mut incidents = Vec::new();
        let nodes = usize::from(self.args.nodes);
        for planned in Schedule::new(self.args.seed, &self.args.faults, nodes, self.cast.rooms.len()) {
            let lasts = match planned.fault {
                Fault::Kill { lasts, .. }
                | Fault::Pause { lasts, .. }
                | Fault::Partition { lasts, .. }
                | Fault::DiskFull { lasts } => lasts + FAULT_OVERHEAD,
                Fault::RollingRestart { .. } => FAULT_OVERHEAD * u32::from(self.args.nodes),
                Fault::Drain { .. } => DRAIN_TIME,
            };
            if Instant::now() + planned.quiet + lasts > self.end {
                break;
            }
            tokio::time::sleep(planned.quiet).await;
            self.stage.all_run()?;
            // Everybody is at home again, the two near clients of a room so far apart that no fault happens to both.
            self.gateways.iter().for_each(Gateway::prefer_first);
            let (resent_before, errors_before) = (resent(self.gateways), self.log.errors());
            let incident = self.stage.perform(&planned.fault, &self.cast.rooms).await?;
            let resent = ResentReport::between(resent_before, resent(self.gateways));
            let failed = self.log.errors() - errors_before;
            if incident.kind == FaultKind::RollingRestart {
                let rolling = report.rolling_restart.get_or_insert_default();
                rolling.failed_requests += failed;
                rolling.resent.add(resent);
            }
            let away = Report::away(self.log, &incident);
            let longest = away.iter().max().map_or(0, |away| millis(*away));
            self.stage.say(&format!(
                "over: {} rooms changed hands, away for {longest} ms at most; sent again {} after 503, {} for want of a \
                 connection, {} for want of an answer; {failed} failed",
                away.len(),
                resent.unavailable,
                resent.not_connected,
                resent.unanswered
            ));
            incidents.push(incident);
        }
        tokio::time::sleep_until(self.end.into()).await;
        self.stage.all_run()?;
        Ok(incidents)
    }
}

fn resent(gateways: &[Gateway]) -> Resent {
    let mut all = Resent::default();
    for resent in gateways.iter().map(Gateway::resent) {
        all.unavailable += resent.unavailable;
        all.not_connected += resent.not_connected;
        all.unanswered += resent.unanswered;
    }
    all
}

/// Waits until everybody has everything, and says what is wrong if that does not come.
async fn judge(cast: &mut Cast, report: &mut Report) -> Result<(), OpsError> {
    // The host of a room first: the others are compared with it.
    cast.members.sort_by_key(|member| !matches!(member.role, Role::Host(_)));
    let started = Instant::now();
    let (findings, behind) = loop {
        for member in &mut cast.members {
            member.client.sync(Duration::ZERO).await?;
        }
        let findings = compare(cast);
        let behind = behind(cast).await?;
        if findings.is_clean() && behind.is_empty() || started.elapsed() > SETTLE_MAX {
            break (findings, behind);
        }
        tokio::time::sleep(SETTLE_POLL).await;
    };
    let mut findings = findings;
    for (number, room) in cast.rooms.iter().enumerate() {
        let host = cast.members.iter().find(|member| member.role == Role::Host(number));
        let Some(Member { client, .. }) = host else { continue };
        let events = whole_record(client).await?;
        findings.add(audit::examine_record(
            room,
            &events,
            &Witness::of(client.state(), room),
        )?);
    }
    report.findings(&findings);
    let failures = cast.members.iter().flat_map(|member| {
        let state = member.client.state();
        let of_room = |room| {
            state
                .failures(room)
                .iter()
                .map(|failure| format!("{}: {failure}", state.identity().client()))
        };
        cast.rooms.iter().flat_map(of_room).collect::<Vec<String>>()
    });
    for error in behind.into_iter().chain(failures) {
        report.errors += 1;
        report.first_errors.push(error);
    }
    Ok(())
}

fn compare(cast: &Cast) -> Findings {
    let mut findings = Findings::default();
    for room in &cast.rooms {
        let witnesses: Vec<Witness> = cast
            .members
            .iter()
            .map(|member| Witness::of(member.client.state(), room))
            .filter(|witness| !witness.epochs.is_empty())
            .collect();
        findings.add(audit::examine(room.as_str(), &witnesses));
    }
    findings
}

/// Members that are not where the hub is.
async fn behind(cast: &Cast) -> Result<Vec<String>, OpsError> {
    let mut behind = Vec::new();
    let Some(first) = cast.members.first() else {
        return Ok(behind);
    };
    for room in &cast.rooms {
        let Some(view) = first.client.gateway().room(room).await? else {
            behind.push(format!("{room} is not there"));
            continue;
        };
        for member in &cast.members {
            let state = member.client.state();
            let name = state.identity().client();
            let is_in = view.clients.iter().any(|entry| entry.client == *name);
            let epoch = state.is_member(room).then(|| state.room(room)).transpose()?;
            match epoch.map(|known| known.epoch) {
                Some(epoch) if is_in && epoch == view.epoch => {}
                None if !is_in => {}
                epoch => behind.push(format!(
                    "{room}: {name} is at epoch {epoch:?}, and the hub, which has it {}, at {}",
                    if is_in { "in" } else { "out" },
                    view.epoch
                )),
            }
        }
    }
    Ok(behind)
}

/// A client's whole stream, from its beginning.
async fn whole_record(client: &crate::client::Client) -> Result<Vec<RoomEvent>, OpsError> {
    let user = client.state().identity().user();
    let (mut events, mut cursor) = (Vec::new(), None);
    loop {
        let page = client
            .gateway()
            .events(user, cursor.as_deref(), Duration::ZERO, PAGE_EVENTS_MAX)
            .await?;
        events.extend(page.events);
        cursor = Some(page.cursor);
        if !page.more {
            return Ok(events);
        }
    }
}
