//! What a new room begins with: its roles, its first participant, its name.
//!
//! The roles follow the cooperatively administered room of draft-ietf-mimi-room-policy, appendix A.1, with its indexes:
//! members look after the room themselves, moderators settle disputes, admins may do everything.

use mimi_hub_proto::components::{
    BASE_ROOM_POLICY, BaseRoomPolicy, Capability, ComponentId, PARTICIPANT_LIST, ParticipantListData, ROLES_LIST,
    ROOM_METADATA, Role, RoleData, RoomMetaData, SingleSourceRoleChangeTargets, UserRolePair,
};
use mimi_hub_proto::tls::encode;
use mimi_hub_proto::uri::{IdentifierUri, RoomUri, UserUri};

use crate::OpsError;

/// Not on the participant list. No participant ever has this role.
pub const NO_ROLE: u32 = 0;
/// On the participant list in order to be kept out.
pub const ROLE_BANNED: u32 = 1;
/// Takes part, and may bring in others.
pub const ROLE_MEMBER: u32 = 2;
/// May also remove, ban and moderate members.
pub const ROLE_MODERATOR: u32 = 3;
/// May do everything.
pub const ROLE_ADMIN: u32 = 4;

const MEMBER_CAPABILITIES: &[Capability] = &[
    Capability::CAN_ADD_PARTICIPANT,
    Capability::CAN_REMOVE_PARTICIPANT,
    Capability::CAN_ADD_OWN_CLIENT,
    Capability::CAN_REMOVE_OWN_CLIENT,
    Capability::CAN_REMOVE_SELF,
    Capability::CAN_SEND_MESSAGE,
    Capability::CAN_RECEIVE_MESSAGE,
    Capability::CAN_COPY_MESSAGE,
    Capability::CAN_REPORT_ABUSE,
    Capability::CAN_REPLY_TO_MESSAGE,
    Capability::CAN_REACT_TO_MESSAGE,
    Capability::CAN_DELETE_OWN_REACTION,
    Capability::CAN_EDIT_OWN_MESSAGE,
    Capability::CAN_DELETE_OWN_MESSAGE,
    Capability::CAN_START_TOPIC,
    Capability::CAN_REPLY_IN_TOPIC,
    Capability::CAN_EDIT_OWN_TOPIC,
    Capability::CAN_UPLOAD_IMAGE,
    Capability::CAN_UPLOAD_VIDEO,
    Capability::CAN_UPLOAD_AUDIO,
    Capability::CAN_UPLOAD_ATTACHMENT,
    Capability::CAN_DOWNLOAD_IMAGE,
    Capability::CAN_DOWNLOAD_VIDEO,
    Capability::CAN_DOWNLOAD_AUDIO,
    Capability::CAN_DOWNLOAD_ATTACHMENT,
    Capability::CAN_SEND_LINK,
    Capability::CAN_SEND_LINK_PREVIEW,
    Capability::CAN_FOLLOW_LINK,
    Capability::CAN_COPY_LINK,
    Capability::CAN_CHANGE_ROOM_NAME,
    Capability::CAN_CHANGE_ROOM_AVATAR,
    Capability::CAN_CHANGE_ROOM_SUBJECT,
    Capability::CAN_CHANGE_ROOM_MOOD,
];

const MODERATOR_CAPABILITIES: &[Capability] = &[
    Capability::CAN_BAN,
    Capability::CAN_UN_BAN,
    Capability::CAN_KICK,
    Capability::CAN_CHANGE_USER_ROLE,
    Capability::CAN_DELETE_OTHER_MESSAGE,
    Capability::CAN_EDIT_OTHER_TOPIC,
    Capability::CAN_CHANGE_ROOM_DESCRIPTION,
];

