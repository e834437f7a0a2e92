//! What happened, counted.

use std::time::Duration;

use serde::Serialize;

use crate::{OpsError, terminal};

/// The results of a demo. Every number is counted from what the clients and the hub report.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Steps that held.
    passed: usize,
    /// Steps that did not.
    failed: usize,
    /// Provider processes that came up.
    pub(super) providers: usize,
    /// MIMI clients that were made.
    pub(super) clients: usize,
    /// Application messages that the hub accepted.
    pub(super) messages_sent: usize,
    /// What `messages_decrypted` must come to: each message by every other member of its epoch.
    pub(super) messages_expected: usize,
    /// Messages that a member decrypted to the text that was sent.
    pub(super) messages_decrypted: usize,
    /// Kills of the hub's process, with a start after it.
    pub(super) restarts: usize,
    /// How long the room was away when the node that led it was killed; only where the hub has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failover_ms: Option<u64>,
    /// Messages that a member should have and has not.
    pub(super) lost: usize,
    /// Messages that stand in a member's transcript more than once.
    pub(super) duplicates: usize,
    /// The steps in order.
    steps: Vec<Step>,
}

#[derive(Debug, Serialize)]
struct Step {
    name: String,
    ok: bool,
    ms: u64,
}

impl Report {
    /// Notes the outcome of a step and says so.
    pub(super) fn step(&mut self, name: &str, took: Duration, outcome: &Result<Vec<String>, OpsError>) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let ok = outcome.is_ok();
        if ok {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
        let verdict = if ok { "ok  " } else { "FAIL" };
        terminal::line(&format!("{verdict} {ms:>6} ms  {name}"));
        match outcome {
            Ok(details) => details
                .iter()
                .for_each(|detail| terminal::line(&format!("                {detail}"))),
            Err(error) => terminal::line(&format!("                {error}")),
        }
        self.steps.push(Step {
            name: name.to_owned(),
            ok,
            ms,
        });
    }

    /// The play was stopped before its end, which is no success.
    pub(super) fn interrupted(&mut self) {
        self.step(
            "play to the end",
            Duration::ZERO,
            &Err(OpsError::Usage("interrupted".to_owned())),
        );
    }

    pub(super) fn is_failed(&self) -> bool {
        self.failed > 0 || self.steps.is_empty()
    }

    pub(super) fn print_summary(&self) {
        terminal::line(&format!(
            "{} steps passed, {} failed; {} providers, {} clients; {} messages sent, {} of {} decrypted, {} lost, \
             {} duplicates; {} restarts",
            self.passed,
            self.failed,
            self.providers,
            self.clients,
            self.messages_sent,
            self.messages_decrypted,
            self.messages_expected,
            self.lost,
            self.duplicates,
            self.restarts,
        ));
    }

    pub(super) fn to_json(&self) -> Result<String, OpsError> {
        serde_json::to_string(self).map_err(|error| OpsError::Request {
            call: "report",
            source: Box::new(error),
        })
    }

    pub(super) fn into_result(self) -> Result<(), OpsError> {
        if self.is_failed() {
            return Err(OpsError::DemoFailed {
                failed: self.failed,
                steps: self.steps.len(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_step_fails_the_whole_and_stands_in_the_json() {
        let mut report = Report::default();
        report.step("first", Duration::from_millis(7), &Ok(vec!["detail".to_owned()]));
        assert!(!report.is_failed());
        report.step(
            "second",
            Duration::from_millis(9),
            &Err(OpsError::Usage("no".to_owned())),
        );
        let json: serde_json::Value = serde_json::from_str(&report.to_json().unwrap()).unwrap();
        assert_eq!(json["passed"], 1);
        assert_eq!(json["failed"], 1);
        assert_eq!(
            json["steps"][0],
            serde_json::json!({"name": "first", "ok": true, "ms": 7})
        );
        assert_eq!(
            json["steps"][1],
            serde_json::json!({"name": "second", "ok": false, "ms": 9})
        );
        let keys = [
            "providers",
            "clients",
            "messages_sent",
            "messages_decrypted",
            "messages_expected",
            "restarts",
            "lost",
            "duplicates",
        ];
        assert!(keys.iter().all(|key| json[key].is_u64()), "{json}");
        assert!(matches!(
            report.into_result(),
            Err(OpsError::DemoFailed { failed: 1, steps: 2 })
        ));
    }

    #[test]
    fn a_play_without_a_step_is_no_success() {
        assert!(Report::default().into_result().is_err());
    }
}
