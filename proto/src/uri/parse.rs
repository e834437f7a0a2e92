//! Parsing into the canonical form.

use std::sync::Arc;

use super::{MAX_IDENTIFIER_URI_LEN, MAX_URI_LEN, domain};
use crate::UriFault;

/// What a URI names, told by the first segment of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Client,
    Group,
    Room,
    User,
}

impl Kind {
    fn letter(self) -> char {
        match self {
            Kind::Client => 'd',
            Kind::Group => 'g',
            Kind::Room => 'r',
            Kind::User => 'u',
        }
    }

    /// draft-ietf-mimi-content names clients `mimi://example.com/d/<device>/0003`.
    fn allows_slash(self) -> bool {
        self == Kind::Client
    }
}

const SCHEME: &str = "mimi://";
/// `/`, the kind's letter, `/`.
const KIND_LEN: usize = 3;

/// A canonical URI of any kind. Cloning shares the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct MimiUri {
    text: Arc<str>,
    domain_end: usize,
}

impl MimiUri {
    pub(super) fn parse(kind: Kind, text: &str) -> Result<Self, UriFault> {
        if text.len() > MAX_URI_LEN {
            return Err(UriFault::Length);
        }
        let rest = match text.get(..SCHEME.len()) {
            Some(scheme) if scheme.eq_ignore_ascii_case(SCHEME) => &text[SCHEME.len()..],
            _ => return Err(UriFault::Scheme),
        };
        let (host, path) = rest.split_once('/').ok_or(UriFault::Kind)?;
        let domain = domain::canonical(host).ok_or(UriFault::Domain)?;
        let id = path
            .strip_prefix(kind.letter())
            .and_then(|path| path.strip_prefix('/'))
            .ok_or(UriFault::Kind)?;

        let mut canonical = String::with_capacity(text.len());
        canonical.push_str(SCHEME);
        canonical.push_str(&domain);
        let domain_end = canonical.len();
        canonical.push('/');
        canonical.push(kind.letter());
        canonical.push('/');
        push_id(&mut canonical, id, kind.allows_slash())?;
        if canonical.len() > MAX_URI_LEN {
            return Err(UriFault::Length);
        }
        Ok(MimiUri {
            text: canonical.into(),
            domain_end,
        })
    }

    pub(super) fn with_kind(&self, kind: Kind) -> Self {
        let text = format!("{}/{}/{}", &self.text[..self.domain_end], kind.letter(), self.id());
        MimiUri {
            text: text.into(),
            domain_end: self.domain_end,
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn domain(&self) -> &str {
        &self.text[SCHEME.len()..self.domain_end]
    }

    pub(super) fn id(&self) -> &str {
        &self.text[self.domain_end + KIND_LEN..]
    }
}

/// Appends `id` in canonical form.
fn push_id(out: &mut String, id: &str, allows_slash: bool) -> Result<(), UriFault> {
    let start = out.len();
    let mut decoded = Vec::with_capacity(id.len());
    let mut octets = id.bytes();
    while let Some(octet) = octets.next() {
        match octet {
            b'%' => {
                let octet = hex_pair(octets.next(), octets.next()).ok_or(UriFault::Character(b'%'))?;
                if octet.is_ascii_control() || octet == b'/' {
                    return Err(UriFault::Character(octet));
                }
                decoded.push(octet);
                if is_unreserved(octet) {
                    out.push(char::from(octet));
                } else {
                    out.push_str(&format!("%{octet:02X}"));
                }
            }
            b'/' if allows_slash => {
                decoded.push(octet);
                out.push('/');
            }
            _ if is_unreserved(octet) || b"!$&'()*+,;=:@".contains(&octet) => {
                decoded.push(octet);
                out.push(char::from(octet));
            }
            _ => return Err(UriFault::Character(octet)),
        }
    }
    if std::str::from_utf8(&decoded).is_err() {
        return Err(UriFault::Utf8);
    }
    if out[start..]
        .split('/')
        .any(|segment| matches!(segment, "" | "." | ".."))
    {
        return Err(UriFault::Id);
    }
    Ok(())
}

fn hex_pair(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |octet: Option<u8>| octet.and_then(|octet| char::from(octet).to_digit(16));
    let value = digit(high)? * 16 + digit(low)?;
    u8::try_from(value).ok()
}

/// `unreserved` of RFC 3986, section 2.3.
fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"-._~".contains(&octet)
}

/// A URI of any scheme: a scheme, a colon, and only characters that RFC 3986 allows anywhere in a URI. Nothing at
/// all is also accepted: the drafts write an absent URI as an empty one.
pub(super) fn check_any_uri(text: &str) -> Result<(), UriFault> {
    if text.is_empty() {
        return Ok(());
    }
    if text.len() > MAX_IDENTIFIER_URI_LEN {
        return Err(UriFault::Length);
    }
    let (scheme, _) = text.split_once(':').ok_or(UriFault::Scheme)?;
    let mut letters = scheme.bytes();
    if !letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        || !letters.all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(&octet))
    {
        return Err(UriFault::Scheme);
    }
    match text
        .bytes()
        .find(|octet| !is_unreserved(*octet) && !b"%:/?#[]@!$&'()*+,;=".contains(octet))
    {
        Some(octet) => Err(UriFault::Character(octet)),
        None => Ok(()),
    }
}
