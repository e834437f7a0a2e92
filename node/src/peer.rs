//! Calling other providers.
//!
//! This module owns how a request reaches the provider of a domain: its directory, the connection, the bounds on what
//! comes back. It decides nothing about rooms, and tries nothing again except as said below; that is its callers' part.
//!
//! Which host answers for a provider is said by the provider's own directory, but *who* answers is not: whatever host
//! a URL names, the connection's certificate must authenticate the provider's domain, and `Host` is that domain
//! (draft-ietf-mimi-protocol, section 4.1). So a directory can send us to any address, and will reach nobody but
//! itself there.
//!
//! - HTTPS with TLS 1.3 and our certificate only; redirects are not followed; no proxy is used.
//! - Directories are cached for `delivery.directory_ttl_ms`. One whose time is over is used on when a new one cannot be
//!   fetched: requests then fail or succeed on their own.
//! - A 404 may mean that URLs have moved: the directory is fetched anew, once, and the request sent again if its URL
//!   is another now.

mod directory;
mod error;
mod http_client;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    StatusCode,
    header::{CONTENT_TYPE, FROM, RETRY_AFTER},
};
use mimi_hub_proto::{Directory, OHTTP_REQ, UrlTemplate, WELL_KNOWN_OHTTP_GATEWAY, uri::ProviderDomain};
use reqwest::Response;
use tokio::time::timeout;
use url::Url;

pub(crate) use error::{PeerError, causes};
pub(crate) use http_client::dialer;

use crate::{config::Config, error::NodeError, tls::Tls};
use directory::{Directories, Found, Freshness, REFRESH_INTERVAL};
use http_client::HttpClients;

/// A list of key configurations is not larger.
const OHTTP_KEYS_LEN_MAX: usize = 64 * 1024;

/// The endpoints of other providers that we call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Endpoint {
    /// `/groupInfo/{roomId}`
    GroupInfo,
    /// `/identifierQuery/{domain}`
    IdentifierQuery,
    /// `/keyMaterial/{targetUser}`
    KeyMaterial,
    /// `/notify/{roomId}`
    Notify,
    /// `/reportAbuse/{roomId}`
    ReportAbuse,
    /// `/requestConsent/{targetUser}`
    RequestConsent,
    /// `/proxyDownload/{downloadUrl}`
    ProxyDownload,
    /// `/submitMessage/{roomId}`
    SubmitMessage,
    /// `/update/{roomId}`
    Update,
    /// `/updateConsent/{requesterUser}`
    UpdateConsent,
}

/// What a provider answered; any status.
#[derive(Clone, Debug)]
pub(crate) struct PeerAnswer {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its `Content-Type`, as it stands.
    pub(crate) content_type: Option<String>,
    /// Its `Retry-After`, from now on.
    pub(crate) retry_after: Option<Duration>,
    /// The whole body, no larger than `limits.body_bytes_max`.
    pub(crate) body: Bytes,
}

/// The client for all other providers. Cheap to clone; clones share connections and directories.
#[derive(Clone, Debug)]
pub(crate) struct PeerClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clients: HttpClients,
    directories: Directories,
    answer_bytes_max: usize,
}

