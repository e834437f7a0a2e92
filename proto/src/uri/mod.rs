//! MIMI URIs (draft-ietf-mimi-protocol, section 3): who and what the protocol talks about.
//!
//! Every value of these types is canonical, so that comparison is comparison of octets:
//! - the scheme is `mimi`, the host a lower-case DNS name in A-label form, without user info, port, query or fragment;
//! - the path is the letter of the kind and one non-empty segment, the ID (several for a client, see `SPEC_NOTES.md`);
//! - percent-encoding is that of RFC 3986, section 6.2.2: upper-case hexadecimal, and none of unreserved characters.
//!   Encoded control characters and slashes, and dot segments, are refused; encoded octets must be UTF-8;
//! - the whole is at most [`MAX_URI_LEN`] octets.
//!
//! Parsing text (`FromStr`) brings a URI into this form. Decoding from the wire refuses one that is not in it: a
//! signature covers the octets that were sent, and two spellings of one room must never be two rooms.

mod domain;
mod parse;
mod path;
#[cfg(test)]
mod tests;

pub use domain::ProviderDomain;
pub use path::path_segment;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::tls::{Decode, Encode, Reader, Writer};
use crate::{Error, UriFault};
use parse::{Kind, MimiUri};

/// The longest MIMI URI accepted, in octets.
pub const MAX_URI_LEN: usize = 1024;

/// The longest [`IdentifierUri`] accepted, in octets. URLs of images are longer than identifiers.
pub const MAX_IDENTIFIER_URI_LEN: usize = 4096;

macro_rules! mimi_uri {
    ($(#[$meta:meta])* $name:ident, $kind:ident, $expected:literal) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(MimiUri);

        impl $name {
            /// What follows the kind's letter, percent-encoded as in the URI.
            pub fn id(&self) -> &str {
                self.0.id()
            }

            /// The provider's domain.
            pub fn domain(&self) -> &str {
                self.0.domain()
            }

            /// The provider.
            pub fn provider(&self) -> ProviderDomain {
                ProviderDomain::from_uri(&self.0)
            }

            /// The whole URI.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// Reads the remainder of a request path: the URI as one percent-encoded segment
            /// (`mimi%3A%2F%2Fa.example%2F…`), or the bare form of the draft's example flow (`a.example/…`).
            ///
            /// # Errors
            /// [`Error::Uri`] if it is neither.
            pub fn from_path(remainder: &str) -> Result<Self, Error> {
                path::decode(remainder).ok_or(UriFault::Utf8).and_then(|text| MimiUri::parse(Kind::$kind, &text))
                    .map($name).map_err(|fault| refused(remainder, $expected, fault))
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                MimiUri::parse(Kind::$kind, text).map($name).map_err(|fault| refused(text, $expected, fault))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl Encode for $name {
            fn encode(&self, out: &mut Writer) {
                out.opaque(self.as_str().as_bytes());
            }
        }

        impl Decode for $name {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
                Self::from_octets(reader.opaque()?)
            }
        }

        impl $name {
            /// Reads the octets of an identifier on the wire, which must be canonical.
            ///
            /// # Errors
            /// [`Error::Uri`] otherwise.
            pub fn from_octets(octets: &[u8]) -> Result<Self, Error> {
                let text = std::str::from_utf8(octets)
                    .map_err(|_| refused(&String::from_utf8_lossy(octets), $expected, UriFault::Utf8))?;
                let uri: $name = text.parse()?;
                if uri.as_str() != text {
                    return Err(refused(text, $expected, UriFault::NotCanonical));
                }
                Ok(uri)
            }
        }
    };
}

mimi_uri! {
    /// A client of a user, `mimi://a.example/d/ClientA1`.
    ClientUri, Client, "a client URI"
}
mimi_uri! {
    /// The MLS group of a room, `mimi://a.example/g/clubhouse`. Its octets are the MLS group ID.
    GroupUri, Group, "a group URI"
}
mimi_uri! {
    /// A room, `mimi://a.example/r/clubhouse`.
    RoomUri, Room, "a room URI"
}
mimi_uri! {
    /// A user, `mimi://a.example/u/alice`.
    UserUri, User, "a user URI"
}

impl RoomUri {
    /// The room's MLS group: the same ID under `/g/`.
    pub fn group_uri(&self) -> GroupUri {
        GroupUri(self.0.with_kind(Kind::Group))
    }
}

impl GroupUri {
    /// The group's room: the same ID under `/r/`.
    pub fn room_uri(&self) -> RoomUri {
        RoomUri(self.0.with_kind(Kind::Room))
    }
}

/// `struct { opaque uri<V>; } IdentifierUri;`, and the `Uri` of the room metadata: a URI of a scheme that is not
/// fixed, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentifierUri(String);

impl IdentifierUri {
    /// The URI, or the empty string.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for IdentifierUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse::check_any_uri(text).map_err(|fault| refused(text, "a URI", fault))?;
        Ok(IdentifierUri(text.to_owned()))
    }
}

impl Encode for IdentifierUri {
    fn encode(&self, out: &mut Writer) {
        out.opaque(self.0.as_bytes());
    }
}

impl Decode for IdentifierUri {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let octets = reader.opaque()?;
        std::str::from_utf8(octets)
            .map_err(|_| refused(&String::from_utf8_lossy(octets), "a URI", UriFault::Utf8))?
            .parse()
    }
}

/// The error for `text`, of which only the beginning is kept: it came from outside.
fn refused(text: &str, expected: &'static str, fault: UriFault) -> Error {
    Error::Uri {
        text: text.chars().take(128).collect(),
        expected,
        fault,
    }
}
