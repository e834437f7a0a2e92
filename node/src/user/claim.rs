//! `decide` for a claim of key material: which KeyPackage of each client is given out, if the user consents
//! (draft-ietf-mimi-protocol, 5.2).

use mimi_hub_proto::mls::KeyPackage;
use mimi_hub_proto::{
    ClientKeyMaterial, ClientKeyMaterialOutcome, KeyMaterialRequest, KeyMaterialResponse, KeyMaterialUserCode, tls,
};

use super::event::{GivenKeyPackage, StoredKeyPackage};
use super::state::{Standing, UserState};
use crate::error::NodeError;

/// The answer to a claim, and the KeyPackages that it gives out.
pub(super) struct Claim {
    pub(super) response: KeyMaterialResponse,
    pub(super) given: Vec<GivenKeyPackage>,
}

/// What the provider adds to a user's own rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClaimPolicy {
    /// What holds where the user has set no rule.
    pub(super) implied: bool,
    /// Are users that are not there told from those that do not consent?
    pub(super) tells_unknown: bool,
}

/// Decides a claim whose signature has been checked.
pub(super) fn decide_claim(
    state: &UserState,
    at_ms: u64,
    policy: ClaimPolicy,
    request: &KeyMaterialRequest,
) -> Result<Claim, NodeError> {
    let refuse = |code| {
        let response = KeyMaterialResponse::refused(state.user.clone(), code)?;
        Ok(Claim {
            response,
            given: Vec::new(),
        })
    };
    match state.profile.standing {
        Standing::Known => {}
        // "The target provider can use this response as a catch all"
        _ if !policy.tells_unknown => return refuse(KeyMaterialUserCode::NoConsent),
        Standing::Unknown => return refuse(KeyMaterialUserCode::UserUnknown),
        Standing::Deleted => return refuse(KeyMaterialUserCode::UserDeleted),
    }
    let requester = &request.tbs.requesting_user;
    // A user adds clients of its own without asking itself.
    if *requester != state.user {
        let room = request.tbs.room_id.as_ref();
        let consents = room
            .and_then(|room| state.profile.consents(requester, room))
            .unwrap_or(policy.implied);
        if !consents && state.profile.consents_to_another_room(requester, room) {
            return refuse(KeyMaterialUserCode::NoConsentForThisRoom);
        }
        if !consents {
            return refuse(KeyMaterialUserCode::NoConsent);
        }
    }
    if state.profile.clients.is_empty() {
        // "none of the clients of the target user support the protocol requested"
        return refuse(KeyMaterialUserCode::IncompatibleProtocol);
    }
    let mut clients = Vec::new();
    let mut given = Vec::new();
    for client in &state.profile.clients {
        let mut unexpired = state
            .stored_of(client)
            .filter(|stored| stored.not_after_s.saturating_mul(1_000) > at_ms)
            .peekable();
        let outcome = if unexpired.peek().is_none() {
            ClientKeyMaterialOutcome::KeyMaterialExhausted
        } else {
            match first_compatible(unexpired, request)? {
                Some((stored, key_package)) => {
                    let reference = stored.reference.clone();
                    given.push(GivenKeyPackage {
                        reference,
                        not_after_s: stored.not_after_s,
                    });
                    ClientKeyMaterialOutcome::Success(key_package)
                }
                // "The client's capabilities could be omitted for privacy reasons"
                None => ClientKeyMaterialOutcome::NothingCompatible(None),
            }
        };
        clients.push(ClientKeyMaterial {
            client_uri: client.clone(),
            outcome,
        });
    }
    let response = KeyMaterialResponse::from_clients(state.user.clone(), clients)?;
    Ok(Claim { response, given })
}

/// The compatible KeyPackage that expires first: the others can wait longer.
fn first_compatible<'a>(
    stored: impl Iterator<Item = &'a StoredKeyPackage>,
    request: &KeyMaterialRequest,
) -> Result<Option<(&'a StoredKeyPackage, KeyPackage)>, NodeError> {
    let mut best: Option<(&StoredKeyPackage, KeyPackage)> = None;
    for candidate in stored {
        let key_package: KeyPackage = tls::decode_exact(&candidate.key_package)?;
        let compatible = request
            .tbs
            .acceptable_ciphersuites
            .contains(&key_package.cipher_suite())
            && key_package
                .leaf_node()
                .capabilities()
                .satisfy(&request.tbs.required_capabilities);
        let sooner = best
            .as_ref()
            .is_none_or(|(best, _)| candidate.not_after_s < best.not_after_s);
        if compatible && sooner {
            best = Some((candidate, key_package));
        }
    }
    Ok(best)
}
