//! Rooms that octets play in, for `tests/fuzz`: real MLS clients ask what the octets choose of a room, well-formed but
//! honest or not, and after each request what must always hold of a room is checked.
//!
//! - [`choices`]: octets as choices;
//! - [`world`]: the room, its people and what they have sent before; asks, checks, delivers;
//! - [`steps`], [`commits`]: what can be asked, and by whom.
//!
//! What does not hold is a panic: a decision that fails (which is not a refusal), an event that the state machine does not
//! take, a refusal that changes something, a room that is rebuilt otherwise than it lives, clients of another view than the
//! hub's.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here is a finding, and a finding is a panic"
)]

mod choices;
mod commits;
mod steps;
#[cfg(test)]
mod tests;
mod world;

use self::choices::Choices;
use self::world::World;

/// The most requests that one input makes.
const STEPS_MAX: usize = 40;

/// Runs one decision, which is about so many octets of request.
pub type Watch<'a> = dyn Fn(usize, &mut dyn FnMut()) + 'a;

/// Makes a room and asks of it what `octets` choose. Every decision runs within `watch`, which may look at what it costs.
/// Gives how many requests were accepted, and how many refused.
///
/// # Panics
/// Where something does not hold that has to.
pub fn play(octets: &[u8], watch: &Watch<'_>) -> (usize, usize) {
    let mut choices = Choices(octets);
    let mut world = World::new(&mut choices, watch);
    let mut steps = 0;
    while choices.are_left() && steps < STEPS_MAX && !world.over {
        steps::step(&mut world, &mut choices);
        steps += 1;
    }
    (world.accepted, world.refused)
}
