//! Wire formats and pure rules of the MIMI drafts.
//!
//! Owns what every other crate must agree on byte for byte: identifiers, the TLS-presentation structs of the
//! endpoints, the application components of a room, the verbatim MLS objects a hub forwards, MIMI content, and the
//! decision who may do what in a room. Knows no IO, clock, randomness, async or storage, and does no cryptography: where a
//! rule needs some, the caller brings it ([`Crypto`]).
//!
//! Invariants that hold for everything decoded here: no length prefix allocates more than the octets that are
//! present; trailing octets, unknown enum values and non-minimal prefixes are errors; decoding never recurses without
//! a bound; `decode(encode(x)) == x` and `encode(decode(b)) == b`.
//!
//! Where the drafts leave a choice, `SPEC_NOTES.md` says which one this crate makes, and why.

mod abuse_report;
pub mod associated_parties;
pub mod components;
mod consent;
pub mod content;
mod credential;
mod crypto;
mod directory;
mod error;
mod franking;
mod group_info;
mod identifier_query;
mod key_material;
pub mod mls;
mod notify;
mod ohttp;
pub mod policy;
mod protocol;
mod pseudonym;
mod ratchet_tree;
mod submit_message;
pub mod tls;
mod update;
pub mod uri;

pub use abuse_report::{AbuseReport, AbuseType, AbusiveMessage, MAX_ABUSE_NOTE_LEN, MAX_ABUSIVE_MESSAGES};
pub use consent::{ConsentChange, ConsentEntry, ConsentOperation, ConsentScope};
pub use credential::ClientIdentity;
pub use crypto::{Crypto, CryptoFailed};
pub use directory::{Directory, UrlTemplate, WELL_KNOWN_DIRECTORY};
pub use error::{Error, UriFault};
pub use franking::{Frank, FrankAad, FrankingAgentData, FrankingIntegrityTbs, SERVER_FRANK_LEN, ServerFrankingContext};
pub use group_info::{
    GroupInfoCode, GroupInfoRatchetTreeTbe, GroupInfoRequest, GroupInfoRequestTbs, GroupInfoResponse,
    GroupInfoResponseTbs, PendingProposal,
};
pub use identifier_query::{
    FieldSource, IdentifierQueryCode, IdentifierRequest, IdentifierResponse, MAX_FIELD_LEN, MAX_QUERY_ELEMENTS,
    ProfileField, QueryElement, SearchIdentifierType, SearchType, UserProfile,
};
pub use key_material::{
    ClientKeyMaterial, ClientKeyMaterialOutcome, KeyMaterialClientCode, KeyMaterialRequest, KeyMaterialRequestTbs,
    KeyMaterialResponse, KeyMaterialUserCode, MAX_CLIENTS_PER_USER,
};
pub use notify::{FanoutEvent, FanoutMessage, MAX_FANOUT_MESSAGES, decode_all, encode_all};
pub use ohttp::{OHTTP_KEY_PROBLEM, OHTTP_KEYS, OHTTP_REQ, OHTTP_REQ_LEN_MAX, OHTTP_RES, WELL_KNOWN_OHTTP_GATEWAY};
pub use protocol::{CONTENT_TYPE, Protocol};
pub use pseudonym::{IdentityLinkTbe, LeafCredential, PseudonymousCredential, PseudonymousCredentialTbs};
pub use ratchet_tree::{GroupInfoOption, PartialGroupInfo, RatchetTreeOption, RatchetTreePresence};
pub use submit_message::{SubmitMessageRequest, SubmitMessageResponse, SubmitResponseCode};
pub use update::{HandshakeBundle, UpdateOutcome, UpdateRequest, UpdateResponseCode, UpdateRoomResponse};