impl PeerClient {
    /// A client that shows and trusts what `tls` says, also after a reload.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub(crate) fn new(config: &Config, tls: Arc<Tls>) -> Result<Self, NodeError> {
        Self::with_refresh_interval(config, tls, REFRESH_INTERVAL)
    }

    fn with_refresh_interval(config: &Config, tls: Arc<Tls>, refresh_interval: Duration) -> Result<Self, NodeError> {
        let ttl = Duration::from_millis(config.delivery.directory_ttl_ms);
        Ok(Self(Arc::new(Inner {
            clients: HttpClients::new(config, tls).map_err(NodeError::PeerClient)?,
            directories: Directories::new(ttl, refresh_interval),
            answer_bytes_max: config.limits.body_bytes_max,
        })))
    }

    /// The directory of `domain`, from the cache or fetched on behalf of `our_domain`. Concurrent callers share one
    /// fetch.
    ///
    /// # Errors
    /// There is none in the cache and it cannot be fetched, or what comes is not a directory.
    pub(crate) async fn directory(
        &self,
        our_domain: &ProviderDomain,
        domain: &ProviderDomain,
    ) -> Result<Found, PeerError> {
        self.look_up(our_domain, domain, Freshness::WithinTtl).await
    }

    /// Sends `body`, of the type `application/mimi`, from `our_domain` to the endpoint of provider `to`, with
    /// `parameter` (an identifier, not yet percent-encoded) in the place of the URL's variable. `time` bounds the whole,
    /// with a fetch of the directory.
    ///
    /// # Errors
    /// There was no answer; an answer of any status is `Ok`.
    pub(crate) async fn post(
        &self,
        our_domain: &ProviderDomain,
        to: &ProviderDomain,
        endpoint: Endpoint,
        parameter: &str,
        body: Bytes,
        time: Duration,
    ) -> Result<PeerAnswer, PeerError> {
        timeout(time, self.post_untimed(our_domain, to, endpoint, parameter, body))
            .await
            .unwrap_or(Err(PeerError::Timeout))
    }

    /// Asks the endpoint of provider `to` on behalf of `our_domain`, with `parameter` in the place of the URL's variable. The
    /// answer's body is not read yet; neither it nor the time is bounded here.
    ///
    /// # Errors
    /// There was no answer; an answer of any status is `Ok`.
    pub(crate) async fn get(
        &self,
        our_domain: &ProviderDomain,
        to: &ProviderDomain,
        endpoint: Endpoint,
        parameter: &str,
    ) -> Result<Response, PeerError> {
        let found = self.directory(our_domain, to).await?;
        let url = endpoint.url(&found.directory, parameter)?;
        let (client, url) = self.0.clients.route(to, url)?;
        let request = client.get(url).header(FROM, format!("mimi@{our_domain}"));
        request.send().await.map_err(|error| PeerError::from_http(&error))
    }

    /// Passes an encapsulated request on to the Oblivious Gateway Resource of provider `to`, on behalf of `our_domain`. The
    /// answer's body is not read yet; neither it nor the time is bounded here.
    ///
    /// # Errors
    /// There was no answer; an answer of any status is `Ok`.
    pub(crate) async fn ohttp(
        &self,
        our_domain: &ProviderDomain,
        to: &ProviderDomain,
        body: Bytes,
    ) -> Result<Response, PeerError> {
        let (client, url) = self.ohttp_gateway(to)?;
        let request = client
            .post(url)
            .header(FROM, format!("mimi@{our_domain}"))
            .header(CONTENT_TYPE, OHTTP_REQ)
            .body(body);
        request.send().await.map_err(|error| PeerError::from_http(&error))
    }

    /// The key configurations of the Oblivious Gateway Resource of provider `to`, within `time`.
    ///
    /// # Errors
    /// There was no answer, or there is no gateway; an answer of any other status is `Ok`.
    pub(crate) async fn ohttp_keys(
        &self,
        our_domain: &ProviderDomain,
        to: &ProviderDomain,
        time: Duration,
    ) -> Result<PeerAnswer, PeerError> {
        let (client, url) = self.ohttp_gateway(to)?;
        let request = client.get(url).header(FROM, format!("mimi@{our_domain}"));
        let answer = async {
            let response = request.send().await.map_err(|error| PeerError::from_http(&error))?;
            PeerAnswer::read(response, OHTTP_KEYS_LEN_MAX).await
        };
        match timeout(time, answer).await.unwrap_or(Err(PeerError::Timeout))? {
            answer if answer.status == StatusCode::NOT_FOUND => Err(PeerError::NotOffered),
            answer => Ok(answer),
        }
    }

    fn ohttp_gateway(&self, to: &ProviderDomain) -> Result<(reqwest::Client, Url), PeerError> {
        let text = format!("https://{to}{WELL_KNOWN_OHTTP_GATEWAY}");
        let url = Url::parse(&text).map_err(|_| PeerError::InvalidDirectory {
            problem: format!("{text} is not a URL"),
        })?;
        self.0.clients.route(to, url)
    }

    async fn post_untimed(
        &self,
        our_domain: &ProviderDomain,
        to: &ProviderDomain,
        endpoint: Endpoint,
        parameter: &str,
        body: Bytes,
    ) -> Result<PeerAnswer, PeerError> {
        let found = self.directory(our_domain, to).await?;
        let url = endpoint.url(&found.directory, parameter)?;
        let answer = self.send(our_domain, to, url.clone(), body.clone()).await?;
        if answer.status != StatusCode::NOT_FOUND {
            return Ok(answer);
        }
        // A fetch that fails leaves the 404 as the answer.
        let Ok(refreshed) = self
            .look_up(our_domain, to, Freshness::NewerThan(found.fetched_at))
            .await
        else {
            return Ok(answer);
        };
        let moved_to = endpoint.url(&refreshed.directory, parameter)?;
        if moved_to == url {
            Ok(answer)
        } else {
            self.send(our_domain, to, moved_to, body).await
        }
    }

    async fn look_up(
        &self,
        our_domain: &ProviderDomain,
        domain: &ProviderDomain,
        freshness: Freshness,
    ) -> Result<Found, PeerError> {
        let Inner {
            clients, directories, ..
        } = &*self.0;
        directories
            .look_up(domain, freshness, || directory::fetch(clients, our_domain, domain))
            .await
    }

    async fn send(
        &self,
        our_domain: &ProviderDomain,
        to: &ProviderDomain,
        url: Url,
        body: Bytes,
    ) -> Result<PeerAnswer, PeerError> {
        let (client, url) = self.0.clients.route(to, url)?;
        let request = client
            .post(url)
            .header(FROM, format!("mimi@{our_domain}"))
            .header(CONTENT_TYPE, mimi_hub_proto::CONTENT_TYPE)
            .body(body);
        let response = request.send().await.map_err(|error| PeerError::from_http(&error))?;
        PeerAnswer::read(response, self.0.answer_bytes_max).await
    }
}

