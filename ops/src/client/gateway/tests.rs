//! A gateway against a scripted listener on the loopback interface: what is sent, and what is sent again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::certs::{Authority, DevCerts, DevCertsOptions, Validity};

/// What the listener does with one request.
enum Act {
    Answer(&'static str, &'static str),
    /// Closes the connection without a word.
    HangUp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    line: String,
    user: Option<String>,
    content_type: Option<String>,
    body: Vec<u8>,
}

type Log = Arc<Mutex<Vec<Request>>>;

struct Scene {
    folder: TempDir,
    port: u16,
    gateway: Gateway,
    log: Log,
}

fn alice() -> UserUri {
    "mimi://a.example/u/alice".parse().unwrap()
}

fn room() -> RoomUri {
    "mimi://a.example/r/clubhouse".parse().unwrap()
}

fn settings(folder: &std::path::Path, port: u16) -> GatewaySettings {
    GatewaySettings {
        url: format!("https://localhost:{port}"),
        more_urls: Vec::new(),
        ca: folder.join("local-ca.pem"),
        certificate: folder.join("gateway.a.example.pem"),
        private_key: folder.join("gateway.a.example.key"),
        retry: RetryPolicy {
            give_up_after: Duration::from_secs(10),
            pause_min: Duration::from_millis(5),
            pause_max: Duration::from_millis(20),
        },
    }
}

/// A provider's local listener that follows a script, and a gateway to it.
async fn scene(script: Vec<Act>) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let domains = ["a.example".parse().unwrap()];
    DevCerts::generate(&domains, DevCertsOptions::default())
        .unwrap()
        .write(folder.path(), false)
        .unwrap();
    let pem = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&pem("local-ca.pem")).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(&pem("local.a.example.pem")).unwrap()],
            PrivateKeyDer::from_pem_slice(&pem("local.a.example.key")).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let log = Log::default();
    tokio::spawn(listen(
        listener,
        TlsAcceptor::from(Arc::new(config)),
        script.into(),
        log.clone(),
    ));
    Scene {
        gateway: Gateway::new(&settings(folder.path(), port)).unwrap(),
        folder,
        port,
        log,
    }
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, mut script: VecDeque<Act>, log: Log) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        // A refused client certificate ends the handshake; the next connection may be better.
        let _: std::io::Result<()> = serve(stream, &acceptor, &mut script, &log).await;
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    script: &mut VecDeque<Act>,
    log: &Log,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(acceptor.accept(stream).await?);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let mut request = Request {
            line: line.trim().to_owned(),
            user: None,
            content_type: None,
            body: Vec::new(),
        };
        loop {
            let mut header = String::new();
            stream.read_line(&mut header).await?;
            let Some((name, value)) = header.trim().split_once(": ") else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "mimi-user" => request.user = Some(value.to_owned()),
                "content-type" => request.content_type = Some(value.to_owned()),
                "content-length" => request.body = vec![0; value.parse().unwrap()],
                _ => {}
            }
        }
        stream.read_exact(&mut request.body).await?;
        log.lock().unwrap().push(request);
        match script.pop_front() {
            Some(Act::Answer(status, body)) => {
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await?;
                stream.flush().await?;
            }
            Some(Act::HangUp) | None => return Ok(()),
        }
    }
}

