//! A hosted room: whatever is asked of it, well-formed, by real MLS clients that are honest or not (`mimi_hub::fuzzing`).
#![no_main]

use libfuzzer_sys::fuzz_target;
use mimi_hub_fuzz::within;

/// Octets that one decision, and applying it, may hold: a room of a few clients, its events and copies of it.
const DECISION: usize = 8 * 1024 * 1024;

/// And for each octet of the request.
const PER_OCTET: usize = 256;

fuzz_target!(|octets: &[u8]| {
    mimi_hub::fuzzing::play(octets, &|length, decide| within(DECISION + PER_OCTET * length, decide));
});
