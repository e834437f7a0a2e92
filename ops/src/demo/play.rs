//! The steps of the demo: draft-ietf-mimi-protocol, section 3, and a power cut.

mod assets;
mod people;
mod policy;
mod pseudonyms;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mimi_hub_proto::uri::{ClientUri, ProviderDomain, RoomUri, UserUri, path_segment};
use tokio::sync::watch;

use super::assets::AssetServer;
use super::audit::{self, Ledger};
use super::report::Report;
use crate::client::{Client, ClientState, ROLE_MEMBER, TreeOption};
use crate::providers::{self, Provider};
use crate::{OpsError, terminal};

const DOMAINS: [&str; 3] = ["a.example", "b.example", "c.example"];
const ROOM: &str = "mimi://a.example/r/clubhouse";
/// KeyPackages of each client that is going to be added.
const KEY_PACKAGES: usize = 3;
/// Messages of each of the two senders that the hub is killed under.
const CUT_MESSAGES: usize = 20;
/// After how many accepted messages the power goes.
const CUT_AFTER: usize = 8;
/// How long the hub is gone.
const CUT_PAUSE: Duration = Duration::from_millis(500);
/// How long a client may take to see a change of its own membership, or of the epoch.
const SEEN_MAX: Duration = Duration::from_secs(30);

/// Places in the cast, in the order in which the clients are made. The names are the draft's.
const CLIENT_A1: usize = 0;
const CLIENT_B1: usize = 1;
const CLIENT_B2: usize = 2;
const CLIENT_C1: usize = 3;
const CAST: [(&str, &str, &str); 5] = [
    ("a.example", "alice", "ClientA1"),
    ("b.example", "bob", "ClientB1"),
    ("b.example", "bob", "ClientB2"),
    ("c.example", "cathy", "ClientC1"),
    ("c.example", "cathy", "ClientC2"),
];
const NEW_DEVICE: (&str, &str, &str) = ("c.example", "cathy", "ClientC3");

/// Details to show under a step.
type Outcome = Result<Vec<String>, OpsError>;

/// A running demo. Dropping it ends its processes.
pub(super) struct Play {
    folder: PathBuf,
    providers: Vec<Provider>,
    assets: AssetServer,
    cast: Vec<Client>,
    room: RoomUri,
    ledger: Ledger,
    running: usize,
    restarts: usize,
    /// How long the room was away when the node that led it was killed.
    failover: Option<Duration>,
}

