//! What the vectors need of cryptography beside `Crypto`, without randomness: everything follows from the inputs.

use mimi_hub_proto::Crypto as _;
use mimi_hub_proto::mls::{CipherSuite, HpkeCiphertext};
use openmls::prelude::OpenMlsCrypto as _;
use openmls_traits::types::{
    self, AeadType, Ciphersuite, HashType, HpkeAeadType, HpkeConfig, HpkeKdfType, HpkeKemType,
};

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
    let context = HpkeContext::of_sender(Aead::Aes128Gcm, public, ephemeral, info)?;
    Ok(HpkeCiphertext {
        ciphertext: context.seal(plaintext)?,
        kem_output: context.enc,
    })
}

/// The suite identifier of DHKEM(X25519, HKDF-SHA256) (RFC 9180, section 4.1).
const KEM: &[u8] = b"KEM\x00\x20";

/// The AEADs of the vectors, all of them with DHKEM(X25519, HKDF-SHA256) and HKDF-SHA256.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Aead {
    Aes128Gcm,
    ChaCha20Poly1305,
}

impl Aead {
    /// By its number (RFC 9180, section 7.3).
    pub(crate) fn of_id(id: u16) -> Option<Self> {
        [Aead::Aes128Gcm, Aead::ChaCha20Poly1305]
            .into_iter()
            .find(|aead| aead.id() == id)
    }

    pub(crate) fn id(self) -> u16 {
        match self {
            Aead::Aes128Gcm => 1,
            Aead::ChaCha20Poly1305 => 3,
        }
    }

    /// `Nk`.
    pub(crate) fn key_len(self) -> u16 {
        match self {
            Aead::Aes128Gcm => 16,
            Aead::ChaCha20Poly1305 => 32,
        }
    }

    /// `Nn`.
    pub(crate) fn nonce_len(self) -> u16 {
        12
    }

    /// `suite_id` of RFC 9180, section 5.1.
    fn suite_id(self) -> Vec<u8> {
        [b"HPKE\x00\x20\x00\x01".as_slice(), &self.id().to_be_bytes()].concat()
    }

    fn theirs(self) -> AeadType {
        match self {
            Aead::Aes128Gcm => AeadType::Aes128Gcm,
            Aead::ChaCha20Poly1305 => AeadType::ChaCha20Poly1305,
        }
    }

    fn config(self) -> HpkeConfig {
        let aead = match self {
            Aead::Aes128Gcm => HpkeAeadType::AesGcm128,
            Aead::ChaCha20Poly1305 => HpkeAeadType::ChaCha20Poly1305,
        };
        HpkeConfig(HpkeKemType::DhKem25519, HpkeKdfType::HkdfSha256, aead)
    }

    pub(crate) fn seal(self, key: &[u8], nonce: &[u8], plaintext: &[u8]) -> Read<Vec<u8>> {
        let sealed = provider().0.aead_encrypt(self.theirs(), key, plaintext, nonce, &[]);
        sealed.map_err(|error| format!("{error:?}"))
    }

    pub(crate) fn open(self, key: &[u8], nonce: &[u8], ciphertext: &[u8]) -> Option<Vec<u8>> {
        let opened = provider().0.aead_decrypt(self.theirs(), key, ciphertext, nonce, &[]);
        opened.ok()
    }

    /// OpenBase with an empty `aad`, by openmls's provider.
    pub(crate) fn hpke_open(self, private: &[u8], info: &[u8], enc: &[u8], ct: &[u8]) -> Option<Vec<u8>> {
        let sealed = types::HpkeCiphertext {
            kem_output: enc.to_vec().into(),
            ciphertext: ct.to_vec().into(),
        };
        let opened = provider().0.hpke_open(self.config(), &sealed, private, info, &[]);
        opened.ok()
    }

