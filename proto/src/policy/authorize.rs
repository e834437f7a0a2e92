//! Who may do what (draft-ietf-mimi-room-policy, section 8).

use super::constraints::{self, Constraint, Effects};
use super::room::{NO_ROLE_INDEX, RoomPolicy};
use crate::components::{Capability, ComponentId, MetadataField, Role};
use crate::uri::UserUri;

/// Whose proposal or Commit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor<'a> {
    /// A user with a client in the group.
    Participant(&'a UserUri),
    /// A user that joins by an external Commit and has shown the hub a valid join code for this role.
    JoinCode {
        /// The user.
        user: &'a UserUri,
        /// The role that the code is for.
        role: u32,
    },
    /// A user whose client joins by this external Commit, or asks to be added by an external proposal.
    NewMember(&'a UserUri),
    /// The hub itself, as an external sender.
    Hub,
}

/// One thing that a handshake or a message does. A Commit is judged by all of its changes at once, as some are only
/// allowed together. A user's removal of itself from the list may be written either way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A client of another user is added to the group.
    AddClient {
        /// The client's user.
        user: UserUri,
    },
    /// A client of the actor is added to the group.
    AddOwnClient,
    /// A user is added to the participant list.
    AddParticipant {
        /// The user.
        user: UserUri,
        /// Its role.
        role: u32,
    },
    /// The base policy is replaced.
    ChangeBasePolicy,
    /// Links are added to the list of active join links, or removed from it.
    ChangeJoinLinks {
        /// Some are added.
        added: bool,
        /// Some are removed.
        removed: bool,
    },
    /// A field of the metadata changes.
    ChangeMetadata(MetadataField),
    /// The operational parameters of the MLS group are replaced or removed.
    ChangeOperationalPolicy,
    /// Another component of the policy is replaced or removed.
    ChangeOtherPolicy(ComponentId),
    /// The list of preauthorized users is replaced or removed.
    ChangePreauthorizedUsers,
    /// A participant's role changes.
    ChangeRole {
        /// The participant.
        user: UserUri,
        /// The role before.
        from: u32,
        /// The role after.
        to: u32,
    },
    /// The roles are replaced.
    ChangeRoleDefinitions,
    /// A join code is made that brings users in with this role.
    CreateJoinCode {
        /// The role.
        role: u32,
    },
    /// A join code is revoked.
    DeleteJoinCode,
    /// The room is destroyed.
    DestroyRoom,
    /// Application messages are received.
    ReceiveMessage,
    /// The MLS group is started anew.
    ReInit,
    /// A client of another user is removed from the group.
    RemoveClient {
        /// The client's user.
        user: UserUri,
    },
    /// A client of the actor is removed from the group.
    RemoveOwnClient,
    /// A user is removed from the participant list.
    RemoveParticipant {
        /// The user.
        user: UserUri,
    },
    /// The actor's user leaves the participant list.
    RemoveSelf,
    /// A franked message is reported as abusive.
    ReportAbuse,
    /// An application message is sent.
    SendMessage,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The user is a participant already.
    #[error("{user} is a participant already")]
    AlreadyParticipant {
        /// The user.
        user: UserUri,
    },
    /// The user is banned, and so has no clients.
    #[error("{user} is banned")]
    Banned {
        /// The user.
        user: UserUri,
    },
    /// A user that is removed or banned would keep clients in the group.
    #[error("{user} would still have clients in the group")]
    ClientsRemain {
        /// The user.
        user: UserUri,
    },
    /// A number of participants or clients would be out of its bounds.
    #[error("{constraint} would not hold")]
    Constraint {
        /// Which.
        constraint: Constraint,
    },
    /// The room's operational policy lets nobody join by an external Commit.
    #[error("the room takes no external Commits")]
    ExternalCommit,
    /// The participants of the room do not change.
    #[error("the room's membership is fixed")]
    FixedMembership,
    /// The hub does not do this.
    #[error("the hub may not do this")]
    HubMayNot,
    /// The field can never change.
    #[error("{0:?} cannot be changed")]
    Immutable(MetadataField),
    /// The actor's role lacks a capability.
    #[error("role {role} lacks {capability}")]
    MissingCapability {
        /// The actor's role.
        role: u32,
        /// The capability.
        capability: Capability,
    },
    /// A joining client may only do what concerns its own user.
    #[error("a joining client may not do this")]
    NewMemberMayNot,
    /// The user is not in the participant list.
    #[error("{user} is not a participant")]
    NotParticipant {
        /// The user.
        user: UserUri,
    },
    /// Only preauthorization could allow this, and it does not.
    #[error("{user} is not preauthorized")]
    NotPreauthorized {
        /// The user.
        user: UserUri,
    },
    /// One user's place in the list changes twice.
    #[error("{user} is operated on more than once")]
    RepeatedChange {
        /// The user.
        user: UserUri,
    },
    /// The actor's role does not list this change among its `authorized_role_changes`.
    #[error("role {role} may not move a participant from role {from} to role {to}")]
    RoleChangeNotAuthorized {
        /// The actor's role.
        role: u32,
        /// The role before.
        from: u32,
        /// The role after.
        to: u32,
    },
    /// The participant does not have the role that the change starts from.
    #[error("{user} has role {actual}, not {stated}")]
    RoleMismatch {
        /// The participant.
        user: UserUri,
        /// The role it has.
        actual: u32,
        /// The role the change starts from.
        stated: u32,
    },
    /// The role is not one that a participant can have.
    #[error("role {role} is not one that a participant can have")]
    UnknownRole {
        /// The role.
        role: u32,
    },
}

