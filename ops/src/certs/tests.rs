//! The certificates do in TLS what they are for.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::*;

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let pem = authority.pem();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    Arc::new(roots)
}

fn parts(identity: &Identity) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.private_key_pem.as_bytes()).unwrap();
    (vec![certificate], key)
}

/// A mutual TLS handshake in memory: the client trusts `authority`, and so does the server.
fn handshake(
    authority: &Authority,
    server: &Identity,
    client: &Identity,
    dialled: &'static str,
) -> Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key) = parts(server);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(authority), provider.clone())
        .build()
        .unwrap();
    let server_config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    let (chain, key) = parts(client);
    let client_config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(authority))
        .with_client_auth_cert(chain, key)
        .unwrap();
    let name = ServerName::try_from(dialled).unwrap();
    let mut client = ClientConnection::new(Arc::new(client_config), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server_config)).unwrap();
    client.writer().write_all(b"hello").unwrap();
    for _ in 0..8 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    let mut received = [0; 5];
    server.reader().read_exact(&mut received).unwrap();
    assert_eq!(&received, b"hello");
    Ok(())
}

fn authority(name: &str) -> Authority {
    Authority::new(name, Validity::days(1)).unwrap()
}

#[test]
fn providers_of_one_federation_meet() {
    let federation = authority("federation");
    let a = federation.issue(&["a.example"], &[], Validity::days(1)).unwrap();
    let b = federation.issue(&["b.example"], &[], Validity::days(1)).unwrap();
    handshake(&federation, &a, &b, "a.example").unwrap();
}

#[test]
fn a_local_listener_answers_to_its_loopback_names() {
    let local = authority("local");
    let loopback = [std::net::IpAddr::from([127, 0, 0, 1])];
    let listener = local
        .issue(&["localhost", "local.a.example"], &loopback, Validity::days(1))
        .unwrap();
    let gateway = local.issue(&["gateway.a.example"], &[], Validity::days(1)).unwrap();
    for dialled in ["localhost", "local.a.example", "127.0.0.1"] {
        handshake(&local, &listener, &gateway, dialled).unwrap();
    }
    handshake(&local, &listener, &gateway, "local.b.example").unwrap_err();
}

#[test]
fn a_foreign_authority_is_refused_at_either_end() {
    let federation = authority("federation");
    // The same name on purpose: only the key tells them apart.
    let foreign = authority("federation");
    let good = federation.issue(&["a.example"], &[], Validity::days(1)).unwrap();
    let forged = foreign.issue(&["a.example"], &[], Validity::days(1)).unwrap();
    handshake(&federation, &good, &good, "a.example").unwrap();
    handshake(&federation, &forged, &good, "a.example").unwrap_err();
    handshake(&federation, &good, &forged, "a.example").unwrap_err();
}

#[test]
fn an_expired_certificate_is_refused_at_either_end() {
    let federation = authority("federation");
    let good = federation.issue(&["a.example"], &[], Validity::days(1)).unwrap();
    let expired = federation.issue(&["a.example"], &[], Validity::expired()).unwrap();
    handshake(&federation, &expired, &good, "a.example").unwrap_err();
    handshake(&federation, &good, &expired, "a.example").unwrap_err();
}

#[test]
fn wildcards_and_several_names_are_possible() {
    let federation = authority("federation");
    let wide = federation
        .issue(&["a.example", "*.a.example"], &[], Validity::days(1))
        .unwrap();
    handshake(&federation, &wide, &wide, "a.example").unwrap();
    handshake(&federation, &wide, &wide, "mimi.a.example").unwrap();
    handshake(&federation, &wide, &wide, "b.example").unwrap_err();
}
