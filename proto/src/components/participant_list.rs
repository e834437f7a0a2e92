//! The `participant_list` component (draft-ietf-mimi-protocol, section 7.5). How an update changes a list is in
//! [`crate::policy`].

use crate::tls::tls_struct;
use crate::uri::UserUri;

/// A participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRolePair {
    /// The user.
    pub user: UserUri,
    /// The user's one role, by its `role_index`.
    pub role_index: u32,
}

tls_struct!(UserRolePair { user, role_index });

/// The participants, active or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParticipantListData {
    /// The participants, in the order that updates refer to them by.
    pub participants: Vec<UserRolePair>,
}

tls_struct!(ParticipantListData { participants });

/// A participant by position, and a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserindexRolePair {
    /// The position in the list.
    pub user_index: u32,
    /// The new role.
    pub role_index: u32,
}

tls_struct!(UserindexRolePair { user_index, role_index });

/// The `update` of an AppDataUpdate for the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParticipantListUpdate {
    /// Whose roles change.
    pub changed_role_participants: Vec<UserindexRolePair>,
    /// Who is removed, by position.
    pub removed_indices: Vec<u32>,
    /// Who is appended.
    pub added_participants: Vec<UserRolePair>,
}

tls_struct!(ParticipantListUpdate {
    changed_role_participants,
    removed_indices,
    added_participants
});
