//! From AppDataUpdates to a new state and the changes to authorize (draft-ietf-mls-extensions, section 4.7).

use std::collections::BTreeMap;

use super::{Change, ListError, ParticipantChange, RoomPolicy};
use crate::Error;
use crate::components::{
    ASSET_POLICY, AppDataDictionary, AppDataUpdate, AppDataUpdateOperation, BASE_ROOM_POLICY, BOT_POLICY,
    BaseRoomPolicy, CHAT_HISTORY_POLICY, ComponentId, JOIN_LINK_POLICY, JOIN_LINKS, JoinLinksUpdate,
    LINK_PREVIEW_POLICY, LOGGING_POLICY, MESSAGE_EXPIRATION_POLICY, MLS_OPERATIONAL_POLICY, PARTICIPANT_LIST,
    PREAUTH_LIST, ParticipantListUpdate, ROLES_LIST, ROOM_METADATA, RoleData, RoomMetaData, STATUS_NOTIFICATION_POLICY,
};
use crate::tls::{decode_exact, encode};

/// What a list of AppDataUpdates comes to.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The dictionary of the new GroupContext.
    pub dictionary: AppDataDictionary,
    /// The policy of the new epoch; its clients are still those of the old one.
    pub policy: RoomPolicy,
    /// What has to be authorized.
    pub changes: Vec<Change>,
}

