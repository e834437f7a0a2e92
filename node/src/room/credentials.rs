//! Which credentials a room takes, and whose they say a leaf is (draft-ietf-mimi-protocol, 6.1; draft-ietf-mimi-room-policy, 5).
//!
//! Invariant: a room is wholly a minimal metadata room, or not at all. Which of the two, its first leaves say, for good:
//! whatever comes later is held to it. Of a minimal metadata room the hub knows no other names than pseudonyms; everything
//! that goes by a client or a user (routes, deliveries, reports, franking) goes by them.

use mimi_hub_proto::mls::{CredentialRef, CredentialType};
use mimi_hub_proto::policy::RoomPolicy;
use mimi_hub_proto::uri::ClientUri;
use mimi_hub_proto::{ClientIdentity, LeafCredential};
use openmls::credentials::Credential;
use openmls::group::PublicGroup;

/// By which names the members of a room go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// Real identifiers, in basic credentials.
    Real,
    /// Pseudonyms: it is a minimal metadata room.
    Pseudonyms,
}

/// Why a credential has no place in a room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialRefusal {
    /// It does not say whose it is, or is malformed.
    #[error("the credential does not say whose it is: {0}")]
    Unreadable(#[from] mimi_hub_proto::Error),
    /// `signature_public_key` is not the leaf's.
    #[error("the credential of {0} is for another signature key than the leaf's")]
    OtherKey(ClientUri),
    /// `pseudonyms_allowed` is false.
    #[error("{0} goes by a pseudonym, and the room's policy does not allow pseudonyms")]
    NotAllowed(ClientUri),
    /// Pseudonyms are allowed, and others here go by real identifiers.
    #[error("{0} goes by a pseudonym in a room of real identifiers")]
    AmongReal(ClientUri),
    /// "In MMRs, all leaves of the underlying group MUST contain PseudonymousCredentials."
    #[error("{0} does not go by a pseudonym, as all must in a minimal metadata room")]
    AmongPseudonyms(ClientUri),
    /// `pseudonyms_allowed` is, or would become, false in a room of pseudonyms.
    #[error("the members go by pseudonyms, which the room's policy does not allow")]
    InUse,
}

impl Naming {
    /// Reads the members of a group, which must all go by the same kind of names.
    ///
    /// # Errors
    /// [`CredentialRefusal`] for the first that does not fit.
    pub(super) fn of_group(group: &PublicGroup) -> Result<(Self, Vec<(u32, ClientIdentity)>), CredentialRefusal> {
        let mut naming = None;
        let mut members = Vec::new();
        for member in group.members() {
            let (identity, own) = read(as_wire(&member.credential), &member.signature_key)?;
            naming.get_or_insert(own).check(own, &identity)?;
            members.push((member.index.u32(), identity));
        }
        Ok((naming.unwrap_or(Naming::Real), members))
    }

    /// Reads the credential of a leaf that comes into the room, or of a client that asks to.
    ///
    /// # Errors
    /// [`CredentialRefusal`] if it does not belong there.
    pub(super) fn admit(
        self,
        policy: &RoomPolicy,
        credential: CredentialRef<'_>,
        signature_key: &[u8],
    ) -> Result<ClientIdentity, CredentialRefusal> {
        let (identity, own) = read(credential, signature_key)?;
        if own == Naming::Pseudonyms && !policy.base().pseudonyms_allowed {
            return Err(CredentialRefusal::NotAllowed(identity.client().clone()));
        }
        self.check(own, &identity)?;
        Ok(identity)
    }

    /// Does the policy allow what the room's members go by?
    ///
    /// # Errors
    /// [`CredentialRefusal::InUse`].
    pub(super) fn check_policy(self, policy: &RoomPolicy) -> Result<(), CredentialRefusal> {
        match self {
            Naming::Pseudonyms if !policy.base().pseudonyms_allowed => Err(CredentialRefusal::InUse),
            _ => Ok(()),
        }
    }

    fn check(self, own: Naming, identity: &ClientIdentity) -> Result<(), CredentialRefusal> {
        match (self, own) {
            (Naming::Real, Naming::Pseudonyms) => Err(CredentialRefusal::AmongReal(identity.client().clone())),
            (Naming::Pseudonyms, Naming::Real) => Err(CredentialRefusal::AmongPseudonyms(identity.client().clone())),
            _ => Ok(()),
        }
    }
}

/// openmls's credential as the wire has it.
pub(super) fn as_wire(credential: &Credential) -> CredentialRef<'_> {
    CredentialRef {
        credential_type: CredentialType(credential.credential_type().into()),
        content: credential.serialized_content(),
    }
}

fn read(credential: CredentialRef<'_>, signature_key: &[u8]) -> Result<(ClientIdentity, Naming), CredentialRefusal> {
    let credential = LeafCredential::from_credential(credential)?;
    let bound = credential.is_bound_to(signature_key);
    let naming = match credential.is_pseudonymous() {
        true => Naming::Pseudonyms,
        false => Naming::Real,
    };
    let identity = credential.into_identity();
    if !bound {
        return Err(CredentialRefusal::OtherKey(identity.client().clone()));
    }
    Ok((identity, naming))
}
