//! The components of a room's GroupContext, what updates them, and what travels with messages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mimi_hub_fuzz::{bounded, exact};
use mimi_hub_proto::FrankAad;
use mimi_hub_proto::components::{
    AppDataDictionary, AppDataUpdate, AppEphemeral, AppMessagePolicy, AssetPolicy, AssetUploadLocation, BaseRoomPolicy,
    Bot, BotPolicy, Capability, Claim, ClaimId, ComponentData, ComponentsList, DomainName, DownloadPrivacy,
    DownloadPrivacyType, ExtendedCapabilities, FRANK_AAD, HistoryPolicy, HistorySharing, JoinLink, JoinLinkPolicy,
    JoinLinksData, JoinLinksUpdate, LinkPreviewPolicy, Logging, LoggingPolicy, MediaType, MediaTypeParameter,
    MessageExpiration, MessageExpirationPolicy, MinDefaultMaxTime, OperationalParameters, Optionality,
    ParticipantListData, ParticipantListUpdate, PendingProposalPolicy, PreAuthData, PreAuthRoleEntry,
    ProviderAssetUploadDomains, RichDescription, Role, RoleData, RoomMetaData, Ruled, SafeAad, SafeAadItem,
    SingleSourceRoleChangeTargets, StatusNotificationPolicy, UserRolePair, UserindexRolePair,
};
use mimi_hub_proto::policy::RoomPolicy;
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::UserUri;

fuzz_target!(|octets: &[u8]| {
    exact::<AppDataUpdate>(octets);
    exact::<AppEphemeral>(octets);
    exact::<AppMessagePolicy>(octets);
    exact::<AssetPolicy>(octets);
    exact::<AssetUploadLocation>(octets);
    exact::<BaseRoomPolicy>(octets);
    exact::<Bot>(octets);
    exact::<BotPolicy>(octets);
    exact::<Capability>(octets);
    exact::<Claim>(octets);
    exact::<ClaimId>(octets);
    exact::<ComponentData>(octets);
    exact::<ComponentsList>(octets);
    exact::<DomainName>(octets);
    exact::<DownloadPrivacy>(octets);
    exact::<DownloadPrivacyType>(octets);
    exact::<ExtendedCapabilities>(octets);
    exact::<HistoryPolicy>(octets);
    exact::<HistorySharing>(octets);
    exact::<JoinLink>(octets);
    exact::<JoinLinkPolicy>(octets);
    exact::<JoinLinksUpdate>(octets);
    exact::<LinkPreviewPolicy>(octets);
    exact::<Logging>(octets);
    exact::<LoggingPolicy>(octets);
    exact::<MediaType>(octets);
    exact::<MediaTypeParameter>(octets);
    exact::<MessageExpiration>(octets);
    exact::<MessageExpirationPolicy>(octets);
    exact::<MinDefaultMaxTime>(octets);
    exact::<OperationalParameters>(octets);
    exact::<Optionality>(octets);
    exact::<ParticipantListData>(octets);
    exact::<ParticipantListUpdate>(octets);
    exact::<PendingProposalPolicy>(octets);
    exact::<PreAuthRoleEntry>(octets);
    exact::<ProviderAssetUploadDomains>(octets);
    exact::<RichDescription>(octets);
    exact::<Role>(octets);
    exact::<RoleData>(octets);
    exact::<SafeAadItem>(octets);
    exact::<SingleSourceRoleChangeTargets>(octets);
    exact::<StatusNotificationPolicy>(octets);
    exact::<UserRolePair>(octets);
    exact::<UserindexRolePair>(octets);
    exact::<Ruled<Logging>>(octets);
    if let Some(list) = exact::<PreAuthData>(octets) {
        let user: UserUri = "mimi://a.example/u/alice".parse().expect("a user");
        assert!(list.first_match(&user) != Some(0));
    }
    // The first octets are links, the rest an update of them.
    if let Some((length, rest)) = octets.split_first()
        && let Some((links, update)) = rest.split_at_checked(usize::from(*length))
        && let (Some(links), Some(update)) = (exact::<JoinLinksData>(links), exact::<JoinLinksUpdate>(update))
        && let Ok(after) = bounded(octets.len(), || links.apply(None, &update))
    {
        assert_eq!(decode_exact(&encode(&after)), Ok(after));
    }
    exact::<JoinLinksData>(octets);
    if let Some(metadata) = exact::<RoomMetaData>(octets) {
        assert!(metadata.changed_fields(&metadata).is_empty());
    }
    if let Some(aad) = exact::<SafeAad>(octets) {
        let _ = bounded(octets.len(), || aad.decode::<FrankAad>(FRANK_AAD));
    }
    if let Some(dictionary) = exact::<AppDataDictionary>(octets) {
        let _ = bounded(octets.len(), || RoomPolicy::from_dictionary(&dictionary));
    }
});
