//! Assets that were fetched of late, in memory: "the hub can cache requests", which hides from the asset provider how many
//! participants of a room download (draft-ietf-mimi-protocol, section 5.10.2).
//!
//! Invariant: what is stored and what is being collected for it are together no larger than the cache's bound; the assets
//! used longest ago make room.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue};

/// What an entry takes apart from its body and twice its key, roughly.
const ENTRY_OVERHEAD: usize = 512;

/// An asset is cached if it takes no more than this part of the cache, so that a few do not empty it.
const SHARE_MAX: usize = 4;

/// A whole asset.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    pub(super) content_type: Option<HeaderValue>,
    pub(super) body: Bytes,
}

#[derive(Debug)]
pub(super) struct Cache {
    bytes_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<Arc<str>, Entry>,
    /// Keys by their last use.
    order: BTreeMap<u64, Arc<str>>,
    /// Counts uses.
    uses: u64,
    /// What the entries cost.
    stored: usize,
    /// What is being collected.
    reserved: usize,
}

#[derive(Debug)]
struct Entry {
    whole: Whole,
    expires_at: Instant,
    used: u64,
    cost: usize,
}

/// What comes in of an asset that shall be cached. Gives up without a word when it becomes too large.
pub(super) struct Collector {
    cache: Arc<Cache>,
    key: Arc<str>,
    content_type: Option<HeaderValue>,
    lifetime: Duration,
    body: Vec<u8>,
    /// Reserved in the cache so far; `None` once given up.
    cost: Option<usize>,
}

impl Cache {
    pub(super) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Cache {
            bytes_max,
            inner: Mutex::default(),
        })
    }

    pub(super) fn get(&self, key: &str, now: Instant) -> Option<Whole> {
        let inner = &mut *self.lock();
        if inner.entries.get(key)?.expires_at <= now {
            inner.remove(key);
            return None;
        }
        inner.uses += 1;
        let entry = inner.entries.get_mut(key)?;
        let key = inner.order.remove(&entry.used)?;
        entry.used = inner.uses;
        inner.order.insert(inner.uses, key);
        Some(entry.whole.clone())
    }

    pub(super) fn collect(
        self: &Arc<Self>,
        key: &str,
        content_type: Option<HeaderValue>,
        lifetime: Duration,
    ) -> Collector {
        let fixed = ENTRY_OVERHEAD + 2 * key.len();
        Collector {
            cache: Arc::clone(self),
            key: key.into(),
            content_type,
            lifetime,
            body: Vec::new(),
            cost: self.reserve(0, fixed).then_some(fixed),
        }
    }

    /// Reserves `more` for an asset that has `so_far`; whether there is room.
    fn reserve(&self, so_far: usize, more: usize) -> bool {
        let inner = &mut *self.lock();
        let wanted = inner.reserved.saturating_add(more);
        if so_far.saturating_add(more) > self.bytes_max / SHARE_MAX || wanted > self.bytes_max {
            return false;
        }
        while inner.stored + wanted > self.bytes_max {
            let Some((_, oldest)) = inner.order.first_key_value() else {
                return false;
            };
            let oldest = Arc::clone(oldest);
            inner.remove(&oldest);
        }
        inner.reserved = wanted;
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes stored and reserved.
    #[cfg(test)]
    pub(super) fn taken(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.stored, inner.reserved)
    }
}

impl Inner {
    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.stored -= entry.cost;
        }
    }
}

impl Collector {
    pub(super) fn push(&mut self, piece: &[u8]) {
        let Some(cost) = self.cost else { return };
        if self.cache.reserve(cost, piece.len()) {
            self.body.extend_from_slice(piece);
            self.cost = Some(cost + piece.len());
        } else {
            self.give_up();
        }
    }

    /// All has come: puts it into the cache.
    pub(super) fn finish(mut self, now: Instant) {
        let Some(cost) = self.cost.take() else { return };
        let whole = Whole {
            content_type: self.content_type.take(),
            body: std::mem::take(&mut self.body).into(),
        };
        let inner = &mut *self.cache.lock();
        inner.remove(&self.key);
        inner.reserved -= cost;
        inner.stored += cost;
        inner.uses += 1;
        let used = inner.uses;
        inner.order.insert(used, Arc::clone(&self.key));
        let expires_at = now + self.lifetime;
        inner.entries.insert(
            Arc::clone(&self.key),
            Entry {
                whole,
                expires_at,
                used,
                cost,
            },
        );
    }

