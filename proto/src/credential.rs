//! Whose an MLS leaf is.
//!
//! The drafts leave a room's credentials open. This hub reads a basic credential whose identity is a
//! [`ClientIdentity`], and [pseudonymous credentials](crate::PseudonymousCredential); see `SPEC_NOTES.md`.

use crate::Error;
use crate::mls::{Credential, CredentialRef, CredentialType};
use crate::tls::{Decode, Encode, Reader, Writer, decode_exact, encode};
use crate::uri::{ClientUri, UserUri};

/// The identity in a basic credential: the client, and the user it belongs to.
///
/// ```tls
/// struct { IdentifierUri clientUri; IdentifierUri userUri; } ClientIdentity;
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientIdentity {
    client: ClientUri,
    user: UserUri,
}

impl ClientIdentity {
    /// An identity.
    ///
    /// # Errors
    /// [`Error::Invalid`] if client and user are of different providers.
    pub fn new(client: ClientUri, user: UserUri) -> Result<Self, Error> {
        if client.domain() != user.domain() {
            return Err(Error::Invalid {
                what: "ClientIdentity",
                why: "client and user are of different providers",
            });
        }
        Ok(ClientIdentity { client, user })
    }

    /// Reads the identity in a basic credential: real identifiers. [`ClientIdentity::of_leaf`] reads pseudonyms as well.
    ///
    /// # Errors
    /// [`Error::Unexpected`] if the credential is not basic, or what is wrong with its identity.
    pub fn from_credential(credential: CredentialRef<'_>) -> Result<Self, Error> {
        if credential.credential_type != CredentialType::BASIC {
            return Err(Error::Unexpected {
                expected: "a basic credential",
                found: "a credential of another type",
            });
        }
        decode_exact(credential.content)
    }

    /// The client.
    pub fn client(&self) -> &ClientUri {
        &self.client
    }

    /// The user.
    pub fn user(&self) -> &UserUri {
        &self.user
    }

    /// The credential that carries it.
    pub fn to_credential(&self) -> Credential {
        Credential::basic(encode(self))
    }
}

impl Encode for ClientIdentity {
    fn encode(&self, out: &mut Writer) {
        self.client.encode(out);
        self.user.encode(out);
    }
}

impl Decode for ClientIdentity {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let client = ClientUri::decode(reader)?;
        ClientIdentity::new(client, UserUri::decode(reader)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UriFault;

    fn identity() -> ClientIdentity {
        let client = "mimi://a.example/d/ClientA1".parse().unwrap();
        ClientIdentity::new(client, "mimi://a.example/u/alice".parse().unwrap()).unwrap()
    }

    #[test]
    fn an_identity_survives_its_credential() {
        let credential = identity().to_credential();
        assert_eq!(ClientIdentity::from_credential(credential.as_ref()), Ok(identity()));
    }

    #[test]
    fn a_client_of_another_provider_is_refused() {
        let octets = encode(&(b"mimi://a.example/d/ClientA1".to_vec()));
        let octets = [octets, encode(&(b"mimi://b.example/u/bob".to_vec()))].concat();
        assert!(matches!(
            decode_exact::<ClientIdentity>(&octets),
            Err(Error::Invalid { .. })
        ));
    }

    #[test]
    fn other_credentials_and_other_identities_are_refused() {
        let x509 = Credential::new(CredentialType::X509, vec![1, 0]).unwrap();
        assert!(matches!(
            ClientIdentity::from_credential(x509.as_ref()),
            Err(Error::Unexpected { .. })
        ));
        let name = Credential::basic(*b"mimi://a.example/u/alice");
        assert!(ClientIdentity::from_credential(name.as_ref()).is_err());
        let swapped = [encode(identity().user()), encode(identity().client())].concat();
        let error = ClientIdentity::from_credential(Credential::basic(swapped).as_ref());
        assert!(matches!(
            error,
            Err(Error::Uri {
                fault: UriFault::Kind,
                ..
            })
        ));
    }
}
