//! Credentials of minimal metadata rooms (draft-ietf-mimi-protocol, section 6): pseudonyms, and the encrypted link from them
//! to who is behind.
//!
//! Owns the structs and their shape. What a room does with them is the hub's; the key of the link is its members' alone, and
//! this crate never sees it: `identity_link_ciphertext` is carried, not opened.

use crate::Error;
use crate::credential::ClientIdentity;
use crate::mls::{Credential, CredentialRef, CredentialType, SignaturePublicKey, sign_content};
use crate::tls::{Decode, Encode, Reader, Writer, decode_exact, encode, tls_struct};
use crate::uri::{ClientUri, UserUri};

/// A credential that says by which pseudonyms a client goes (protocol 6.1).
///
/// ```tls
/// struct {
///   IdentifierUri client_pseudonym;
///   IdentifierUri user_pseudonym;
///   opaque signature_public_key<V>;
///   opaque identity_link_ciphertext<V>;
/// } PseudonymousCredential;
/// ```
///
/// Both pseudonyms are of one provider, and have the shape of random UUIDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PseudonymousCredential {
    pseudonyms: ClientIdentity,
    signature_public_key: SignaturePublicKey,
    identity_link_ciphertext: Vec<u8>,
}

impl PseudonymousCredential {
    /// The credential over what was signed, with the ciphertext of its [`IdentityLinkTbe`].
    pub fn new(tbs: PseudonymousCredentialTbs, identity_link_ciphertext: Vec<u8>) -> Self {
        PseudonymousCredential {
            pseudonyms: tbs.pseudonyms,
            signature_public_key: tbs.signature_public_key,
            identity_link_ciphertext,
        }
    }

    /// The client and its user, as the room knows them.
    pub fn pseudonyms(&self) -> &ClientIdentity {
        &self.pseudonyms
    }

    /// The key that authenticates the client's MLS messages: it must be the leaf's.
    pub fn signature_public_key(&self) -> &SignaturePublicKey {
        &self.signature_public_key
    }

    /// An encrypted [`IdentityLinkTbe`].
    pub fn identity_link_ciphertext(&self) -> &[u8] {
        &self.identity_link_ciphertext
    }

    /// What the client's real key signs.
    pub fn tbs(&self) -> PseudonymousCredentialTbs {
        PseudonymousCredentialTbs {
            pseudonyms: self.pseudonyms.clone(),
            signature_public_key: self.signature_public_key.clone(),
        }
    }

    /// The MLS credential that carries it: one vector, as all credentials hold.
    pub fn to_credential(&self) -> Credential {
        Credential::opaque(CredentialType::PSEUDONYMOUS, encode(self))
    }
}

impl Encode for PseudonymousCredential {
    fn encode(&self, out: &mut Writer) {
        self.pseudonyms.encode(out);
        self.signature_public_key.encode(out);
        self.identity_link_ciphertext.encode(out);
    }
}

impl Decode for PseudonymousCredential {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let tbs = PseudonymousCredentialTbs::decode_fields(reader)?;
        let identity_link_ciphertext = Vec::decode(reader)?;
        Ok(PseudonymousCredential::new(tbs.checked()?, identity_link_ciphertext))
    }
}

/// What the signature in an [`IdentityLinkTbe`] covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PseudonymousCredentialTbs {
    pseudonyms: ClientIdentity,
    signature_public_key: SignaturePublicKey,
}

impl PseudonymousCredentialTbs {
    /// Pseudonyms, and the key that goes with them.
    ///
    /// # Errors
    /// [`Error::Invalid`] if client and user are of different providers, or one of them is not shaped as a random UUID.
    pub fn new(client: ClientUri, user: UserUri, signature_public_key: SignaturePublicKey) -> Result<Self, Error> {
        PseudonymousCredentialTbs {
            pseudonyms: ClientIdentity::new(client, user)?,
            signature_public_key,
        }
        .checked()
    }

    /// The octets that are signed: SignContent under the label `PseudonymousCredentialTBS`.
    pub fn sign_content(&self) -> Vec<u8> {
        sign_content("PseudonymousCredentialTBS", &encode(self))
    }

    fn decode_fields(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(PseudonymousCredentialTbs {
            pseudonyms: ClientIdentity::decode(reader)?,
            signature_public_key: SignaturePublicKey::decode(reader)?,
        })
    }

