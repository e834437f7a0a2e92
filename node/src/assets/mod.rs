//! Downloading assets on behalf of others (draft-ietf-mimi-protocol, sections 5.10.2 and 5.10.3): the hub for its peers, and a
//! provider for its own clients.
//!
//! This module owns the way from a URL to an asset: whether it is fetched ([`admit`]), to which address the connection goes
//! ([`address`]), what comes back ([`download`]), what is kept of it ([`cache`]), and for how many at once ([`places`]). What
//! comes by Oblivious HTTP ([`oblivious`]) goes the same way. Invariants, on which it depends that
//! nobody reaches what only this machine can reach:
//!
//! - The host is one that the configuration names for a peer provider's assets; HTTPS, on the ports configured.
//! - A name is looked up once a connection; all its addresses must be public, and no other one is dialled.
//! - Redirects are not followed, no proxy is used, and the server's certificate is checked.
//! - The request says nothing of who asked: no header of theirs, no certificate of ours, no cookie.
//! - An asset has a greatest size and a greatest time, downloads a greatest number, and the cache a greatest size. One that
//!   is incomplete never looks complete.

mod address;
mod admit;
mod cache;
mod download;
mod oblivious;
mod places;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use mimi_hub_proto::uri::ProviderDomain;
use reqwest::dns::Resolve;
use reqwest::{Client, Response, redirect};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};

pub use address::Network;
pub(crate) use admit::Refusal;
pub(crate) use oblivious::{TargetRequestError, target_request, target_response};
pub(crate) use places::Place;

use self::address::{AddressError, Checked};
use self::admit::{Policy, admit};
use self::cache::{Cache, Whole, lifetime};
use self::download::Bounds;
use self::places::Places;
use crate::config::{AssetsConfig, Config};
use crate::error::NodeError;
use crate::peer::{PeerError, causes, dialer};
use crate::tls::{alpn_protocols, crypto_provider, read_roots};

/// Time for DNS, TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An unused connection is closed after this.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Unused connections to one server.
const POOL_IDLE_MAX: usize = 4;

/// The download proxy of a node.
#[derive(Debug)]
pub(crate) struct Assets {
    policy: Policy,
    /// Absent where nothing may be fetched.
    client: Option<Client>,
    cache: Arc<Cache>,
    places: Places,
    /// Of encapsulated requests: what answers them is in memory whole.
    oblivious_places: Places,
    size_max: u64,
    oblivious_size_max: usize,
    timeout: Duration,
    cache_ttl: Duration,
}

/// An asset that is on its way.
#[derive(Debug)]
pub(crate) struct Asset {
    /// As its server has it.
    pub(crate) content_type: Option<HeaderValue>,
    /// In bytes, if its server says.
    pub(crate) length: Option<u64>,
    /// Ends with an error unless it is complete.
    pub(crate) body: Body,
    /// When it ends at the latest.
    deadline: Instant,
}

/// Why there is no asset.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AssetError {
    /// It is not fetched.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its server has an address to which nobody is sent, or none.
    #[error("the asset server has no address that may be connected to")]
    Address,
    /// As many downloads as there may be are under way.
    #[error("too many downloads are under way")]
    Busy,
    /// As many downloads for one peer as there may be are under way.
    #[error("too many downloads for one provider are under way")]
    PeerBusy,
    /// No answer in time.
    #[error("the asset server did not answer in time")]
    Timeout,
    /// No answer.
    #[error("the asset server does not answer: {0}")]
    Unreachable(String),
    /// Another answer than the asset; a redirect, for example.
    #[error("the asset server answered with status {0}")]
    Status(StatusCode),
    /// It says that it is larger than assets may be.
    #[error("the asset has more than {0} bytes")]
    TooLarge(u64),
    /// It broke off.
    #[error("the asset is incomplete")]
    Incomplete,
    /// It comes compressed, which was not asked for.
    #[error("the asset has a content encoding")]
    Encoded,
    /// Another hub was asked, which does not have the key that an encapsulated request is for.
    #[error("the encapsulated request is not for a key configuration of the hub")]
    Key,
    /// Another hub was asked, and gave no answer.
    #[error(transparent)]
    Peer(#[from] PeerError),
}

