//! What can be wrong with outside input. Verdicts of the room's policy are not errors of this kind: see
//! [`crate::policy`].

/// Why octets or text were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A component that a room cannot do without is not in the `app_data_dictionary`.
    #[error("component {component:#06x} is missing")]
    ComponentMissing {
        /// The ComponentID.
        component: u16,
    },
    /// Two entries of a list that must be unique are the same.
    #[error("{what} {value} appears more than once")]
    Duplicate {
        /// The list's element.
        what: &'static str,
        /// The value seen twice.
        value: String,
    },
    /// A rule of a draft about a single value or a combination of values is broken.
    #[error("{what} is invalid: {why}")]
    Invalid {
        /// The struct or field.
        what: &'static str,
        /// The rule.
        why: &'static str,
    },
    /// The length prefix of a vector starts with the bits 11 (RFC 9420, section 2.1.2).
    #[error("vector length prefix starts with {octet:#04x}")]
    LengthPrefix {
        /// The first octet of the prefix.
        octet: u8,
    },
    /// A size or a count is above the bound this crate sets.
    #[error("{what} is {value}, above the limit of {limit}")]
    Limit {
        /// What was measured.
        what: &'static str,
        /// Its size, in octets or elements.
        value: usize,
        /// The bound.
        limit: usize,
    },
    /// A vector's length was not written in the fewest octets possible.
    #[error("vector length {length} is not written in the fewest octets")]
    NonMinimalLength {
        /// The length the prefix states.
        length: usize,
    },
    /// CBOR that is well-formed but not in the deterministic encoding of RFC 8949, section 4.2.1.
    #[error("CBOR is not deterministically encoded")]
    NotDeterministic,
    /// Octets remain after the end of the structure.
    #[error("{octets} octets after the end")]
    Trailing {
        /// How many.
        octets: usize,
    },
    /// The input ends inside a field.
    #[error("input ends early: {needed} octets needed, {available} left")]
    Truncated {
        /// What the field takes.
        needed: usize,
        /// What is there.
        available: usize,
    },
    /// An object of another type was expected here.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// The type the grammar allows at this place.
        expected: &'static str,
        /// The type that was there.
        found: &'static str,
    },
    /// The value of an enumeration is not one that this crate knows.
    #[error("unknown {what} {value}")]
    UnknownValue {
        /// The enumeration, by its name in the draft.
        what: &'static str,
        /// The value.
        value: u64,
    },
    /// A list that must be ordered is not.
    #[error("{what} {value} is out of order")]
    Unordered {
        /// The list's element.
        what: &'static str,
        /// The value that is smaller than the one before it.
        value: u64,
    },
    /// An identifier is not a MIMI URI, or not of the kind expected.
    #[error("{text:?} is not {expected}: {fault}")]
    Uri {
        /// What was refused.
        text: String,
        /// The kind of identifier expected.
        expected: &'static str,
        /// What is wrong.
        fault: UriFault,
    },
    /// A text field is not UTF-8, or contains what its draft forbids.
    #[error("{what} is not valid text")]
    Utf8 {
        /// The field.
        what: &'static str,
    },
}

/// What is wrong with an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UriFault {
    /// A character or percent-encoded octet is not allowed where it stands.
    #[error("character or octet {0:#04x} is not allowed there")]
    Character(u8),
    /// The host is not a DNS name.
    #[error("its host is not a DNS name")]
    Domain,
    /// A path segment is empty or a dot segment.
    #[error("a path segment is empty or consists of dots")]
    Id,
    /// The path does not start with the letter of the expected kind.
    #[error("it is of another kind")]
    Kind,
    /// It is longer than [`crate::uri::MAX_URI_LEN`].
    #[error("it is too long")]
    Length,
    /// It is valid, but not in the canonical form that signatures and comparisons need.
    #[error("it is not in canonical form")]
    NotCanonical,
    /// The scheme is not `mimi`.
    #[error("its scheme is another")]
    Scheme,
    /// The identifier's octets are not UTF-8.
    #[error("it is not UTF-8")]
    Utf8,
}