    fn checked(self) -> Result<Self, Error> {
        if is_random_uuid(self.pseudonyms.client().id()) && is_random_uuid(self.pseudonyms.user().id()) {
            return Ok(self);
        }
        Err(Error::Invalid {
            what: "PseudonymousCredential",
            why: "a pseudonym is not in the shape of a random UUID",
        })
    }
}

impl Encode for PseudonymousCredentialTbs {
    fn encode(&self, out: &mut Writer) {
        self.pseudonyms.encode(out);
        self.signature_public_key.encode(out);
    }
}

impl Decode for PseudonymousCredentialTbs {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Self::decode_fields(reader)?.checked()
    }
}

/// What is encrypted in `identity_link_ciphertext`: who is behind the pseudonym, and that it says so itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityLinkTbe {
    /// By the client's real key, over [`PseudonymousCredentialTbs::sign_content`].
    pub pseudonymous_credential_signature: Vec<u8>,
    /// The client's real credential.
    pub client_credential: Credential,
}

tls_struct!(IdentityLinkTbe {
    pseudonymous_credential_signature,
    client_credential
});

/// What a credential says of whose a leaf is, of the types that this hub reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeafCredential {
    /// A basic credential with a [`ClientIdentity`]: real identifiers.
    Basic(ClientIdentity),
    /// Pseudonyms.
    Pseudonymous(Box<PseudonymousCredential>),
}

impl LeafCredential {
    /// Reads a credential.
    ///
    /// # Errors
    /// [`Error::Unexpected`] if it is of another type, or what is wrong with what it holds.
    pub fn from_credential(credential: CredentialRef<'_>) -> Result<Self, Error> {
        match credential.credential_type {
            CredentialType::PSEUDONYMOUS => {
                decode_exact(credential.content).map(|read| LeafCredential::Pseudonymous(Box::new(read)))
            }
            _ => ClientIdentity::from_credential(credential).map(LeafCredential::Basic),
        }
    }

    /// Are they pseudonyms?
    pub fn is_pseudonymous(&self) -> bool {
        matches!(self, LeafCredential::Pseudonymous(_))
    }

    /// Does the credential stand beside the signature key that it names? A basic one names none.
    pub fn is_bound_to(&self, signature_key: &[u8]) -> bool {
        match self {
            LeafCredential::Basic(_) => true,
            LeafCredential::Pseudonymous(credential) => credential.signature_public_key.as_bytes() == signature_key,
        }
    }

    /// Client and user, by the names they go by.
    pub fn into_identity(self) -> ClientIdentity {
        match self {
            LeafCredential::Basic(identity) => identity,
            LeafCredential::Pseudonymous(credential) => credential.pseudonyms,
        }
    }
}

impl ClientIdentity {
    /// Reads the identity, real or pseudonymous, of a leaf or a requester with this signature key.
    ///
    /// # Errors
    /// As [`LeafCredential::from_credential`]; [`Error::Invalid`] if a pseudonymous credential names another key.
    pub fn of_leaf(credential: CredentialRef<'_>, signature_key: &[u8]) -> Result<Self, Error> {
        let credential = LeafCredential::from_credential(credential)?;
        if credential.is_bound_to(signature_key) {
            return Ok(credential.into_identity());
        }
        Err(Error::Invalid {
            what: "PseudonymousCredential",
            why: "its signature_public_key is not the key beside it",
        })
    }
}

