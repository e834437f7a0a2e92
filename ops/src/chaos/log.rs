//! What the clients have seen while the faults went on: every acknowledgement with its time, errors, claims of KeyPackages.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

type Hash = [u8; 32];

/// Shared by all clients.
pub(super) struct Log {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// By room: when a message of it was acknowledged.
    acks: Vec<Vec<Instant>>,
    commits: u64,
    errors: u64,
    first_errors: Vec<String>,
    /// KeyPackages that were handed out, each with the request that it answered.
    claimed: HashMap<Hash, Hash>,
    /// KeyPackages that an accepted Commit has used.
    used: BTreeSet<Hash>,
    reused: BTreeMap<Hash, u64>,
}

/// A time without an acknowledgement in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Gap {
    pub(super) lasts: Duration,
    pub(super) from: Instant,
}

/// Totals.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) acked: usize,
    pub(super) commits: u64,
    pub(super) errors: u64,
    pub(super) first_errors: Vec<String>,
    pub(super) key_packages_claimed: usize,
    pub(super) key_packages_reused: usize,
}

const ERRORS_SHOWN_MAX: usize = 10;

impl Log {
    pub(super) fn new(rooms: usize) -> Self {
        let inner = Inner {
            acks: vec![Vec::new(); rooms],
            ..Inner::default()
        };
        Self {
            inner: Mutex::new(inner),
        }
    }

    pub(super) fn acked(&self, room: usize) {
        if let Some(acks) = self.lock().acks.get_mut(room) {
            acks.push(Instant::now());
        }
    }

    pub(super) fn committed(&self) {
        self.lock().commits += 1;
    }

    pub(super) fn failed(&self, error: String) {
        let mut inner = self.lock();
        inner.errors += 1;
        if inner.first_errors.len() < ERRORS_SHOWN_MAX {
            inner.first_errors.push(error);
        }
    }

    pub(super) fn errors(&self) -> u64 {
        self.lock().errors
    }

    /// These KeyPackages came in answer to a request. The same request again may be answered with the same ones, until they are
    /// used; another may not.
    pub(super) fn claimed(&self, request: &[u8], key_packages: &[Vec<u8>]) {
        let request: Hash = Sha256::digest(request).into();
        let mut inner = self.lock();
        for key_package in key_packages {
            let hash: Hash = Sha256::digest(key_package).into();
            let before = inner.claimed.insert(hash, request);
            if before.is_some_and(|before| before != request) || inner.used.contains(&hash) {
                *inner.reused.entry(hash).or_default() += 1;
            }
        }
    }

    /// A Commit that adds these was accepted.
    pub(super) fn used(&self, key_packages: &[Vec<u8>]) {
        let mut inner = self.lock();
        for key_package in key_packages {
            inner.used.insert(Sha256::digest(key_package).into());
        }
    }

    pub(super) fn totals(&self) -> Totals {
        let inner = self.lock();
        Totals {
            acked: inner.acks.iter().map(Vec::len).sum(),
            commits: inner.commits,
            errors: inner.errors,
            first_errors: inner.first_errors.clone(),
            key_packages_claimed: inner.claimed.len(),
            key_packages_reused: inner.reused.len(),
        }
    }

    /// The longest time between two acknowledgements in a room that touches the time from `from` to `to`. `None` where the room
    /// has too few.
    pub(super) fn longest_gap(&self, room: usize, from: Instant, to: Instant) -> Option<Gap> {
        let mut inner = self.lock();
        let acks = inner.acks.get_mut(room)?;
        acks.sort_unstable();
        let gaps = acks.windows(2).map(|pair| Gap {
            lasts: pair[1] - pair[0],
            from: pair[0],
        });
        gaps.filter(|gap| gap.from < to && gap.from + gap.lasts > from).max()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_package_is_reused_by_another_request_or_after_its_use() {
        let log = Log::new(1);
        let [one, two] = [b"one".to_vec(), b"two".to_vec()];
        log.claimed(b"request", std::slice::from_ref(&one));
        log.claimed(b"request", std::slice::from_ref(&one));
        assert_eq!(log.totals().key_packages_reused, 0, "sent again");
        log.claimed(b"other", std::slice::from_ref(&two));
        log.claimed(b"request", std::slice::from_ref(&two));
        assert_eq!(log.totals().key_packages_reused, 1, "another request");
        log.used(std::slice::from_ref(&one));
        log.claimed(b"request", std::slice::from_ref(&one));
        assert_eq!(log.totals().key_packages_reused, 2, "used before");
        assert_eq!(log.totals().key_packages_claimed, 2);
    }

    #[test]
    fn gaps_are_those_that_touch_the_time_asked_for() {
        let log = Log::new(2);
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        log.lock().acks[0] = [0, 10, 500, 510, 520, 2_000].map(at).to_vec();
        let gap = |from, to| log.longest_gap(0, at(from), at(to)).map(|gap| gap.lasts.as_millis());
        assert_eq!(gap(5, 505), Some(490));
        assert_eq!(gap(501, 515), Some(10));
        assert_eq!(gap(0, 3_000), Some(1_480));
        assert_eq!(log.longest_gap(1, start, at(3_000)), None);
        assert_eq!(log.totals().acked, 6);
    }
}
