use std::{fs, time::Duration};

use rustls::{
    ClientConfig, ProtocolVersion, SupportedProtocolVersion,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{
    testing::{Ca, Issued, TlsFolder, tls},
    *,
};
use crate::listener::testing::PATIENCE;

/// Connects the two in memory and passes a byte each way. What the server knows of the client, and the version.
async fn handshake(
    server: &Tls,
    client: Arc<ClientConfig>,
    name: &str,
) -> Result<(PeerCertificate, ProtocolVersion), String> {
    let (near, far) = tokio::io::duplex(16 * 1024);
    let acceptor = TlsAcceptor::from(server.current().server.clone());
    let serving = async {
        let mut stream = acceptor.accept(far).await.map_err(|error| format!("server: {error}"))?;
        stream.read_u8().await.map_err(|error| format!("server: {error}"))?;
        stream.write_u8(2).await.map_err(|error| format!("server: {error}"))?;
        let session = stream.get_ref().1;
        let certificate = session
            .peer_certificates()
            .unwrap()
            .first()
            .unwrap()
            .clone()
            .into_owned();
        Ok::<_, String>((PeerCertificate::new(certificate), session.protocol_version().unwrap()))
    };
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let calling = async {
        let mut stream = TlsConnector::from(client)
            .connect(name, near)
            .await
            .map_err(|error| format!("client: {error}"))?;
        stream.write_u8(1).await.map_err(|error| format!("client: {error}"))?;
        stream.read_u8().await.map_err(|error| format!("client: {error}"))?;
        Ok::<(), String>(())
    };
    let (served, called) = timeout(PATIENCE, async { tokio::join!(serving, calling) })
        .await
        .unwrap();
    // The side that refused knows the reason, the other one only that it was refused.
    match (served, called) {
        (Ok(seen), Ok(())) => Ok(seen),
        (served, called) => Err(format!(
            "{} | {}",
            served.err().unwrap_or_default(),
            called.err().unwrap_or_default()
        )),
    }
}

fn domain(name: &str) -> mimi_hub_proto::uri::ProviderDomain {
    name.parse().unwrap()
}

struct Parties {
    ca: Ca,
    server: Arc<Tls>,
}

impl Parties {
    fn new() -> Self {
        let ca = Ca::new("federation");
        let server = tls(&ca.issue(&["a.example"]), &ca);
        Self { ca, server }
    }

    /// A client that trusts the federation and shows `identity`.
    async fn call_with(&self, identity: &Issued) -> Result<(PeerCertificate, ProtocolVersion), String> {
        handshake(
            &self.server,
            tls(identity, &self.ca).current().client.clone(),
            "a.example",
        )
        .await
    }
}

/// draft-ietf-mimi-protocol, section 4.1: TLS is mutually authenticated.
#[tokio::test]
async fn both_sides_authenticate_over_tls_1_3() {
    let parties = Parties::new();
    let (seen, version) = parties
        .call_with(&parties.ca.issue(&["b.example", "*.c.example"]))
        .await
        .unwrap();
    assert_eq!(version, ProtocolVersion::TLSv1_3);
    assert!(seen.covers(&domain("b.example")));
    assert!(seen.covers(&domain("chat.c.example")));
    assert!(!seen.covers(&domain("c.example")));
    assert!(!seen.covers(&domain("a.example")));
}

#[tokio::test]
async fn a_client_of_another_ca_is_refused() {
    let parties = Parties::new();
    let error = parties
        .call_with(&Ca::new("foreign").issue(&["b.example"]))
        .await
        .unwrap_err();
    assert!(
        error.contains("server: invalid peer certificate: UnknownIssuer"),
        "{error}"
    );
}

#[tokio::test]
async fn an_expired_client_is_refused() {
    let parties = Parties::new();
    let error = parties
        .call_with(&parties.ca.issue_expired(&["b.example"]))
        .await
        .unwrap_err();
    assert!(
        error.contains("server: invalid peer certificate: certificate expired"),
        "{error}"
    );
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let parties = Parties::new();
    let error = handshake(
        &parties.server,
        Arc::new(anonymous(&parties.ca, &[&TLS13])),
        "a.example",
    )
    .await
    .unwrap_err();
    assert!(error.contains("server: peer sent no certificates"), "{error}");
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let parties = Parties::new();
    let error = handshake(
        &parties.server,
        Arc::new(anonymous(&parties.ca, &[&TLS12])),
        "a.example",
    )
    .await
    .unwrap_err();
    assert!(error.contains("server: peer is incompatible"), "{error}");
}

fn anonymous(ca: &Ca, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let folder = TlsFolder::new(&ca.issue(&["unused.example"]), ca);
    let builder = ClientConfig::builder_with_provider(crypto_provider())
        .with_protocol_versions(versions)
        .unwrap();
    builder
        .with_root_certificates(read_roots(&folder.files().roots).unwrap())
        .with_no_client_auth()
}

#[tokio::test]
async fn a_server_of_another_ca_or_name_or_time_is_refused() {
    let ca = Ca::new("federation");
    let client = tls(&ca.issue(&["b.example"]), &ca).current().client.clone();
    for (identity, reason) in [
        (Ca::new("foreign").issue(&["a.example"]), "UnknownIssuer"),
        (ca.issue(&["c.example"]), "not valid for name"),
        (ca.issue_expired(&["a.example"]), "certificate expired"),
    ] {
        let error = handshake(&tls(&identity, &ca), client.clone(), "a.example")
            .await
            .unwrap_err();
        assert!(
            error.contains("client: invalid peer certificate") && error.contains(reason),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_reload_puts_new_certificates_and_roots_in_force() {
    let parties = Parties::new();
    let folder = TlsFolder::new(&parties.ca.issue(&["old.example"]), &parties.ca);
    let server = folder.load();
    let client = tls(&parties.ca.issue(&["b.example"]), &parties.ca)
        .current()
        .client
        .clone();
    handshake(&server, client.clone(), "old.example").await.unwrap();

    folder.write(&parties.ca.issue(&["new.example"]), &parties.ca);
    handshake(&server, client.clone(), "new.example").await.unwrap_err();
    server.reload().unwrap();
    handshake(&server, client.clone(), "new.example").await.unwrap();
    handshake(&server, client.clone(), "old.example").await.unwrap_err();

    folder.write(&parties.ca.issue(&["new.example"]), &Ca::new("other roots"));
    server.reload().unwrap();
    let error = handshake(&server, client, "new.example").await.unwrap_err();
    assert!(
        error.contains("server: invalid peer certificate: UnknownIssuer"),
        "{error}"
    );
}

#[tokio::test]
async fn a_reload_that_fails_changes_nothing() {
    let parties = Parties::new();
    let folder = TlsFolder::new(&parties.ca.issue(&["a.example"]), &parties.ca);
    let server = folder.load();
    let in_force = server.current();
    fs::write(folder.path("certificate.pem"), "-----BEGIN CERTIFICATE-----\nAAAA").unwrap();
    assert!(matches!(server.reload(), Err(NodeError::TlsPem { .. })));
    assert!(Arc::ptr_eq(&in_force, &server.current()));
    assert!(server.is_outdated(), "the next look tries again");
}

#[tokio::test]
async fn changed_files_are_noticed() {
    let ca = Ca::new("federation");
    let folder = TlsFolder::new(&ca.issue(&["old.example"]), &ca);
    let server = folder.load();
    let mut exchanged = server.subscribe();
    let renewal = tokio::spawn(keep_fresh(vec![server.clone()], Duration::from_millis(20)));
    folder.write(&ca.issue(&["new.example", "longer.example"]), &ca);
    timeout(PATIENCE, exchanged.changed())
        .await
        .expect("the change is noticed")
        .unwrap();
    // What was caught between two of the writes is put right at the next look.
    let client = tls(&ca.issue(&["b.example"]), &ca).current().client.clone();
    while handshake(&server, client.clone(), "new.example").await.is_err() {
        timeout(PATIENCE, exchanged.changed())
            .await
            .expect("the last change is noticed")
            .unwrap();
    }
    renewal.abort();
}

#[tokio::test]
async fn sighup_reloads_even_what_looks_unchanged() {
    // The process must not die of the signal, whichever of the two tasks comes first.
    let _handled = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).unwrap();
    let ca = Ca::new("federation");
    let folder = TlsFolder::new(&ca.issue(&["a.example"]), &ca);
    let server = folder.load();
    let mut exchanged = server.subscribe();
    let renewal = tokio::spawn(keep_fresh(vec![server], Duration::from_secs(3600)));
    let noticed = async {
        // Repeated, since the task may not listen yet when the first one is sent.
        loop {
            let pid = std::process::id().to_string();
            assert!(
                tokio::process::Command::new("kill")
                    .args(["-HUP", &pid])
                    .status()
                    .await
                    .unwrap()
                    .success()
            );
            if timeout(Duration::from_millis(200), exchanged.changed()).await.is_ok() {
                return;
            }
        }
    };
    timeout(PATIENCE, noticed).await.expect("the signal is acted upon");
    renewal.abort();
}

#[test]
fn unusable_files_are_told_apart() {
    let ca = Ca::new("federation");
    let folder = TlsFolder::new(&ca.issue(&["a.example"]), &ca);
    let load = || Tls::load("test", folder.files()).map(|_| ()).unwrap_err();
    let files = folder.files();

    let other_key = TlsFolder::new(&ca.issue(&["a.example"]), &ca);
    let key = fs::read(&files.private_key).unwrap();
    fs::copy(other_key.path("private.key"), &files.private_key).unwrap();
    assert!(matches!(load(), NodeError::TlsIdentity { .. }));
    fs::write(&files.private_key, "no PEM").unwrap();
    assert!(matches!(
        load(),
        NodeError::TlsPem {
            wanted: "private key",
            ..
        }
    ));
    fs::write(&files.private_key, key).unwrap();

    fs::write(&files.roots, "").unwrap();
    assert!(matches!(load(), NodeError::TlsPem { wanted: "certificate", path, .. } if path == files.roots));
    fs::write(
        &files.roots,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    assert!(matches!(load(), NodeError::TlsRoots { .. }));
    fs::remove_file(&files.certificate).unwrap();
    assert!(matches!(load(), NodeError::TlsRead { path, .. } if path == files.certificate));
}

#[test]
fn validity_is_read_from_the_certificate() {
    let ca = Ca::new("federation");
    // 2000-01-01 and 2001-01-01, the period of an expired one.
    let (not_before, not_after) = (946_684_800, 978_307_200);
    let expired = PeerCertificate::new(ca.issue_expired(&["a.example"]).der());
    assert_eq!(expired.validity_at(now_s()), Validity::Expired);
    assert_eq!(expired.validity_at(not_after + 1), Validity::Expired);
    assert_eq!(expired.validity_at(not_after), Validity::Valid { remaining_s: 0 });
    assert_eq!(
        expired.validity_at(not_before),
        Validity::Valid {
            remaining_s: not_after - not_before
        }
    );
    assert_eq!(expired.validity_at(not_before - 1), Validity::NotYet);
    let nonsense = PeerCertificate::new(rustls::pki_types::CertificateDer::from(vec![1, 2, 3]));
    assert_eq!(nonsense.validity_at(not_before), Validity::Unreadable);
    assert!(!nonsense.covers(&domain("a.example")));
}