/// The shape of a version 4 UUID (RFC 9562, 5.4), in lower case: a URI has one spelling.
fn is_random_uuid(id: &str) -> bool {
    id.len() == 36
        && id.bytes().enumerate().all(|(place, octet)| match place {
            8 | 13 | 18 | 23 => octet == b'-',
            14 => octet == b'4',
            19 => matches!(octet, b'8' | b'9' | b'a' | b'b'),
            _ => matches!(octet, b'0'..=b'9' | b'a'..=b'f'),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "mimi://a.example/d/0c1ca6a6-5b1f-4c39-9a53-5d6c8e1f7b02";
    const USER: &str = "mimi://a.example/u/7d3f0b52-91c4-4e7a-b0de-2f4a6c8e0d11";

    fn tbs() -> PseudonymousCredentialTbs {
        let key = SignaturePublicKey::new([7; 32]);
        PseudonymousCredentialTbs::new(CLIENT.parse().unwrap(), USER.parse().unwrap(), key).unwrap()
    }

    fn encoded(client: &str, user: &str) -> Vec<u8> {
        let fields = [client.as_bytes(), user.as_bytes(), &[7; 32], b"sealed"];
        fields.iter().flat_map(|field| encode(&field.to_vec())).collect()
    }

    #[test]
    fn protocol_6_1_a_pseudonymous_credential_survives_its_mls_credential() {
        let pseudonymous = PseudonymousCredential::new(tbs(), b"sealed".to_vec());
        assert_eq!(encode(&pseudonymous), encoded(CLIENT, USER));
        let credential = pseudonymous.to_credential();
        let read = LeafCredential::from_credential(credential.as_ref()).unwrap();
        assert_eq!(read, LeafCredential::Pseudonymous(Box::new(pseudonymous.clone())));
        assert!(read.is_pseudonymous() && read.is_bound_to(&[7; 32]) && !read.is_bound_to(&[8; 32]));
        assert_eq!(read.into_identity(), *pseudonymous.pseudonyms());
    }

    #[test]
    fn protocol_6_1_the_key_is_the_one_beside_the_credential() {
        let credential = PseudonymousCredential::new(tbs(), Vec::new()).to_credential();
        assert!(ClientIdentity::of_leaf(credential.as_ref(), &[7; 32]).is_ok());
        let other = ClientIdentity::of_leaf(credential.as_ref(), &[8; 32]);
        assert!(matches!(
            other,
            Err(Error::Invalid {
                what: "PseudonymousCredential",
                ..
            })
        ));
        // A basic credential names no key.
        let basic = tbs().pseudonyms.to_credential();
        assert!(ClientIdentity::of_leaf(basic.as_ref(), &[8; 32]).is_ok());
    }

    #[test]
    fn protocol_6_1_pseudonyms_are_shaped_as_random_uuids_of_one_provider() {
        assert!(decode_exact::<PseudonymousCredential>(&encoded(CLIENT, USER)).is_ok());
        let users = [
            "mimi://a.example/u/alice",
            "mimi://b.example/u/7d3f0b52-91c4-4e7a-b0de-2f4a6c8e0d11",
            "mimi://a.example/u/7d3f0b52-91c4-1e7a-b0de-2f4a6c8e0d11",
            "mimi://a.example/u/7d3f0b52-91c4-4e7a-c0de-2f4a6c8e0d11",
            "mimi://a.example/u/7D3F0B52-91C4-4E7A-B0DE-2F4A6C8E0D11",
            "mimi://a.example/u/7d3f0b5291c44e7ab0de2f4a6c8e0d11",
            "mimi://a.example/u/7d3f0b52-91c4-4e7a-b0de-2f4a6c8e0d1g",
            "mimi://a.example/u/7d3f0b52-91c4-4e7a-b0de-2f4a6c8e0d111",
        ];
        for user in users {
            let refused = decode_exact::<PseudonymousCredential>(&encoded(CLIENT, user));
            assert!(matches!(refused, Err(Error::Invalid { .. })), "{user}: {refused:?}");
        }
        for client in ["mimi://a.example/d/ClientA1", &format!("{CLIENT}/1")] {
            let refused = decode_exact::<PseudonymousCredential>(&encoded(client, USER));
            assert!(matches!(refused, Err(Error::Invalid { .. })), "{client}: {refused:?}");
        }
    }

    #[test]
    fn malformed_pseudonymous_credentials_are_refused() {
        let whole = encoded(CLIENT, USER);
        for length in 0..whole.len() {
            let cut = decode_exact::<PseudonymousCredential>(&whole[..length]);
            assert!(matches!(cut, Err(Error::Truncated { .. })), "{length}: {cut:?}");
        }
        assert!(matches!(
            decode_exact::<PseudonymousCredential>(&[&whole[..], b"\0"].concat()),
            Err(Error::Trailing { octets: 1 })
        ));
        let swapped = decode_exact::<PseudonymousCredential>(&encoded(USER, CLIENT));
        assert!(matches!(swapped, Err(Error::Uri { .. })), "{swapped:?}");
        let of_no_type = Credential::new(CredentialType(0xf00d), whole).unwrap();
        assert!(matches!(
            LeafCredential::from_credential(of_no_type.as_ref()),
            Err(Error::Unexpected { .. })
        ));
    }
}
