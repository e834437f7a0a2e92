//! What the hub keeps of a room beside its MLS group: join codes, who has shown one, who is barred, and whether the room is
//! still there. It is part of the room's state: events change it, checkpoints hold it.

use std::collections::{BTreeMap, BTreeSet};

use mimi_hub_proto::uri::UserUri;
use serde::{Deserialize, Serialize};

/// How many join codes a room may have at a time, used up and expired ones included.
pub(crate) const JOIN_CODES_MAX: usize = 1_000;

/// How many users may have shown a code without having joined yet.
pub(crate) const ADMITTED_MAX: usize = 10_000;

/// A join code (draft-ietf-mimi-room-policy, 8.1.1). The code itself is not kept: it is derived from the hub's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinCode {
    /// SHA-256 of the code.
    pub hash: [u8; 32],
    /// The role that users join with.
    pub role: u32,
    /// When it was made, in milliseconds since the UNIX epoch.
    pub created_at_ms: u64,
    /// When it ends.
    pub expires_at_ms: u64,
    /// How many users may join by it.
    pub uses_max: u32,
    /// How many have.
    pub uses: u32,
    /// Who made it.
    pub created_by: UserUri,
}

impl JoinCode {
    /// May one more user join by it?
    pub(crate) fn is_valid(&self, at_ms: u64) -> bool {
        at_ms < self.expires_at_ms && self.uses < self.uses_max
    }
}

/// All of it. The default is a new room's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubRecords {
    /// By their names, which their makers choose.
    pub(crate) codes: BTreeMap<String, JoinCode>,
    /// Users that have shown a code, with its name, until they join.
    pub(crate) admitted: BTreeMap<UserUri, String>,
    /// Users whom this provider's moderators keep out.
    pub(crate) barred: BTreeSet<UserUri>,
    /// The room is destroyed.
    pub(crate) destroyed: bool,
}

impl HubRecords {
    /// The code that a user has shown, if one more user may join by it.
    pub(crate) fn admission(&self, user: &UserUri, at_ms: u64) -> Option<(&str, &JoinCode)> {
        let id = self.admitted.get(user)?;
        let code = self.codes.get(id).filter(|code| code.is_valid(at_ms))?;
        Some((id, code))
    }

    /// A user has joined by a code.
    pub(crate) fn use_code(&mut self, id: &str) {
        if let Some(code) = self.codes.get_mut(id) {
            code.uses = code.uses.saturating_add(1);
        }
    }

    /// A code is gone, and what has been shown of it.
    pub(crate) fn revoke(&mut self, id: &str) {
        self.codes.remove(id);
        self.admitted.retain(|_, shown| shown != id);
    }
}