impl Play {
    /// Writes certificates and configuration; nothing runs yet.
    pub(super) fn new(folder: &Path, nodes: u16) -> Result<Self, OpsError> {
        let domains: Vec<ProviderDomain> = DOMAINS.into_iter().map(parse).collect::<Result<_, _>>()?;
        let assets = AssetServer::prepare(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            providers: providers::prepare_with_assets(folder, &domains, nodes, &assets.host())?,
            assets,
            cast: Vec::new(),
            room: parse(ROOM)?,
            ledger: Ledger::default(),
            running: 0,
            restarts: 0,
            failover: None,
        })
    }

    /// Plays all steps, or up to the first that fails: what follows could only fail for the same reason.
    pub(super) async fn run(&mut self, report: &mut Report) {
        // The failing step has been reported; there is nothing to add to it here.
        let _reported: Result<(), ()> = Box::pin(self.scenes(report)).await;
    }

    async fn scenes(&mut self, report: &mut Report) -> Result<(), ()> {
        self.scene(report, "three providers start", Self::start).await?;
        self.scene(report, "clients register and publish KeyPackages", Self::register)
            .await?;
        self.room_scene(report, "Alice creates the room clubhouse", Self::create)
            .await?;
        self.room_scene(report, "Alice adds Bob with two clients", Self::add_bob)
            .await?;
        self.room_scene(report, "Bob adds Cathy with two clients", Self::add_cathy)
            .await?;
        self.room_scene(report, "Cathy sends a message to the room", Self::cathy_speaks)
            .await?;
        self.room_scene(
            report,
            "every client sends, every other decrypts",
            Self::everybody_speaks,
        )
        .await?;
        self.room_scene(
            report,
            "Cathy attaches a picture, Bob fetches it by the hub's proxy",
            Self::asset_by_proxy,
        )
        .await?;
        self.room_scene(
            report,
            "Bob fetches another one by Oblivious HTTP",
            Self::asset_by_ohttp,
        )
        .await?;
        self.room_scene(report, "Bob proposes to leave", Self::bob_leaves)
            .await?;
        self.room_scene(report, "Cathy's next Commit removes Bob", Self::cathy_commits)
            .await?;
        self.room_scene(report, "Cathy adds a new device by external Commit", Self::new_device)
            .await?;
        let power_cut = if self.providers[0].nodes.len() > 1 {
            "the node that leads the room is killed (-9) under traffic"
        } else {
            "the hub is killed (-9) under traffic and restarted"
        };
        self.room_scene(report, power_cut, Self::power_cut).await?;
        self.room_scene(report, "the conversation goes on in a new epoch", Self::go_on)
            .await?;
        self.scene(
            report,
            "Alice and Bob find each other by their profiles",
            Self::discovery,
        )
        .await?;
        self.scene(
            report,
            "Bob, who lets nobody add him, grants Alice's request",
            Self::consent,
        )
        .await?;
        self.scene(
            report,
            "an abuse report is proven by its frank, a forged one is not",
            Self::abuse_report,
        )
        .await?;
        self.room_scene(report, "Dave joins by a join code", Self::join_by_code)
            .await?;
        self.room_scene(report, "the hub bans Dave", Self::ban).await?;
        self.room_scene(
            report,
            "Alice and Cathy meet in a room of pseudonyms",
            Self::pseudonymous_room,
        )
        .await
    }

    /// Counts into the report what has been counted so far.
    pub(super) fn finish(&self, report: &mut Report) {
        report.providers = self.running;
        report.clients = self.cast.len();
        report.restarts = self.restarts;
        report.failover_ms = self
            .failover
            .map(|away| u64::try_from(away.as_millis()).unwrap_or(u64::MAX));
        self.ledger.report(&self.cast, &self.room, report);
    }

    /// Ends all processes.
    pub(super) async fn stop(&mut self) {
        for node in self.providers.iter_mut().flat_map(|provider| &mut provider.nodes) {
            if let Err(error) = node.kill().await {
                terminal::line(&error.to_string());
            }
        }
    }

    /// How to look around while the demo stays up.
    pub(super) fn print_tour(&self) {
        let certs = self.folder.join("certs");
        terminal::line("");
        for provider in &self.providers {
            for node in &provider.nodes {
                terminal::line(&format!(
                    "{}: local API https://localhost:{}, federation 127.0.0.1:{}, pid {}",
                    provider.domain,
                    node.local_port,
                    node.federation_port,
                    node.pid().map_or("none".to_owned(), |pid| pid.to_string()),
                ));
                terminal::line(&format!("    configuration {}", node.config.display()));
                terminal::line(&format!("    log           {}", node.log.display()));
            }
        }
        if let Some(hub) = self.providers.first() {
            let curl = format!(
                "curl --silent --show-error --cacert '{}' --cert '{}' --key '{}'",
                certs.join("local-ca.pem").display(),
                certs.join(format!("gateway.{}.pem", hub.domain)).display(),
                certs.join(format!("gateway.{}.key", hub.domain)).display(),
            );
            let base = format!("{}/local/v1", hub.gateway_settings.url);
            terminal::line("");
            terminal::line("The hub, and its view of the room:");
            terminal::line(&format!("    {curl} {base}/hub"));
            terminal::line(&format!("    {curl} {base}/rooms/{}", path_segment(self.room.as_str())));
            terminal::line("");
            if let [first, _, ..] = hub.nodes.as_slice() {
                terminal::line("Its nodes, and which of them has what:");
                terminal::line(&format!(
                    "    mimi-hub cluster nodes --admin https://localhost:{} --ca '{}' --certificate '{}' --private-key '{}'",
                    first.admin_port,
                    certs.join("admin-ca.pem").display(),
                    certs.join("operator.pem").display(),
                    certs.join("operator.key").display(),
                ));
                terminal::line("");
            }
        }
    }

    async fn scene(
        &mut self,
        report: &mut Report,
        name: &str,
        act: impl AsyncFnOnce(&mut Self) -> Outcome,
    ) -> Result<(), ()> {
        let started = Instant::now();
        let outcome = Box::pin(act(self)).await;
        report.step(name, started.elapsed(), &outcome);
        outcome.map(drop).map_err(drop)
    }

    /// A scene after which everybody has every message and sees the same room.
    async fn room_scene(
        &mut self,
        report: &mut Report,
        name: &str,
        act: impl AsyncFnOnce(&mut Self) -> Outcome,
    ) -> Result<(), ()> {
        let audited = async |play: &mut Self| {
            let mut details = act(play).await?;
            if play.ledger.len() > 0 {
                details.extend(play.ledger.settle(&mut play.cast, &play.room).await?);
            }
            let hub = play.providers[0].gateway.clone();
            details.extend(audit::agree(&hub, &mut play.cast, &play.room).await?);
            Ok(details)
        };
        self.scene(report, name, audited).await
    }

    async fn start(&mut self) -> Outcome {
        let mut details = Vec::new();
        self.assets.start()?;
        for provider in &mut self.providers {
            provider.start().await?;
            self.running += 1;
            details.extend(provider.nodes.iter().map(|node| {
                let (federation, local) = (node.federation_port, node.local_port);
                format!("{} on port {federation}, local API on port {local}", provider.domain)
            }));
        }
        Ok(details)
    }

    async fn register(&mut self) -> Outcome {
        for member in CAST {
            self.enter(member, KEY_PACKAGES).await?;
        }
        Ok(vec![format!(
            "{} clients of 3 users, {KEY_PACKAGES} KeyPackages each",
            CAST.len()
        )])
    }

    /// Makes a client and registers it with its provider.
    async fn enter(&mut self, (domain, user, client): (&str, &str, &str), key_packages: usize) -> Result<(), OpsError> {
        let provider = self.providers.iter().find(|provider| provider.domain == *domain);
        let gateway = provider
            .ok_or_else(|| OpsError::Usage(format!("no provider {domain}")))?
            .gateway
            .clone();
        let user: UserUri = parse(&format!("mimi://{domain}/u/{user}"))?;
        let client: ClientUri = parse(&format!("mimi://{domain}/d/{client}"))?;
        let mut client = Client::new(gateway, client, user, TreeOption::DistributionService)?;
        client.register(key_packages).await?;
        self.cast.push(client);
        Ok(())
    }

    async fn create(&mut self) -> Outcome {
        self.cast[CLIENT_A1].create_room(&self.room, "Clubhouse").await?;
        Ok(vec![ROOM.to_owned()])
    }

    async fn add_bob(&mut self) -> Outcome {
        let bob = self.user(CLIENT_B1);
        self.cast[CLIENT_A1].add_user(&self.room, &bob, ROLE_MEMBER).await?;
        self.all_join(&bob).await
    }

    async fn add_cathy(&mut self) -> Outcome {
        let cathy = self.user(CLIENT_C1);
        self.cast[CLIENT_B1].add_user(&self.room, &cathy, ROLE_MEMBER).await?;
        self.all_join(&cathy).await
    }

    /// Waits for the Welcome at every client of a user.
    async fn all_join(&mut self, user: &UserUri) -> Outcome {
        let room = &self.room;
        for client in self
            .cast
            .iter_mut()
            .filter(|client| client.state().identity().user() == user)
        {
            client
                .sync_until("the Welcome", SEEN_MAX, |state| state.is_member(room))
                .await?;
        }
        Ok(Vec::new())
    }

    async fn cathy_speaks(&mut self) -> Outcome {
        self.say(CLIENT_C1, "Hello from Cathy").await?;
        Ok(Vec::new())
    }

    async fn everybody_speaks(&mut self) -> Outcome {
        for index in 0..self.cast.len() {
            if self.cast[index].state().is_member(&self.room) {
                let name = self.cast[index].state().identity().client().id().to_owned();
                self.say(index, &format!("{name} can be heard")).await?;
            }
        }
        Ok(Vec::new())
    }

    async fn bob_leaves(&mut self) -> Outcome {
        self.cast[CLIENT_B1].leave(&self.room).await?;
        Ok(vec![
            "Remove for both of Bob's clients, and Bob off the participant list".to_owned(),
        ])
    }

    async fn cathy_commits(&mut self) -> Outcome {
        self.cast[CLIENT_C1].commit_pending(&self.room).await?;
        let room = &self.room;
        for index in [CLIENT_B1, CLIENT_B2] {
            self.cast[index]
                .sync_until("the removal", SEEN_MAX, |state| state.is_removed(room))
                .await?;
        }
        self.all_reach_epoch_of(CLIENT_C1).await?;
        self.everybody_speaks().await?;
        Ok(vec!["both of Bob's clients know that they are out".to_owned()])
    }

    async fn new_device(&mut self) -> Outcome {
        self.enter(NEW_DEVICE, 0).await?;
        let newest = self.cast.len() - 1;
        self.cast[newest].join(&self.room).await?;
        self.all_reach_epoch_of(newest).await?;
        self.everybody_speaks().await
    }

    /// Waits until all members are in the epoch of one of them: before that they can neither read what is sent in it nor,
    /// with proposals pending (RFC 9420, 12.4), send themselves.
    async fn all_reach_epoch_of(&mut self, leader: usize) -> Result<(), OpsError> {
        let room = self.room.clone();
        let epoch = self.cast[leader].state().room(&room)?.epoch;
        for client in &mut self.cast {
            let there = |state: &ClientState| {
                !state.is_member(&room) || state.room(&room).is_ok_and(|known| known.epoch >= epoch)
            };
            client.sync_until("the new epoch", SEEN_MAX, there).await?;
        }
        Ok(())
    }

    /// Two clients keep sending, one through its own provider and one at the hub itself, while the hub's process is killed
    /// and comes back.
    async fn power_cut(&mut self) -> Outcome {
        let room = self.room.clone();
        let speakers = [CLIENT_A1, CLIENT_C1];
        let expected = speakers.map(|index| self.others(index));
        let Self {
            cast,
            providers,
            ledger,
            restarts,
            failover,
            ..
        } = self;
        let [alice, cathy] = cast
            .get_disjoint_mut(speakers)
            .map_err(|error| OpsError::Usage(format!("the cast is incomplete: {error}")))?;
        let (accepted, watching) = watch::channel(0_usize);
        let (from_alice, from_cathy, outage) = tokio::join!(
            Box::pin(keep_sending(alice, &room, accepted.clone())),
            Box::pin(keep_sending(cathy, &room, accepted)),
            Box::pin(cut(&mut providers[0], &room, watching)),
        );
        // What was accepted counts, even where a sender failed later.
        for (count, index, expected) in [(&from_alice, 0, &expected[0]), (&from_cathy, 1, &expected[1])] {
            let sender = &cast[speakers[index]];
            ledger.note_last(sender, &room, count.accepted, expected);
        }
        let outage = outage?;
        *restarts += 1;
        from_alice.outcome?;
        from_cathy.outcome?;
        let (what, away) = match outage {
            Outage::Hub(away) => ("the hub", away),
            Outage::Leader(away) => {
                *failover = Some(away);
                ("the room", away)
            }
        };
        let sent = 2 * CUT_MESSAGES;
        Ok(vec![format!(
            "{sent} messages sent meanwhile; {what} was away for {} ms",
            away.as_millis()
        )])
    }

    async fn go_on(&mut self) -> Outcome {
        self.cast[CLIENT_A1].commit_pending(&self.room).await?;
        self.everybody_speaks().await
    }

    async fn say(&mut self, index: usize, text: &str) -> Result<(), OpsError> {
        let expected = self.others(index);
        self.cast[index].send_text(&self.room, text).await?;
        self.ledger.note_last(&self.cast[index], &self.room, 1, &expected);
        Ok(())
    }

    /// All other clients that are members now.
    fn others(&self, index: usize) -> Vec<usize> {
        let members = self
            .cast
            .iter()
            .enumerate()
            .filter(|(_, client)| client.state().is_member(&self.room));
        members
            .map(|(other, _)| other)
            .filter(|other| *other != index)
            .collect()
    }

    fn user(&self, index: usize) -> UserUri {
        self.cast[index].state().identity().user().clone()
    }
}

