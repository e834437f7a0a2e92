//! The reference client: one MIMI client (a device of a user) over the local API of its provider.
//!
//! | module | owns |
//! |---|---|
//! | [`gateway`](Gateway) | the local API: one typed method for each call, mutual TLS, sending again |
//! | [`state`](ClientState) | the client without its network: MLS groups, what is unanswered, transcripts |
//! | `keys` | signature key, credential, KeyPackages, the labelled operations of RFC 9420 |
//! | `requests` | the signed requests, and opening the encrypted GroupInfo |
//! | `join` | making a room, joining by an external Commit |
//! | `commit` | Commits, leaving, and the hub's answers |
//! | `receive` | FanoutMessages |
//! | `franking` | the stamp of the hub on messages, and reporting them |
//! | `people` | consent, finding users, reports, over the gateway |
//! | `pseudonyms` | minimal metadata rooms: a user's pseudonym, and who is behind those of others |
//! | `assets` | attached files: encrypted and decrypted, and fetched by proxyDownload or Oblivious HTTP |
//! | `app_data` | what AppDataUpdates do to the room's components |
//! | `roles` | what a new room begins with |
//! | `driver` ([`Client`]) | state and gateway together: send, follow the stream, try again |

mod app_data;
mod assets;
mod commit;
mod driver;
mod external_senders;
mod franking;
mod gateway;
mod join;
mod keys;
mod message;
mod people;
mod pseudonyms;
mod receive;
mod requests;
mod roles;
mod room;
mod state;
#[cfg(test)]
mod tests;
mod transcript;

pub use app_data::resolve as resolve_app_data;
pub use assets::DownloadBy;
pub use commit::{RoomChange, UpdateAnswer};
pub use driver::Client;
pub use franking::Evidence;
pub use gateway::{
    Admin, Consent, ConsentAnswer, ConsentAsked, ConsentSent, ConsentTold, ConsentView, EventPage, FrankingKeyInfo,
    Gateway, GatewaySettings, HubInfo, JoinCode, JoinCodeTerms, KeyPackageStock, MemberView, ParticipantView, Problem,
    ProfileEntry, Report, ReportPage, ReportedMessage, Resent, RetryPolicy, RoomEvent, RoomView,
};
pub use join::NewRoom;
pub use message::MessageAnswer;
pub use pseudonyms::{IdentityLinkKey, KnownClients, MemberIdentity, Pseudonym};
pub use receive::Received;
pub use requests::GroupInfoQuery;
pub use roles::{InitialState, NO_ROLE, ROLE_ADMIN, ROLE_BANNED, ROLE_MEMBER, ROLE_MODERATOR, default_roles};
pub use room::RoomState;
pub use state::{ClientState, TreeOption};
pub use transcript::TranscriptEntry;
