//! The labelled operations of RFC 9420 (5.1.2, 5.1.3, 5.2) over openmls's cryptography provider.

use mimi_hub_proto::mls::{CipherSuite, HpkeCiphertext, KeyPackage, encrypt_context, ref_hash_input, sign_content};
use openmls_rust_crypto::RustCrypto;
use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::random::OpenMlsRand;
use openmls_traits::types::{Ciphersuite, CryptoError, HashType, SignatureScheme};

use crate::error::NodeError;

/// The cryptography provider: one value for the whole process (its only state is a random number generator).
pub(crate) fn provider() -> &'static RustCrypto {
    static PROVIDER: std::sync::OnceLock<RustCrypto> = std::sync::OnceLock::new();
    PROVIDER.get_or_init(RustCrypto::default)
}

/// A random number.
pub(crate) fn random_u64() -> Result<u64, NodeError> {
    let bytes = provider().random_array();
    bytes
        .map(u64::from_be_bytes)
        .map_err(|error| NodeError::Mls(error.to_string()))
}

/// The suite as openmls knows it, if the provider supports it.
pub(crate) fn supported(suite: CipherSuite) -> Option<Ciphersuite> {
    let suite = Ciphersuite::try_from(suite.0).ok()?;
    provider().supports(suite).ok()?;
    Some(suite)
}

/// All suites that the hub can check, in the registry's order.
pub(crate) fn supported_suites() -> Vec<CipherSuite> {
    let mut suites: Vec<_> = provider()
        .supported_ciphersuites()
        .into_iter()
        .map(|suite| CipherSuite(suite.into()))
        .collect();
    suites.sort_by_key(|suite| suite.0);
    suites
}

/// VerifyWithLabel (RFC 9420, 5.1.2).
pub(crate) fn verify_with_label(
    scheme: SignatureScheme,
    key: &[u8],
    label: &str,
    content: &[u8],
    signature: &[u8],
) -> Result<(), CryptoError> {
    provider().verify_signature(scheme, &sign_content(label, content), key, signature)
}

/// SignWithLabel (RFC 9420, 5.1.2).
pub(crate) fn sign_with_label(
    scheme: SignatureScheme,
    key: &[u8],
    label: &str,
    content: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    provider().sign(scheme, &sign_content(label, content), key)
}

/// EncryptWithLabel (RFC 9420, 5.1.3).
pub(crate) fn encrypt_with_label(
    suite: Ciphersuite,
    public_key: &[u8],
    label: &str,
    context: &[u8],
    plaintext: &[u8],
) -> Result<HpkeCiphertext, CryptoError> {
    let sealed = provider().hpke_seal(
        suite.hpke_config(),
        public_key,
        &encrypt_context(label, context),
        &[],
        plaintext,
    )?;
    Ok(HpkeCiphertext {
        kem_output: sealed.kem_output.into(),
        ciphertext: sealed.ciphertext.into(),
    })
}

/// HMAC-SHA256, of franking tags and franks.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> Result<[u8; 32], CryptoError> {
    let mac = provider().hmac(HashType::Sha2_256, key, message)?;
    mac.as_slice().try_into().map_err(|_| CryptoError::CryptoLibraryError)
}

/// MakeKeyPackageRef (RFC 9420, 5.2).
pub(crate) fn key_package_ref(suite: Ciphersuite, key_package: &KeyPackage) -> Result<Vec<u8>, CryptoError> {
    reference(suite, "MLS 1.0 KeyPackage Reference", key_package.as_bytes())
}

fn reference(suite: Ciphersuite, label: &str, value: &[u8]) -> Result<Vec<u8>, CryptoError> {
    provider().hash(suite.hash_algorithm(), &ref_hash_input(label, value))
}