/// What a sender came to.
struct Sending {
    accepted: usize,
    outcome: Result<(), OpsError>,
}

async fn keep_sending(client: &mut Client, room: &RoomUri, accepted: watch::Sender<usize>) -> Sending {
    let name = client.state().identity().client().id().to_owned();
    for number in 0..CUT_MESSAGES {
        if let Err(error) = client
            .send_text(room, &format!("{name}, message {number} around the power cut"))
            .await
        {
            return Sending {
                accepted: number,
                outcome: Err(error),
            };
        }
        accepted.send_modify(|count| *count += 1);
    }
    Sending {
        accepted: CUT_MESSAGES,
        outcome: Ok(()),
    }
}

/// What was away, and for how long.
enum Outage {
    /// The only process of the hub, until it was back.
    Hub(Duration),
    /// The node that led the room, until another one had taken over and accepted messages.
    Leader(Duration),
}

/// Kills the process that leads the room in the middle of the traffic, and starts it again.
async fn cut(hub: &mut Provider, room: &RoomUri, mut accepted: watch::Receiver<usize>) -> Result<Outage, OpsError> {
    let gave_up = |_| OpsError::Disagreement("the senders gave up around the power cut".to_owned());
    accepted.wait_for(|count| *count >= CUT_AFTER).await.map_err(gave_up)?;
    if let [only] = hub.nodes.as_mut_slice() {
        let started = Instant::now();
        only.kill().await?;
        tokio::time::sleep(CUT_PAUSE).await;
        hub.start_node(0).await?;
        return Ok(Outage::Hub(started.elapsed()));
    }
    let leader = hub.gateway.leader(room).await?;
    let index = usize::try_from(leader).unwrap_or_default().wrapping_sub(1);
    let node = hub.nodes.get_mut(index);
    let node = node.ok_or_else(|| OpsError::Disagreement(format!("node {leader} leads, and is none of the hub's")))?;
    let started = Instant::now();
    node.kill().await?;
    // Each of the two senders may still get one answer that the dead node gave.
    let before = *accepted.borrow();
    accepted.wait_for(|count| *count >= before + 3).await.map_err(gave_up)?;
    let away = started.elapsed();
    hub.start_node(index).await?;
    Ok(Outage::Leader(away))
}

fn parse<T: std::str::FromStr<Err = mimi_hub_proto::Error>>(text: &str) -> Result<T, OpsError> {
    text.parse().map_err(OpsError::mls("name the cast"))
}
