//! The keys of the hub as an Oblivious Gateway Resource (RFC 9458, section 3): what encapsulated requests are encrypted to.
//!
//! Invariants: at most [`KEYS_MAX`] keys, each with an identifier of its own. Only the newest is given out. The one before is
//! still used, for requests of clients that fetched it before the rotation; older ones are forgotten, so that nobody can
//! decrypt with them what was recorded on the way (RFC 9458, section 6.4).

use std::io;

use ohttp::hpke::{Aead, Kdf, Kem};
use ohttp::{KeyConfig, Server, ServerResponse, SymmetricSuite};
use openmls_traits::random::OpenMlsRand;
use openmls_traits::types::CryptoError;
use serde::{Deserialize, Serialize};

use super::crypto;

/// Octets of the input keying material, as many as the private key has.
const SEED_LEN: usize = 32;

/// How many keys are kept.
const KEYS_MAX: usize = 2;

/// RFC 9458 has one suite that everybody implements; the second is for clients without AES in hardware.
const SUITES: [SymmetricSuite; 2] = [
    SymmetricSuite::new(Kdf::HkdfSha256, Aead::Aes128Gcm),
    SymmetricSuite::new(Kdf::HkdfSha256, Aead::ChaCha20Poly1305),
];

/// All keys, the newest last. Never printed. Empty where the hub's keys were made before there was a gateway.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct OhttpKeys(Vec<OhttpKey>);

#[derive(Clone, Serialize, Deserialize)]
struct OhttpKey {
    id: u8,
    /// The key pair is derived from it (RFC 9180, section 7.1.3).
    seed: Vec<u8>,
}

/// Why an encapsulated request is not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// It is no encapsulated request.
    #[error("this is not an encapsulated request: {0}")]
    Malformed(ohttp::Error),
    /// It is for a key, or a combination of algorithms, that the gateway does not have.
    #[error("the encapsulated request is not for a key configuration of this gateway: {0}")]
    Key(ohttp::Error),
    /// There is no key.
    #[error("this gateway has no key yet")]
    NoKey,
}

impl OhttpKeys {
    /// A first key.
    pub(crate) fn generate() -> Result<Self, CryptoError> {
        Ok(OhttpKeys(vec![OhttpKey {
            id: 1,
            seed: random_seed()?,
        }]))
    }