    /// ReceiveExportBase, by openmls's provider.
    pub(crate) fn hpke_export(self, private: &[u8], info: &[u8], enc: &[u8], label: &[u8], len: u16) -> Read<Vec<u8>> {
        let exported =
            provider()
                .0
                .hpke_setup_receiver_and_export(self.config(), enc, private, info, label, len.into());
        exported
            .map(|secret| secret.to_vec())
            .map_err(|error| format!("{error:?}"))
    }
}

/// The context of a sender (RFC 9180, section 5.1) before its first message.
pub(crate) struct HpkeContext {
    aead: Aead,
    pub(crate) enc: Vec<u8>,
    key: Vec<u8>,
    base_nonce: Vec<u8>,
    exporter_secret: Vec<u8>,
}

impl HpkeContext {
    /// SetupBaseS with an ephemeral key that is given.
    pub(crate) fn of_sender(aead: Aead, public: &[u8], ephemeral: &[u8], info: &[u8]) -> Read<Self> {
        let suite = aead.suite_id();
        let enc = hpke_public_key(ephemeral)?;
        let shared = diffie_hellman(ephemeral, public)?;
        let prk = labeled_extract(KEM, &[], "eae_prk", &shared)?;
        let kem_context = [enc.as_slice(), public].concat();
        let shared = labeled_expand(KEM, &prk, "shared_secret", &kem_context, 32)?;
        let psk_id = labeled_extract(&suite, &[], "psk_id_hash", &[])?;
        let info = labeled_extract(&suite, &[], "info_hash", info)?;
        let context = [&[0], psk_id.as_slice(), &info].concat();
        let secret = labeled_extract(&suite, &shared, "secret", &[])?;
        Ok(HpkeContext {
            aead,
            enc,
            key: labeled_expand(&suite, &secret, "key", &context, aead.key_len())?,
            base_nonce: labeled_expand(&suite, &secret, "base_nonce", &context, aead.nonce_len())?,
            exporter_secret: labeled_expand(&suite, &secret, "exp", &context, 32)?,
        })
    }

    /// The first message, whose nonce is `base_nonce`, with an empty `aad`.
    pub(crate) fn seal(&self, plaintext: &[u8]) -> Read<Vec<u8>> {
        self.aead.seal(&self.key, &self.base_nonce, plaintext)
    }

    /// RFC 9180, section 5.3.
    pub(crate) fn export(&self, exporter_context: &[u8], length: u16) -> Read<Vec<u8>> {
        let suite = self.aead.suite_id();
        labeled_expand(&suite, &self.exporter_secret, "sec", exporter_context, length)
    }
}

/// DeriveKeyPair of RFC 9180, section 7.1.3: the private key.
pub(crate) fn hpke_private_key(key_material: &[u8]) -> Read<Vec<u8>> {
    let prk = labeled_extract(KEM, &[], "dkp_prk", key_material)?;
    let derived = labeled_expand(KEM, &prk, "sk", &[], 32)?;
    let config = Aead::Aes128Gcm.config();
    let theirs = provider().0.derive_hpke_keypair(config, key_material);
    let theirs = theirs.map_err(|error| format!("{error:?}"))?;
    if theirs.private.to_vec() == derived && theirs.public == hpke_public_key(&derived)? {
        Ok(derived)
    } else {
        Err("openmls's provider derives another key pair".to_owned())
    }
}

pub(crate) fn extract(salt: &[u8], ikm: &[u8]) -> Read<Vec<u8>> {
    provider()
        .kdf_extract(SUITE, salt, ikm)
        .map_err(|error| error.to_string())
}

pub(crate) fn expand(prk: &[u8], info: &[u8], length: u16) -> Read<Vec<u8>> {
    provider()
        .kdf_expand(SUITE, prk, info, length)
        .map_err(|error| error.to_string())
}

fn labeled_extract(suite: &[u8], salt: &[u8], label: &str, ikm: &[u8]) -> Read<Vec<u8>> {
    extract(salt, &[b"HPKE-v1", suite, label.as_bytes(), ikm].concat())
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
    expand(prk, &info, length)
}