/// Whether `actor` may make all of `changes` together.
///
/// # Errors
/// The first thing that forbids it: the changes in their order, then the constraints.
pub fn authorize(policy: &RoomPolicy, actor: Actor<'_>, changes: &[Change]) -> Result<(), Denied> {
    let effects = Effects::of(policy, [(actor, changes)])?;
    let judge = Judge {
        policy,
        actor,
        effects: &effects,
    };
    for change in changes {
        judge.check(change)?;
    }
    constraints::check(policy, [(actor, changes)], &effects)
}

/// Whether several actors may each make their changes, and all of them be made in one Commit: the committer's own, and
/// those of the proposals it includes. What each may do alone can be too much together, as when the last two holders of
/// a role that must have one both leave.
///
/// # Errors
/// The first thing that forbids it: each actor's changes by [`authorize()`], then all of them against the constraints.
pub fn authorize_together(policy: &RoomPolicy, parts: &[(Actor<'_>, &[Change])]) -> Result<(), Denied> {
    for (actor, changes) in parts {
        authorize(policy, *actor, changes)?;
    }
    let effects = Effects::of(policy, parts.iter().copied())?;
    constraints::check(policy, parts.iter().copied(), &effects)
}

impl<'a> Actor<'a> {
    /// The actor's user, if it has one.
    pub(super) fn user(self) -> Option<&'a UserUri> {
        match self {
            Actor::Participant(user) | Actor::NewMember(user) | Actor::JoinCode { user, .. } => Some(user),
            Actor::Hub => None,
        }
    }
}

struct Judge<'a> {
    policy: &'a RoomPolicy,
    actor: Actor<'a>,
    effects: &'a Effects<'a>,
}

