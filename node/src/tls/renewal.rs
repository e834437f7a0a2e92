//! Renewed certificate files are put in force by SIGHUP, and without it soon after they change.

use std::{sync::Arc, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};
use tracing::{error, info};

use super::Tls;
use crate::error::NodeError;

/// Time between two looks at the files.
pub(crate) const POLL: Duration = Duration::from_secs(30);

/// Reloads each of `all` when its files change, looking every `poll`, and reloads all on SIGHUP. Runs until dropped.
///
/// A reload that fails is logged and tried again at the next look: a file may have been caught half written.
///
/// # Errors
/// The process may not listen to signals.
pub(crate) async fn keep_fresh(all: Vec<Arc<Tls>>, poll: Duration) -> Result<(), NodeError> {
    let mut hangup = signal(SignalKind::hangup()).map_err(NodeError::Signal)?;
    let mut ticks = interval(poll);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let unasked = tokio::select! {
            _ = ticks.tick() => true,
            received = hangup.recv() => match received {
                Some(()) => false,
                None => return Ok(()),
            },
        };
        for tls in &all {
            let tls = Arc::clone(tls);
            // Files are on a disk, which may be slow or gone.
            let refreshed = tokio::task::spawn_blocking(move || {
                if !unasked || tls.is_outdated() {
                    tls.reload_and_log();
                }
            });
            if let Err(panicked) = refreshed.await {
                error!(%panicked, "reload of certificates failed");
            }
        }
    }
}

impl Tls {
    fn reload_and_log(&self) {
        match self.reload() {
            Ok(()) => info!(listener = self.name, "certificates reloaded"),
            Err(error) => {
                error!(listener = self.name, %error, "certificates not reloaded: the former ones stay in force");
            }
        }
    }
}