#[tokio::test]
async fn a_relayed_request_speaks_for_the_user_in_octets() {
    let scene = scene(vec![Act::Answer("200 OK", "answer")]).await;
    let answer = scene.gateway.update(&alice(), &room(), vec![0, 1, 0xff]).await.unwrap();
    assert_eq!(answer, b"answer");
    let expected = Request {
        line: "POST /local/v1/update/mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse HTTP/1.1".to_owned(),
        user: Some("mimi://a.example/u/alice".to_owned()),
        content_type: Some("application/mimi".to_owned()),
        body: vec![0, 1, 0xff],
    };
    assert_eq!(*scene.log.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn what_may_have_been_carried_out_is_sent_again_byte_for_byte() {
    let scene = scene(vec![
        Act::HangUp,
        Act::Answer("503 Service Unavailable\r\nretry-after: 1", ""),
        Act::Answer("504 Gateway Timeout", "{}"),
        Act::Answer("429 Too Many Requests", ""),
        Act::HangUp,
        Act::Answer("200 OK", "at last"),
    ])
    .await;
    let answer = scene
        .gateway
        .submit_message(&alice(), &room(), b"once".to_vec())
        .await
        .unwrap();
    assert_eq!(answer, b"at last");
    let log = scene.log.lock().unwrap();
    assert_eq!(log.len(), 6);
    assert!(log.iter().all(|request| *request == log[0]));
}

#[tokio::test]
async fn a_refusal_is_final_and_says_why() {
    let problem = r#"{"type":"urn:x","title":"Forbidden","status":403,"detail":"not your user"}"#;
    let scene = scene(vec![
        Act::Answer("403 Forbidden", problem),
        Act::Answer("500 Oops", "<html>"),
    ])
    .await;
    let refused = scene.gateway.put_user(&alice()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "put user: refused with 403, Forbidden: not your user"
    );
    let broken = scene.gateway.put_user(&alice()).await.unwrap_err();
    assert_eq!(broken.to_string(), "put user: refused with 500, no reason given");
    assert_eq!(scene.log.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn statuses_and_json_become_values() {
    let scene = scene(vec![
        Act::Answer("201 Created", ""),
        Act::Answer("200 OK", ""),
        Act::Answer("404 Not Found", ""),
        Act::Answer("201 Created", r#"{"acceptedTimestamp":7}"#),
        Act::Answer("200 OK", "not JSON"),
    ])
    .await;
    let gateway = &scene.gateway;
    assert!(gateway.put_user(&alice()).await.unwrap());
    assert!(!gateway.put_user(&alice()).await.unwrap());
    assert!(gateway.room(&room()).await.unwrap().is_none());
    assert_eq!(gateway.create_room(&alice(), &room(), b"g", b"t").await.unwrap(), 7);
    assert!(matches!(gateway.hub().await, Err(OpsError::Answer { call: "hub", .. })));
}

#[tokio::test]
async fn giving_up_says_how_often_it_was_tried() {
    let folder = tempfile::tempdir().unwrap();
    let domains = ["a.example".parse().unwrap()];
    DevCerts::generate(&domains, DevCertsOptions::default())
        .unwrap()
        .write(folder.path(), false)
        .unwrap();
    // Bound and dropped: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut settings = settings(folder.path(), port);
    settings.retry.give_up_after = Duration::from_millis(100);
    let gateway = Gateway::new(&settings).unwrap();
    let lost = gateway.hub().await.unwrap_err();
    assert!(
        matches!(lost, OpsError::Unreachable { attempts, .. } if attempts > 1),
        "{lost}"
    );
    let lost = gateway.with_retry(RetryPolicy::never()).hub().await.unwrap_err();
    assert!(matches!(lost, OpsError::Unreachable { attempts: 1, .. }), "{lost}");
}

#[tokio::test]
async fn a_listener_of_another_authority_is_not_spoken_to() {
    let scene = scene(vec![Act::Answer("200 OK", "{}")]).await;
    let other = Authority::new("other", Validity::days(1)).unwrap();
    let folder = scene.folder.path();
    std::fs::write(folder.join("local-ca.pem"), other.pem()).unwrap();
    let mut settings = settings(folder, scene.port);
    settings.retry = RetryPolicy::never();
    let gateway = Gateway::new(&settings).unwrap();
    assert!(matches!(gateway.hub().await, Err(OpsError::Unreachable { .. })));
    assert!(scene.log.lock().unwrap().is_empty());
}

#[test]
fn unusable_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Gateway::new(&settings(folder.path(), 1)).err().unwrap();
    assert!(missing.to_string().contains("local-ca.pem"), "{missing}");
    std::fs::write(folder.path().join("local-ca.pem"), "no certificate").unwrap();
    let empty = Gateway::new(&settings(folder.path(), 1)).err().unwrap();
    assert!(
        matches!(&empty, OpsError::GatewaySetup { what, .. } if what.contains("local-ca.pem")),
        "{empty}"
    );
}
