//! A hosted room: an event-sourced state machine.
//!
//! - [`event`]: what can happen to it (what is stored and replicated);
//! - [`state`]: its MLS epoch, participant list and policy in memory, rebuilt from a checkpoint and the events since;
//! - [`create`], [`commit`], [`proposals`], [`message`], [`report`], [`key_material`], [`group_info`]: `decide`, one file a
//!   request;
//! - [`external_senders`]: which providers may send proposals without being in the group;
//! - [`credentials`]: whose a leaf is, and whether its room goes by real names or by pseudonyms;
//! - [`franking`]: the stamp on a message, and what it proves later;
//! - [`join_codes`], [`moderation`]: the same for what only this provider asks; [`records`] is what that leaves behind;
//! - [`fan_out`]: what each destination receives of an event;
//! - [`entity`]: the requests a room's actor takes, in one list; [`view`]: what gateways are shown.
//!
//! `decide` is pure: state, time and request in, an event or a typed refusal out. It changes nothing; `advance` does, and
//! cannot fail on what `decide` accepted.

pub(crate) mod app_data;
pub mod commit;
pub mod create;
pub(crate) mod credentials;
pub(crate) mod entity;
pub mod event;
mod external_senders;
pub(crate) mod fan_out;
pub(crate) mod franking;
pub(crate) mod group_info;
pub(crate) mod handshake;
pub(crate) mod join_codes;
pub(crate) mod key_material;
pub mod message;
pub(crate) mod moderation;
pub mod proposals;
pub mod records;
pub(crate) mod report;
pub mod state;
pub(crate) mod view;

pub(crate) use self::entity::{RoomAnswer, RoomRequest};
pub use self::handshake::Hosting;
