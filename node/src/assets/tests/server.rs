//! An asset server over TLS that plays by a script, and a resolver that says what it is told.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls::crypto_provider;
use crate::tls::testing::TlsFolder;

/// What every asset here is.
pub(super) const ASSET: &str = "ciphertext of a cat";

/// A running server; every request is answered on a connection of its own.
pub(super) struct AssetServer {
    pub(super) address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<String>>,
}

impl AssetServer {
    pub(super) async fn start(address: &str, files: &TlsFolder) -> Self {
        let socket = TcpListener::bind(address).await.unwrap();
        let chain = CertificateDer::pem_file_iter(files.path("certificate.pem")).unwrap();
        let chain = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(files.path("private.key")).unwrap();
        let config = ServerConfig::builder_with_provider(crypto_provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (address, seen) = (socket.local_addr().unwrap(), Arc::<Seen>::default());
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&shared));
                seen.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        // What the client breaks off is the client's affair.
                        drop(answer(stream, &seen).await);
                    }
                });
            }
        });
        AssetServer { address, seen, task }
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The heads of the requests so far.
    pub(super) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }
}

impl Drop for AssetServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TlsStream<TcpStream>, seen: &Seen) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    seen.requests.lock().unwrap().push(head);
    let (status, headers, body) = match path.split('/').nth(1).unwrap() {
        "asset" => (
            "200 OK",
            format!("Content-Type: image/x\r\nContent-Length: {}", ASSET.len()),
            ASSET,
        ),
        "nostore" => ("200 OK", "Cache-Control: no-store".to_owned(), ASSET),
        "lures" => {
            let lures = "Location: https://assets.b.example/secret\r\nRefresh: 0; url=/secret\r\nLink: </secret>; rel=preload\r\n\
                         Alt-Svc: h2=\"127.0.0.2:443\"\r\nSet-Cookie: a=b";
            ("200 OK", lures.to_owned(), ASSET)
        }
        "short" => ("200 OK", "Content-Length: 1000".to_owned(), ASSET),
        "long" => ("200 OK", "Content-Length: 10".to_owned(), ASSET),
        "twice" => ("200 OK", "Content-Length: 10\r\nContent-Length: 19".to_owned(), ASSET),
        "huge" => ("200 OK", "Content-Length: 1000000000000".to_owned(), ""),
        "encoded" => ("200 OK", "Content-Encoding: gzip".to_owned(), ASSET),
        "missing" => ("404 Not Found", "Content-Length: 0".to_owned(), ""),
        "broken" => ("500 Oops", "Content-Length: 0".to_owned(), ""),
        "partial" => (
            "206 Partial Content",
            "Content-Range: bytes 0-4/19\r\nContent-Length: 5".to_owned(),
            "ciphe",
        ),
        "redirect" => {
            let target = path.splitn(4, '/').nth(3).unwrap();
            let status = path.split('/').nth(2).unwrap();
            let head = format!(
                "HTTP/1.1 {status} Elsewhere\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await?;
            return stream.shutdown().await;
        }
        "silent" => {
            sleep(Duration::from_secs(60)).await;
            return Ok(());
        }
        "endless" | "slow" => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                .await?;
            loop {
                if path == "/slow" {
                    stream.write_all(b".").await?;
                    stream.flush().await?;
                    sleep(Duration::from_millis(20)).await;
                } else {
                    stream.write_all(&[b'.'; 4096]).await?;
                }
            }
        }
        _ => ("200 OK", "X: y".to_owned(), "the secret"),
    };
    let text = format!("HTTP/1.1 {status}\r\n{headers}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// A DNS server in somebody else's hands: each look-up of any name gets the next answer, the last one for ever.
#[derive(Default)]
pub(super) struct Answers {
    next: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Answers {
    pub(super) fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Answers {
            next: Mutex::new(answers.iter().map(parse).collect()),
            asked: AtomicUsize::new(0),
        })
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// As reqwest takes it.
pub(super) struct Dns(pub(super) Arc<Answers>);

impl Resolve for Dns {
    fn resolve(&self, _: Name) -> Resolving {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let mut next = self.0.next.lock().unwrap();
        let answer = if next.len() > 1 {
            next.pop_front()
        } else {
            next.front().cloned()
        };
        let answer = answer.unwrap_or_default();
        // Port 0: that of the URL.
        Box::pin(async { Ok(Box::new(answer.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs) })
    }
}
