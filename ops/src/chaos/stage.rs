//! The processes that faults happen to, and the faults themselves.

use std::path::Path;
use std::time::{Duration, Instant};

use mimi_hub_proto::uri::{ProviderDomain, RoomUri};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::disk::Disk;
use super::links::Links;
use super::schedule::{Fault, FaultKind};
use super::traffic::Site;
use crate::client::{Admin, GatewaySettings, RetryPolicy};
use crate::providers::{self, Provider};
use crate::{OpsError, terminal};

const DOMAINS: [&str; 3] = ["a.example", "b.example", "c.example"];
/// How long a node may take to end after SIGTERM, or when it cannot write.
const END_MAX: Duration = Duration::from_secs(20);
/// How long a node's replicas may take to move.
const MOVE_MAX: Duration = Duration::from_secs(120);
const MOVE_POLL: Duration = Duration::from_millis(200);
/// Between two nodes of a rolling restart.
const ROLL_PAUSE: Duration = Duration::from_millis(500);
/// After a fault is over, its consequences are still its own for so long.
pub(super) const AFTERMATH: Duration = Duration::from_millis(1_500);

/// The hub's nodes, the other providers, and what stands between them. Dropping it ends all of it, in this order.
pub(super) struct Stage {
    providers: Vec<Provider>,
    links: Option<Links>,
    /// Of the node at this place.
    disk: Option<(usize, Disk)>,
    admin: Admin,
    began: Instant,
}

/// A fault that has happened.
pub(super) struct Incident {
    pub(super) kind: FaultKind,
    pub(super) from: Instant,
    pub(super) to: Instant,
    /// Rooms, by their places, that a node led to which it happened.
    pub(super) rooms: Vec<usize>,
}

impl Stage {
    /// Prepares a hub of several nodes and two other providers; nothing runs yet. The disk of one node, chosen by the seed, can
    /// be filled if that is among the kinds.
    pub(super) fn prepare(folder: &Path, nodes: u16, seed: u64, kinds: &[FaultKind]) -> Result<Self, OpsError> {
        let domains: Vec<ProviderDomain> = DOMAINS
            .into_iter()
            .map(|domain| domain.parse().map_err(OpsError::mls("name a provider")))
            .collect::<Result<_, _>>()?;
        let providers = providers::prepare_linked(folder, &domains, nodes)?;
        let disk = if kinds.contains(&FaultKind::DiskFull) {
            let place = usize::try_from(seed % u64::from(nodes)).unwrap_or_default();
            Some((place, Disk::prepare(&providers[0].nodes[place].data)?))
        } else {
            None
        };
        let certs = folder.join("certs");
        let mut admins = providers[0]
            .nodes
            .iter()
            .map(|node| format!("https://localhost:{}", node.admin_port));
        let admin = Admin::new(&GatewaySettings {
            url: admins.next().unwrap_or_default(),
            more_urls: admins.collect(),
            ca: certs.join("admin-ca.pem"),
            certificate: certs.join("operator.pem"),
            private_key: certs.join("operator.key"),
            retry: RetryPolicy::default(),
        })?;
        Ok(Self {
            providers,
            admin,
            links: None,
            disk,
            began: Instant::now(),
        })
    }

    pub(super) async fn start(&mut self) -> Result<(), OpsError> {
        self.links = Some(Links::start(&self.providers[0].nodes).await?);
        for provider in &mut self.providers {
            provider.start().await?;
        }
        Ok(())
    }

    /// The time that is shown begins now.
    pub(super) fn begin(&mut self) {
        self.began = Instant::now();
    }

    pub(super) fn say(&self, what: &str) {
        terminal::line(&format!("[{:>6.1} s] {what}", self.began.elapsed().as_secs_f64()));
    }

    pub(super) fn sites(&self) -> Vec<Site> {
        let site = |provider: &Provider| Site {
            domain: provider.domain.clone(),
            settings: provider.gateway_settings.clone(),
        };
        self.providers.iter().map(site).collect()
    }

