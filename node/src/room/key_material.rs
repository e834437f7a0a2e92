//! The hub's part in fetching key material: who may ask for a room, and remembering where the KeyPackages came from, so
//! that the Welcome finds its way (draft-ietf-mimi-protocol, 5.2).

use mimi_hub_proto::policy::{Actor, Change, authorize};
use mimi_hub_proto::uri::{ProviderDomain, UserUri};
use mimi_hub_proto::{ClientKeyMaterialOutcome, KeyMaterialResponse};
use serde_bytes::ByteBuf;

use super::credentials::CredentialRefusal;
use super::event::{ClaimedKeyPackage, RoomEvent};
use super::state::RoomState;
use crate::mls::crypto;

/// May this participant ask for the target's KeyPackages? Only if it could add the target: a participant with the
/// capability to add others, or one who adds a client of its own.
pub(crate) fn may_claim(state: &RoomState, requester: &UserUri, target: &UserUri) -> bool {
    if !state.is_active(requester) || state.is_silenced(requester) || state.records.barred.contains(target) {
        return false;
    }
    let may = |change| authorize(&state.policy, Actor::Participant(requester), &[change]).is_ok();
    if requester == target {
        return may(Change::AddOwnClient);
    }
    if state.policy.role_of(target).is_some() {
        return may(Change::AddClient { user: target.clone() });
    }
    // Which role the target is to have is decided by the Commit: one that the requester could give is enough.
    let mut roles = state.policy.roles().roles.iter();
    roles.any(|role| {
        may(Change::AddParticipant {
            user: target.clone(),
            role: role.role_index,
        })
    })
}

/// What is wrong with an answer of the target's provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadKeyMaterial {
    #[error("a KeyPackage names another client or user than its entry")]
    Identity,
    #[error(transparent)]
    Credential(#[from] CredentialRefusal),
    #[error("a KeyPackage is of an unsupported cipher suite, or cannot be hashed")]
    Suite,
    #[error("a KeyPackage has expired")]
    Expired,
}

/// Decides what the hub remembers of an answer.
pub(crate) fn decide_claimed(
    state: &RoomState,
    at_ms: u64,
    provider: &ProviderDomain,
    response: &KeyMaterialResponse,
) -> Result<RoomEvent, BadKeyMaterial> {
    let mut packages = Vec::new();
    for client in response.clients() {
        if let ClientKeyMaterialOutcome::Success(key_package) = &client.outcome {
            let leaf = key_package.leaf_node();
            let identity = state
                .naming
                .admit(&state.policy, leaf.credential(), leaf.signature_key())?;
            if identity.client() != &client.client_uri || identity.user() != response.user_uri() {
                return Err(BadKeyMaterial::Identity);
            }
            let not_after_s = key_package.lifetime().not_after;
            if not_after_s.saturating_mul(1_000) <= at_ms {
                return Err(BadKeyMaterial::Expired);
            }
            let suite = crypto::supported(key_package.cipher_suite()).ok_or(BadKeyMaterial::Suite)?;
            let reference = crypto::key_package_ref(suite, key_package).map_err(|_| BadKeyMaterial::Suite)?;
            packages.push(ClaimedKeyPackage {
                reference: ByteBuf::from(reference),
                client: client.client_uri.clone(),
                not_after_s,
            });
        }
    }
    Ok(RoomEvent::KeyPackagesClaimed {
        provider: provider.clone(),
        user: response.user_uri().clone(),
        packages,
    })
}
