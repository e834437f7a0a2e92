//! What makes a client itself: its signature key, its credential, its KeyPackages, and the labelled operations of RFC 9420
//! with them.

use mimi_hub_proto::ClientIdentity;
use mimi_hub_proto::tls::encode;
use mimi_hub_proto::uri::{ClientUri, UserUri};
use openmls::prelude::tls_codec::{Deserialize as _, Serialize as _};
use openmls::prelude::{
    Capabilities, Ciphersuite, Credential, CredentialType, CredentialWithKey, ExtensionType, KeyPackage, ProposalType,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_traits::random::OpenMlsRand as _;
use openmls_traits::signatures::Signer as _;
use openmls_traits::types::{CryptoError, HpkeCiphertext, HpkeKeyPair};

use crate::OpsError;

/// The cipher suite of the rooms that this client makes and of its KeyPackages.
pub(crate) const CIPHERSUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// One client's keys, with the storage that openmls keeps its secrets in (memory: they end with the process).
pub(crate) struct ClientKeys {
    pub(crate) provider: OpenMlsRustCrypto,
    pub(crate) signer: SignatureKeyPair,
    pub(crate) identity: ClientIdentity,
    credential: Credential,
}

impl ClientKeys {
    /// Makes a fresh signature key for the client.
    pub(crate) fn generate(client: ClientUri, user: UserUri) -> Result<Self, OpsError> {
        let identity = ClientIdentity::new(client, user).map_err(OpsError::mls("make the credential"))?;
        Self::generate_with(identity, |identity, _| Ok(identity.to_credential()))
    }

    /// Makes a fresh signature key, and the credential that goes with it.
    pub(super) fn generate_with(
        identity: ClientIdentity,
        credential: impl FnOnce(&ClientIdentity, &[u8]) -> Result<mimi_hub_proto::mls::Credential, OpsError>,
    ) -> Result<Self, OpsError> {
        let signer = SignatureKeyPair::new(CIPHERSUITE.signature_algorithm())
            .map_err(crypto_failed("make the signature key"))?;
        let credential = encode(&credential(&identity, signer.public())?);
        let credential = Credential::tls_deserialize_exact(credential).map_err(OpsError::mls("make the credential"))?;
        Ok(Self {
            provider: OpenMlsRustCrypto::default(),
            signer,
            identity,
            credential,
        })
    }

    pub(crate) fn credential_with_key(&self) -> CredentialWithKey {
        CredentialWithKey {
            credential: self.credential.clone(),
            signature_key: self.signer.public().into(),
        }
    }

    /// The credential as the wire has it.
    pub(crate) fn wire_credential(&self) -> Result<mimi_hub_proto::mls::Credential, OpsError> {
        super::room::wire_credential(&self.credential)
    }

    /// The type of this client's credential, the only one that it shares a group with: pseudonyms and real names do not mix.
    pub(crate) fn credential_type(&self) -> CredentialType {
        self.credential.credential_type()
    }

    /// What this client understands beyond RFC 9420's defaults.
    pub(crate) fn capabilities(&self) -> Capabilities {
        Capabilities::new(
            None,
            Some(&[CIPHERSUITE]),
            Some(&[ExtensionType::AppDataDictionary]),
            Some(&[ProposalType::AppDataUpdate]),
            Some(&[self.credential_type()]),
        )
    }

    /// Makes a KeyPackage, keeps its private keys for the Welcome, and gives the struct's bytes.
    pub(crate) fn key_package(&self) -> Result<Vec<u8>, OpsError> {
        let bundle = KeyPackage::builder()
            .leaf_node_capabilities(self.capabilities())
            .build(CIPHERSUITE, &self.provider, &self.signer, self.credential_with_key())
            .map_err(OpsError::mls("make a KeyPackage"))?;
        bundle
            .key_package()
            .tls_serialize_detached()
            .map_err(OpsError::mls("encode a KeyPackage"))
    }

    /// Signs a SignContent (RFC 9420, 5.1.2).
    pub(crate) fn sign(&self, sign_content: &[u8]) -> Result<Vec<u8>, OpsError> {
        self.signer.sign(sign_content).map_err(|error| OpsError::Mls {
            step: "sign",
            source: format!("{error:?}").into(),
        })
    }

    /// Verifies the signature over a SignContent (RFC 9420, 5.1.2) under a key of this client's cipher suite.
    pub(crate) fn verify(
        &self,
        public_key: &[u8],
        sign_content: &[u8],
        signature: &[u8],
        what: &'static str,
    ) -> Result<(), OpsError> {
        self.provider
            .crypto()
            .verify_signature(CIPHERSUITE.signature_algorithm(), sign_content, public_key, signature)
            .map_err(|_| OpsError::Signature { what })
    }

    /// A key pair for one answer that is encrypted to this client.
    pub(crate) fn hpke_key_pair(&self) -> Result<HpkeKeyPair, OpsError> {
        let seed: Vec<u8> = self
            .provider
            .rand()
            .random_vec(32)
            .map_err(OpsError::mls("draw random bytes"))?;
        self.provider
            .crypto()
            .derive_hpke_keypair(CIPHERSUITE.hpke_config(), &seed)
            .map_err(crypto_failed("make an HPKE key pair"))
    }

    /// Opens what was encrypted to one of those keys under an EncryptContext (RFC 9420, 5.1.3).
    pub(crate) fn hpke_open(
        &self,
        private_key: &[u8],
        encrypt_context: &[u8],
        sealed: &HpkeCiphertext,
    ) -> Result<Vec<u8>, OpsError> {
        self.provider
            .crypto()
            .hpke_open(CIPHERSUITE.hpke_config(), sealed, private_key, encrypt_context, &[])
            .map_err(crypto_failed("decrypt the answer"))
    }

    pub(crate) fn random<const N: usize>(&self) -> Result<[u8; N], OpsError> {
        self.provider
            .rand()
            .random_array()
            .map_err(OpsError::mls("draw random bytes"))
    }
}

fn crypto_failed(step: &'static str) -> impl FnOnce(CryptoError) -> OpsError {
    move |error| OpsError::Mls {
        step,
        source: format!("{error:?}").into(),
    }
}