    /// `Err` when a process has ended by itself.
    pub(super) fn all_run(&mut self) -> Result<(), OpsError> {
        self.providers.iter_mut().try_for_each(Provider::all_run)
    }

    /// Has a fault happen, from its beginning to its end. `Err` when what should come back does not.
    pub(super) async fn perform(&mut self, fault: &Fault, rooms: &[RoomUri]) -> Result<Incident, OpsError> {
        let leaders = self.leaders(rooms).await?;
        let led = |nodes: &[usize]| -> Vec<usize> {
            let led = leaders.iter().enumerate().filter(|(_, leader)| nodes.contains(leader));
            led.map(|(room, _)| room).collect()
        };
        let nodes = self.providers[0].nodes.len();
        let leader_of = |room: &usize| leaders.get(*room).copied().unwrap_or_default();
        let from;
        let affected;
        match fault {
            Fault::Kill { leader_of: room, lasts } => {
                let node = leader_of(room);
                affected = led(&[node]);
                self.say(&format!("kill -9 {}", named(&[node], &affected)));
                from = Instant::now();
                self.providers[0].nodes[node].kill().await?;
                tokio::time::sleep(*lasts).await;
                self.providers[0].start_node(node).await?;
            }
            Fault::Pause { leader_of: room, lasts } => {
                let node = leader_of(room);
                affected = led(&[node]);
                self.say(&format!("SIGSTOP {} for {lasts:.1?}", named(&[node], &affected)));
                from = Instant::now();
                self.providers[0].nodes[node].signal(Signal::STOP)?;
                tokio::time::sleep(*lasts).await;
                self.providers[0].nodes[node].signal(Signal::CONT)?;
            }
            Fault::Partition {
                leader_of: room,
                with_next,
                one_way,
                lasts,
            } => {
                let first = leader_of(room);
                let cut_off: Vec<usize> = (0..=*with_next).map(|next| (first + next) % nodes).collect();
                affected = led(&cut_off);
                let how = if *one_way { "is not heard by" } else { "is cut off from" };
                self.say(&format!(
                    "{} {how} the others for {lasts:.1?}",
                    named(&cut_off, &affected)
                ));
                from = Instant::now();
                self.cut(&cut_off, *one_way);
                tokio::time::sleep(*lasts).await;
                if let Some(links) = &self.links {
                    links.heal();
                }
            }
            Fault::DiskFull { lasts } => {
                let Some((node, disk)) = &self.disk else {
                    return Err(OpsError::Usage("no node's disk can be filled".to_owned()));
                };
                let node = *node;
                affected = led(&[node]);
                self.say(&format!("disk full at {}: {}", named(&[node], &affected), disk.means()));
                from = Instant::now();
                disk.fill(&self.providers[0].nodes[node])?;
                let ended = self.providers[0].nodes[node].ended(END_MAX).await;
                match ended {
                    Some(status) => self.say(&format!("node {} has stopped over it ({status})", node + 1)),
                    None => self.say(&format!("node {} goes on without writing", node + 1)),
                }
                tokio::time::sleep(*lasts).await;
                if let Some((_, disk)) = &self.disk {
                    disk.free()?;
                }
                if ended.is_some() {
                    self.providers[0].start_node(node).await?;
                }
            }
            Fault::RollingRestart { first } => {
                affected = (0..rooms.len()).collect();
                self.say("rolling restart");
                from = Instant::now();
                for place in 0..nodes {
                    self.restart((first + place) % nodes).await?;
                    tokio::time::sleep(ROLL_PAUSE).await;
                }
            }
            Fault::Drain { node } => {
                affected = led(&[*node]);
                self.say(&format!("drain {}", named(&[*node], &affected)));
                from = Instant::now();
                self.drain(*node).await?;
            }
        }
        tokio::time::sleep(AFTERMATH).await;
        Ok(Incident {
            kind: fault.kind(),
            from,
            to: Instant::now(),
            rooms: affected,
        })
    }

