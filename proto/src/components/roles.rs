//! The `roles_list` component (draft-ietf-mimi-room-policy, section 3).

use super::Capability;
use crate::tls::tls_struct;

/// Which roles a participant may be moved to from one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SingleSourceRoleChangeTargets {
    /// The role before; 0 for a user not in the participant list.
    pub from_role_index: u32,
    /// The roles after; 0 for removal from the list.
    pub target_role_indexes: Vec<u32>,
}

tls_struct!(SingleSourceRoleChangeTargets {
    from_role_index,
    target_role_indexes
});

/// A role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Role {
    /// Refers to the role elsewhere. 0 is the role of those who are not in the participant list.
    pub role_index: u32,
    /// For people.
    pub role_name: String,
    /// For people; may be empty.
    pub role_description: String,
    /// What its holders may do.
    pub role_capabilities: Vec<Capability>,
    /// How many participants must keep it; 0 for no minimum.
    pub minimum_participants_constraint: u32,
    /// How many participants may have it.
    pub maximum_participants_constraint: Option<u32>,
    /// How many participants with it must keep a client in the group; 0 for no minimum.
    pub minimum_active_participants_constraint: u32,
    /// How many participants with it may have clients in the group.
    pub maximum_active_participants_constraint: Option<u32>,
    /// The changes of other participants' roles that its holders may make.
    pub authorized_role_changes: Vec<SingleSourceRoleChangeTargets>,
}

tls_struct!(Role {
    role_index,
    role_name,
    role_description,
    role_capabilities,
    minimum_participants_constraint,
    maximum_participants_constraint,
    minimum_active_participants_constraint,
    maximum_active_participants_constraint,
    authorized_role_changes,
});

impl Role {
    /// Whether its holders have a capability.
    pub fn has(&self, capability: Capability) -> bool {
        self.role_capabilities.contains(&capability)
    }

    /// Whether its holders may move a participant between two roles.
    pub fn may_change(&self, from: u32, to: u32) -> bool {
        self.authorized_role_changes
            .iter()
            .any(|change| change.from_role_index == from && change.target_role_indexes.contains(&to))
    }
}

/// All roles of a room; also the update, which replaces them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleData {
    /// The roles. Their indexes need not be contiguous.
    pub roles: Vec<Role>,
}

tls_struct!(RoleData { roles });

impl RoleData {
    /// The role with this index.
    pub fn get(&self, role_index: u32) -> Option<&Role> {
        self.roles.iter().find(|role| role.role_index == role_index)
    }
}
