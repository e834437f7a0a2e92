//! Raw requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mimi_hub_ops::certs::Identity;
use mimi_hub_proto::tls::{Decode, decode_exact};
use mimi_hub_proto::uri::path_segment;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Longer than any answer takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A certificate with its key.
pub struct TlsIdentity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl TlsIdentity {
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        self.key.clone_key()
    }
}

impl From<Identity> for TlsIdentity {
    fn from(identity: Identity) -> Self {
        Self {
            certificate: CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).unwrap(),
            key: PrivateKeyDer::from_pem_slice(identity.private_key_pem.as_bytes()).unwrap(),
        }
    }
}

pub(crate) fn roots(pem: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    roots
}

/// A TLS client that trusts `ca` and shows `identity`.
///
/// # Panics
/// The certificates are unusable.
#[must_use]
pub fn tls_client(
    ca: &str,
    identity: Option<&TlsIdentity>,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots(ca));
    match identity {
        Some(identity) => config
            .with_client_auth_cert(vec![identity.certificate()], identity.key())
            .unwrap(),
        None => config.with_no_client_auth(),
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The struct in an answer of success.
    ///
    /// # Panics
    /// It is no success, or another struct.
    #[must_use]
    pub fn mimi<T: Decode>(&self) -> T {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.body));
        assert_eq!(self.headers[CONTENT_TYPE], "application/mimi");
        decode_exact(&self.body).unwrap()
    }

    /// The document in an answer of success.
    ///
    /// # Panics
    /// It is no success, or no JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        assert!(
            (200..300).contains(&self.status),
            "{} {}",
            self.status,
            String::from_utf8_lossy(&self.body)
        );
        self.json_of_any()
    }

    /// The document in an answer of any status.
    ///
    /// # Panics
    /// It is no JSON.
    #[must_use]
    pub fn json_of_any(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Checks that this is a problem document (RFC 9457) with this status and type.
    ///
    /// # Panics
    /// It is not.
    pub fn expect_problem(&self, status: u16, slug: &str) {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json");
        let document: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(document["type"], format!("urn:mimi-hub:problem:{slug}"), "{text}");
        assert_eq!(document["status"], status, "{text}");
        for member in ["title", "detail"] {
            assert!(document[member].as_str().is_some_and(|text| !text.is_empty()), "{text}");
        }
    }

    async fn read(response: reqwest::Response) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap().to_vec(),
        }
    }
}

pub(crate) async fn send(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
    Ok(Answer::read(request.send().await?).await)
}

/// One provider's requests to another.
#[derive(Clone)]
pub struct Peer {
    from: String,
    to: String,
    address: SocketAddr,
    tls: ClientConfig,
    http: reqwest::Client,
}

impl Peer {
    pub(crate) fn new(from: &str, to: &str, address: SocketAddr, ca: &str, identity: Option<&TlsIdentity>) -> Self {
        let mut tls = tls_client(ca, identity, &rustls::version::TLS13);
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .resolve(to, address)
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Self {
            from: format!("mimi@{from}"),
            to: to.to_owned(),
            address,
            tls,
            http,
        }
    }

    /// A request to a path of the hub, nothing but `From` set.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("https://{}{path}", self.to))
            .header("From", &self.from)
    }

    /// The same, without `From`.
    pub fn anonymous(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("https://{}{path}", self.to))
    }

    /// Calls an endpoint of draft-ietf-mimi-protocol, section 5.
    ///
    /// # Errors
    /// No answer came.
    pub async fn try_post(&self, endpoint: &str, about: &str, body: &[u8]) -> Result<Answer, reqwest::Error> {
        let path = format!("/v1/{endpoint}/{}", path_segment(about));
        let request = self
            .request(Method::POST, &path)
            .header(CONTENT_TYPE, "application/mimi")
            .body(body.to_vec());
        send(request).await
    }

    /// Calls an endpoint of draft-ietf-mimi-protocol, section 5.
    ///
    /// # Panics
    /// No answer came.
    pub async fn post(&self, endpoint: &str, about: &str, body: &[u8]) -> Answer {
        self.try_post(endpoint, about, body).await.unwrap()
    }

    /// A connection that speaks HTTP/1.1, for requests that no HTTP library would send.
    ///
    /// # Panics
    /// The handshake fails.
    pub async fn connect(&self) -> TlsStream<TcpStream> {
        let mut tls = self.tls.clone();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from(self.to.clone()).unwrap();
        TlsConnector::from(Arc::new(tls)).connect(name, stream).await.unwrap()
    }

    /// Sends `text` over a connection of its own and gives all that comes back until the hub closes it.
    ///
    /// # Panics
    /// The connection does not end.
    pub async fn exchange(&self, text: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer));
        // A connection that breaks has ended too: what came before is what counts.
        drop(read.await.unwrap());
        String::from_utf8_lossy(&answer).into_owned()
    }
}
