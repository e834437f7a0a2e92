//! The state store: one ordered key space, written in atomic batches.

use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::error::StorageError;

/// A key and its value.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// An ordered map of bytes whose writes are atomic and become durable later.
///
/// Invariants that every implementation keeps (the conformance suite checks them):
/// - a [`Batch`] is visible and durable as a whole or not at all;
/// - after a crash the store holds a prefix of the batches written, in order, and at least all of those before the last
///   successful [`flush`](Self::flush);
/// - a failed `write` changes nothing.
pub trait StateStore: Send + Sync + 'static {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// Up to `limit` pairs of `range`, in the order of `direction`.
    ///
    /// Not a snapshot: batches written while the scan runs may be seen in part.
    fn scan(&self, range: &KeyRange, limit: usize, direction: Direction) -> Result<Vec<KeyValue>, StorageError>;

    /// Writes the batch atomically. It is visible on return, and durable after the next [`flush`](Self::flush).
    fn write(&self, batch: Batch) -> Result<(), StorageError>;

    /// Makes everything written before the call durable. May run beside writes; what they write may be covered or not.
    fn flush(&self) -> Result<(), StorageError>;

    /// Bytes that the store takes on its device.
    fn size_on_disk(&self) -> Result<u64, StorageError>;
}

/// The order of a scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key up.
    #[default]
    Forward,
    /// From the largest key down.
    Reverse,
}

/// Keys from `start` (inclusive) up to `end` (exclusive).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    start: Vec<u8>,
    end: Option<Vec<u8>>,
}

impl KeyRange {
    /// Keys `k` with `start <= k < end`. Empty when `start >= end`.
    pub fn new(start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> Self {
        Self {
            start: start.into(),
            end: Some(end.into()),
        }
    }

    /// Every key.
    pub fn all() -> Self {
        Self::default()
    }

    /// Every key from `start` on.
    pub fn from(start: impl Into<Vec<u8>>) -> Self {
        Self {
            start: start.into(),
            end: None,
        }
    }

    /// Every key that begins with `prefix`.
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        let start: Vec<u8> = prefix.into();
        let mut end = start.clone();
        // The smallest key above all those with the prefix: drop trailing 0xff, add one to what is left.
        while end.last() == Some(&u8::MAX) {
            end.pop();
        }
        match end.last_mut() {
            Some(last) => {
                *last += 1;
                Self { start, end: Some(end) }
            }
            None => Self { start, end: None },
        }
    }

    /// The first key that may be in the range.
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// The first key above the range; `None` when it has no upper end.
    pub fn end(&self) -> Option<&[u8]> {
        self.end.as_deref()
    }

    /// Whether no key can be in the range.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| &self.start >= end)
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && self.end.as_deref().is_none_or(|end| key < end)
    }

    pub(crate) fn bounds(&self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let end = self.end.clone().map_or(Bound::Unbounded, Bound::Excluded);
        (Bound::Included(self.start.clone()), end)
    }
}

/// One change of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Remove the key, which need not be there.
    Delete(Vec<u8>),
    /// Set the key to the value.
    Put(Vec<u8>, Vec<u8>),
}

/// Changes that are made together. Later ones win over earlier ones of the same key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    ops: Vec<Op>,
}

impl Batch {
    /// Sets `key` to `value`.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.ops.push(Op::Put(key.into(), value.into()));
    }

    /// Removes `key`.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.ops.push(Op::Delete(key.into()));
    }

    /// Whether the batch changes nothing.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The changes, in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    pub(crate) fn into_ops(self) -> Vec<Op> {
        self.ops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(KeyRange::prefix([1, 2]), KeyRange::new([1, 2], [1, 3]));
        assert_eq!(KeyRange::prefix([1, 0xff]), KeyRange::new([1, 0xff], [2]));
        assert_eq!(KeyRange::prefix([0xff, 0xff]).end(), None);
        assert_eq!(KeyRange::prefix([]), KeyRange::all());
    }

    #[test]
    fn a_range_knows_what_it_holds() {
        let range = KeyRange::new("b", "d");
        assert!(range.contains(b"b") && range.contains(b"czz"));
        assert!(!range.contains(b"a") && !range.contains(b"d"));
        assert!(KeyRange::new("b", "b").is_empty() && KeyRange::new("c", "b").is_empty());
        assert!(!KeyRange::all().is_empty());
    }
}
