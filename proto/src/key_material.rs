//! `POST /keyMaterial/{targetUser}` (draft-ietf-mimi-protocol, section 5.2).

use crate::Error;
use crate::mls::{
    Capabilities, CipherSuite, Credential, KeyPackage, RequiredCapabilities, SignaturePublicKey, sign_content,
};
use crate::protocol::Protocol;
use crate::tls::{Decode, Encode, Reader, Writer, encode, tls_enum, tls_struct};
use crate::uri::{ClientUri, RoomUri, UserUri};

/// The most clients one response may list.
pub const MAX_CLIENTS_PER_USER: usize = 1024;

/// What a requester signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMaterialRequestTbs {
    /// Who wants to add the target.
    pub requesting_user: UserUri,
    /// Whose KeyPackages are wanted.
    pub target_user: UserUri,
    /// The room they are for, if any; consent may hold for one room only.
    pub room_id: Option<RoomUri>,
    /// The suites the requester accepts, never none.
    pub acceptable_ciphersuites: Vec<CipherSuite>,
    /// What the group requires of its members.
    pub required_capabilities: RequiredCapabilities,
    /// Verifies the request.
    pub requester_signature_key: SignaturePublicKey,
    /// Who the key belongs to.
    pub requester_credential: Credential,
}

impl KeyMaterialRequestTbs {
    /// The octets that are signed: SignContent under the label `KeyMaterialRequestTBS`.
    pub fn sign_content(&self) -> Vec<u8> {
        sign_content("KeyMaterialRequestTBS", &encode(self))
    }
}

impl Encode for KeyMaterialRequestTbs {
    fn encode(&self, out: &mut Writer) {
        Protocol::Mls10.encode(out);
        self.requesting_user.encode(out);
        self.target_user.encode(out);
        // An absent room is an empty IdentifierUri: the field itself is not optional.
        match &self.room_id {
            Some(room) => room.encode(out),
            None => out.opaque(&[]),
        }
        self.acceptable_ciphersuites.encode(out);
        self.required_capabilities.encode(out);
        self.requester_signature_key.encode(out);
        self.requester_credential.encode(out);
    }
}

impl Decode for KeyMaterialRequestTbs {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let Protocol::Mls10 = Protocol::decode(reader)?;
        let requesting_user = UserUri::decode(reader)?;
        let target_user = UserUri::decode(reader)?;
        let room_id = match reader.opaque()? {
            [] => None,
            octets => Some(RoomUri::from_octets(octets)?),
        };
        let acceptable_ciphersuites = Vec::decode(reader)?;
        if acceptable_ciphersuites.is_empty() {
            return Err(Error::Invalid {
                what: "acceptableCiphersuites",
                why: "it is empty",
            });
        }
        Ok(KeyMaterialRequestTbs {
            requesting_user,
            target_user,
            room_id,
            acceptable_ciphersuites,
            required_capabilities: RequiredCapabilities::decode(reader)?,
            requester_signature_key: SignaturePublicKey::decode(reader)?,
            requester_credential: Credential::decode(reader)?,
        })
    }
}

/// A request for KeyPackages of all clients of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMaterialRequest {
    /// What is signed. It is also the beginning of the request's encoding.
    pub tbs: KeyMaterialRequestTbs,
    /// The signature over [`KeyMaterialRequestTbs::sign_content`].
    pub key_material_request_signature: Vec<u8>,
}

tls_struct!(KeyMaterialRequest {
    tbs,
    key_material_request_signature
});

tls_enum! {
    /// How the claim went for the user.
    pub enum KeyMaterialUserCode: u8 {
        /// Key material for every client.
        Success = 0,
        /// Key material for at least one client.
        PartialSuccess = 1,
        /// The protocol is not supported.
        IncompatibleProtocol = 2,
        /// No client has key material that fits.
        NoCompatibleMaterial = 3,
        /// The user does not exist.
        UserUnknown = 4,
        /// The requester has no consent; also what is said instead of more telling codes.
        NoConsent = 5,
        /// The requester has consent, but not for this room.
        NoConsentForThisRoom = 6,
        /// The user existed once.
        UserDeleted = 7,
    }
}

tls_enum! {
    /// How the claim went for one client.
    pub enum KeyMaterialClientCode: u8 {
        /// A KeyPackage is included.
        Success = 0,
        /// None is left.
        KeyMaterialExhausted = 1,
        /// None fits what is required.
        NothingCompatible = 2,
    }
}

/// What is said of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientKeyMaterialOutcome {
    /// Its KeyPackage, claimed for the requester alone.
    Success(KeyPackage),
    /// None is left.
    KeyMaterialExhausted,
    /// None fits; its capabilities, unless they are kept private.
    NothingCompatible(Option<Capabilities>),
}

/// One client of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientKeyMaterial {
    /// The client.
    pub client_uri: ClientUri,
    /// What is said of it.
    pub outcome: ClientKeyMaterialOutcome,
}

impl ClientKeyMaterial {
    /// The code of the outcome.
    pub fn client_status(&self) -> KeyMaterialClientCode {
        match self.outcome {
            ClientKeyMaterialOutcome::Success(_) => KeyMaterialClientCode::Success,
            ClientKeyMaterialOutcome::KeyMaterialExhausted => KeyMaterialClientCode::KeyMaterialExhausted,
            ClientKeyMaterialOutcome::NothingCompatible(_) => KeyMaterialClientCode::NothingCompatible,
        }
    }
}

