//! The state of a room that decisions are made by.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::Error;
use crate::components::{
    ASSET_POLICY, AppDataDictionary, AssetPolicy, BASE_ROOM_POLICY, BOT_POLICY, BaseRoomPolicy, BotPolicy,
    CHAT_HISTORY_POLICY, Capability, HistoryPolicy, JOIN_LINK_POLICY, JOIN_LINKS, JoinLinkPolicy, JoinLinksData,
    LINK_PREVIEW_POLICY, LOGGING_POLICY, LinkPreviewPolicy, LoggingPolicy, MESSAGE_EXPIRATION_POLICY,
    MLS_OPERATIONAL_POLICY, MessageExpirationPolicy, OperationalParameters, PARTICIPANT_LIST, PREAUTH_LIST,
    ParticipantListData, PreAuthData, ROLES_LIST, ROOM_METADATA, Role, RoleData, RoomMetaData,
    STATUS_NOTIFICATION_POLICY, StatusNotificationPolicy,
};
use crate::uri::UserUri;

/// The role of a user that is not in the participant list.
pub const NO_ROLE_INDEX: u32 = 0;
/// The role of those who are banned, if it is also called [`BANNED_ROLE_NAME`].
pub const BANNED_ROLE_INDEX: u32 = 1;
/// See [`BANNED_ROLE_INDEX`].
pub const BANNED_ROLE_NAME: &str = "banned";
/// The most roles a room may define.
pub const MAX_ROLES: usize = 256;
/// The most participants a room may have.
pub const MAX_PARTICIPANTS: usize = 100_000;
/// The most entries in the list of preauthorized users.
const MAX_PREAUTHORIZED: usize = 1024;
/// The longest name or description of a role, in octets.
const MAX_ROLE_TEXT_LEN: usize = 4096;
/// The most capabilities that one role may have.
const MAX_CAPABILITIES: usize = 1024;
/// The longest list of role changes: one entry for each role, and one for none.
const MAX_ROLE_CHANGES: usize = MAX_ROLES + 1;

/// Roles, base policy, participants and metadata of a room, validated, and how many clients each user has in the
/// room's MLS group.
///
/// Invariants: role indexes are unique; every participant has a defined role other than [`NO_ROLE_INDEX`]; no user is
/// listed twice; the private indexes agree with the lists.
#[derive(Debug, Clone)]
pub struct RoomPolicy {
    roles: RoleData,
    base: BaseRoomPolicy,
    participants: ParticipantListData,
    metadata: Option<RoomMetaData>,
    preauthorized: PreAuthData,
    join_links: JoinLinksData,
    join_link_policy: Option<JoinLinkPolicy>,
    operational: Option<OperationalParameters>,
    /// Where each user is in the list.
    positions: HashMap<UserUri, usize>,
    /// Clients in the group, of participants and of others that are left over; never zero.
    clients: HashMap<UserUri, u32>,
    counts: BTreeMap<u32, Counts>,
    total_clients: u64,
}

/// How many participants have a role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) participants: u32,
    /// Those of them with a client in the group.
    pub(super) active: u32,
}

impl RoomPolicy {
    /// Reads the components of a room's GroupContext. Roles and participants must be there; without a base policy the
    /// defaults hold. No user is taken to have clients: see [`RoomPolicy::set_clients`].
    ///
    /// # Errors
    /// A component that is missing, malformed or invalid.
    pub fn from_dictionary(dictionary: &AppDataDictionary) -> Result<Self, Error> {
        let missing = |component| Error::ComponentMissing { component };
        let mut policy = RoomPolicy::new(
            dictionary.decode(ROLES_LIST)?.ok_or(missing(ROLES_LIST))?,
            dictionary.decode(BASE_ROOM_POLICY)?.unwrap_or_default(),
            dictionary.decode(PARTICIPANT_LIST)?.ok_or(missing(PARTICIPANT_LIST))?,
            dictionary.decode(ROOM_METADATA)?,
        )?;
        policy.set_preauthorized(dictionary.decode(PREAUTH_LIST)?.unwrap_or_default())?;
        policy.operational = dictionary.decode(MLS_OPERATIONAL_POLICY)?;
        policy.join_link_policy = dictionary.decode(JOIN_LINK_POLICY)?;
        policy.join_links = dictionary.decode(JOIN_LINKS)?.unwrap_or_default();
        check_further(dictionary, &policy.roles)?;
        Ok(policy)
    }

