//! Which URLs are fetched at all: a pure decision on the URL's text.

use std::collections::BTreeSet;

use mimi_hub_proto::uri::ProviderDomain;
use url::{Host, Url};

use crate::config::AssetsConfig;

/// The longest URL, in octets.
const URL_LEN_MAX: usize = 4096;

/// Where assets are.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// The hosts of all peer providers' assets.
    hosts: BTreeSet<String>,
    /// The ports on which they are.
    ports: BTreeSet<u16>,
}

impl From<&AssetsConfig> for Policy {
    fn from(config: &AssetsConfig) -> Self {
        Policy {
            hosts: config
                .domains
                .values()
                .flatten()
                .map(ProviderDomain::to_string)
                .collect(),
            ports: config.ports.iter().copied().collect(),
        }
    }
}

/// Why a URL is not fetched.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It is longer than [`URL_LEN_MAX`].
    #[error("the URL has more than {URL_LEN_MAX} octets")]
    TooLong,
    /// It has characters that a URL does not have (RFC 3986, section 2), which parsers drop or read as something else.
    #[error("the URL has characters that URLs do not have")]
    Characters,
    /// It is not a URL.
    #[error("this is not a URL")]
    NotUrl,
    /// It is not `https`.
    #[error("the URL's scheme is not https")]
    Scheme,
    /// It has a user name or a password, if only an empty one.
    #[error("the URL has user information")]
    UserInformation,
    /// It has a fragment, which is for the client alone.
    #[error("the URL has a fragment")]
    Fragment,
    /// The host is an address, or a name that is written otherwise than it is meant: `127.1`, `%61.example`.
    #[error("the URL's host is not a plain DNS name")]
    Host,
    /// The host is of no peer provider's assets.
    #[error("the URL's host is not one of a peer provider's asset domains")]
    HostNotAllowed,
    /// The port is not one of those that are configured.
    #[error("the URL's port is not one on which assets are")]
    Port,
}

impl Refusal {
    /// Whether the URL is understood, and not allowed.
    pub(crate) fn is_forbidden(self) -> bool {
        matches!(self, Refusal::Scheme | Refusal::HostNotAllowed | Refusal::Port)
    }
}

/// The URL to fetch, if it may be fetched: "The hub MUST verify that the host part of the `downloadUrl` is associated with
/// the asset server domain for one of its peer providers" (draft-ietf-mimi-protocol, section 5.10.2).
///
/// # Errors
/// Why it may not.
pub(crate) fn admit(text: &str, policy: &Policy) -> Result<Url, Refusal> {
    if text.len() > URL_LEN_MAX {
        return Err(Refusal::TooLong);
    }
    // The parser drops tabs and line ends and takes a backslash for a slash: others would read another host.
    let is_plain = |octet: u8| octet.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&octet);
    if !text.bytes().all(is_plain) {
        return Err(Refusal::Characters);
    }
    let url = Url::parse(text).map_err(|_| Refusal::NotUrl)?;
    if url.scheme() != "https" {
        return Err(Refusal::Scheme);
    }
    let authority = authority(text).ok_or(Refusal::NotUrl)?;
    if authority.contains('@') {
        return Err(Refusal::UserInformation);
    }
    if url.fragment().is_some() {
        return Err(Refusal::Fragment);
    }
    let Some(Host::Domain(host)) = url.host() else {
        return Err(Refusal::Host);
    };
    let written = authority.split_once(':').map_or(authority, |(host, _)| host);
    if !written.eq_ignore_ascii_case(host) {
        return Err(Refusal::Host);
    }
    if !policy.hosts.contains(host) {
        return Err(Refusal::HostNotAllowed);
    }
    if !url
        .port_or_known_default()
        .is_some_and(|port| policy.ports.contains(&port))
    {
        return Err(Refusal::Port);
    }
    Ok(url)
}

/// Host and port, as they are written; `None` without the two slashes, which the parser does not insist on.
fn authority(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    rest.get(..end)
}
