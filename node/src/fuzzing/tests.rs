//! Inputs that are played with every run of the tests. What fuzzing finds is added to them.

use super::play;

/// Octets that are the same each time.
fn octets(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[test]
fn what_must_hold_of_a_room_holds_whatever_is_asked() {
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..100 {
        let sum = play(&octets(seed, 300), &|_, decide| decide());
        accepted += sum.0;
        refused += sum.1;
    }
    println!("{accepted} accepted, {refused} refused");
    assert!(
        accepted > 1_000 && refused > 500,
        "{accepted} accepted, {refused} refused"
    );
}