impl<'a> Judge<'a> {
    fn check(&self, change: &Change) -> Result<(), Denied> {
        match change {
            Change::AddClient { user } if self.is_actor(user) => self.add_own_client(),
            Change::AddClient { user } => self.add_client(user),
            Change::AddOwnClient => self.add_own_client(),
            Change::AddParticipant { user, role } => self.add_participant(user, *role),
            Change::ChangeBasePolicy => self.holder(Capability::CAN_CHANGE_ROOM_MEMBERSHIP_STYLE).map(drop),
            Change::ChangeJoinLinks { added, removed } => self.change_join_links(*added, *removed),
            Change::ChangeMetadata(field) => self.change_metadata(*field),
            Change::ChangeOperationalPolicy => self.holder(Capability::CAN_CHANGE_MLS_OPERATIONAL_POLICIES).map(drop),
            Change::ChangeOtherPolicy(_) => self.holder(Capability::CAN_CHANGE_OTHER_POLICY_ATTRIBUTE).map(drop),
            Change::ChangePreauthorizedUsers => self.holder(Capability::CAN_CHANGE_PREAUTHORIZED_USER_LIST).map(drop),
            Change::ChangeRole { user, from, to } => self.change_role(user, *from, *to),
            Change::ChangeRoleDefinitions => self.holder(Capability::CAN_CHANGE_ROLE_DEFINITIONS).map(drop),
            Change::CreateJoinCode { role } => self.create_join_code(*role),
            Change::DeleteJoinCode => self.holder(Capability::CAN_DELETE_JOIN_CODE).map(drop),
            Change::DestroyRoom => self.holder(Capability::CAN_DESTROY_ROOM).map(drop),
            Change::ReceiveMessage => self.holder(Capability::CAN_RECEIVE_MESSAGE).map(drop),
            Change::ReInit => self.holder(Capability::CAN_SEND_MLS_REINIT_PROPOSAL).map(drop),
            Change::RemoveClient { user } if self.is_actor(user) => self.remove_own_client(),
            Change::RemoveClient { user } => self.remove_client(user),
            Change::RemoveOwnClient => self.remove_own_client(),
            Change::RemoveParticipant { user } if self.is_actor(user) => self.remove_self(),
            Change::RemoveParticipant { user } => self.remove_participant(user),
            Change::RemoveSelf => self.remove_self(),
            Change::ReportAbuse => self.holder(Capability::CAN_REPORT_ABUSE).map(drop),
            Change::SendMessage => self.holder(Capability::CAN_SEND_MESSAGE).map(drop),
        }
    }

    /// Section 8.1.1, `canAddParticipant`, and the three ways for users to add themselves.
    fn add_participant(&self, user: &UserUri, role: u32) -> Result<(), Denied> {
        if self.policy.role_of(user).is_some() {
            return Err(Denied::AlreadyParticipant { user: user.clone() });
        }
        self.check_target(role)?;
        if self.policy.base().fixed_membership {
            return Err(Denied::FixedMembership);
        }
        match self.actor {
            Actor::NewMember(joiner) | Actor::JoinCode { user: joiner, .. } if joiner == user => self.join(user, role),
            _ if self.is_actor(user) => Err(Denied::NotParticipant { user: user.clone() }),
            _ => may_change(self.holder(Capability::CAN_ADD_PARTICIPANT)?, NO_ROLE_INDEX, role),
        }
    }

    /// Section 8.1.1: `canJoinIfPreauthorized` of the target role, `canUseJoinCode` and `canOpenJoin` of role 0. The first
    /// does not look at `authorized_role_changes`; a code's target role is valid if they lead from role 0 to it.
    fn join(&self, user: &UserUri, role: u32) -> Result<(), Denied> {
        let target = self.policy.roles().get(role);
        let preauthorized = self.policy.preauthorized().first_match(user) == Some(role)
            && target.is_some_and(|target| target.has(Capability::CAN_JOIN_IF_PREAUTHORIZED));
        if preauthorized {
            return Ok(());
        }
        if matches!(self.actor, Actor::JoinCode { role: invited, .. } if invited == role) {
            return may_change(self.of_nobody(Capability::CAN_USE_JOIN_CODE)?, NO_ROLE_INDEX, role);
        }
        may_change(self.of_nobody(Capability::CAN_OPEN_JOIN)?, NO_ROLE_INDEX, role)
    }

    /// Section 8.1.1: whoever may add a participant may add its clients. A participant that has none at the moment
    /// takes the same capability.
    fn add_client(&self, user: &UserUri) -> Result<(), Denied> {
        let role = self.effects.role_after(user);
        if role == NO_ROLE_INDEX {
            return Err(Denied::NotParticipant { user: user.clone() });
        }
        if self.policy.is_banned_role(role) {
            return Err(Denied::Banned { user: user.clone() });
        }
        self.holder(Capability::CAN_ADD_PARTICIPANT).map(drop)
    }