impl Assets {
    /// Reads the roots of the asset servers.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn new(config: &Config) -> Result<Self, NodeError> {
        Self::with_resolver(&config.assets, dialer(config))
    }

    fn with_resolver(config: &AssetsConfig, resolver: Arc<dyn Resolve>) -> Result<Self, NodeError> {
        let client = match &config.ca {
            Some(ca) if config.is_offered() => Some(client(ca, Checked::new(resolver, &config.allow_private))?),
            _ => None,
        };
        Ok(Assets {
            policy: config.into(),
            client,
            cache: Cache::new(config.cache_bytes_max),
            places: Places::new(config.in_flight_max, config.in_flight_max_per_peer),
            oblivious_places: Places::new(config.ohttp_in_flight_max, config.in_flight_max_per_peer),
            size_max: config.size_max_bytes,
            oblivious_size_max: config.ohttp_size_max_bytes,
            timeout: config.timeout(),
            cache_ttl: config.cache_ttl(),
        })
    }

    /// The asset at `url`, as the hub fetches it for `peer`, or for this provider itself.
    ///
    /// # Errors
    /// It may not be fetched, or it could not be.
    pub(crate) async fn fetch(&self, peer: Option<&ProviderDomain>, url: &str) -> Result<Asset, AssetError> {
        let url = admit(url, &self.policy)?;
        let client = self.client.as_ref().ok_or(Refusal::HostNotAllowed)?;
        let key = url.to_string();
        let request = client.get(url).header(ACCEPT_ENCODING, "identity").send();
        self.download(peer, Some(&key), async move {
            request.await.map_err(|error| from_http(&error))
        })
        .await
    }

    /// The asset that another hub gives for `key`, with `request` its answer.
    ///
    /// # Errors
    /// It answered otherwise, or not.
    pub(crate) async fn relay(
        &self,
        key: &str,
        request: impl Future<Output = Result<Response, PeerError>>,
    ) -> Result<Asset, AssetError> {
        self.download(None, Some(key), async move { Ok(request.await?) }).await
    }

    /// The encapsulated response that another hub gives, with `request` its answer. Nothing of it is kept: it is of use once.
    ///
    /// # Errors
    /// It answered otherwise, or not.
    pub(crate) async fn relay_oblivious(
        &self,
        request: impl Future<Output = Result<Response, AssetError>>,
    ) -> Result<Asset, AssetError> {
        self.download(None, None, request).await
    }

    /// A place for the answer to an encapsulated request of `peer`.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn oblivious_place(&self, peer: Option<&ProviderDomain>) -> Result<Place, AssetError> {
        self.oblivious_places.take(peer)
    }

    /// All of an asset, as large as what is encapsulated may be.
    ///
    /// # Errors
    /// It is larger, or incomplete.
    pub(crate) async fn whole(&self, asset: Asset) -> Result<Bytes, AssetError> {
        let max = self.oblivious_size_max;
        let too_large = || AssetError::TooLarge(u64::try_from(max).unwrap_or(u64::MAX));
        if asset
            .length
            .is_some_and(|length| usize::try_from(length).map_or(true, |length| length > max))
        {
            return Err(too_large());
        }
        match Limited::new(asset.body, max).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
            Err(_) if Instant::now() >= asset.deadline => Err(AssetError::Timeout),
            Err(_) => Err(AssetError::Incomplete),
        }
    }

    /// The body of an answer that is in memory. A reader who does not read it holds `place` no longer than a download may last.
    pub(crate) fn body_of(&self, whole: Bytes, place: Place) -> Body {
        let bounds = Bounds {
            size_max: self.size_max,
            deadline: Instant::now() + self.timeout,
            place,
        };
        download::from_memory(whole, bounds)
    }

    async fn download(
        &self,
        peer: Option<&ProviderDomain>,
        key: Option<&str>,
        request: impl Future<Output = Result<Response, AssetError>>,
    ) -> Result<Asset, AssetError> {
        let place = self.places.take(peer)?;
        let deadline = Instant::now() + self.timeout;
        let bounds = Bounds {
            size_max: self.size_max,
            deadline,
            place,
        };
        let cached = key.and_then(|key| self.cache.get(key, std::time::Instant::now()));
        if let Some(Whole { content_type, body }) = cached {
            return Ok(Asset {
                content_type,
                length: u64::try_from(body.len()).ok(),
                body: download::from_memory(body, bounds),
                deadline,
            });
        }
        let response = timeout_at(deadline, request)
            .await
            .unwrap_or(Err(AssetError::Timeout))?;
        if response.status() != StatusCode::OK {
            return Err(AssetError::Status(response.status()));
        }
        let headers = response.headers();
        if headers
            .get_all(CONTENT_ENCODING)
            .iter()
            .any(|coding| coding != "identity")
        {
            return Err(AssetError::Encoded);
        }
        let length = response.content_length();
        if length.is_some_and(|length| length > self.size_max) {
            return Err(AssetError::TooLarge(self.size_max));
        }
        let content_type = headers.get(CONTENT_TYPE).cloned();
        let kept = key.zip(lifetime(headers, self.cache_ttl));
        let collector = kept.map(|(key, lifetime)| self.cache.collect(key, content_type.clone(), lifetime));
        Ok(Asset {
            content_type,
            length,
            body: download::from_response(response, bounds, collector),
            deadline,
        })
    }
}

fn client(ca: &Path, resolver: Checked) -> Result<Client, NodeError> {
    let mut tls = ClientConfig::builder_with_provider(crypto_provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| NodeError::TlsRoots {
            path: ca.to_owned(),
            problem: error.to_string(),
        })?
        .with_root_certificates(read_roots(ca)?)
        .with_no_client_auth();
    tls.alpn_protocols = alpn_protocols();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .dns_resolver(resolver)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .pool_max_idle_per_host(POOL_IDLE_MAX)
        .tcp_nodelay(true)
        .build()
        .map_err(NodeError::PeerClient)
}

fn from_http(error: &reqwest::Error) -> AssetError {
    if let Some(address) = causes(error).find_map(|cause| cause.downcast_ref::<AddressError>()) {
        tracing::warn!(%address, "an asset is not fetched");
        return AssetError::Address;
    }
    match PeerError::from_http(error) {
        PeerError::Timeout => AssetError::Timeout,
        other => AssetError::Unreachable(other.to_string()),
    }
}
