//! `decide` for join codes (draft-ietf-mimi-room-policy, 6.2 and 8.1.1; draft-ietf-mimi-protocol, 5.6).
//!
//! A participant that may make codes has the hub make one, for a role, a time and a number of users. Who fetches the
//! GroupInfo with a valid code is *admitted*: its external Commit may put its user on the list with the code's role. That
//! counts as the use; who never joins uses nothing up.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mimi_hub_proto::policy::{Actor, Change, authorize};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use openmls_traits::types::SignatureScheme;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::event::RoomEvent;
use super::records::{ADMITTED_MAX, JOIN_CODES_MAX, JoinCode};
use super::state::RoomState;
use crate::mls::hub_keys::{HubKeys, HubKeysError};

/// The longest name of a code, in octets.
const ID_LEN_MAX: usize = 64;

/// The longest time that a code may be valid where the room has no JoinLinkPolicy, in seconds: 90 days.
const EXPIRES_IN_S_MAX: u64 = 90 * 24 * 60 * 60;

/// What is asked of a room's codes, always for a participant of this provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum JoinCodeRequest {
    /// Make one.
    Create {
        by: UserUri,
        id: String,
        terms: JoinCodeTerms,
    },
    /// Show all.
    List { by: UserUri },
    /// Take one back.
    Revoke { by: UserUri, id: String },
}

/// What a code is good for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct JoinCodeTerms {
    /// The role of who joins by it.
    pub(crate) role: u32,
    /// How long it is valid, in seconds.
    pub(crate) expires_in_s: u64,
    /// How many users may join by it.
    pub(crate) uses_max: u32,
}

/// Why nothing is done about a code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum JoinCodeRefusal {
    /// The participant may not.
    #[error("{0}")]
    Denied(String),
    /// There is another code of this name.
    #[error("there is a join code of this name already")]
    Exists,
    /// There is none of this name.
    #[error("there is no join code of this name")]
    Unknown,
    /// What is asked for breaks the room's policy or a limit.
    #[error("{0}")]
    Terms(String),
}

/// Decides to make a code.
pub(crate) fn decide_create(
    state: &RoomState,
    at_ms: u64,
    keys: &HubKeys,
    by: &UserUri,
    id: &str,
    terms: &JoinCodeTerms,
) -> Result<RoomEvent, JoinCodeRefusal> {
    let change = Change::CreateJoinCode { role: terms.role };
    may(state, by, &[change])?;
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    if id.is_empty() || id.len() > ID_LEN_MAX || !id.bytes().all(plain) {
        return Err(JoinCodeRefusal::Terms(format!(
            "a code's name is 1 to {ID_LEN_MAX} letters, digits, '-', '_' or '.'"
        )));
    }
    if state.records.codes.contains_key(id) {
        return Err(JoinCodeRefusal::Exists);
    }
    check_terms(state, at_ms, terms)?;
    let code = derive(keys, &state.room, id, at_ms).map_err(|error| JoinCodeRefusal::Terms(error.to_string()))?;
    Ok(RoomEvent::JoinCodeCreated {
        id: id.to_owned(),
        code: JoinCode {
            hash: hash(code.as_bytes()),
            role: terms.role,
            created_at_ms: at_ms,
            expires_at_ms: at_ms.saturating_add(terms.expires_in_s.saturating_mul(1_000)),
            uses_max: terms.uses_max,
            uses: 0,
            created_by: by.clone(),
        },
    })
}