    /// Section 8.1.1, `canAddOwnClient`. Who joins an open room does so with a client.
    fn add_own_client(&self) -> Result<(), Denied> {
        match self.actor {
            Actor::NewMember(user) | Actor::JoinCode { user, .. } => {
                if self
                    .policy
                    .operational()
                    .is_some_and(|rules| !rules.external_commit_allowed)
                {
                    return Err(Denied::ExternalCommit);
                }
                match self.policy.role_of(user) {
                    Some(role) => has(role, Capability::CAN_ADD_OWN_CLIENT),
                    None if self.effects.role_after(user) == NO_ROLE_INDEX => {
                        Err(Denied::NotParticipant { user: user.clone() })
                    }
                    // Whether it may put itself into the list is decided by that change.
                    None => Ok(()),
                }
            }
            Actor::Participant(user) => has(self.role_of_participant(user)?, Capability::CAN_ADD_OWN_CLIENT),
            Actor::Hub => Err(Denied::HubMayNot),
        }
    }

    /// Section 8.1.2, `canRemoveParticipant`. The hub cleans up after users that are gone.
    fn remove_participant(&self, user: &UserUri) -> Result<(), Denied> {
        let current = self.role_of_participant(user)?.role_index;
        if self.actor == Actor::Hub {
            return Ok(());
        }
        let holder = self.holder(Capability::CAN_REMOVE_PARTICIPANT)?;
        if self.policy.base().fixed_membership {
            return Err(Denied::FixedMembership);
        }
        may_change(holder, current, NO_ROLE_INDEX)
    }

    /// Section 8.1.2: the clients of who is removed or banned go along; otherwise it takes `canKick`. Clients of
    /// users that are no participants are what an incomplete removal left.
    fn remove_client(&self, user: &UserUri) -> Result<(), Denied> {
        if self.actor == Actor::Hub {
            return Ok(());
        }
        let before = self.policy.role_of(user).map_or(NO_ROLE_INDEX, |role| role.role_index);
        let after = self.effects.role_after(user);
        let capability = if after == NO_ROLE_INDEX {
            Capability::CAN_REMOVE_PARTICIPANT
        } else if after != before && self.policy.is_banned_role(after) {
            Capability::CAN_BAN
        } else {
            Capability::CAN_KICK
        };
        match self.holder(capability) {
            Err(Denied::MissingCapability { .. }) => self.holder(Capability::CAN_KICK).map(drop),
            other => other.map(drop),
        }
    }

    /// Section 8.1.2, `canRemoveOwnClient`. Who leaves takes all clients along; and draft-ietf-mimi-protocol, section
    /// 5.3, leaves removed and banned users this one thing to do.
    fn remove_own_client(&self) -> Result<(), Denied> {
        let user = self.actor.user().ok_or(Denied::HubMayNot)?;
        let leaves = self.policy.role_of(user).is_some() && self.effects.role_after(user) == NO_ROLE_INDEX;
        match self.policy.role_of(user) {
            None => Ok(()),
            Some(role) if self.policy.is_banned_role(role.role_index) => Ok(()),
            Some(_) if leaves => Ok(()),
            Some(role) => has(role, Capability::CAN_REMOVE_OWN_CLIENT),
        }
    }

    /// Section 8.1.2, `canRemoveSelf`.
    fn remove_self(&self) -> Result<(), Denied> {
        let holder = self.holder(Capability::CAN_REMOVE_SELF)?;
        if self.policy.base().fixed_membership {
            return Err(Denied::FixedMembership);
        }
        may_change(holder, holder.role_index, NO_ROLE_INDEX)
    }

    /// Section 8.1.3: `canChangeUserRole`, `canBan`, `canUnban`; and `canChangeOwnRole`, for which the preauthorized
    /// users are consulted and `authorized_role_changes` is not.
    fn change_role(&self, user: &UserUri, from: u32, to: u32) -> Result<(), Denied> {
        let actual = self.role_of_participant(user)?.role_index;
        if actual != from {
            return Err(Denied::RoleMismatch {
                user: user.clone(),
                actual,
                stated: from,
            });
        }
        self.check_target(to)?;
        if self.is_actor(user) {
            self.holder(Capability::CAN_CHANGE_OWN_ROLE)?;
            return match self.policy.preauthorized().first_match(user) {
                Some(role) if role == to => Ok(()),
                _ => Err(Denied::NotPreauthorized { user: user.clone() }),
            };
        }
        let special = if self.policy.is_banned_role(to) {
            Capability::CAN_BAN
        } else if self.policy.is_banned_role(from) {
            Capability::CAN_UN_BAN
        } else {
            Capability::CAN_CHANGE_USER_ROLE
        };
        let holder = match self.holder(special) {
            Err(Denied::MissingCapability { role, capability }) => self
                .holder(Capability::CAN_CHANGE_USER_ROLE)
                .map_err(|_| Denied::MissingCapability { role, capability })?,
            other => other?,
        };
        may_change(holder, from, to)
    }