    async fn restart(&mut self, node: usize) -> Result<(), OpsError> {
        let began = Instant::now();
        self.providers[0].nodes[node].signal(Signal::TERM)?;
        let ended = self.providers[0].nodes[node].ended(END_MAX).await;
        let stopped = began.elapsed();
        match ended {
            Some(status) if status.success() => {}
            Some(status) => return Err(self.providers[0].failed(node, &format!("ended with {status} after SIGTERM"))),
            None => return Err(self.providers[0].failed(node, "does not end after SIGTERM")),
        }
        self.providers[0].start_node(node).await?;
        self.say(&format!(
            "node {} stopped in {stopped:.1?} and was back after {:.1?}",
            node + 1,
            began.elapsed()
        ));
        Ok(())
    }

    /// Takes a node's replicas away while it runs, and lets it have its share again.
    async fn drain(&self, node: usize) -> Result<(), OpsError> {
        let began = Instant::now();
        let number = node + 1;
        let before = self.replicas(number).await?;
        self.admin.post("drain", &json!({ "node": number })).await?;
        self.until(number, "to have no replica", |replicas| replicas == 0)
            .await?;
        self.say(&format!(
            "node {number} gave its {before} replicas away in {:.1?}",
            began.elapsed()
        ));
        let body = json!({ "node": number, "cancel": true });
        self.admin.post("drain", &body).await?;
        // Places are spread evenly: by one more or less.
        let share = before.saturating_sub(1);
        self.until(number, "to have its share of replicas", |replicas| replicas >= share)
            .await?;
        self.say(&format!("and had its share again after {:.1?}", began.elapsed()));
        Ok(())
    }

    /// How many replicas a node has.
    async fn replicas(&self, number: usize) -> Result<u64, OpsError> {
        let nodes: Vec<Value> = self.admin.get("nodes").await?;
        let node = nodes.iter().find(|node| node["node"] == json!(number));
        let replicas = node.and_then(|node| node["replicas"].as_u64());
        replicas.ok_or_else(|| OpsError::Disagreement(format!("node {number} is none of the hub's")))
    }

    async fn until(&self, number: usize, what: &str, done: impl Fn(u64) -> bool) -> Result<(), OpsError> {
        let began = Instant::now();
        while !done(self.replicas(number).await?) {
            if began.elapsed() > MOVE_MAX {
                return Err(OpsError::TimedOut {
                    what: format!("node {number} {what}"),
                    seconds: MOVE_MAX.as_secs(),
                });
            }
            tokio::time::sleep(MOVE_POLL).await;
        }
        Ok(())
    }

    fn cut(&self, cut_off: &[usize], one_way: bool) {
        let Some(links) = &self.links else { return };
        for inside in cut_off {
            for outside in (0..self.providers[0].nodes.len()).filter(|node| !cut_off.contains(node)) {
                links.cut(*inside, outside);
                if !one_way {
                    links.cut(outside, *inside);
                }
            }
        }
    }

    /// The places of the nodes that lead the rooms.
    async fn leaders(&self, rooms: &[RoomUri]) -> Result<Vec<usize>, OpsError> {
        let mut leaders = Vec::new();
        for room in rooms {
            let number = self.providers[0].gateway.leader(room).await?;
            leaders.push(usize::try_from(number).unwrap_or_default().saturating_sub(1));
        }
        Ok(leaders)
    }

    /// Ends all processes.
    pub(super) async fn stop(&mut self) {
        for node in self.providers.iter_mut().flat_map(|provider| &mut provider.nodes) {
            // One that is not there any more is stopped enough.
            let _ = node.kill().await;
        }
    }
}

fn named(nodes: &[usize], rooms: &[usize]) -> String {
    let numbers: Vec<String> = nodes.iter().map(|node| (node + 1).to_string()).collect();
    let (noun, verb) = if nodes.len() == 1 {
        ("node", "leads")
    } else {
        ("nodes", "lead")
    };
    format!("{noun} {} ({verb} {} rooms)", numbers.join(" and "), rooms.len())
}