    /// One key, made of these octets, so that a simulation can be repeated.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn of(octets: &[u8]) -> Self {
        let seed = octets.iter().copied().cycle().take(SEED_LEN).collect();
        OhttpKeys(vec![OhttpKey { id: 1, seed }])
    }

    /// The same with a new key, which is given out from now on.
    pub(crate) fn rotated(&self) -> Result<Self, CryptoError> {
        let id = self.newest_id().wrapping_add(1);
        let former = self.0.iter().rev().take(KEYS_MAX - 1).rev().cloned();
        let new = OhttpKey {
            id,
            seed: random_seed()?,
        };
        Ok(OhttpKeys(former.chain([new]).collect()))
    }

    /// All keys are whole, and each has an identifier of its own.
    pub(crate) fn are_sound(&self) -> bool {
        let differ = self.0.windows(2).all(|pair| pair[0].id != pair[1].id);
        self.0.len() <= KEYS_MAX && differ && self.0.iter().all(|key| key.seed.len() == SEED_LEN)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The identifier of the key that is given out; 0 without one.
    pub(crate) fn newest_id(&self) -> u8 {
        self.0.last().map_or(0, |key| key.id)
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The newest key's configuration, as a list of one (`application/ohttp-keys`, RFC 9458, section 3.2).
    ///
    /// # Errors
    /// There is no key, or the cryptography fails.
    pub(crate) fn configurations(&self) -> Result<Vec<u8>, OpenError> {
        let newest = self.0.last().ok_or(OpenError::NoKey)?;
        KeyConfig::encode_list(&[newest.config()?]).map_err(OpenError::Key)
    }

    /// Opens an encapsulated request: the binary HTTP message in it, and what its answer is encapsulated with.
    ///
    /// # Errors
    /// It is malformed, or for another key.
    pub(crate) fn open(&self, encapsulated: &[u8]) -> Result<(Vec<u8>, ServerResponse), OpenError> {
        let newest = self.0.last().ok_or(OpenError::NoKey)?;
        let named = encapsulated.first();
        let key = self.0.iter().find(|key| named == Some(&key.id)).unwrap_or(newest);
        let server = Server::new(key.config()?).map_err(OpenError::Key)?;
        server.decapsulate(encapsulated).map_err(|error| match error {
            ohttp::Error::Truncated | ohttp::Error::Format => OpenError::Malformed(error),
            ohttp::Error::Io(ref cause) if cause.kind() == io::ErrorKind::UnexpectedEof => OpenError::Malformed(error),
            // A key of the same identifier that was replaced looks like any octets that do not decrypt.
            error => OpenError::Key(error),
        })
    }
}

impl OhttpKey {
    fn config(&self) -> Result<KeyConfig, OpenError> {
        KeyConfig::derive(self.id, Kem::X25519Sha256, SUITES.to_vec(), &self.seed).map_err(OpenError::Key)
    }
}

fn random_seed() -> Result<Vec<u8>, CryptoError> {
    let seed = crypto::provider().random_vec(SEED_LEN);
    seed.map_err(|_| CryptoError::InsufficientRandomness)
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;
    use http::{HeaderValue, StatusCode};
    use ohttp::ClientRequest;
    use openmls_traits::crypto::OpenMlsCrypto as _;
    use openmls_traits::types::{AeadType, HashType};
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::assets::{TargetRequestError, target_request, target_response};

    fn client(keys: &OhttpKeys) -> ClientRequest {
        ClientRequest::from_encoded_config_list(&keys.configurations().unwrap()).unwrap()
    }

    #[test]
    fn rfc_9458_4_a_request_and_its_answer_come_through() {
        let keys = OhttpKeys::generate().unwrap();
        let (encapsulated, response) = client(&keys).encapsulate(b"request").unwrap();
        let (request, answer) = keys.open(&encapsulated).unwrap();
        assert_eq!(request, b"request");
        let encapsulated = answer.encapsulate(b"response").unwrap();
        assert_eq!(response.decapsulate(&encapsulated).unwrap(), b"response");
    }

    /// RFC 9458, section 3.2: each configuration has its length in front.
    #[test]
    fn rfc_9458_3_2_the_newest_key_alone_is_given_out_with_both_suites() {
        let keys = OhttpKeys::generate().unwrap().rotated().unwrap();
        let list = keys.configurations().unwrap();
        // length, identifier, KEM, public key, length and two pairs of KDF and AEAD
        assert_eq!(list.len(), 2 + 1 + 2 + 32 + 2 + 8);
        assert_eq!(list[..5], [0, 45, 2, 0, 0x20]);
        assert_eq!(list[37..], [0, 8, 0, 1, 0, 1, 0, 1, 0, 3]);
    }

    #[test]
    fn rfc_9458_6_4_the_former_key_still_opens_and_the_one_before_is_forgotten() {
        let first = OhttpKeys::generate().unwrap();
        let (encapsulated, _) = client(&first).encapsulate(b"request").unwrap();
        let second = first.rotated().unwrap();
        assert_eq!((second.newest_id(), second.len()), (2, 2));
        assert!(second.open(&encapsulated).is_ok());
        let third = second.rotated().unwrap();
        assert_eq!((third.newest_id(), third.len()), (3, 2));
        assert!(matches!(
            third.open(&encapsulated),
            Err(OpenError::Key(ohttp::Error::KeyId))
        ));
        let mut keys = third;
        for _ in 0..300 {
            keys = keys.rotated().unwrap();
            assert!(keys.are_sound());
        }
    }

    #[test]
    fn without_a_key_nothing_is_opened_or_given_out() {
        let none = OhttpKeys::default();
        assert!(none.are_sound() && none.is_empty());
        assert!(matches!(none.configurations(), Err(OpenError::NoKey)));
        assert!(matches!(none.open(b"anything"), Err(OpenError::NoKey)));
    }

    #[test]
    fn keys_that_are_short_or_have_one_identifier_are_not_sound() {
        let keys = OhttpKeys::generate().unwrap();
        assert!(!OhttpKeys([keys.0.clone(), keys.0.clone()].concat()).are_sound());
        let short = OhttpKey {
            id: 2,
            seed: vec![1; 31],
        };
        assert!(!OhttpKeys([keys.0, vec![short]].concat()).are_sound());
    }

    /// RFC 9458, section 5.3.
    #[test]
    fn rfc_9458_5_3_another_key_is_told_from_what_is_no_encapsulated_request() {
        let keys = OhttpKeys::generate().unwrap();
        let (good, _) = client(&keys).encapsulate(b"request").unwrap();
        let changed = |at: usize| {
            let mut changed = good.clone();
            changed[at] ^= 0x40;
            changed
        };
        // identifier, KEM, KDF, AEAD, encapsulated key, ciphertext
        for at in [0, 1, 3, 5, 7, good.len() - 1] {
            assert!(
                matches!(keys.open(&changed(at)), Err(OpenError::Key(_))),
                "octet {at} changed"
            );
        }
        for len in [0, 1, 6, 7, 38] {
            assert!(
                matches!(keys.open(&good[..len]), Err(OpenError::Malformed(_))),
                "{len} octets"
            );
        }
    }

    /// The cases of `proto/vectors/ohttp.json` with this operation.
    fn vectors(operation: &str) -> Vec<Value> {
        let file: Value = serde_json::from_str(include_str!("../../../proto/vectors/ohttp.json")).unwrap();
        let cases = file["cases"].as_array().unwrap().iter();
        let cases: Vec<Value> = cases.filter(|case| case["operation"] == operation).cloned().collect();
        assert!(!cases.is_empty());
        cases
    }

    fn octets(case: &Value, member: &str) -> Vec<u8> {
        let digits = case[member].as_str().unwrap_or_else(|| panic!("{member}"));
        let pairs = digits.as_bytes().chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    /// The gateway whose key pair is derived from the vector's input keying material.
    fn gateway(case: &Value, id: u8) -> OhttpKeys {
        let keys = OhttpKeys(vec![OhttpKey {
            id,
            seed: octets(case, "key_material"),
        }]);
        assert!(keys.are_sound());
        keys
    }

    #[test]
    fn rfc_9458_3_2_the_key_configuration_is_that_of_the_vectors() {
        for case in vectors("key-config") {
            let id = case["key_id"].as_u64().unwrap().try_into().unwrap();
            assert_eq!(
                gateway(&case, id).configurations().unwrap(),
                octets(&case, "ohttp_keys"),
                "{}",
                case["name"]
            );
        }
    }

    #[test]
    fn rfc_9458_4_3_the_gateway_opens_the_requests_of_the_vectors_and_refuses_what_they_refuse() {
        let mut opened = 0;
        for case in vectors("open-request") {
            let keys = gateway(&case, octets(&case, "key_config")[0]);
            let found = keys
                .open(&octets(&case, "enc_request"))
                .ok()
                .map(|(request, _)| request);
            let expected = (!case["request"].is_null()).then(|| octets(&case, "request"));
            assert_eq!(found, expected, "{}", case["name"]);
            opened += usize::from(found.is_some());
        }
        assert_eq!(opened, SUITES.len());
    }

    /// The gateway draws the nonce of its response: it is opened as the client of the vector would, with the vector's `secret`.
    #[test]
    fn rfc_9458_4_4_the_gateways_response_opens_with_the_exported_secret_of_the_vectors() {
        let cases = vectors("encapsulate");
        assert_eq!(cases.len(), SUITES.len());
        for case in cases {
            let keys = gateway(&case, case["key_id"].as_u64().unwrap().try_into().unwrap());
            let (request, answer) = keys.open(&octets(&case, "enc_request")).unwrap();
            assert_eq!(request, octets(&case, "request"));
            let asked = target_request(&request).unwrap();
            assert_eq!(
                (asked.content, asked.url.as_str()),
                (true, "https://assets.b.example/cat?size=small")
            );
            let content: Vec<u8> = (0..=99).collect();
            let fields = [(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))];
            let response = target_response(StatusCode::OK, &fields, content).unwrap();
            assert_eq!(response, octets(&case, "response"));

            let encapsulated = answer.encapsulate(&response).unwrap();
            assert_eq!(encapsulated.len(), octets(&case, "enc_response").len());
            let (nonce, ct) = encapsulated.split_at(octets(&case, "response_nonce").len());
            let (hash, provider) = (HashType::Sha2_256, crypto::provider());
            let salt = [octets(&case, "enc").as_slice(), nonce].concat();
            let prk = provider.hkdf_extract(hash, &salt, &octets(&case, "secret")).unwrap();
            let expand = |info: &[u8], member: &str| {
                let expanded = provider.hkdf_expand(hash, prk.as_slice(), info, octets(&case, member).len());
                expanded.unwrap().as_slice().to_vec()
            };
            let (key, nonce) = (expand(b"key", "aead_key"), expand(b"nonce", "aead_nonce"));
            let aead = match case["aead_id"].as_u64() {
                Some(1) => AeadType::Aes128Gcm,
                _ => AeadType::ChaCha20Poly1305,
            };
            assert_eq!(provider.aead_decrypt(aead, &key, ct, &nonce, &[]).unwrap(), response);
        }
    }

    /// RFC 9292: what the vectors have of binary HTTP, the hub reads and refuses alike.
    #[test]
    fn rfc_9292_3_what_is_no_binary_http_in_the_vectors_is_none_for_the_gateway() {
        for case in vectors("binary-http") {
            let read = target_request(&octets(&case, "encoded"));
            let is_request = case["message"].get("method").is_some();
            assert_eq!(read.is_ok(), is_request, "{}", case["name"]);
            let is_message = !matches!(read, Err(TargetRequestError::Malformed(_)));
            assert_eq!(is_message, !case["message"].is_null(), "{}", case["name"]);
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_an_error(octets in prop::collection::vec(any::<u8>(), 0..200), ours in any::<bool>()) {
            let keys = OhttpKeys::generate().unwrap();
            let mut octets = octets;
            if ours {
                // As far as the encapsulated key, all is right.
                octets.splice(0..octets.len().min(7), [1, 0, 0x20, 0, 1, 0, 1]);
            }
            prop_assert!(keys.open(&octets).is_err());
        }
    }
}
