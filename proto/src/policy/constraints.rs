//! What changes come to for each user and each role, and whether the bounds still hold
//! (draft-ietf-mimi-room-policy, sections 3 and 5).

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::authorize::{Actor, Change, Denied};
use super::room::{NO_ROLE_INDEX, RoomPolicy};
use crate::uri::UserUri;

/// A bound on a number of participants or clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Constraint {
    /// `maximum_active_participants_constraint` of a role.
    MaximumActiveParticipants {
        /// The role.
        role: u32,
        /// The bound.
        bound: u32,
    },
    /// `maximum_participants_constraint` of a role.
    MaximumParticipants {
        /// The role.
        role: u32,
        /// The bound.
        bound: u32,
    },
    /// `max_clients` of the base policy.
    MaxClients {
        /// The bound.
        bound: u32,
    },
    /// `max_users` of the base policy.
    MaxUsers {
        /// The bound.
        bound: u32,
    },
    /// `minimum_active_participants_constraint` of a role.
    MinimumActiveParticipants {
        /// The role.
        role: u32,
        /// The bound.
        bound: u32,
    },
    /// `minimum_participants_constraint` of a role.
    MinimumParticipants {
        /// The role.
        role: u32,
        /// The bound.
        bound: u32,
    },
    /// `multi_device` of the base policy is false, and a user would have two clients.
    SingleDevice {
        /// The user.
        user: UserUri,
    },
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Constraint::MaximumActiveParticipants { role, bound } => {
                write!(f, "maximum_active_participants_constraint {bound} of role {role}")
            }
            Constraint::MaximumParticipants { role, bound } => {
                write!(f, "maximum_participants_constraint {bound} of role {role}")
            }
            Constraint::MaxClients { bound } => write!(f, "max_clients {bound}"),
            Constraint::MaxUsers { bound } => write!(f, "max_users {bound}"),
            Constraint::MinimumActiveParticipants { role, bound } => {
                write!(f, "minimum_active_participants_constraint {bound} of role {role}")
            }
            Constraint::MinimumParticipants { role, bound } => {
                write!(f, "minimum_participants_constraint {bound} of role {role}")
            }
            Constraint::SingleDevice { user } => write!(f, "one client of {user}"),
        }
    }
}

/// What all changes together do to each user they touch.
pub(super) struct Effects<'a> {
    policy: &'a RoomPolicy,
    users: HashMap<&'a UserUri, Effect>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Effect {
    /// The role after, where the user's place in the list changes.
    moved_to: Option<u32>,
    clients_added: u32,
    clients_removed: u32,
}

impl<'a> Effects<'a> {
    pub(super) fn of(
        policy: &'a RoomPolicy,
        parts: impl IntoIterator<Item = (Actor<'a>, &'a [Change])>,
    ) -> Result<Self, Denied> {
        let mut effects = Effects {
            policy,
            users: HashMap::new(),
        };
        for (actor, changes) in parts {
            for change in changes {
                effects.note(actor, change)?;
            }
        }
        Ok(effects)
    }

    fn note(&mut self, actor: Actor<'a>, change: &'a Change) -> Result<(), Denied> {
        match change {
            Change::AddClient { user } => self.users.entry(user).or_default().clients_added += 1,
            Change::AddOwnClient => self.own(actor)?.clients_added += 1,
            Change::AddParticipant { user, role } => self.moves(user, *role)?,
            Change::ChangeRole { user, to, .. } => self.moves(user, *to)?,
            Change::RemoveClient { user } => self.users.entry(user).or_default().clients_removed += 1,
            Change::RemoveOwnClient => self.own(actor)?.clients_removed += 1,
            Change::RemoveParticipant { user } => self.moves(user, NO_ROLE_INDEX)?,
            Change::RemoveSelf => self.moves(actor.user().ok_or(Denied::HubMayNot)?, NO_ROLE_INDEX)?,
            Change::ChangeBasePolicy
            | Change::ChangeJoinLinks { .. }
            | Change::ChangeMetadata(_)
            | Change::ChangeOperationalPolicy
            | Change::ChangeOtherPolicy(_)
            | Change::ChangePreauthorizedUsers
            | Change::ChangeRoleDefinitions
            | Change::CreateJoinCode { .. }
            | Change::DeleteJoinCode
            | Change::DestroyRoom
            | Change::ReceiveMessage
            | Change::ReInit
            | Change::ReportAbuse
            | Change::SendMessage => {}
        }
        Ok(())
    }

    fn own(&mut self, actor: Actor<'a>) -> Result<&mut Effect, Denied> {
        Ok(self.users.entry(actor.user().ok_or(Denied::HubMayNot)?).or_default())
    }

    fn moves(&mut self, user: &'a UserUri, role: u32) -> Result<(), Denied> {
        match self.users.entry(user).or_default().moved_to.replace(role) {
            None => Ok(()),
            Some(_) => Err(Denied::RepeatedChange { user: user.clone() }),
        }
    }

    /// The role of a user when all changes are made.
    pub(super) fn role_after(&self, user: &UserUri) -> u32 {
        let moved_to = self.users.get(user).and_then(|effect| effect.moved_to);
        moved_to.unwrap_or_else(|| self.role_before(user))
    }