impl Endpoint {
    const ALL: [Self; 10] = [
        Self::GroupInfo,
        Self::IdentifierQuery,
        Self::KeyMaterial,
        Self::Notify,
        Self::ReportAbuse,
        Self::RequestConsent,
        Self::ProxyDownload,
        Self::SubmitMessage,
        Self::Update,
        Self::UpdateConsent,
    ];

    /// Where `directory` has this endpoint for `parameter`.
    fn url(self, directory: &Directory, parameter: &str) -> Result<Url, PeerError> {
        let text = self.template(directory).ok_or(PeerError::NotOffered)?.expand(parameter);
        let url = Url::parse(&text).ok().filter(|url| {
            // User information would become an Authorization header.
            url.scheme() == "https" && url.has_host() && url.username().is_empty() && url.password().is_none()
        });
        url.ok_or_else(|| PeerError::InvalidDirectory {
            problem: format!("{text:?} is not the URL of an endpoint"),
        })
    }

    fn template(self, directory: &Directory) -> Option<&UrlTemplate> {
        match self {
            Self::GroupInfo => Some(&directory.group_info),
            Self::IdentifierQuery => directory.identifier_query.as_ref(),
            Self::KeyMaterial => Some(&directory.key_material),
            Self::Notify => Some(&directory.notify),
            Self::ReportAbuse => directory.report_abuse.as_ref(),
            Self::RequestConsent => directory.request_consent.as_ref(),
            Self::SubmitMessage => Some(&directory.submit_message),
            Self::Update => Some(&directory.update),
            Self::UpdateConsent => directory.update_consent.as_ref(),
            Self::ProxyDownload => directory.proxy_download.as_ref(),
        }
    }
}

impl PeerAnswer {
    async fn read(response: Response, bytes_max: usize) -> Result<Self, PeerError> {
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let content_type = text(CONTENT_TYPE).map(str::to_owned);
        let retry_after = text(RETRY_AFTER).and_then(|value| retry_after(value, SystemTime::now()));
        Ok(Self {
            status: response.status(),
            content_type,
            retry_after,
            body: read_body(response, bytes_max).await?,
        })
    }
}

async fn read_body(mut response: Response, bytes_max: usize) -> Result<Bytes, PeerError> {
    let announced = response
        .content_length()
        .and_then(|length| usize::try_from(length).ok())
        .unwrap_or(0);
    if announced > bytes_max {
        return Err(PeerError::AnswerTooLarge { bytes_max });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| PeerError::from_http(&error))? {
        if chunk.len() > bytes_max - body.len() {
            return Err(PeerError::AnswerTooLarge { bytes_max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// `Retry-After` in either form (RFC 9110, section 10.2.3) as the time from `now`.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    match value.trim().parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(
            httpdate::parse_http_date(value.trim())
                .ok()?
                .duration_since(now)
                .unwrap_or_default(),
        ),
    }
}
