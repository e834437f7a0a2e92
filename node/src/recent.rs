//! A map that forgets: for what is kept per other provider, whose number the other side decides.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// A map of at most `entries_max` entries. A new one beyond that costs the less recently used half of the others; so a
/// newcomer always finds room, and room is made seldom.
#[derive(Debug)]
pub(crate) struct RecentMap<K, V> {
    entries: HashMap<K, (V, Instant)>,
    entries_max: usize,
}

impl<K: Clone + Eq + Hash, V> RecentMap<K, V> {
    /// An empty map; at least one entry fits.
    pub(crate) fn new(entries_max: usize) -> Self {
        Self {
            entries: HashMap::new(),
            entries_max: entries_max.max(1),
        }
    }

    /// The entry of `key`, made first if there is none, with the time since its last use (zero for a new one). Marks it
    /// as used at `now`.
    pub(crate) fn entry(&mut self, key: &K, now: Instant, make: impl FnOnce() -> V) -> (&mut V, Duration) {
        if !self.entries.contains_key(key) && self.entries.len() >= self.entries_max {
            self.forget_half();
        }
        let (value, used) = self.entries.entry(key.clone()).or_insert_with(|| (make(), now));
        let idle = now.saturating_duration_since(*used);
        *used = now;
        (value, idle)
    }

    /// The value of `key`, if there is one, which is then marked as used at `now`.
    pub(crate) fn get(&mut self, key: &K, now: Instant) -> Option<&mut V> {
        let (value, used) = self.entries.get_mut(key)?;
        *used = now;
        Some(value)
    }

    /// Puts a value in the place of `key`, used at `now`.
    pub(crate) fn insert(&mut self, key: K, value: V, now: Instant) {
        if !self.entries.contains_key(&key) && self.entries.len() >= self.entries_max {
            self.forget_half();
        }
        self.entries.insert(key, (value, now));
    }

    fn forget_half(&mut self) {
        let mut uses: Vec<Instant> = self.entries.values().map(|(_, used)| *used).collect();
        uses.sort_unstable();
        let Some(&limit) = uses.get(uses.len().saturating_sub(1) / 2) else {
            return;
        };
        let before = self.entries.len();
        self.entries.retain(|_, (_, used)| *used > limit);
        debug_assert!(self.entries.len() < before, "the entry used at `limit` is gone");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_map_forgets_what_was_used_longest_ago() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut map = RecentMap::new(4);
        for key in 0..4 {
            map.entry(&key, at(key), || key);
        }
        assert_eq!(map.entry(&0, at(10), || 99), (&mut 0, Duration::from_secs(10)));
        assert_eq!(map.entry(&7, at(11), || 7), (&mut 7, Duration::ZERO));
        let mut kept: Vec<u64> = map.entries.keys().copied().collect();
        kept.sort_unstable();
        assert_eq!(kept, [0, 3, 7], "1 and 2 were used longest ago");
    }

    #[test]
    fn entries_of_one_instant_do_not_stay_for_ever() {
        let now = Instant::now();
        let mut map = RecentMap::new(3);
        for key in 0..1000 {
            map.entry(&key, now, || ());
            assert!(map.entries.len() <= 3);
        }
    }
}
