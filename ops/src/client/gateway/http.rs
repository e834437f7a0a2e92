//! Sending one call: TLS, time limits, answer sizes, and sending again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::Call;
use super::json::Problem;
use crate::OpsError;

/// Where and how a gateway reaches its provider.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Scheme, host and port of the local listener, `https://localhost:7443`.
    pub url: String,
    /// The same of the provider's other nodes: when one is not there, the next is asked.
    pub more_urls: Vec<String>,
    /// The root of the provider's internal CA, PEM.
    pub ca: PathBuf,
    /// The gateway's certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub private_key: PathBuf,
    /// When to send again, and for how long.
    pub retry: RetryPolicy,
}

/// When the same bytes are sent again: after 429, 503 and 504, when no answer came in time, and when there was no
/// connection or it broke.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// The time from the first sending after which a failure is reported.
    pub give_up_after: Duration,
    /// The first pause; it doubles with every sending.
    pub pause_min: Duration,
    /// The longest pause. A `Retry-After` counts up to this too: the provider is close by, and waiting is for people. It is
    /// the word of one node: the others are asked first.
    pub pause_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            give_up_after: Duration::from_secs(60),
            pause_min: Duration::from_millis(50),
            pause_max: Duration::from_secs(2),
        }
    }
}

impl RetryPolicy {
    /// Report the first failure.
    #[must_use]
    pub fn never() -> Self {
        Self {
            give_up_after: Duration::ZERO,
            ..Self::default()
        }
    }

    /// The pause before the sending after number `attempt` (from 1), or nothing when `elapsed` leaves no time for it.
    fn pause(&self, attempt: u32, retry_after: Option<Duration>, elapsed: Duration) -> Option<Duration> {
        let doubled = self
            .pause_min
            .saturating_mul(1u32.checked_shl(attempt - 1).unwrap_or(u32::MAX));
        let pause = doubled.max(retry_after.unwrap_or_default()).min(self.pause_max);
        (elapsed + pause < self.give_up_after).then_some(pause)
    }
}

/// What came back with a 2xx.
pub(super) struct Outcome {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// A request body that can be sent any number of times.
pub(super) struct Body {
    content_type: &'static str,
    bytes: Vec<u8>,
}

impl Body {
    pub(super) fn new(content_type: &'static str, bytes: Vec<u8>) -> Self {
        Self { content_type, bytes }
    }

    pub(super) fn json(bytes: Vec<u8>) -> Self {
        Self::new("application/json", bytes)
    }

    pub(super) fn mimi(bytes: Vec<u8>) -> Self {
        Self::new(mimi_hub_proto::CONTENT_TYPE, bytes)
    }
}

/// How often calls had to be sent again, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resent {
    /// There was an answer: 429, 503 or 504.
    pub unavailable: u64,
    /// There was no connection: a node that is down.
    pub not_connected: u64,
    /// The connection broke, or no answer came in time: what became of the request is unknown.
    pub unanswered: u64,
}

#[derive(Default)]
struct ResentCounts {
    unavailable: AtomicU64,
    not_connected: AtomicU64,
    unanswered: AtomicU64,
}

#[derive(Clone)]
pub(super) struct Http {
    client: reqwest::Client,
    /// One a node.
    bases: Arc<[String]>,
    /// The node that answered last, an index into `bases`, modulo their number.
    preferred: Arc<AtomicUsize>,
    retry: RetryPolicy,
    resent: Arc<ResentCounts>,
}

/// Why one sending failed.
enum Failure {
    /// It may be sent again.
    Again {
        error: OpsError,
        retry_after: Option<Duration>,
    },
    Final(OpsError),
}

/// One GroupInfo with the tree of the largest group fits several times.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A node that hangs answers no pings either: calls that wait for it go on at another one.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Beyond what the provider itself may spend on a relayed call.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

