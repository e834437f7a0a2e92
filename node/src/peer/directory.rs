//! Directories of other providers: fetching one, and remembering it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{
    StatusCode,
    header::{ACCEPT, FROM},
};
use mimi_hub_proto::{Directory, WELL_KNOWN_DIRECTORY, uri::ProviderDomain};
use tokio::{sync::Mutex as AsyncMutex, time::timeout};
use tracing::debug;
use url::Url;

use super::{Endpoint, PeerError, http_client::HttpClients, read_body};
use crate::recent::RecentMap;

/// A directory has ten URLs.
const DIRECTORY_BYTES_MAX: usize = 64 * 1024;

/// Time for one fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Neither a 404 nor a fetch that failed makes us fetch the directory of one provider more often than this, as long as
/// we have one: rooms that are gone answer 404 all the time.
pub(super) const REFRESH_INTERVAL: Duration = Duration::from_secs(5);

/// Directories remembered at once.
const PROVIDERS_MAX: usize = 10_000;

/// Gets the directory of `domain` on behalf of `our_domain`.
pub(super) async fn fetch(
    clients: &HttpClients,
    our_domain: &ProviderDomain,
    domain: &ProviderDomain,
) -> Result<Directory, PeerError> {
    let text = format!("https://{domain}{WELL_KNOWN_DIRECTORY}");
    let url = Url::parse(&text).map_err(|_| PeerError::InvalidDirectory {
        problem: format!("{text} is not a URL"),
    })?;
    let (client, url) = clients.route(domain, url)?;
    let request = client
        .get(url)
        .header(FROM, format!("mimi@{our_domain}"))
        .header(ACCEPT, "application/json");
    let fetched = async {
        let response = request.send().await.map_err(|error| PeerError::from_http(&error))?;
        match response.status() {
            StatusCode::OK => read_body(response, DIRECTORY_BYTES_MAX).await,
            status => Err(PeerError::DirectoryStatus { status }),
        }
    };
    let body = timeout(FETCH_TIMEOUT, fetched)
        .await
        .unwrap_or(Err(PeerError::Timeout))?;
    read(&body)
}

/// A directory all of whose URLs, as far as we use them, lead to an endpoint.
fn read(json: &[u8]) -> Result<Directory, PeerError> {
    let directory: Directory = serde_json::from_slice(json).map_err(|error| PeerError::InvalidDirectory {
        problem: error.to_string(),
    })?;
    for endpoint in Endpoint::ALL {
        match endpoint.url(&directory, "identifier") {
            // The endpoints that a hub needs to host a room are there, or it would not have decoded.
            Ok(_) | Err(PeerError::NotOffered) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(directory)
}

/// How old an answer may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Freshness {
    /// Fetched after the one of this time, which turned out to be of no use.
    NewerThan(Instant),
    /// As usual.
    WithinTtl,
}

/// A directory and when it was fetched.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Every URL in it that we use is one.
    pub(crate) directory: Arc<Directory>,
    pub(super) fetched_at: Instant,
}

/// The directories of all providers that we have called of late.
#[derive(Debug)]
pub(super) struct Directories {
    ttl: Duration,
    refresh_interval: Duration,
    slots: Mutex<RecentMap<ProviderDomain, Arc<Slot>>>,
}

/// What is known of one provider.
#[derive(Debug, Default)]
struct Slot {
    known: Mutex<Known>,
    /// Held during a fetch, so that there is one at a time.
    fetching: AsyncMutex<()>,
}

#[derive(Clone, Debug, Default)]
struct Known {
    found: Option<Found>,
    /// The last fetch, if it failed.
    failed: Option<(Instant, PeerError)>,
}

impl Directories {
    pub(super) fn new(ttl: Duration, refresh_interval: Duration) -> Self {
        Self {
            ttl,
            refresh_interval,
            slots: Mutex::new(RecentMap::new(PROVIDERS_MAX)),
        }
    }

    /// The directory of `domain`, by `fetch` if what is known is not fresh enough.
    pub(super) async fn look_up<F>(
        &self,
        domain: &ProviderDomain,
        freshness: Freshness,
        fetch: impl FnOnce() -> F,
    ) -> Result<Found, PeerError>
    where
        F: Future<Output = Result<Directory, PeerError>>,
    {
        let asked_at = Instant::now();
        let slot = self.slot(domain, asked_at);
        if let Some(found) = self.fresh_enough(&slot, freshness, asked_at) {
            return Ok(found);
        }
        let _fetching = slot.fetching.lock().await;
        // Somebody else may have fetched while we waited for our turn; then its outcome is ours.
        if let Some(found) = self.fresh_enough(&slot, freshness, Instant::now()) {
            return Ok(found);
        }
        let known = slot.known();
        let outcome = match known.failed {
            Some((failed_at, error)) if failed_at >= asked_at => Err(error),
            // With a former one at hand, callers need not wait for a fetch that failed just now.
            Some((failed_at, error)) if known.found.is_some() && failed_at.elapsed() < self.refresh_interval => {
                Err(error)
            }
            _ => slot.remember(fetch().await),
        };
        match (outcome, freshness, known.found) {
            (Err(error), Freshness::WithinTtl, Some(stale)) => {
                debug!(%domain, %error, "directory not refreshed, using the former one");
                Ok(stale)
            }
            (outcome, ..) => outcome,
        }
    }

    fn slot(&self, domain: &ProviderDomain, now: Instant) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let (slot, _) = slots.entry(domain, now, Arc::default);
        Arc::clone(slot)
    }

    fn fresh_enough(&self, slot: &Slot, freshness: Freshness, now: Instant) -> Option<Found> {
        slot.known().found.filter(|found| {
            let age = now.saturating_duration_since(found.fetched_at);
            match freshness {
                Freshness::NewerThan(former) => found.fetched_at > former || age < self.refresh_interval,
                Freshness::WithinTtl => age < self.ttl,
            }
        })
    }
}

impl Slot {
    fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, outcome: Result<Directory, PeerError>) -> Result<Found, PeerError> {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(directory) => {
                let found = Found {
                    directory: Arc::new(directory),
                    fetched_at: now,
                };
                *known = Known {
                    found: Some(found.clone()),
                    failed: None,
                };
                Ok(found)
            }
            Err(error) => {
                known.failed = Some((now, error.clone()));
                Err(error)
            }
        }
    }
}
