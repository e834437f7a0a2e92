//! Message franking (draft-ietf-mimi-protocol, section 5.4.1): the structs that are hashed, signed and sent. The HMAC
//! and the signatures are computed elsewhere.

use crate::mls::{CipherSuite, Credential, SignaturePublicKey, sign_content};
use crate::tls::{encode, tls_struct};
use crate::uri::{ProviderDomain, RoomUri, UserUri};

/// The octets of an HMAC-SHA256, and so of a `franking_tag` and a `server_frank`.
pub const SERVER_FRANK_LEN: usize = 32;

/// The sender's commitment to its message, a Safe AAD component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrankAad {
    /// `HMAC_SHA256(salt, application_data)`.
    pub franking_tag: [u8; SERVER_FRANK_LEN],
}

tls_struct!(FrankAad { franking_tag });

/// The hub's key for franking, a component of the GroupContext; also the update of that component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrankingAgentData {
    /// Verifies the hub's signatures, with the algorithm of the group's cipher suite.
    pub franking_signature_key: SignaturePublicKey,
    /// Names the hub.
    pub credential: Credential,
}

tls_struct!(FrankingAgentData {
    franking_signature_key,
    credential
});

impl FrankingAgentData {
    /// The agent of a room that the provider of this domain hosts: a basic credential with the provider's URI.
    pub fn of_hub(domain: &ProviderDomain, franking_signature_key: SignaturePublicKey) -> Self {
        FrankingAgentData {
            franking_signature_key,
            credential: Credential::basic(format!("mimi://{domain}").into_bytes()),
        }
    }

    /// "the domain name in the `franking_agent.credential` corresponds to the domain of the Hub"
    pub fn is_of(&self, domain: &ProviderDomain) -> bool {
        *self == Self::of_hub(domain, self.franking_signature_key.clone())
    }
}

/// The hub's stamp on an accepted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frank {
    /// `HMAC_SHA256(hub_key, franking_tag || context)`.
    pub server_frank: [u8; SERVER_FRANK_LEN],
    /// The group's suite at the time.
    pub franking_signature_ciphersuite: CipherSuite,
    /// The signature over [`FrankingIntegrityTbs`].
    pub franking_integrity_signature: Vec<u8>,
}

tls_struct!(Frank {
    server_frank,
    franking_signature_ciphersuite,
    franking_integrity_signature
});

/// What the hub asserts about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFrankingContext {
    /// Who sent it.
    pub sender_uri: UserUri,
    /// Where to.
    pub room_uri: RoomUri,
    /// When the hub accepted it, in milliseconds since the Unix epoch.
    pub accepted_timestamp: u64,
}

tls_struct!(ServerFrankingContext {
    sender_uri,
    room_uri,
    accepted_timestamp
});

impl ServerFrankingContext {
    /// The input of the HMAC under the hub's key that yields the `server_frank`.
    pub fn server_frank_input(&self, tag: &FrankAad) -> Vec<u8> {
        [tag.franking_tag.as_slice(), &encode(self)].concat()
    }
}

/// What the hub signs, so that follower providers cannot change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrankingIntegrityTbs {
    /// The stamp.
    pub server_frank: [u8; SERVER_FRANK_LEN],
    /// The suite whose signature algorithm is used.
    pub franking_signature_ciphersuite: CipherSuite,
    /// What is asserted.
    pub context: ServerFrankingContext,
}

tls_struct!(FrankingIntegrityTbs {
    server_frank,
    franking_signature_ciphersuite,
    context
});

impl FrankingIntegrityTbs {
    /// The octets that are signed: SignContent under the label `FrankingIntegrityTBS`.
    pub fn sign_content(&self) -> Vec<u8> {
        sign_content("FrankingIntegrityTBS", &encode(self))
    }
}