/// The role table of a new room.
#[must_use]
pub fn default_roles() -> RoleData {
    let moderator = [MEMBER_CAPABILITIES, MODERATOR_CAPABILITIES].concat();
    RoleData {
        roles: vec![
            Role {
                role_index: NO_ROLE,
                role_name: "nobody".to_owned(),
                role_description: "May come in with a join code".to_owned(),
                role_capabilities: vec![Capability::CAN_USE_JOIN_CODE],
                maximum_active_participants_constraint: Some(0),
                authorized_role_changes: changes(&[(NO_ROLE, &[ROLE_MEMBER])]),
                ..Role::default()
            },
            Role {
                role_index: ROLE_BANNED,
                // The draft's canBan looks for this very name (7.1.3).
                role_name: "banned".to_owned(),
                role_description: "Kept out of the room".to_owned(),
                maximum_active_participants_constraint: Some(0),
                ..Role::default()
            },
            Role {
                role_index: ROLE_MEMBER,
                role_name: "member".to_owned(),
                role_description: "Takes part and may add others".to_owned(),
                role_capabilities: MEMBER_CAPABILITIES.to_vec(),
                authorized_role_changes: changes(&[(NO_ROLE, &[ROLE_MEMBER]), (ROLE_MEMBER, &[NO_ROLE])]),
                ..Role::default()
            },
            Role {
                role_index: ROLE_MODERATOR,
                role_name: "moderator".to_owned(),
                role_description: "Settles disputes".to_owned(),
                role_capabilities: moderator,
                authorized_role_changes: changes(&[
                    (NO_ROLE, &[ROLE_BANNED, ROLE_MEMBER, ROLE_MODERATOR]),
                    (ROLE_BANNED, &[NO_ROLE, ROLE_MEMBER, ROLE_MODERATOR]),
                    (ROLE_MEMBER, &[NO_ROLE, ROLE_BANNED, ROLE_MODERATOR]),
                    (ROLE_MODERATOR, &[NO_ROLE, ROLE_BANNED, ROLE_MEMBER]),
                ]),
                ..Role::default()
            },
            Role {
                role_index: ROLE_ADMIN,
                role_name: "admin".to_owned(),
                role_description: "May do everything".to_owned(),
                role_capabilities: admin_capabilities(),
                authorized_role_changes: changes(&[
                    (NO_ROLE, &[ROLE_BANNED, ROLE_MEMBER, ROLE_MODERATOR, ROLE_ADMIN]),
                    (ROLE_BANNED, &[NO_ROLE, ROLE_MEMBER, ROLE_MODERATOR, ROLE_ADMIN]),
                    (ROLE_MEMBER, &[NO_ROLE, ROLE_BANNED, ROLE_MODERATOR, ROLE_ADMIN]),
                    (ROLE_MODERATOR, &[NO_ROLE, ROLE_BANNED, ROLE_MEMBER, ROLE_ADMIN]),
                    (ROLE_ADMIN, &[NO_ROLE, ROLE_BANNED, ROLE_MEMBER, ROLE_MODERATOR]),
                ]),
                ..Role::default()
            },
        ],
    }
}

/// All that is registered, but for what only role 0 may have (draft-ietf-mimi-room-policy, 7.1.1).
fn admin_capabilities() -> Vec<Capability> {
    Capability::REGISTERED
        .iter()
        .copied()
        .filter(|capability| *capability != Capability::CAN_OPEN_JOIN)
        .collect()
}

fn changes(table: &[(u32, &[u32])]) -> Vec<SingleSourceRoleChangeTargets> {
    table
        .iter()
        .map(|(from_role_index, targets)| SingleSourceRoleChangeTargets {
            from_role_index: *from_role_index,
            target_role_indexes: targets.to_vec(),
        })
        .collect()
}

/// The components of a new room.
#[derive(Clone, Debug)]
pub struct InitialState {
    /// Who takes part from the start: the creator, and whoever joins later with an external Commit.
    pub participants: ParticipantListData,
    /// The role table.
    pub roles: RoleData,
    /// What people see.
    pub metadata: RoomMetaData,
    /// The base policy.
    pub policy: BaseRoomPolicy,
}

impl InitialState {
    /// A room with this name, the default roles, and its creator as the one participant, an admin.
    ///
    /// # Errors
    /// [`OpsError::Mls`] never, as a room's URI is a URI.
    pub fn new(room: &RoomUri, creator: UserUri, name: &str) -> Result<Self, OpsError> {
        let room_uri: IdentifierUri = room.as_str().parse().map_err(OpsError::mls("name the room"))?;
        Ok(Self {
            participants: ParticipantListData {
                participants: vec![UserRolePair {
                    user: creator,
                    role_index: ROLE_ADMIN,
                }],
            },
            roles: default_roles(),
            metadata: RoomMetaData {
                room_uri,
                room_name: name.to_owned(),
                ..RoomMetaData::default()
            },
            policy: BaseRoomPolicy {
                policy_component_ids: vec![ROLES_LIST],
                ..BaseRoomPolicy::default()
            },
        })
    }

    /// A minimal metadata room (draft-ietf-mimi-protocol, 6), of one who goes by this pseudonym. It has no name, which the hub
    /// would see.
    ///
    /// # Errors
    /// As [`InitialState::new`].
    pub fn minimal_metadata(room: &RoomUri, creator: UserUri) -> Result<Self, OpsError> {
        let mut initial = Self::new(room, creator, "")?;
        initial.policy.pseudonyms_allowed = true;
        Ok(initial)
    }

    /// The entries of the `app_data_dictionary`.
    pub(super) fn components(&self) -> [(ComponentId, Vec<u8>); 4] {
        [
            (PARTICIPANT_LIST, encode(&self.participants)),
            (ROOM_METADATA, encode(&self.metadata)),
            (ROLES_LIST, encode(&self.roles)),
            (BASE_ROOM_POLICY, encode(&self.policy)),
        ]
    }
}