impl Encode for ClientKeyMaterial {
    fn encode(&self, out: &mut Writer) {
        self.client_status().encode(out);
        self.client_uri.encode(out);
        match &self.outcome {
            ClientKeyMaterialOutcome::Success(key_package) => key_package.encode(out),
            ClientKeyMaterialOutcome::KeyMaterialExhausted => {}
            ClientKeyMaterialOutcome::NothingCompatible(capabilities) => capabilities.encode(out),
        }
    }
}

impl Decode for ClientKeyMaterial {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let status = KeyMaterialClientCode::decode(reader)?;
        let client_uri = ClientUri::decode(reader)?;
        let outcome = match status {
            KeyMaterialClientCode::Success => ClientKeyMaterialOutcome::Success(KeyPackage::decode(reader)?),
            KeyMaterialClientCode::KeyMaterialExhausted => ClientKeyMaterialOutcome::KeyMaterialExhausted,
            KeyMaterialClientCode::NothingCompatible => {
                ClientKeyMaterialOutcome::NothingCompatible(Option::decode(reader)?)
            }
        };
        Ok(ClientKeyMaterial { client_uri, outcome })
    }
}

/// The answer. Its code and its list of clients always agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMaterialResponse {
    user_uri: UserUri,
    user_status: KeyMaterialUserCode,
    clients: Vec<ClientKeyMaterial>,
}

impl KeyMaterialResponse {
    /// The answer for a user whose clients were asked. The code follows from the outcomes.
    ///
    /// # Errors
    /// If there are more than [`MAX_CLIENTS_PER_USER`] clients, one is listed twice, or one is of another provider.
    pub fn from_clients(user_uri: UserUri, clients: Vec<ClientKeyMaterial>) -> Result<Self, Error> {
        let successes = successes(&clients);
        let user_status = match successes {
            0 => KeyMaterialUserCode::NoCompatibleMaterial,
            _ if successes == clients.len() => KeyMaterialUserCode::Success,
            _ => KeyMaterialUserCode::PartialSuccess,
        };
        Self::checked(user_uri, user_status, clients)
    }

    /// The answer when no client was asked.
    ///
    /// # Errors
    /// If `user_status` states that there is key material.
    pub fn refused(user_uri: UserUri, user_status: KeyMaterialUserCode) -> Result<Self, Error> {
        Self::checked(user_uri, user_status, Vec::new())
    }

    fn checked(
        user_uri: UserUri,
        user_status: KeyMaterialUserCode,
        clients: Vec<ClientKeyMaterial>,
    ) -> Result<Self, Error> {
        if clients.len() > MAX_CLIENTS_PER_USER {
            return Err(Error::Limit {
                what: "clients",
                value: clients.len(),
                limit: MAX_CLIENTS_PER_USER,
            });
        }
        let mut uris: Vec<&ClientUri> = clients.iter().map(|client| &client.client_uri).collect();
        uris.sort_unstable();
        if let Some(pair) = uris.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::Duplicate {
                what: "clientUri",
                value: pair[0].to_string(),
            });
        }
        if uris.iter().any(|uri| uri.domain() != user_uri.domain()) {
            return Err(Error::Invalid {
                what: "KeyMaterialResponse",
                why: "a client is of another provider",
            });
        }
        let successes = successes(&clients);
        let agrees = match user_status {
            KeyMaterialUserCode::Success => successes == clients.len() && successes > 0,
            // A provider may leave out clients it has no material of, so that all listed ones can be successes.
            KeyMaterialUserCode::PartialSuccess => successes > 0,
            KeyMaterialUserCode::NoCompatibleMaterial => successes == 0,
            KeyMaterialUserCode::IncompatibleProtocol
            | KeyMaterialUserCode::UserUnknown
            | KeyMaterialUserCode::NoConsent
            | KeyMaterialUserCode::NoConsentForThisRoom
            | KeyMaterialUserCode::UserDeleted => clients.is_empty(),
        };
        if !agrees {
            return Err(Error::Invalid {
                what: "KeyMaterialResponse",
                why: "userStatus and clients disagree",
            });
        }
        Ok(KeyMaterialResponse {
            user_uri,
            user_status,
            clients,
        })
    }

    /// The clients.
    pub fn clients(&self) -> &[ClientKeyMaterial] {
        &self.clients
    }

    /// Hands the clients over.
    pub fn into_clients(self) -> Vec<ClientKeyMaterial> {
        self.clients
    }

    /// How it went.
    pub fn user_status(&self) -> KeyMaterialUserCode {
        self.user_status
    }

    /// Whose material it is.
    pub fn user_uri(&self) -> &UserUri {
        &self.user_uri
    }
}

fn successes(clients: &[ClientKeyMaterial]) -> usize {
    clients
        .iter()
        .filter(|client| client.client_status() == KeyMaterialClientCode::Success)
        .count()
}

impl Encode for KeyMaterialResponse {
    fn encode(&self, out: &mut Writer) {
        Protocol::Mls10.encode(out);
        self.user_status.encode(out);
        self.user_uri.encode(out);
        self.clients.encode(out);
    }
}

impl Decode for KeyMaterialResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let Protocol::Mls10 = Protocol::decode(reader)?;
        let user_status = KeyMaterialUserCode::decode(reader)?;
        let user_uri = UserUri::decode(reader)?;
        Self::checked(user_uri, user_status, Vec::decode(reader)?)
    }
}
