//! What all fuzz targets hold a decoder to: it does not panic, what it accepts is encoded as it came, and at no time does
//! it hold more memory than a multiple of its input.

mod allocator;

use std::hint::black_box;

use mimi_hub_proto::Error;
use mimi_hub_proto::tls::{Decode, Encode, decode_exact, encode};

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// Octets that decoding may hold for each octet of input. An `IdentifierUri` of one octet is the worst of the wire: a
/// `String` of 24, in a `Vec` that has just grown to twice its length with the old one still there. With the padding of
/// enumerations, and JSON and CBOR values, it stays below this.
const PER_OCTET: usize = 256;

/// Octets that decoding may hold whatever the input: messages of errors, tables built once.
const FIXED: usize = 256 * 1024;

/// Runs `decode` and panics if it held too much for an input of `length` octets.
pub fn bounded<T>(length: usize, decode: impl FnOnce() -> T) -> T {
    within(FIXED + PER_OCTET * length, decode)
}

/// Runs `work` and panics if it held more than `limit` octets at one time.
pub fn within<T>(limit: usize, work: impl FnOnce() -> T) -> T {
    let start = allocator::begin();
    let result = work();
    let held = allocator::peak().saturating_sub(start);
    assert!(held <= limit, "{held} octets held, more than {limit}");
    result
}

/// Decodes `octets` as a `T` and nothing else. What is accepted has exactly one encoding.
pub fn exact<T: Decode + Encode>(octets: &[u8]) -> Option<T> {
    let value = bounded(octets.len(), || decode_exact::<T>(octets)).ok()?;
    assert!(encode(&value) == octets, "accepted in an encoding that is not its own");
    Some(value)
}

/// For views of something that was accepted, which must not fail.
pub fn seen<T>(view: Result<T, Error>) {
    match view {
        Ok(value) => {
            black_box(value);
        }
        Err(error) => panic!("a view of what was accepted fails: {error}"),
    }
}
