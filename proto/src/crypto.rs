//! The cryptography that the rules of this crate need, as whoever calls them has it. This crate does none itself.

use crate::mls::{CipherSuite, HpkeCiphertext};

/// A primitive failed: a ciphertext or signature that is not genuine, a key of the wrong form, an unknown suite. Which one
/// is not told, as nobody outside may learn it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cryptographic operation failed")]
pub struct CryptoFailed;

/// The primitives of a cipher suite (RFC 9420, section 5.1). Each fails for a suite that the implementation does not have.
#[expect(
    clippy::missing_errors_doc,
    reason = "each method fails in the one way that the trait and CryptoFailed say"
)]
pub trait Crypto {
    /// The suite's hash.
    fn hash(&self, suite: CipherSuite, octets: &[u8]) -> Result<Vec<u8>, CryptoFailed>;

    /// `KDF.Extract(salt, ikm)`; its result has the length `KDF.Nh`.
    fn kdf_extract(&self, suite: CipherSuite, salt: &[u8], ikm: &[u8]) -> Result<Vec<u8>, CryptoFailed>;

    /// `KDF.Expand(prk, info, length)`; `length` is in octets.
    fn kdf_expand(&self, suite: CipherSuite, prk: &[u8], info: &[u8], length: u16) -> Result<Vec<u8>, CryptoFailed>;

    /// Opens what the suite's AEAD sealed.
    fn aead_open(
        &self,
        suite: CipherSuite,
        key: &[u8],
        nonce: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Vec<u8>, CryptoFailed>;

    /// `OpenBase` of HPKE with an empty `aad`, which is all that DecryptWithLabel needs (RFC 9420, section 5.1.3).
    fn hpke_open(
        &self,
        suite: CipherSuite,
        private_key: &[u8],
        info: &[u8],
        ciphertext: &HpkeCiphertext,
    ) -> Result<Vec<u8>, CryptoFailed>;

    /// Verifies a signature of the suite's scheme over `content`, which is a SignContent already.
    fn verify(
        &self,
        suite: CipherSuite,
        public_key: &[u8],
        content: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoFailed>;
}
