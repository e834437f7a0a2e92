//! The demo's asset server: that of c.example on the web, with a certificate of another CA than the federation's.
//!
//! It takes files from within this process (how they are uploaded is out of the drafts' scope) and gives them out over HTTPS on
//! the loopback interface. It notes what it is asked and by whom, which is what the demo is about.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::OpsError;
use crate::certs::{Authority, Validity};
use crate::providers::AssetHost;

/// The provider whose users' assets are here, and the host.
const PROVIDER: &str = "c.example";
const HOST: &str = "assets.c.example";

/// The server; it ends when this is dropped.
pub(super) struct AssetServer {
    ca: PathBuf,
    address: SocketAddr,
    tls: Arc<ServerConfig>,
    /// Until it is started.
    listener: Option<TcpListener>,
    shelf: Arc<Mutex<Shelf>>,
    serving: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shelf {
    files: BTreeMap<String, Bytes>,
    asked: Vec<Asked>,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// What for.
    pub(super) path: String,
    /// Names of the header fields.
    pub(super) fields: Vec<String>,
}

impl AssetServer {
    /// Makes the certificates, the root among them in `folder`, and takes a port. Nothing is served yet.
    pub(super) fn prepare(folder: &Path) -> Result<Self, OpsError> {
        let authority = Authority::new("MIMI demo web CA", Validity::days(2))?;
        let ca = folder.join("web-ca.pem");
        fs::create_dir_all(folder).map_err(OpsError::file(folder))?;
        fs::write(&ca, authority.pem()).map_err(OpsError::file(&ca))?;
        let identity = authority.issue(&[HOST], &[], Validity::days(2))?;
        let unusable = |error: &dyn std::fmt::Display| OpsError::Usage(format!("the asset server: {error}"));
        let certificate = CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(identity.private_key_pem.as_bytes());
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.map_err(|error| unusable(&error))?],
                key.map_err(|error| unusable(&error))?,
            )
            .map_err(|error| unusable(&error))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| unusable(&error))?;
        listener.set_nonblocking(true).map_err(|error| unusable(&error))?;
        Ok(AssetServer {
            ca,
            address: listener.local_addr().map_err(|error| unusable(&error))?,
            tls: Arc::new(tls),
            listener: Some(listener),
            shelf: Arc::default(),
            serving: None,
        })
    }

    /// Where it is, for the configuration of hubs.
    pub(super) fn host(&self) -> AssetHost {
        AssetHost {
            provider: PROVIDER.to_owned(),
            host: HOST.to_owned(),
            address: self.address,
            ca: self.ca.clone(),
        }
    }

    /// Serves, if it does not yet.
    pub(super) fn start(&mut self) -> Result<(), OpsError> {
        let Some(listener) = self.listener.take() else {
            return Ok(());
        };
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(|error| OpsError::Usage(format!("the asset server: {error}")))?;
        let (acceptor, shelf) = (TlsAcceptor::from(Arc::clone(&self.tls)), Arc::clone(&self.shelf));
        self.serving = Some(tokio::spawn(async move {
            // A connection that cannot be accepted is not missed: its client says so.
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, shelf) = (acceptor.clone(), Arc::clone(&shelf));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let service = service_fn(|request| {
                            let response = answer(&shelf, &request);
                            async move { Ok::<_, Infallible>(response) }
                        });
                        let connection = hyper::server::conn::http1::Builder::new();
                        // What a client breaks off is the client's affair.
                        drop(connection.serve_connection(TokioIo::new(stream), service).await);
                    }
                });
            }
        }));
        Ok(())
    }

    /// Puts a file on the server.
    pub(super) fn upload(&self, name: &str, file: Vec<u8>) {
        locked(&self.shelf).files.insert(format!("/{name}"), file.into());
    }

    /// Where a file of this name is.
    pub(super) fn url(&self, name: &str) -> String {
        format!("https://{HOST}:{}/{name}", self.address.port())
    }

    /// What it was asked for this file so far.
    pub(super) fn asked(&self, name: &str) -> Vec<Asked> {
        let shelf = locked(&self.shelf);
        let path = format!("/{name}");
        shelf.asked.iter().filter(|asked| asked.path == path).cloned().collect()
    }
}

impl Drop for AssetServer {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

fn locked(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(shelf: &Mutex<Shelf>, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut shelf = locked(shelf);
    let path = request.uri().path().to_owned();
    let found = shelf
        .files
        .get(&path)
        .filter(|_| request.method() == Method::GET)
        .cloned();
    shelf.asked.push(Asked {
        path,
        fields: request.headers().keys().map(ToString::to_string).collect(),
    });
    let status = match found {
        Some(_) => StatusCode::OK,
        None => StatusCode::NOT_FOUND,
    };
    let mut response = Response::new(Full::new(found.unwrap_or_default()));
    *response.status_mut() = status;
    response
}