    fn role_before(&self, user: &UserUri) -> u32 {
        self.policy.role_of(user).map_or(NO_ROLE_INDEX, |role| role.role_index)
    }

    /// The number of clients of a user when all changes are made.
    fn clients_after(&self, user: &UserUri) -> u32 {
        let effect = self.users.get(user).copied().unwrap_or_default();
        self.policy
            .clients_of(user)
            .saturating_add(effect.clients_added)
            .saturating_sub(effect.clients_removed)
    }
}

/// The change of a role's numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Delta {
    participants: i64,
    active: i64,
}

/// Checks every bound that the changes could break. One that is broken already, and that the changes do not make
/// worse, forbids nothing: else a room could get stuck.
pub(super) fn check<'a>(
    policy: &RoomPolicy,
    parts: impl IntoIterator<Item = (Actor<'a>, &'a [Change])>,
    effects: &Effects<'_>,
) -> Result<(), Denied> {
    for (actor, changes) in parts {
        for change in changes {
            check_user(policy, actor, change, effects)?;
        }
    }
    let mut deltas: BTreeMap<u32, Delta> = BTreeMap::new();
    let (mut users, mut clients) = (0i64, 0i64);
    for user in effects.users.keys() {
        let (before, after) = (effects.role_before(user), effects.role_after(user));
        let (clients_before, clients_after) = (policy.clients_of(user), effects.clients_after(user));
        clients += i64::from(clients_after) - i64::from(clients_before);
        for (role, clients, sign) in [(before, clients_before, -1), (after, clients_after, 1)] {
            let delta = deltas.entry(role).or_default();
            delta.participants += sign;
            delta.active += sign * i64::from(clients > 0);
            users += sign * i64::from(role != NO_ROLE_INDEX && !policy.is_banned_role(role));
        }
    }
    for (role, delta) in deltas {
        if role != NO_ROLE_INDEX {
            check_role(policy, role, delta)?;
        }
    }
    let base = policy.base();
    check_maximum(policy.unbanned().into(), users, base.max_users, |bound| {
        Constraint::MaxUsers { bound }
    })?;
    let total = i64::try_from(policy.total_clients()).unwrap_or(i64::MAX);
    check_maximum(total, clients, base.max_clients, |bound| Constraint::MaxClients {
        bound,
    })
}

/// Section 8.1: removing and banning take all clients along. Section 5: `multi_device`.
fn check_user(policy: &RoomPolicy, actor: Actor<'_>, change: &Change, effects: &Effects<'_>) -> Result<(), Denied> {
    let (user, must_be_gone) = match change {
        Change::RemoveParticipant { user } => (Some(user), true),
        Change::RemoveSelf => (actor.user(), true),
        Change::ChangeRole { user, to, .. } => (Some(user), policy.is_banned_role(*to)),
        Change::AddClient { user } => (Some(user), false),
        Change::AddOwnClient => (actor.user(), false),
        _ => (None, false),
    };
    let Some(user) = user else { return Ok(()) };
    let clients = effects.clients_after(user);
    if must_be_gone && clients > 0 {
        return Err(Denied::ClientsRemain { user: user.clone() });
    }
    let more = clients > policy.clients_of(user);
    if more && clients > 1 && !policy.base().multi_device {
        return Err(Denied::Constraint {
            constraint: Constraint::SingleDevice { user: user.clone() },
        });
    }
    Ok(())
}

fn check_role(policy: &RoomPolicy, role: u32, delta: Delta) -> Result<(), Denied> {
    let Some(definition) = policy.roles().get(role) else {
        return Err(Denied::UnknownRole { role });
    };
    let counts = policy.counts(role);
    let (participants, active) = (counts.participants.into(), counts.active.into());
    check_minimum(
        participants,
        delta.participants,
        definition.minimum_participants_constraint,
        |bound| Constraint::MinimumParticipants { role, bound },
    )?;
    check_minimum(
        active,
        delta.active,
        definition.minimum_active_participants_constraint,
        |bound| Constraint::MinimumActiveParticipants { role, bound },
    )?;
    check_maximum(
        participants,
        delta.participants,
        definition.maximum_participants_constraint,
        |bound| Constraint::MaximumParticipants { role, bound },
    )?;
    check_maximum(
        active,
        delta.active,
        definition.maximum_active_participants_constraint,
        |bound| Constraint::MaximumActiveParticipants { role, bound },
    )
}

fn check_minimum(now: i64, delta: i64, bound: u32, constraint: impl Fn(u32) -> Constraint) -> Result<(), Denied> {
    if delta < 0 && now.saturating_add(delta) < i64::from(bound) {
        return Err(Denied::Constraint {
            constraint: constraint(bound),
        });
    }
    Ok(())
}

fn check_maximum(
    now: i64,
    delta: i64,
    bound: Option<u32>,
    constraint: impl Fn(u32) -> Constraint,
) -> Result<(), Denied> {
    match bound {
        Some(bound) if delta > 0 && now.saturating_add(delta) > i64::from(bound) => Err(Denied::Constraint {
            constraint: constraint(bound),
        }),
        _ => Ok(()),
    }
}
