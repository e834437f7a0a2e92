//! What happened, counted, and the verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::audit::Findings;
use super::log::{Log, Totals};
use super::schedule::FaultKind;
use super::stage::Incident;
use crate::client::Resent;
use crate::{OpsError, terminal};

/// The results. Every number is counted from what the clients saw.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) seed: u64,
    pub(super) nodes: u16,
    pub(super) rooms: usize,
    pub(super) clients: usize,
    /// For how long there was traffic.
    pub(super) seconds: f64,
    /// Messages that were acknowledged.
    pub(super) acked: usize,
    pub(super) commits: u64,
    pub(super) key_packages_claimed: usize,
    /// Messages that a client should have and has not, over all clients.
    pub(super) lost: usize,
    /// Messages that are twice in a transcript or in a room's record.
    pub(super) duplicates: usize,
    /// Neighbours in a transcript that another client has the other way round.
    pub(super) order_violations: usize,
    /// Epochs that two clients have different secrets of.
    pub(super) forked_epochs: usize,
    /// KeyPackages that were handed out to two requests, or again after their use.
    pub(super) key_packages_reused: usize,
    /// What failed for good at a client, after all its retries; and clients that did not come to the end.
    pub(super) errors: u64,
    pub(super) first_errors: Vec<String>,
    /// How many faults there were, by kind.
    pub(super) faults: BTreeMap<FaultKind, usize>,
    /// How long rooms were away whose leader a fault happened to: the longest time between two acknowledgements in the room
    /// around it.
    pub(super) failover: BTreeMap<FaultKind, Failover>,
    /// The same over all rooms and the whole time. A majority of the nodes lives all the time.
    pub(super) longest_unavailable_ms: u64,
    /// Sendings that the clients' gateways repeated.
    pub(super) resent: ResentReport,
    /// Only those during rolling restarts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rolling_restart: Option<RollingRestart>,
    /// Did everything hold?
    pub(super) ok: bool,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct ResentReport {
    /// After 429, 503 or 504.
    pub(super) unavailable: u64,
    /// Where there was no connection: the node was down.
    pub(super) not_connected: u64,
    /// Where the connection broke, or no answer came in time.
    pub(super) unanswered: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct RollingRestart {
    /// What failed for good at a client.
    pub(super) failed_requests: u64,
    pub(super) resent: ResentReport,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Failover {
    /// Rooms that changed hands, over all faults of the kind.
    rooms: usize,
    p50_ms: u64,
    p99_ms: u64,
    max_ms: u64,
}

impl Failover {
    fn of(mut away: Vec<Duration>) -> Self {
        away.sort_unstable();
        let share = |share: f64| {
            let last = away.len().saturating_sub(1);
            let index = (last as f64 * share).round() as usize;
            away.get(index).map_or(0, |away| millis(*away))
        };
        Self {
            rooms: away.len(),
            p50_ms: share(0.50),
            p99_ms: share(0.99),
            max_ms: share(1.0),
        }
    }
}

impl ResentReport {
    pub(super) fn between(before: Resent, after: Resent) -> Self {
        Self {
            unavailable: after.unavailable - before.unavailable,
            not_connected: after.not_connected - before.not_connected,
            unanswered: after.unanswered - before.unanswered,
        }
    }

    pub(super) fn add(&mut self, other: ResentReport) {
        self.unavailable += other.unavailable;
        self.not_connected += other.not_connected;
        self.unanswered += other.unanswered;
    }
}

impl Report {
    /// How long the rooms were away that a fault happened to.
    pub(super) fn away(log: &Log, incident: &Incident) -> Vec<Duration> {
        let gaps = incident
            .rooms
            .iter()
            .filter_map(|room| log.longest_gap(*room, incident.from, incident.to).map(|gap| gap.lasts));
        gaps.collect()
    }

    pub(super) fn faults(&mut self, log: &Log, incidents: &[Incident]) {
        let mut away: BTreeMap<FaultKind, Vec<Duration>> = BTreeMap::new();
        for incident in incidents {
            *self.faults.entry(incident.kind).or_default() += 1;
            away.entry(incident.kind).or_default().extend(Self::away(log, incident));
        }
        self.failover = away
            .into_iter()
            .map(|(kind, away)| (kind, Failover::of(away)))
            .collect();
    }

    pub(super) fn totals(&mut self, totals: Totals) {
        self.acked = totals.acked;
        self.commits = totals.commits;
        self.errors += totals.errors;
        self.first_errors.splice(0..0, totals.first_errors);
        self.key_packages_claimed = totals.key_packages_claimed;
        self.key_packages_reused = totals.key_packages_reused;
    }

    pub(super) fn findings(&mut self, findings: &Findings) {
        self.lost = findings.lost;
        self.duplicates = findings.duplicates;
        self.order_violations = findings.order_violations;
        self.forked_epochs = findings.forked_epochs;
        for detail in &findings.details {
            terminal::line(detail);
        }
    }

    /// What broke, in words; nothing when all held.
    fn broken(&self) -> Vec<String> {
        let rolling = self.rolling_restart.unwrap_or_default();
        let counts: [(&str, u64); 7] = [
            ("lost", self.lost as u64),
            ("duplicates", self.duplicates as u64),
            ("order violations", self.order_violations as u64),
            ("forked epochs", self.forked_epochs as u64),
            ("KeyPackages reused", self.key_packages_reused as u64),
            ("errors", self.errors),
            ("failed requests in rolling restarts", rolling.failed_requests),
        ];
        let mut broken: Vec<String> = counts
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        if self.acked == 0 {
            broken.push("nothing acknowledged".to_owned());
        }
        broken
    }

    /// Says all of it, and the verdict last.
    pub(super) fn close(mut self, json: bool) -> Result<(), OpsError> {
        let broken = self.broken();
        self.ok = broken.is_empty();
        for error in &self.first_errors {
            terminal::line(&format!("error: {error}"));
        }
        for (kind, failover) in &self.failover {
            terminal::line(&format!(
                "{kind}: {} times, {} rooms away for {} ms (p50), {} ms (p99), {} ms at most",
                self.faults.get(kind).copied().unwrap_or_default(),
                failover.rooms,
                failover.p50_ms,
                failover.p99_ms,
                failover.max_ms
            ));
        }
        terminal::line(&format!(
            "{} messages acknowledged to {} clients in {} rooms in {:.0} s, {} Commits, {} KeyPackages claimed; no room away for \
             longer than {} ms",
            self.acked,
            self.clients,
            self.rooms,
            self.seconds,
            self.commits,
            self.key_packages_claimed,
            self.longest_unavailable_ms
        ));
        terminal::line(&format!(
            "{} lost, {} duplicates, {} order violations, {} forked epochs, {} KeyPackages reused, {} errors",
            self.lost,
            self.duplicates,
            self.order_violations,
            self.forked_epochs,
            self.key_packages_reused,
            self.errors
        ));
        if json {
            let json = serde_json::to_string(&self).map_err(|error| OpsError::Request {
                call: "report",
                source: Box::new(error),
            })?;
            terminal::line(&json);
        }
        if self.ok {
            return Ok(());
        }
        Err(OpsError::ChaosBroke {
            what: broken.join(", "),
        })
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_rooms_that_changed_hands() {
        let away = (1..=101).rev().map(Duration::from_millis).collect();
        let failover = Failover::of(away);
        assert_eq!(
            (failover.rooms, failover.p50_ms, failover.p99_ms, failover.max_ms),
            (101, 51, 100, 101)
        );
        assert_eq!(Failover::of(Vec::new()), Failover::default());
    }

    #[test]
    fn every_count_that_must_be_zero_breaks_the_verdict() {
        let good = || Report {
            acked: 1,
            ..Report::default()
        };
        assert!(good().close(true).is_ok());
        let broken: [fn(&mut Report); 7] = [
            |report| report.acked = 0,
            |report| report.lost = 1,
            |report| report.duplicates = 1,
            |report| report.order_violations = 1,
            |report| report.forked_epochs = 1,
            |report| report.key_packages_reused = 1,
            |report| report.errors = 1,
        ];
        for break_it in broken {
            let mut report = good();
            break_it(&mut report);
            assert!(matches!(report.close(true), Err(OpsError::ChaosBroke { .. })));
        }
    }
}