    /// Section 8.2.
    fn change_metadata(&self, field: MetadataField) -> Result<(), Denied> {
        let capability = match field {
            MetadataField::Avatar => Capability::CAN_CHANGE_ROOM_AVATAR,
            MetadataField::Description => Capability::CAN_CHANGE_ROOM_DESCRIPTION,
            MetadataField::Mood => Capability::CAN_CHANGE_ROOM_MOOD,
            MetadataField::Name => Capability::CAN_CHANGE_ROOM_NAME,
            MetadataField::Subject => Capability::CAN_CHANGE_ROOM_SUBJECT,
            MetadataField::Uri => return Err(Denied::Immutable(field)),
        };
        self.holder(capability).map(drop)
    }

    /// Section 8.7 reserves `canCreateJoinCode` and `canDeleteJoinCode`; the examples give them to moderators.
    fn change_join_links(&self, added: bool, removed: bool) -> Result<(), Denied> {
        if removed {
            self.holder(Capability::CAN_DELETE_JOIN_CODE)?;
        }
        if added || !removed {
            self.holder(Capability::CAN_CREATE_JOIN_CODE)?;
        }
        Ok(())
    }

    /// A code must be one that could be used, and bring in nobody whom its maker could not add.
    fn create_join_code(&self, role: u32) -> Result<(), Denied> {
        self.check_target(role)?;
        let holder = self.holder(Capability::CAN_CREATE_JOIN_CODE)?;
        if self.policy.base().fixed_membership {
            return Err(Denied::FixedMembership);
        }
        may_change(self.of_nobody(Capability::CAN_USE_JOIN_CODE)?, NO_ROLE_INDEX, role)?;
        may_change(holder, NO_ROLE_INDEX, role)
    }

    fn is_actor(&self, user: &UserUri) -> bool {
        self.actor.user() == Some(user)
    }

    /// The actor's role, if it is a member whose role has the capability.
    fn holder(&self, capability: Capability) -> Result<&'a Role, Denied> {
        match self.actor {
            Actor::Participant(user) => {
                let role = self.role_of_participant(user)?;
                has(role, capability).map(|()| role)
            }
            Actor::NewMember(_) | Actor::JoinCode { .. } => Err(Denied::NewMemberMayNot),
            Actor::Hub => Err(Denied::HubMayNot),
        }
    }

    /// Role 0, if it has a capability.
    fn of_nobody(&self, capability: Capability) -> Result<&'a Role, Denied> {
        let denied = Denied::MissingCapability {
            role: NO_ROLE_INDEX,
            capability,
        };
        let role = self.policy.roles().get(NO_ROLE_INDEX).ok_or(denied)?;
        has(role, capability).map(|()| role)
    }

    fn role_of_participant(&self, user: &UserUri) -> Result<&'a Role, Denied> {
        self.policy
            .role_of(user)
            .ok_or_else(|| Denied::NotParticipant { user: user.clone() })
    }

    fn check_target(&self, role: u32) -> Result<(), Denied> {
        if role == NO_ROLE_INDEX || self.policy.roles().get(role).is_none() {
            return Err(Denied::UnknownRole { role });
        }
        Ok(())
    }
}

fn has(role: &Role, capability: Capability) -> Result<(), Denied> {
    if role.has(capability) {
        return Ok(());
    }
    Err(Denied::MissingCapability {
        role: role.role_index,
        capability,
    })
}

fn may_change(holder: &Role, from: u32, to: u32) -> Result<(), Denied> {
    if holder.may_change(from, to) {
        return Ok(());
    }
    Err(Denied::RoleChangeNotAuthorized {
        role: holder.role_index,
        from,
        to,
    })
}
