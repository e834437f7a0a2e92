//! Connections to other providers: where to dial, whom to expect there.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use mimi_hub_proto::uri::ProviderDomain;
use reqwest::{
    Client,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect,
};
use tokio::net::lookup_host;
use url::Url;

use super::PeerError;
use crate::{
    config::Config,
    recent::RecentMap,
    tls::{Tls, TlsMaterial},
};

/// Time for DNS, TCP and TLS together, so that the rest of a request's time is left for the answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An unused connection is closed after this.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// An HTTP/2 connection in use is asked for a sign of life this often, so that a dead host is noticed…
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// …when it gives none within this.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Providers whose endpoints are on another host than their domain; each has its own pool.
const DETOURS_MAX: usize = 1024;

/// A provider's domain, and the host to dial for it.
type Detour = (ProviderDomain, String);

/// HTTP clients with the certificates in force.
#[derive(Debug)]
pub(super) struct HttpClients {
    tls: Arc<Tls>,
    overrides: Arc<Overrides>,
    built: Mutex<Built>,
}

/// Clients made of one [`TlsMaterial`].
#[derive(Debug)]
struct Built {
    material: Arc<TlsMaterial>,
    /// Dials what the URL names.
    direct: Client,
    /// Dials another host, and expects the URL's there. Apart because a pool knows connections by the URL's host.
    detours: RecentMap<Detour, Client>,
}

/// From `[peers]`: host name to the hosts and ports to dial, in their order.
type Overrides = HashMap<String, Vec<(String, u16)>>;

impl HttpClients {
    pub(super) fn new(config: &Config, tls: Arc<Tls>) -> Result<Self, reqwest::Error> {
        let overrides = overrides(config);
        let built = Mutex::new(Built::new(tls.current(), &overrides)?);
        Ok(Self { tls, overrides, built })
    }

    /// The client and the URL for a request to `provider` at `url`: the connection goes to `url`'s host, or what
    /// `[peers]` says of it, while TLS and `Host` are about the provider's domain.
    pub(super) fn route(&self, provider: &ProviderDomain, mut url: Url) -> Result<(Client, Url), PeerError> {
        let dial = url.host_str().unwrap_or(provider.as_str()).to_owned();
        // A port in the URL would go before the one in `[peers]`.
        let is_rewritten = url.set_host(Some(provider.as_str())).is_ok()
            && (!self.overrides.contains_key(&dial) || url.set_port(None).is_ok());
        if !is_rewritten {
            return Err(PeerError::InvalidDirectory {
                problem: format!("{url} is not the URL of an endpoint"),
            });
        }
        Ok((self.client(provider, dial)?, url))
    }

    fn client(&self, provider: &ProviderDomain, dial: String) -> Result<Client, PeerError> {
        let failed = |error| PeerError::Client(Arc::new(error));
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.tls.current();
        if !Arc::ptr_eq(&built.material, &current) {
            // Requests under way keep the former client, and with it its connections, until they end.
            *built = Built::new(current, &self.overrides).map_err(failed)?;
        }
        if dial == provider.as_str() {
            return Ok(built.direct.clone());
        }
        let detour = (provider.clone(), dial);
        if let Some(client) = built.detours.get(&detour, Instant::now()) {
            return Ok(client.clone());
        }
        let client = build(&built.material, &self.overrides, Some(detour.1.clone())).map_err(failed)?;
        built.detours.insert(detour, client.clone(), Instant::now());
        Ok(client)
    }
}

fn overrides(config: &Config) -> Arc<Overrides> {
    let overrides = config.peers.iter().filter_map(|(name, peer)| {
        let dialled = peer
            .hosts_and_ports()?
            .into_iter()
            .map(|(host, port)| (host.to_owned(), port));
        Some((name.to_string(), dialled.collect()))
    });
    Arc::new(overrides.collect())
}

/// The resolver of names that are no provider's: what `[peers]` says of them, then the system.
pub(crate) fn dialer(config: &Config) -> Arc<dyn Resolve> {
    Arc::new(Dialer {
        overrides: overrides(config),
        dial_instead: None,
    })
}

impl Built {
    fn new(material: Arc<TlsMaterial>, overrides: &Arc<Overrides>) -> Result<Self, reqwest::Error> {
        let direct = build(&material, overrides, None)?;
        Ok(Self {
            material,
            direct,
            detours: RecentMap::new(DETOURS_MAX),
        })
    }
}

fn build(
    material: &TlsMaterial,
    overrides: &Arc<Overrides>,
    dial_instead: Option<String>,
) -> Result<Client, reqwest::Error> {
    Client::builder()
        .tls_backend_preconfigured((*material.client).clone())
        .https_only(true)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .dns_resolver(Dialer {
            overrides: Arc::clone(overrides),
            dial_instead,
        })
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .http2_keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .tcp_nodelay(true)
        .build()
}

/// Name to addresses: `[peers]` first, then the system's resolver.
struct Dialer {
    overrides: Arc<Overrides>,
    /// Host to dial, whatever name is asked for.
    dial_instead: Option<String>,
}

impl Resolve for Dialer {
    fn resolve(&self, name: Name) -> Resolving {
        let host = self.dial_instead.as_deref().unwrap_or(name.as_str());
        // Port 0 stands for the one in the URL, or that of https.
        let host = host.trim_matches(['[', ']']);
        let dialled = match self.overrides.get(host) {
            Some(dialled) => dialled.clone(),
            None => vec![(host.to_owned(), 0)],
        };
        Box::pin(async move {
            let mut found: Vec<SocketAddr> = Vec::new();
            for (host, port) in dialled {
                found.extend(lookup_host((host, port)).await?);
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
