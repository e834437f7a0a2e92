//! How updates change the participant list (draft-ietf-mimi-protocol, section 7.5).
//!
//! All updates of one Commit refer to the list as it was before the Commit: the index of a user does not depend on
//! what the Commit does to others. So roles are changed in place, the removed are dropped without moving anybody
//! else relative to each other, and the added are appended, in the order of the updates. No user may be operated on
//! twice, so that this order decides nothing but positions.

use std::collections::{HashMap, HashSet};

use super::room::{MAX_PARTICIPANTS, NO_ROLE_INDEX};
use crate::components::{ParticipantListData, ParticipantListUpdate, RoleData};
use crate::uri::UserUri;

/// What happened to one participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParticipantChange {
    /// A user became a participant.
    Added {
        /// The user.
        user: UserUri,
        /// Its role.
        role: u32,
    },
    /// A participant is none any more.
    Removed {
        /// The user.
        user: UserUri,
        /// The role it had.
        role: u32,
    },
    /// A participant's role changed.
    RoleChanged {
        /// The user.
        user: UserUri,
        /// The role before.
        from: u32,
        /// The role after.
        to: u32,
    },
}

/// Why updates do not fit a list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// A user that is added is a participant.
    #[error("{user} is a participant already")]
    AlreadyPresent {
        /// The user.
        user: UserUri,
    },
    /// The updates of one Commit operate on a user more than once.
    #[error("{user} is operated on more than once")]
    DuplicateOperation {
        /// The user.
        user: UserUri,
    },
    /// An index is not that of a participant.
    #[error("index {index} is outside a list of {len} participants")]
    IndexOutOfRange {
        /// The index.
        index: u32,
        /// The number of participants before the change.
        len: usize,
    },
    /// The list would be longer than [`MAX_PARTICIPANTS`].
    #[error("the list would have {len} participants")]
    TooLong {
        /// The number of participants after the change.
        len: usize,
    },
    /// A role is not defined, or is the one of those who are no participants.
    #[error("role {role} is not one that a participant can have")]
    UnknownRole {
        /// The role's index.
        role: u32,
    },
}

/// What an update does to a participant at an index.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Remove,
    SetRole(u32),
}

impl ParticipantListData {
    /// The list after all `updates` of one Commit, and what changed. `roles` are those of the room.
    ///
    /// # Errors
    /// [`ListError`]; the list is then unchanged.
    pub fn apply(
        &self,
        roles: &RoleData,
        updates: &[ParticipantListUpdate],
    ) -> Result<(ParticipantListData, Vec<ParticipantChange>), ListError> {
        let mut operations: HashMap<usize, Operation> = HashMap::new();
        let mut added = HashSet::new();
        let mut changes = Vec::new();
        for update in updates {
            for pair in &update.changed_role_participants {
                let position = self.operate(&mut operations, pair.user_index, Operation::SetRole(pair.role_index))?;
                known_role(roles, pair.role_index)?;
                let participant = &self.participants[position];
                let user = participant.user.clone();
                changes.push(ParticipantChange::RoleChanged {
                    user,
                    from: participant.role_index,
                    to: pair.role_index,
                });
            }
            for index in &update.removed_indices {
                let position = self.operate(&mut operations, *index, Operation::Remove)?;
                let participant = &self.participants[position];
                changes.push(ParticipantChange::Removed {
                    user: participant.user.clone(),
                    role: participant.role_index,
                });
            }
            for pair in &update.added_participants {
                if !added.insert(&pair.user) {
                    return Err(ListError::DuplicateOperation {
                        user: pair.user.clone(),
                    });
                }
                known_role(roles, pair.role_index)?;
                changes.push(ParticipantChange::Added {
                    user: pair.user.clone(),
                    role: pair.role_index,
                });
            }
        }
        self.check_added(&operations, &added)?;

        let mut participants = Vec::with_capacity(self.participants.len() + added.len());
        for (position, participant) in self.participants.iter().enumerate() {
            let mut participant = participant.clone();
            match operations.get(&position) {
                Some(Operation::Remove) => continue,
                Some(Operation::SetRole(role)) => participant.role_index = *role,
                None => {}
            }
            participants.push(participant);
        }
        participants.extend(updates.iter().flat_map(|update| &update.added_participants).cloned());
        if participants.len() > MAX_PARTICIPANTS {
            return Err(ListError::TooLong {
                len: participants.len(),
            });
        }
        Ok((ParticipantListData { participants }, changes))
    }

    /// Notes an operation on the participant at `index`, and returns its position.
    fn operate(
        &self,
        operations: &mut HashMap<usize, Operation>,
        index: u32,
        operation: Operation,
    ) -> Result<usize, ListError> {
        let len = self.participants.len();
        let position = usize::try_from(index).ok().filter(|position| *position < len);
        let position = position.ok_or(ListError::IndexOutOfRange { index, len })?;
        match operations.insert(position, operation) {
            None => Ok(position),
            Some(_) => Err(ListError::DuplicateOperation {
                user: self.participants[position].user.clone(),
            }),
        }
    }

    fn check_added(&self, operations: &HashMap<usize, Operation>, added: &HashSet<&UserUri>) -> Result<(), ListError> {
        if added.is_empty() {
            return Ok(());
        }
        let present = self
            .participants
            .iter()
            .position(|participant| added.contains(&participant.user));
        let Some(position) = present else { return Ok(()) };
        let user = self.participants[position].user.clone();
        Err(if operations.contains_key(&position) {
            ListError::DuplicateOperation { user }
        } else {
            ListError::AlreadyPresent { user }
        })
    }
}

fn known_role(roles: &RoleData, role: u32) -> Result<(), ListError> {
    if role == NO_ROLE_INDEX || roles.get(role).is_none() {
        return Err(ListError::UnknownRole { role });
    }
    Ok(())
}