/// The room's JoinLinkPolicy, where it has one, and our limits.
fn check_terms(state: &RoomState, at_ms: u64, terms: &JoinCodeTerms) -> Result<(), JoinCodeRefusal> {
    let refuse = |reason: String| Err(JoinCodeRefusal::Terms(reason));
    let policy = state.policy.join_link_policy();
    let longest = policy.map_or(EXPIRES_IN_S_MAX, |policy| policy.expiration.into());
    if terms.expires_in_s == 0 || terms.expires_in_s > longest {
        return refuse(format!("a code is valid for 1 to {longest} seconds"));
    }
    if terms.uses_max == 0 {
        return refuse("a code that nobody can use".to_owned());
    }
    if policy.is_some_and(|policy| !policy.multiuser) && terms.uses_max > 1 {
        return refuse("the room's join links are for one user each".to_owned());
    }
    let codes = &state.records.codes;
    if policy.is_some_and(|policy| policy.on_request) && codes.values().any(|code| code.is_valid(at_ms)) {
        return refuse("the room has one join link at a time".to_owned());
    }
    if codes.len() >= JOIN_CODES_MAX {
        return refuse(format!("a room has at most {JOIN_CODES_MAX} join codes: revoke some"));
    }
    Ok(())
}

/// Decides to take a code back.
pub(crate) fn decide_revoke(state: &RoomState, by: &UserUri, id: &str) -> Result<RoomEvent, JoinCodeRefusal> {
    may(state, by, &[Change::DeleteJoinCode])?;
    if !state.records.codes.contains_key(id) {
        return Err(JoinCodeRefusal::Unknown);
    }
    Ok(RoomEvent::JoinCodeRevoked { id: id.to_owned() })
}

/// The codes, for who could make or revoke one.
pub(crate) fn list(state: &RoomState, by: &UserUri) -> Result<BTreeMap<String, JoinCode>, JoinCodeRefusal> {
    let mut roles = state.policy.roles().roles.iter();
    let makes = roles.any(|role| {
        let change = Change::CreateJoinCode { role: role.role_index };
        may(state, by, &[change]).is_ok()
    });
    if !makes {
        may(state, by, &[Change::DeleteJoinCode])?;
    }
    Ok(state.records.codes.clone())
}

fn may(state: &RoomState, by: &UserUri, changes: &[Change]) -> Result<(), JoinCodeRefusal> {
    if state.is_silenced(by) {
        return Err(JoinCodeRefusal::Denied(format!(
            "{by} is leaving the room or barred from it"
        )));
    }
    authorize(&state.policy, Actor::Participant(by), changes)
        .map_err(|denied| JoinCodeRefusal::Denied(denied.to_string()))
}

/// Decides to admit a user that shows a code. `None` where that changes nothing: the code is not valid, or the user is a
/// participant, or has shown one before.
pub(crate) fn decide_admission(state: &RoomState, at_ms: u64, user: &UserUri, code: &[u8]) -> Option<RoomEvent> {
    let shown = hash(code);
    let mut codes = state.records.codes.iter();
    let (id, _) = codes.find(|(_, code)| code.hash == shown && code.is_valid(at_ms))?;
    let records = &state.records;
    let idle = state.policy.role_of(user).is_some()
        || records.admission(user, at_ms).is_some()
        || records.barred.contains(user)
        || records.admitted.len() >= ADMITTED_MAX;
    (!idle).then(|| RoomEvent::JoinCodeShown {
        id: id.clone(),
        user: user.clone(),
    })
}

/// The code itself: 128 bits that only the holder of the hub's key can compute, so that it need not be stored to be shown
/// again. Ed25519 signatures are deterministic.
pub(crate) fn derive(keys: &HubKeys, room: &RoomUri, id: &str, created_at_ms: u64) -> Result<String, HubKeysError> {
    let content = [
        room.as_str().as_bytes(),
        b"\0",
        id.as_bytes(),
        &created_at_ms.to_be_bytes(),
    ]
    .concat();
    let signature = keys.sign(SignatureScheme::ED25519, "MIMI hub join code", &content)?;
    Ok(URL_SAFE_NO_PAD.encode(&hash(&signature)[..16]))
}

/// The link around a code: the room's URI and the code as its fragment, which no server sees.
pub(crate) fn link(room: &RoomUri, code: &str) -> String {
    format!("{room}#{code}")
}

fn hash(octets: &[u8]) -> [u8; 32] {
    Sha256::digest(octets).into()
}