/// Why AppDataUpdates are invalid, whoever sends them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// An update of the participant list does not fit the list.
    #[error("participant list: {0}")]
    List(#[from] ListError),
    /// Preauthorized users change together with participants that are not removed (draft-ietf-mimi-room-policy,
    /// section 4).
    #[error("preauthorized users and participants change together")]
    PreauthorizedWithParticipants,
    /// An update is malformed, or the state after it would be invalid.
    #[error(transparent)]
    Malformed(#[from] Error),
    /// The state of this component cannot be removed.
    #[error("component {component:#06x} cannot be removed")]
    Removal {
        /// The component.
        component: ComponentId,
    },
    /// This component takes one update per Commit.
    #[error("component {component:#06x} is updated more than once")]
    Repeated {
        /// The component.
        component: ComponentId,
    },
    /// Roles and participants change in one Commit (draft-ietf-mimi-room-policy, section 3).
    #[error("roles and participants change together")]
    RolesWithParticipants,
    /// The room has no such component that could be updated.
    #[error("component {component:#06x} is not known")]
    UnknownComponent {
        /// The component.
        component: ComponentId,
    },
}

impl RoomPolicy {
    /// The state after all AppDataUpdates of one Commit, in the order in which they appear. `dictionary` is the one
    /// that this policy was read from. The sender's right to make the changes is not looked at.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn apply(&self, dictionary: &AppDataDictionary, updates: &[AppDataUpdate]) -> Result<Applied, UpdateError> {
        let mut by_component: BTreeMap<ComponentId, Vec<&[u8]>> = BTreeMap::new();
        let mut removed = Vec::new();
        for update in updates {
            let component = update.component_id;
            match &update.op {
                _ if !is_core(component) && !is_further(component) => {
                    return Err(UpdateError::UnknownComponent { component });
                }
                AppDataUpdateOperation::Update(data) => by_component.entry(component).or_default().push(data),
                AppDataUpdateOperation::Remove if is_core(component) => {
                    return Err(UpdateError::Removal { component });
                }
                AppDataUpdateOperation::Remove => removed.push(component),
            }
        }
        if let Some(component) = removed.iter().find(|component| by_component.contains_key(component)) {
            return Err(UpdateError::Repeated { component: *component });
        }
        if by_component.contains_key(&ROLES_LIST) && by_component.contains_key(&PARTICIPANT_LIST) {
            return Err(UpdateError::RolesWithParticipants);
        }
        let preauthorized_change = by_component.contains_key(&PREAUTH_LIST) || removed.contains(&PREAUTH_LIST);
        let mut dictionary = dictionary.clone();
        let mut changes = Vec::new();
        for component in removed {
            if dictionary.remove(component).is_none() {
                return Err(UpdateError::UnknownComponent { component });
            }
            changes.push(match component {
                JOIN_LINKS => Change::ChangeJoinLinks {
                    added: false,
                    removed: true,
                },
                other => replaced(other),
            });
        }
        for (component, updates) in by_component {
            let data = if component == PARTICIPANT_LIST {
                self.apply_to_list(&updates, &mut changes)?
            } else {
                let [data] = updates[..] else {
                    return Err(UpdateError::Repeated { component });
                };
                self.note_replacement(component, data, &mut changes)?
            };
            dictionary.set(component, data);
        }
        let joins = |change: &Change| matches!(change, Change::AddParticipant { .. } | Change::ChangeRole { .. });
        if preauthorized_change && changes.iter().any(joins) {
            return Err(UpdateError::PreauthorizedWithParticipants);
        }
        let policy = self.replaced_by(&dictionary)?;
        Ok(Applied {
            dictionary,
            policy,
            changes,
        })
    }

    fn apply_to_list(&self, updates: &[&[u8]], changes: &mut Vec<Change>) -> Result<Vec<u8>, UpdateError> {
        let updates: Result<Vec<ParticipantListUpdate>, Error> =
            updates.iter().map(|data| decode_exact(data)).collect();
        let (list, list_changes) = self.participants().apply(self.roles(), &updates?)?;
        changes.extend(list_changes.into_iter().map(|change| match change {
            ParticipantChange::Added { user, role } => Change::AddParticipant { user, role },
            ParticipantChange::Removed { user, .. } => Change::RemoveParticipant { user },
            ParticipantChange::RoleChanged { user, from, to } => Change::ChangeRole { user, from, to },
        }));
        Ok(encode(&list))
    }

    /// Notes the change that an update of a component other than the list is, and gives the component's new data.
    fn note_replacement(
        &self,
        component: ComponentId,
        data: &[u8],
        changes: &mut Vec<Change>,
    ) -> Result<Vec<u8>, UpdateError> {
        match component {
            BASE_ROOM_POLICY => {
                decode_exact::<BaseRoomPolicy>(data)?;
                changes.push(Change::ChangeBasePolicy);
            }
            ROLES_LIST => {
                decode_exact::<RoleData>(data)?;
                changes.push(Change::ChangeRoleDefinitions);
            }
            ROOM_METADATA => {
                let new: RoomMetaData = decode_exact(data)?;
                let old = self.metadata().cloned().unwrap_or_default();
                changes.extend(old.changed_fields(&new).into_iter().map(Change::ChangeMetadata));
            }
            JOIN_LINKS => {
                let update: JoinLinksUpdate = decode_exact(data)?;
                changes.push(Change::ChangeJoinLinks {
                    added: !update.added_links.is_empty(),
                    removed: !update.removed_indices.is_empty(),
                });
                return Ok(encode(&self.join_links().apply(self.join_link_policy(), &update)?));
            }
            // Whether it is well-formed and fits the roles is seen when the whole new state is read.
            other => changes.push(replaced(other)),
        }
        Ok(data.to_vec())
    }
}

/// The components without which there is no room.
fn is_core(component: ComponentId) -> bool {
    [BASE_ROOM_POLICY, PARTICIPANT_LIST, ROLES_LIST, ROOM_METADATA].contains(&component)
}

/// The components that a room may have besides (draft-ietf-mimi-room-policy, section 10.1).
fn is_further(component: ComponentId) -> bool {
    [
        ASSET_POLICY,
        BOT_POLICY,
        CHAT_HISTORY_POLICY,
        JOIN_LINKS,
        JOIN_LINK_POLICY,
        LINK_PREVIEW_POLICY,
        LOGGING_POLICY,
        MESSAGE_EXPIRATION_POLICY,
        MLS_OPERATIONAL_POLICY,
        PREAUTH_LIST,
        STATUS_NOTIFICATION_POLICY,
    ]
    .contains(&component)
}

/// The change that replacing or removing one of these components is.
fn replaced(component: ComponentId) -> Change {
    match component {
        PREAUTH_LIST => Change::ChangePreauthorizedUsers,
        MLS_OPERATIONAL_POLICY => Change::ChangeOperationalPolicy,
        other => Change::ChangeOtherPolicy(other),
    }
}