    /// Sets the preauthorized users (section 4).
    ///
    /// # Errors
    /// Too many of them, or a target role that the room does not define or nobody can take.
    pub fn set_preauthorized(&mut self, preauthorized: PreAuthData) -> Result<(), Error> {
        let entries = &preauthorized.preauthorized_entries;
        if entries.len() > MAX_PREAUTHORIZED {
            return Err(Error::Limit {
                what: "preauthorized_entries",
                value: entries.len(),
                limit: MAX_PREAUTHORIZED,
            });
        }
        for entry in entries {
            let role = entry.target_role.role_index;
            if role == NO_ROLE_INDEX || self.roles.get(role).is_none() {
                return Err(Error::UnknownValue {
                    what: "target_role of a preauthorized entry",
                    value: role.into(),
                });
            }
        }
        self.preauthorized = preauthorized;
        Ok(())
    }

    /// Validates the parts of a policy.
    ///
    /// # Errors
    /// Which rule is broken.
    pub fn new(
        roles: RoleData,
        base: BaseRoomPolicy,
        participants: ParticipantListData,
        metadata: Option<RoomMetaData>,
    ) -> Result<Self, Error> {
        check_roles(&roles, &base)?;
        let limit = MAX_PARTICIPANTS;
        if participants.participants.len() > limit {
            return Err(Error::Limit {
                what: "participants",
                value: participants.participants.len(),
                limit,
            });
        }
        let mut positions = HashMap::with_capacity(participants.participants.len());
        for (position, participant) in participants.participants.iter().enumerate() {
            if participant.role_index == NO_ROLE_INDEX || roles.get(participant.role_index).is_none() {
                let value = participant.role_index.into();
                return Err(Error::UnknownValue {
                    what: "role_index of a participant",
                    value,
                });
            }
            if positions.insert(participant.user.clone(), position).is_some() {
                return Err(Error::Duplicate {
                    what: "participant",
                    value: participant.user.to_string(),
                });
            }
        }
        let mut policy = RoomPolicy {
            roles,
            base,
            participants,
            metadata,
            preauthorized: PreAuthData::default(),
            join_links: JoinLinksData::default(),
            join_link_policy: None,
            operational: None,
            positions,
            clients: HashMap::new(),
            counts: BTreeMap::new(),
            total_clients: 0,
        };
        policy.count();
        Ok(policy)
    }

    /// Tells how many clients each user has in the room's MLS group; who is not among `clients` has none.
    pub fn set_clients(&mut self, clients: impl IntoIterator<Item = (UserUri, u32)>) {
        self.clients = clients.into_iter().filter(|(_, count)| *count > 0).collect();
        self.count();
    }

    /// The base policy.
    pub fn base(&self) -> &BaseRoomPolicy {
        &self.base
    }

    /// How many clients a user has in the room's MLS group.
    pub fn clients_of(&self, user: &UserUri) -> u32 {
        self.clients.get(user).copied().unwrap_or(0)
    }

    /// The active join links that the group knows of.
    pub fn join_links(&self) -> &JoinLinksData {
        &self.join_links
    }

    /// The policy on join links, if the room has one.
    pub fn join_link_policy(&self) -> Option<&JoinLinkPolicy> {
        self.join_link_policy.as_ref()
    }

    /// The operational parameters, if the room has any.
    pub fn operational(&self) -> Option<&OperationalParameters> {
        self.operational.as_ref()
    }

    /// The preauthorized users.
    pub fn preauthorized(&self) -> &PreAuthData {
        &self.preauthorized
    }

    /// Section 5: whether the participants of this parent-dependent room are a strict subset of the parent's, of which
    /// `parent` are those that are not banned. Who is banned here does not count either.
    pub fn is_within(&self, parent: &[UserUri]) -> bool {
        let parent: HashSet<&UserUri> = parent.iter().collect();
        let mut count = 0;
        let all = self.unbanned_users().all(|user| {
            count += 1;
            parent.contains(user)
        });
        all && count < parent.len()
    }

    /// The participants that are not banned.
    pub fn unbanned_users(&self) -> impl Iterator<Item = &UserUri> {
        let unbanned = |role: u32| !self.is_banned_role(role);
        let participants = self.participants.participants.iter();
        participants
            .filter(move |participant| unbanned(participant.role_index))
            .map(|participant| &participant.user)
    }

    /// The metadata, if the room has any.
    pub fn metadata(&self) -> Option<&RoomMetaData> {
        self.metadata.as_ref()
    }

    /// The participants.
    pub fn participants(&self) -> &ParticipantListData {
        &self.participants
    }

    /// The role of a participant; nothing for anybody else.
    pub fn role_of(&self, user: &UserUri) -> Option<&Role> {
        let position = *self.positions.get(user)?;
        self.roles.get(self.participants.participants[position].role_index)
    }

    /// The roles.
    pub fn roles(&self) -> &RoleData {
        &self.roles
    }

    /// Whether the room has the role that `canBan` and `canUnban` speak of, and this is its index.
    pub(super) fn is_banned_role(&self, role_index: u32) -> bool {
        role_index == BANNED_ROLE_INDEX
            && self
                .roles
                .get(role_index)
                .is_some_and(|role| role.role_name == BANNED_ROLE_NAME)
    }

