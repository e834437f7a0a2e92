//! What the vectors need of cryptography beside `Crypto`, without randomness: everything follows from the inputs.

use mimi_hub_proto::Crypto as _;
use mimi_hub_proto::mls::{CipherSuite, HpkeCiphertext};
use openmls::prelude::OpenMlsCrypto as _;
use openmls_traits::types::{Ciphersuite, HashType};

use super::fields::Read;
use super::provider::Provider;

/// MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519, of all vectors.
pub(crate) const SUITE: CipherSuite = CipherSuite(1);

const THEIRS: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

pub(crate) fn provider() -> Provider {
    Provider::default()
}

pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> Read<Vec<u8>> {
    let mac = provider().0.hmac(HashType::Sha2_256, key, message);
    mac.map(|mac| mac.as_slice().to_vec())
        .map_err(|error| format!("{error:?}"))
}

/// Ed25519; signatures are deterministic.
pub(crate) fn sign(private: &[u8], content: &[u8]) -> Read<Vec<u8>> {
    let scheme = THEIRS.signature_algorithm();
    provider()
        .0
        .sign(scheme, content, private)
        .map_err(|error| format!("{error:?}"))
}

pub(crate) fn verifies(public: &[u8], content: &[u8], signature: &[u8]) -> bool {
    provider().verify(SUITE, public, content, signature).is_ok()
}

pub(crate) fn signature_public_key(private: &[u8]) -> Read<Vec<u8>> {
    let private: &[u8; 32] = private.try_into().map_err(|_| "not 32 octets")?;
    let pair = ed25519_dalek::SigningKey::from_bytes(private);
    Ok(pair.verifying_key().to_bytes().to_vec())
}

pub(crate) fn hpke_public_key(private: &[u8]) -> Read<Vec<u8>> {
    const BASE_POINT: [u8; 32] = {
        let mut point = [0; 32];
        point[0] = 9;
        point
    };
    diffie_hellman(private, &BASE_POINT)
}

fn diffie_hellman(private: &[u8], public: &[u8]) -> Read<Vec<u8>> {
    let both = (private.try_into(), public.try_into());
    let (Ok(private), Ok(public)) = both else {
        return Err("not 32 octets".to_owned());
    };
    Ok(x25519_dalek::x25519(private, public).to_vec())
}

/// SealBase of RFC 9180 (5.1.1, 6.1) with an ephemeral key that is given and an empty `aad`: DHKEM(X25519, HKDF-SHA256),
/// HKDF-SHA256, AES-128-GCM. openmls's, which the tests open with, draws the ephemeral key itself.
pub(crate) fn hpke_seal(public: &[u8], ephemeral: &[u8], info: &[u8], plaintext: &[u8]) -> Read<HpkeCiphertext> {
    const KEM: &[u8] = b"KEM\x00\x20";
    const HPKE: &[u8] = b"HPKE\x00\x20\x00\x01\x00\x01";
    let kem_output = hpke_public_key(ephemeral)?;
    let shared = diffie_hellman(ephemeral, public)?;
    let prk = labeled_extract(KEM, &[], "eae_prk", &shared)?;
    let kem_context = [kem_output.as_slice(), public].concat();
    let shared = labeled_expand(KEM, &prk, "shared_secret", &kem_context, 32)?;
    let psk_id = labeled_extract(HPKE, &[], "psk_id_hash", &[])?;
    let info = labeled_extract(HPKE, &[], "info_hash", info)?;
    let context = [&[0], psk_id.as_slice(), &info].concat();
    let secret = labeled_extract(HPKE, &shared, "secret", &[])?;
    let key = labeled_expand(HPKE, &secret, "key", &context, 16)?;
    let nonce = labeled_expand(HPKE, &secret, "base_nonce", &context, 12)?;
    let ciphertext = provider()
        .0
        .aead_encrypt(THEIRS.aead_algorithm(), &key, plaintext, &nonce, &[])
        .map_err(|error| format!("{error:?}"))?;
    Ok(HpkeCiphertext { kem_output, ciphertext })
}

fn labeled_extract(suite: &[u8], salt: &[u8], label: &str, ikm: &[u8]) -> Read<Vec<u8>> {
    let ikm = [b"HPKE-v1", suite, label.as_bytes(), ikm].concat();
    provider()
        .kdf_extract(SUITE, salt, &ikm)
        .map_err(|error| error.to_string())
}

fn labeled_expand(suite: &[u8], prk: &[u8], label: &str, info: &[u8], length: u16) -> Read<Vec<u8>> {
    let info = [
        &length.to_be_bytes(),
        b"HPKE-v1".as_slice(),
        suite,
        label.as_bytes(),
        info,
    ]
    .concat();
    provider()
        .kdf_expand(SUITE, prk, &info, length)
        .map_err(|error| error.to_string())
}
