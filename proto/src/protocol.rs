//! What all endpoints share: the protocol selector and the media type of the bodies.

use crate::tls::tls_enum;

/// The media type of request and response bodies. The draft names none; see `SPEC_NOTES.md`.
pub const CONTENT_TYPE: &str = "application/mimi";

tls_enum! {
    /// The end-to-end protocol of a room (draft-ietf-mimi-protocol, section 5).
    pub enum Protocol: u8 {
        /// MLS 1.0 (RFC 9420).
        Mls10 = 1,
    }
}
