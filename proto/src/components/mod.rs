//! Application components (draft-ietf-mls-extensions, section 4): the state of a room inside its MLS group, and the
//! data that travels with messages.

mod app_data;
mod base_room_policy;
mod capability;
mod dictionary;
mod participant_list;
mod policies;
mod roles;
mod room_metadata;
mod safe_aad;

pub use app_data::{AppDataUpdate, AppDataUpdateOperation, AppEphemeral};
pub use base_room_policy::BaseRoomPolicy;
pub use capability::Capability;
pub use dictionary::{AppDataDictionary, ComponentData, ComponentsList};
pub use participant_list::{ParticipantListData, ParticipantListUpdate, UserRolePair, UserindexRolePair};
pub use policies::{
    AppMessagePolicy, AssetPolicy, AssetUploadLocation, Bot, BotPolicy, Claim, ClaimId, DomainName, DownloadPrivacy,
    DownloadPrivacyType, ExtendedCapabilities, HistoryPolicy, HistorySharing, JoinLink, JoinLinkPolicy, JoinLinksData,
    JoinLinksUpdate, LinkPreviewPolicy, Logging, LoggingPolicy, MediaType, MediaTypeParameter, MessageExpiration,
    MessageExpirationPolicy, MinDefaultMaxTime, OperationalParameters, Optionality, PendingProposalPolicy, PreAuthData,
    PreAuthRoleEntry, ProviderAssetUploadDomains, Ruled, StatusNotificationPolicy,
};
pub use roles::{Role, RoleData, SingleSourceRoleChangeTargets};
pub use room_metadata::{MetadataField, RichDescription, RoomMetaData};
pub use safe_aad::{SafeAad, SafeAadItem};

/// `uint16 ComponentID;`
pub type ComponentId = u16;

/// `app_components`: a [`ComponentsList`] of what a client supports, or a group requires.
pub const APP_COMPONENTS: ComponentId = 0x0001;
/// `safe_aad`: a [`ComponentsList`]; its presence in the GroupContext makes `authenticated_data` a [`SafeAad`].
pub const SAFE_AAD: ComponentId = 0x0002;
/// `content_media_types`: the media types of application data.
pub const CONTENT_MEDIA_TYPES: ComponentId = 0x0003;
/// `last_resort_key_package`: marks a KeyPackage that may be used more than once; without data.
pub const LAST_RESORT_KEY_PACKAGE: ComponentId = 0x0004;
/// `associated_parties`: an [`crate::associated_parties::AssociatedParties`].
pub const ASSOCIATED_PARTIES: ComponentId = 0x0007;
/// `external_receivers`: an [`crate::mls::ExternalReceivers`].
pub const EXTERNAL_RECEIVERS: ComponentId = 0x0008;
/// `frank_aad`: a [`crate::FrankAad`] in a Safe AAD.
pub const FRANK_AAD: ComponentId = 0x0020;
/// `franking_agent`: a [`crate::FrankingAgentData`].
pub const FRANKING_AGENT: ComponentId = 0x0021;
/// `participant_list`: a [`ParticipantListData`].
pub const PARTICIPANT_LIST: ComponentId = 0x0022;
/// `room_metadata`: a [`RoomMetaData`].
pub const ROOM_METADATA: ComponentId = 0x0023;
/// `mls_operational_policy`: an [`OperationalParameters`].
pub const MLS_OPERATIONAL_POLICY: ComponentId = 0x0024;
/// `roles_list`: a [`RoleData`].
pub const ROLES_LIST: ComponentId = 0x0025;
/// `preauth_list`: a [`PreAuthData`].
pub const PREAUTH_LIST: ComponentId = 0x0026;
/// `base_room_policy`: a [`BaseRoomPolicy`].
pub const BASE_ROOM_POLICY: ComponentId = 0x0027;
/// `status_notification_policy`: a [`StatusNotificationPolicy`].
pub const STATUS_NOTIFICATION_POLICY: ComponentId = 0x0028;
/// `join_link_policy`: a [`JoinLinkPolicy`].
pub const JOIN_LINK_POLICY: ComponentId = 0x0029;
/// `join_links`: a [`JoinLinksData`].
pub const JOIN_LINKS: ComponentId = 0x002a;
/// `link_preview_policy`: a [`LinkPreviewPolicy`].
pub const LINK_PREVIEW_POLICY: ComponentId = 0x002b;
/// `asset_policy`: an [`AssetPolicy`].
pub const ASSET_POLICY: ComponentId = 0x002c;
/// `logging_policy`: a [`LoggingPolicy`].
pub const LOGGING_POLICY: ComponentId = 0x002d;
/// `chat_history_policy`: a [`HistoryPolicy`].
pub const CHAT_HISTORY_POLICY: ComponentId = 0x002e;
/// `bot_policy`: a [`BotPolicy`].
pub const BOT_POLICY: ComponentId = 0x002f;
/// `message_expiration_policy`: a [`MessageExpirationPolicy`].
pub const MESSAGE_EXPIRATION_POLICY: ComponentId = 0x0030;
