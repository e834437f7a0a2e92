//! The suite's primitives, from the provider that openmls uses.

use mimi_hub_proto::mls::{CipherSuite, HpkeCiphertext};
use mimi_hub_proto::{Crypto, CryptoFailed};
use openmls::prelude::{Ciphersuite, OpenMlsCrypto as _};
use openmls_rust_crypto::RustCrypto;
use openmls_traits::types::{self, CryptoError};

#[derive(Default)]
pub(crate) struct Provider(pub(crate) RustCrypto);

fn theirs(suite: CipherSuite) -> Result<Ciphersuite, CryptoFailed> {
    Ciphersuite::try_from(suite.0).map_err(|_| CryptoFailed)
}

fn failed<T>(result: Result<T, CryptoError>) -> Result<T, CryptoFailed> {
    result.map_err(|_| CryptoFailed)
}

impl Crypto for Provider {
    fn hash(&self, suite: CipherSuite, octets: &[u8]) -> Result<Vec<u8>, CryptoFailed> {
        failed(self.0.hash(theirs(suite)?.hash_algorithm(), octets))
    }

    fn kdf_extract(&self, suite: CipherSuite, salt: &[u8], ikm: &[u8]) -> Result<Vec<u8>, CryptoFailed> {
        let extracted = failed(self.0.hkdf_extract(theirs(suite)?.hash_algorithm(), salt, ikm))?;
        Ok(extracted.as_slice().to_vec())
    }

    fn kdf_expand(&self, suite: CipherSuite, prk: &[u8], info: &[u8], length: u16) -> Result<Vec<u8>, CryptoFailed> {
        let hash = theirs(suite)?.hash_algorithm();
        let expanded = failed(self.0.hkdf_expand(hash, prk, info, length.into()))?;
        Ok(expanded.as_slice().to_vec())
    }

    fn aead_open(
        &self,
        suite: CipherSuite,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Vec<u8>, CryptoFailed> {
        let aead = theirs(suite)?.aead_algorithm();
        failed(self.0.aead_decrypt(aead, key, ciphertext, nonce, aad))
    }

    fn hpke_open(
        &self,
        suite: CipherSuite,
        private_key: &[u8],
        info: &[u8],
        ciphertext: &HpkeCiphertext,
    ) -> Result<Vec<u8>, CryptoFailed> {
        let sealed = types::HpkeCiphertext {
            kem_output: ciphertext.kem_output.clone().into(),
            ciphertext: ciphertext.ciphertext.clone().into(),
        };
        failed(
            self.0
                .hpke_open(theirs(suite)?.hpke_config(), &sealed, private_key, info, &[]),
        )
    }

    fn verify(
        &self,
        suite: CipherSuite,
        public_key: &[u8],
        content: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoFailed> {
        let scheme = theirs(suite)?.signature_algorithm();
        failed(self.0.verify_signature(scheme, content, public_key, signature))
    }
}
