//! `POST /requestConsent/{targetUser}` and `POST /updateConsent/{requesterUser}` (draft-ietf-mimi-protocol, section 5.7).

use crate::Error;
use crate::components::AppDataDictionary;
use crate::key_material::MAX_CLIENTS_PER_USER;
use crate::mls::KeyPackage;
use crate::tls::{Decode, Encode, Reader, Writer, tls_enum, tls_struct};
use crate::uri::{RoomUri, UserUri};

tls_enum! {
    /// What is done to a consent.
    pub enum ConsentOperation: u8 {
        /// The requester takes its request back.
        Cancel = 0,
        /// The requester asks.
        Request = 1,
        /// The target grants, asked or not.
        Grant = 2,
        /// The target revokes or denies, asked or not.
        Revoke = 3,
    }
}

/// What a consent is about. `room` absent: any room.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConsentScope {
    /// Who fetches KeyPackages, or will.
    pub requester: UserUri,
    /// Whose KeyPackages.
    pub target: UserUri,
    /// For which room.
    pub room: Option<RoomUri>,
}

tls_struct!(ConsentScope {
    requester,
    target,
    room
});

/// An operation with what it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsentChange {
    /// The requester takes its request back.
    Cancel,
    /// The requester asks.
    Request,
    /// The target grants.
    Grant {
        /// KeyPackages of the target's clients, so that it can be added at once; may be empty.
        client_key_packages: Vec<KeyPackage>,
    },
    /// The target revokes or denies.
    Revoke,
}

impl ConsentChange {
    /// The operation.
    pub fn operation(&self) -> ConsentOperation {
        match self {
            ConsentChange::Cancel => ConsentOperation::Cancel,
            ConsentChange::Request => ConsentOperation::Request,
            ConsentChange::Grant { .. } => ConsentOperation::Grant,
            ConsentChange::Revoke => ConsentOperation::Revoke,
        }
    }

    /// Is it the requester's to send (with `requestConsent`), or else the target's (with `updateConsent`)?
    pub fn is_of_requester(&self) -> bool {
        matches!(self, ConsentChange::Cancel | ConsentChange::Request)
    }
}

/// The body of both requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentEntry {
    /// What it is about.
    pub scope: ConsentScope,
    /// What is done.
    pub change: ConsentChange,
    /// An extension point.
    pub consent_extensions: AppDataDictionary,
}

impl Encode for ConsentEntry {
    fn encode(&self, out: &mut Writer) {
        self.change.operation().encode(out);
        self.scope.encode(out);
        if let ConsentChange::Grant { client_key_packages } = &self.change {
            client_key_packages.encode(out);
        }
        self.consent_extensions.encode(out);
    }
}

impl Decode for ConsentEntry {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let operation = ConsentOperation::decode(reader)?;
        let scope = ConsentScope::decode(reader)?;
        let change = match operation {
            ConsentOperation::Cancel => ConsentChange::Cancel,
            ConsentOperation::Request => ConsentChange::Request,
            ConsentOperation::Grant => {
                let client_key_packages: Vec<KeyPackage> = Vec::decode(reader)?;
                if client_key_packages.len() > MAX_CLIENTS_PER_USER {
                    return Err(Error::Limit {
                        what: "clientKeyPackages",
                        value: client_key_packages.len(),
                        limit: MAX_CLIENTS_PER_USER,
                    });
                }
                ConsentChange::Grant { client_key_packages }
            }
            ConsentOperation::Revoke => ConsentChange::Revoke,
        };
        Ok(ConsentEntry {
            scope,
            change,
            consent_extensions: Decode::decode(reader)?,
        })
    }
}
