//! Provider domains.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::parse::MimiUri;
use crate::{Error, UriFault};

/// The longest DNS name in text form (RFC 1035, section 2.3.4, less the root label).
const MAX_DOMAIN_LEN: usize = 253;
const MAX_LABEL_LEN: usize = 63;

/// A provider, by the DNS name that its certificate carries: lower-case, A-labels, no trailing dot.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderDomain(Arc<str>);

impl ProviderDomain {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn from_uri(uri: &MimiUri) -> Self {
        ProviderDomain(uri.domain().into())
    }
}

impl FromStr for ProviderDomain {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match canonical(text) {
            Some(domain) => Ok(ProviderDomain(domain.as_ref().into())),
            None => Err(super::refused(text, "a provider domain", UriFault::Domain)),
        }
    }
}

impl fmt::Display for ProviderDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProviderDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ProviderDomain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ProviderDomain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl PartialEq<str> for ProviderDomain {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

/// The canonical form of a DNS name, or nothing if it is none.
pub(super) fn canonical(text: &str) -> Option<Cow<'_, str>> {
    // A Unicode name can be longer than the A-labels it turns into, but not by much.
    if text.len() > 4 * MAX_DOMAIN_LEN {
        return None;
    }
    let domain = if is_plain(text) {
        Cow::Borrowed(text)
    } else {
        idna::domain_to_ascii_strict(text).ok()?.into()
    };
    // What ends in a number is an address, which no certificate authority vouches for as a provider.
    let last = domain.rsplit('.').next()?;
    if last.bytes().all(|octet| octet.is_ascii_digit()) {
        return None;
    }
    Some(domain)
}

/// Whether `text` is already canonical by its looks alone: the common case, decided without Unicode tables.
fn is_plain(text: &str) -> bool {
    text.len() <= MAX_DOMAIN_LEN
        && text.split('.').all(|label| {
            (1..=MAX_LABEL_LEN).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.get(2..4) != Some("--")
                && label
                    .bytes()
                    .all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-')
        })
}
