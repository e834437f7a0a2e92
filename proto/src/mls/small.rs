//! The small structs, which are copied out rather than kept verbatim.

use super::ids::{CipherSuite, CredentialType, ExtensionType};
use crate::Error;
use crate::tls::{Decode, Encode, Reader, Writer, tls_opaque, tls_struct};

tls_opaque! {
    /// A public key of HPKE.
    HpkePublicKey
}
tls_opaque! {
    /// The reference of a KeyPackage: its hash under the suite's hash function (RFC 9420, section 5.2).
    KeyPackageRef
}
tls_opaque! {
    /// The reference of a Proposal (RFC 9420, section 5.2).
    ProposalRef
}
tls_opaque! {
    /// A public key of the suite's signature algorithm.
    SignaturePublicKey
}

/// RFC 9420, section 7.6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HpkeCiphertext {
    /// The encapsulated key.
    pub kem_output: Vec<u8>,
    /// The sealed plaintext.
    pub ciphertext: Vec<u8>,
}

tls_struct!(HpkeCiphertext { kem_output, ciphertext });

/// A sender outside the group that the GroupContext admits (RFC 9420, section 12.1.8.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalSender {
    /// Verifies its proposals.
    pub signature_key: SignaturePublicKey,
    /// Who it is.
    pub credential: Credential,
}

tls_struct!(ExternalSender {
    signature_key,
    credential
});

/// A credential (RFC 9420, section 5.3). All known types, and presumably all to come, hold one vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    credential_type: CredentialType,
    content: Vec<u8>,
}

/// A borrowed [`Credential`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CredentialRef<'a> {
    /// The type.
    pub credential_type: CredentialType,
    /// The content of the type's vector: the identity of a basic credential, the certificates of an X.509 one.
    pub content: &'a [u8],
}

impl Credential {
    /// A basic credential.
    pub fn basic(identity: impl Into<Vec<u8>>) -> Self {
        Credential {
            credential_type: CredentialType::BASIC,
            content: identity.into(),
        }
    }

    /// A credential of any type, with the content of its vector.
    ///
    /// # Errors
    /// If the content of an X.509 credential is not a list of certificates.
    pub fn new(credential_type: CredentialType, content: Vec<u8>) -> Result<Self, Error> {
        check_credential(credential_type, Reader::new(&content))?;
        Ok(Credential {
            credential_type,
            content,
        })
    }

    /// A credential of a type whose content this module does not look into.
    pub(crate) fn opaque(credential_type: CredentialType, content: Vec<u8>) -> Self {
        Credential {
            credential_type,
            content,
        }
    }

    /// A view.
    pub fn as_ref(&self) -> CredentialRef<'_> {
        CredentialRef {
            credential_type: self.credential_type,
            content: &self.content,
        }
    }
}

impl CredentialRef<'_> {
    /// A copy.
    pub fn to_owned(self) -> Credential {
        Credential {
            credential_type: self.credential_type,
            content: self.content.to_vec(),
        }
    }
}

impl Encode for Credential {
    fn encode(&self, out: &mut Writer) {
        self.credential_type.encode(out);
        out.opaque(&self.content);
    }
}

impl Decode for Credential {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let credential_type = CredentialType::decode(reader)?;
        Credential::new(credential_type, reader.opaque()?.to_vec())
    }
}

/// Checks what is inside a credential's vector, as far as its type is known.
pub(super) fn check_credential(credential_type: CredentialType, mut content: Reader<'_>) -> Result<(), Error> {
    if credential_type == CredentialType::X509 {
        while !content.is_empty() {
            content.opaque()?;
        }
    }
    Ok(())
}

/// What a client can do (RFC 9420, section 7.2). Unknown values, GREASE among them, are carried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Protocol versions.
    pub versions: Vec<u16>,
    /// Cipher suites.
    pub cipher_suites: Vec<CipherSuite>,
    /// Extension types beyond the default ones.
    pub extensions: Vec<ExtensionType>,
    /// Proposal types beyond the default ones.
    pub proposals: Vec<u16>,
    /// Credential types.
    pub credentials: Vec<CredentialType>,
}

tls_struct!(Capabilities {
    versions,
    cipher_suites,
    extensions,
    proposals,
    credentials
});

/// What every member of a group must be able to do (RFC 9420, section 11.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequiredCapabilities {
    /// Extension types beyond the default ones.
    pub extension_types: Vec<ExtensionType>,
    /// Proposal types beyond the default ones.
    pub proposal_types: Vec<u16>,
    /// Credential types.
    pub credential_types: Vec<CredentialType>,
}

tls_struct!(RequiredCapabilities {
    extension_types,
    proposal_types,
    credential_types
});

impl Capabilities {
    /// Whether a client with these capabilities can be a member where `required` holds. The types that RFC 9420
    /// defines itself are always supported (section 7.2), whether listed or not.
    pub fn satisfy(&self, required: &RequiredCapabilities) -> bool {
        let extension = |wanted: &ExtensionType| (1..=5).contains(&wanted.0) || self.extensions.contains(wanted);
        let proposal = |wanted: &u16| (1..=7).contains(wanted) || self.proposals.contains(wanted);
        required.extension_types.iter().all(extension)
            && required.proposal_types.iter().all(proposal)
            && required
                .credential_types
                .iter()
                .all(|wanted| self.credentials.contains(wanted))
    }
}
