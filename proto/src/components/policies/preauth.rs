//! The `preauth_list` component (draft-ietf-mimi-room-policy, section 4): roles that users may take by what their
//! credentials say of them.

use crate::components::Role;
use crate::mls::CredentialType;
use crate::tls::tls_struct;
use crate::uri::UserUri;

/// Which property of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimId {
    /// The credential's type.
    pub credential_type: CredentialType,
    /// The property, as the type names it; for basic credentials [`ClaimId::USER`] or [`ClaimId::DOMAIN`].
    pub id: Vec<u8>,
}

tls_struct!(ClaimId { credential_type, id });

impl ClaimId {
    /// The URI of a basic credential's user.
    pub const USER: &'static [u8] = b"user";
    /// The provider of a basic credential's user.
    pub const DOMAIN: &'static [u8] = b"domain";
}

/// A property and the one value that satisfies the claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The property.
    pub claim_id: ClaimId,
    /// Its value.
    pub claim_value: Vec<u8>,
}

tls_struct!(Claim { claim_id, claim_value });

impl Claim {
    /// A claim on users of one provider.
    pub fn domain(domain: &str) -> Self {
        Claim::basic(ClaimId::DOMAIN, domain)
    }

    /// A claim on one user.
    pub fn user(user: &UserUri) -> Self {
        Claim::basic(ClaimId::USER, user.as_str())
    }

    fn basic(id: &[u8], value: &str) -> Self {
        Claim {
            claim_id: ClaimId {
                credential_type: CredentialType::BASIC,
                id: id.to_vec(),
            },
            claim_value: value.as_bytes().to_vec(),
        }
    }

    /// Whether a basic credential of `user` has this property with this value. Credentials of other types give no
    /// identity here, so claims on them hold for nobody.
    fn holds_for(&self, user: &UserUri) -> bool {
        if self.claim_id.credential_type != CredentialType::BASIC {
            return false;
        }
        match self.claim_id.id.as_slice() {
            ClaimId::USER => self.claim_value == user.as_str().as_bytes(),
            ClaimId::DOMAIN => self.claim_value == user.domain().as_bytes(),
            _ => false,
        }
    }
}

/// A role, and what a credential must say for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreAuthRoleEntry {
    /// All of them must hold. An empty set holds for everybody.
    pub claimset: Vec<Claim>,
    /// The role. Only its index matters: what it allows is said by the `roles_list`.
    pub target_role: Role,
}

tls_struct!(PreAuthRoleEntry { claimset, target_role });

/// Who may take which role; also the update, which replaces it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreAuthData {
    /// Consulted one after the other.
    pub preauthorized_entries: Vec<PreAuthRoleEntry>,
}

tls_struct!(PreAuthData { preauthorized_entries });

impl PreAuthData {
    /// The role index of the first entry that matches the user, if one does and it is not 0.
    pub fn first_match(&self, user: &UserUri) -> Option<u32> {
        let entry = self
            .preauthorized_entries
            .iter()
            .find(|entry| entry.claimset.iter().all(|claim| claim.holds_for(user)))?;
        Some(entry.target_role.role_index).filter(|role| *role != 0)
    }
}
