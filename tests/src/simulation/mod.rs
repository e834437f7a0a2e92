//! A simulated hub: real cores and entities on a virtual clock, network and disks, with clients that check what they get.
//! See the README of this crate for what is checked.
//!
//! | module | owns |
//! |---|---|
//! | `run` | one run, from a seed |
//! | `scenario` | what a seed's world is like |
//! | `clients`, `mls` | who asks, and what |
//! | `history` | what has happened by the log, and what must hold of it |
//! | `report` | many runs, and what came of them |

mod clients;
mod history;
mod mls;
mod report;
mod run;
mod scenario;

pub use report::{Options, Report, simulate};
