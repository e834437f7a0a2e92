//! Names of Oblivious HTTP (RFC 9458), by which assets are downloaded (draft-ietf-mimi-protocol, section 5.10.3).
//!
//! The draft's directory has no entry for the hub's Oblivious Gateway Resource: it is at the well-known place of RFC 9540.

/// The path of the Oblivious Gateway Resource on the provider's own host (RFC 9540, section 4): a POST takes an encapsulated
/// request, a GET gives the key configurations.
pub const WELL_KNOWN_OHTTP_GATEWAY: &str = "/.well-known/ohttp-gateway";

/// Media type of a list of key configurations (RFC 9458, section 3.2).
pub const OHTTP_KEYS: &str = "application/ohttp-keys";

/// Media type of an encapsulated request (RFC 9458, section 4.1).
pub const OHTTP_REQ: &str = "message/ohttp-req";

/// Media type of an encapsulated response (RFC 9458, section 4.2).
pub const OHTTP_RES: &str = "message/ohttp-res";

/// Type of the problem that an encapsulated request names a key configuration that the gateway does not have (RFC 9458,
/// section 5.3): fetch the key configurations anew.
pub const OHTTP_KEY_PROBLEM: &str = "https://iana.org/assignments/http-problem-types#ohttp-key";

/// The largest encapsulated request for an asset that is taken, in octets. A URL of 4096 octets fits, with header fields.
pub const OHTTP_REQ_LEN_MAX: usize = 16 * 1024;