impl Http {
    /// Connections to an API below `root`, at each of the addresses.
    pub(super) fn new(settings: &GatewaySettings, root: &str) -> Result<Self, OpsError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(settings)?)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .http2_keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| setup(&settings.url, error))?;
        Ok(Self {
            client,
            bases: std::iter::once(&settings.url)
                .chain(&settings.more_urls)
                .map(|url| format!("{}{root}", url.trim_end_matches('/')))
                .collect(),
            preferred: Arc::default(),
            retry: settings.retry,
            resent: Arc::default(),
        })
    }

    pub(super) fn prefer_first(&self) {
        self.preferred.store(0, Ordering::Relaxed);
    }

    pub(super) fn resent(&self) -> Resent {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Resent {
            unavailable: read(&self.resent.unavailable),
            not_connected: read(&self.resent.not_connected),
            unanswered: read(&self.resent.unanswered),
        }
    }

    pub(super) fn with_retry(&self, retry: RetryPolicy) -> Self {
        Self { retry, ..self.clone() }
    }

    /// Sends until there is an answer that sending again would not change, or time is up.
    pub(super) async fn send(&self, call: &Call) -> Result<Outcome, OpsError> {
        let started = Instant::now();
        let mut attempt = 1;
        loop {
            match self.send_once(call, attempt).await {
                Ok(outcome) => return Ok(outcome),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Again { error, retry_after }) => {
                    // What one node says of itself need not hold up a call that another one may take.
                    let all_asked = usize::try_from(attempt).is_ok_and(|attempt| attempt % self.bases.len() == 0);
                    let retry_after = retry_after.filter(|_| all_asked);
                    let Some(pause) = self.retry.pause(attempt, retry_after, started.elapsed()) else {
                        return Err(error);
                    };
                    self.resent.note(&error);
                    tokio::time::sleep(pause).await;
                    attempt += 1;
                }
            }
        }
    }

    async fn send_once(&self, call: &Call, attempt: u32) -> Result<Outcome, Failure> {
        let preferred = self.preferred.load(Ordering::Relaxed);
        // Several calls may fail at the same node: one step to the next is enough for all of them.
        let next_node = || {
            let next = preferred.wrapping_add(1);
            let _ = self
                .preferred
                .compare_exchange(preferred, next, Ordering::Relaxed, Ordering::Relaxed);
        };
        let lost = |error: reqwest::Error| {
            let again = !error.is_builder();
            next_node();
            let error = OpsError::Unreachable {
                call: call.name,
                attempts: attempt,
                source: Box::new(error),
            };
            if again {
                Failure::Again {
                    error,
                    retry_after: None,
                }
            } else {
                Failure::Final(error)
            }
        };
        let base = &self.bases[preferred % self.bases.len()];
        let mut request = self
            .client
            .request(call.method.clone(), format!("{base}{}", call.path))
            .timeout(ANSWER_TIMEOUT + call.wait);
        if let Some(user) = &call.user {
            request = request.header("Mimi-User", user);
        }
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, body.content_type).body(body.bytes.clone());
        }
        let mut response = request.send().await.map_err(lost)?;
        let status = response.status();
        let retry_after = retry_after(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Failure::Final(OpsError::AnswerTooLarge {
                    call: call.name,
                    bytes_max: ANSWER_BYTES_MAX,
                }));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return Ok(Outcome {
                status: status.as_u16(),
                body,
            });
        }
        let error = OpsError::Refused {
            call: call.name,
            status: status.as_u16(),
            // Not every refusal comes from the API itself: what is not a problem document still has its status.
            problem: serde_json::from_slice::<Problem>(&body).unwrap_or_default(),
        };
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                next_node();
                Err(Failure::Again { error, retry_after })
            }
            _ => Err(Failure::Final(error)),
        }
    }
}

impl ResentCounts {
    fn note(&self, error: &OpsError) {
        let count = match error {
            OpsError::Unreachable { source, .. } => match source.downcast_ref::<reqwest::Error>() {
                Some(error) if error.is_connect() => &self.not_connected,
                _ => &self.unanswered,
            },
            _ => &self.unavailable,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn tls(settings: &GatewaySettings) -> Result<ClientConfig, OpsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(&settings.ca)? {
        roots
            .add(root)
            .map_err(|error| setup(&settings.ca.display().to_string(), error))?;
    }
    let key_file = &settings.private_key;
    let key_pem = fs::read(key_file).map_err(OpsError::file(key_file))?;
    let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| setup(&key_file.display().to_string(), error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| setup(&settings.url, error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates(&settings.certificate)?, key)
        .map_err(|error| setup(&settings.certificate.display().to_string(), error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, OpsError> {
    let pem = fs::read(path).map_err(OpsError::file(path))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| setup(&path.display().to_string(), error))?;
    if found.is_empty() {
        return Err(setup(&path.display().to_string(), "no certificate in the file"));
    }
    Ok(found)
}

fn setup(what: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> OpsError {
    OpsError::GatewaySetup {
        what: what.to_owned(),
        source: source.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        give_up_after: Duration::from_secs(10),
        pause_min: Duration::from_millis(100),
        pause_max: Duration::from_secs(2),
    };

    #[test]
    fn pauses_double_up_to_their_limit_and_end_with_the_time() {
        let pause = |attempt, elapsed_ms| POLICY.pause(attempt, None, Duration::from_millis(elapsed_ms));
        assert_eq!(pause(1, 0), Some(Duration::from_millis(100)));
        assert_eq!(pause(3, 300), Some(Duration::from_millis(400)));
        assert_eq!(pause(6, 300), Some(Duration::from_secs(2)));
        assert_eq!(pause(400, 300), Some(Duration::from_secs(2)));
        assert_eq!(pause(6, 7_999), Some(Duration::from_secs(2)));
        assert_eq!(pause(6, 8_000), None);
        assert_eq!(RetryPolicy::never().pause(1, None, Duration::ZERO), None);
    }

    #[test]
    fn a_retry_after_makes_the_pause_longer_but_not_endless() {
        let pause = |seconds| POLICY.pause(1, Some(Duration::from_secs(seconds)), Duration::ZERO);
        assert_eq!(pause(0), Some(Duration::from_millis(100)));
        assert_eq!(pause(1), Some(Duration::from_secs(1)));
        assert_eq!(pause(3600), Some(Duration::from_secs(2)));
    }
}