    pub(super) fn counts(&self, role_index: u32) -> Counts {
        self.counts.get(&role_index).copied().unwrap_or_default()
    }

    /// Participants that are not banned.
    pub(super) fn unbanned(&self) -> u32 {
        let unbanned = self
            .counts
            .iter()
            .filter(|(role_index, _)| !self.is_banned_role(**role_index));
        unbanned.map(|(_, counts)| counts.participants).sum()
    }

    pub(super) fn total_clients(&self) -> u64 {
        self.total_clients
    }

    /// This state with other components, and the same clients.
    pub(super) fn replaced_by(&self, dictionary: &AppDataDictionary) -> Result<RoomPolicy, Error> {
        let mut policy = RoomPolicy::from_dictionary(dictionary)?;
        policy.clients.clone_from(&self.clients);
        policy.count();
        Ok(policy)
    }

    fn count(&mut self) {
        self.counts.clear();
        for participant in &self.participants.participants {
            let counts = self.counts.entry(participant.role_index).or_default();
            counts.participants += 1;
            counts.active += u32::from(self.clients.contains_key(&participant.user));
        }
        self.total_clients = self.clients.values().copied().map(u64::from).sum();
    }
}

/// Sections 6 and 7: every component is what it should be, and fits the roles.
fn check_further(dictionary: &AppDataDictionary, roles: &RoleData) -> Result<(), Error> {
    dictionary.decode::<StatusNotificationPolicy>(STATUS_NOTIFICATION_POLICY)?;
    dictionary.decode::<LinkPreviewPolicy>(LINK_PREVIEW_POLICY)?;
    dictionary.decode::<AssetPolicy>(ASSET_POLICY)?;
    dictionary.decode::<LoggingPolicy>(LOGGING_POLICY)?;
    dictionary.decode::<MessageExpirationPolicy>(MESSAGE_EXPIRATION_POLICY)?;
    if let Some(history) = dictionary.decode::<HistoryPolicy>(CHAT_HISTORY_POLICY)?
        && let Some(sharing) = history.history_sharing.rules()
    {
        let active = |role: &u32| {
            let role = roles.get(*role);
            role.is_some_and(|role| role.maximum_active_participants_constraint != Some(0))
        };
        if !sharing.roles_that_can_share.iter().all(active) {
            return Err(Error::Invalid {
                what: "roles_that_can_share",
                why: "a role is not defined, or has no active participants",
            });
        }
    }
    let bots = dictionary.decode::<BotPolicy>(BOT_POLICY)?.unwrap_or_default();
    let known = |role: u32| role == NO_ROLE_INDEX || roles.get(role).is_some();
    if !bots.allowed_bots.iter().all(|bot| known(bot.bot_role_index)) {
        return Err(Error::Invalid {
            what: "bot_role_index",
            why: "the role is not defined",
        });
    }
    Ok(())
}

/// Section 3 on roles, section 5 on fixed membership, section 8.1.1 on open rooms.
fn check_roles(roles: &RoleData, base: &BaseRoomPolicy) -> Result<(), Error> {
    let limited = |what, value, limit| {
        if value > limit {
            Err(Error::Limit { what, value, limit })
        } else {
            Ok(())
        }
    };
    limited("roles", roles.roles.len(), MAX_ROLES)?;
    let mut indexes: Vec<u32> = roles.roles.iter().map(|role| role.role_index).collect();
    indexes.sort_unstable();
    if let Some(pair) = indexes.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::Duplicate {
            what: "role_index",
            value: pair[0].to_string(),
        });
    }
    for role in &roles.roles {
        limited("role_name", role.role_name.len(), MAX_ROLE_TEXT_LEN)?;
        limited("role_description", role.role_description.len(), MAX_ROLE_TEXT_LEN)?;
        limited("role_capabilities", role.role_capabilities.len(), MAX_CAPABILITIES)?;
        limited(
            "authorized_role_changes",
            role.authorized_role_changes.len(),
            MAX_ROLE_CHANGES,
        )?;
        for change in &role.authorized_role_changes {
            limited(
                "target_role_indexes",
                change.target_role_indexes.len(),
                MAX_ROLE_CHANGES,
            )?;
        }
        if role.role_index != NO_ROLE_INDEX && role.has(Capability::CAN_OPEN_JOIN) {
            return Err(Error::Invalid {
                what: "role",
                why: "canOpenJoin is for role 0 alone",
            });
        }
        let banned = role.role_index == BANNED_ROLE_INDEX && role.role_name == BANNED_ROLE_NAME;
        let may_add = role.role_index != NO_ROLE_INDEX && !banned && role.has(Capability::CAN_ADD_PARTICIPANT);
        if base.fixed_membership && may_add {
            return Err(Error::Invalid {
                what: "role",
                why: "canAddParticipant in a room of fixed membership",
            });
        }
    }
    Ok(())
}