    fn give_up(&mut self) {
        self.body = Vec::new();
        if let Some(cost) = self.cost.take() {
            self.cache.lock().reserved -= cost;
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// How long a shared cache may keep an answer of success, at most `ttl`; `None`: not at all (RFC 9111, sections 3 and 5.2.2).
pub(super) fn lifetime(headers: &HeaderMap, ttl: Duration) -> Option<Duration> {
    let mut max_age = None;
    let mut s_maxage = None;
    for value in headers.get_all(CACHE_CONTROL) {
        // What cannot be read might forbid it.
        for directive in value.to_str().ok()?.split(',') {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            let seconds = || argument.trim().trim_matches('"').parse().ok().map(Duration::from_secs);
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" | "private" => return None,
                "max-age" => max_age = Some(seconds()?),
                "s-maxage" => s_maxage = Some(seconds()?),
                _ => {}
            }
        }
    }
    let lifetime = s_maxage.or(max_age).map_or(ttl, |said| said.min(ttl));
    (!lifetime.is_zero()).then_some(lifetime)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 64 * 1024;
    const TTL: Duration = Duration::from_secs(60);

    fn put(cache: &Arc<Cache>, key: &str, len: usize, now: Instant) {
        let mut collector = cache.collect(key, None, TTL);
        for _ in 0..len / 1024 {
            collector.push(&[7; 1024]);
        }
        collector.finish(now);
    }

    fn is_cached(cache: &Cache, key: &str, now: Instant) -> bool {
        cache.get(key, now).is_some()
    }

    #[test]
    fn the_asset_used_longest_ago_makes_room() {
        let (cache, now) = (Cache::new(MAX), Instant::now());
        for key in ["a", "b", "c", "d"] {
            put(&cache, key, 15 * 1024, now);
        }
        assert!(is_cached(&cache, "a", now));
        put(&cache, "e", 15 * 1024, now);
        let kept = ["a", "b", "c", "d", "e"].map(|key| is_cached(&cache, key, now));
        assert_eq!(kept, [true, false, true, true, true]);
        assert_eq!(cache.get("e", now).unwrap().body.len(), 15 * 1024);
    }

    #[test]
    fn what_is_stored_and_collected_never_exceeds_the_bound() {
        let (cache, now) = (Cache::new(MAX), Instant::now());
        let mut open: Vec<Collector> = Vec::new();
        for round in 0_usize..400 {
            let mut collector = cache.collect(&format!("{}", round % 37), None, TTL);
            for _ in 0..round % 11 {
                collector.push(&vec![1; 37 * (round % 101)]);
            }
            match round % 3 {
                0 => collector.finish(now),
                1 => open.push(collector),
                _ => drop(collector),
            }
            if open.len() > 5 {
                open.remove(0).finish(now);
            }
            let (stored, reserved) = cache.taken();
            assert!(stored + reserved <= MAX, "{stored} + {reserved}");
        }
        open.clear();
        assert_eq!(cache.taken().1, 0, "nothing stays reserved");
        let inner = cache.lock();
        assert_eq!(
            inner.stored,
            inner.entries.values().map(|entry| entry.cost).sum::<usize>()
        );
        assert_eq!(inner.order.len(), inner.entries.len());
    }

    #[test]
    fn an_asset_too_large_for_its_share_is_not_cached_and_costs_nobody() {
        let (cache, now) = (Cache::new(MAX), Instant::now());
        put(&cache, "small", 1024, now);
        put(&cache, "large", 17 * 1024, now);
        assert!(is_cached(&cache, "small", now));
        assert!(!is_cached(&cache, "large", now));
        assert_eq!(cache.taken().1, 0);
        let none = Cache::new(0);
        put(&none, "small", 1024, now);
        assert!(!is_cached(&none, "small", now));
    }

    #[test]
    fn an_asset_whose_time_is_over_is_gone() {
        let (cache, now) = (Cache::new(MAX), Instant::now());
        put(&cache, "a", 1024, now);
        assert!(is_cached(&cache, "a", now + TTL - Duration::from_millis(1)));
        assert!(!is_cached(&cache, "a", now + TTL));
        assert_eq!(cache.taken(), (0, 0));
    }

    /// RFC 9111, sections 3 and 5.2.2.
    #[test]
    fn the_server_may_say_less() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CACHE_CONTROL, HeaderValue::from_static(value));
            }
            lifetime(&headers, TTL)
        };
        assert_eq!(of(&[]), Some(TTL));
        assert_eq!(of(&["public, immutable"]), Some(TTL));
        assert_eq!(of(&["max-age=5"]), Some(Duration::from_secs(5)));
        assert_eq!(of(&["Max-Age=5", "s-maxage=7"]), Some(Duration::from_secs(7)));
        assert_eq!(of(&["max-age=5000"]), Some(TTL));
        for none in [
            "no-store",
            "public, No-Cache",
            "private",
            "private=\"x\"",
            "max-age=0",
            "max-age=x",
        ] {
            assert_eq!(of(&[none]), None, "{none}");
        }
    }
}
