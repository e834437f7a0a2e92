//! The bodies of the endpoints, and the structs that are hashed and signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mimi_hub_fuzz::{bounded, exact};
use mimi_hub_proto::{
    AbuseReport, AbusiveMessage, ClientIdentity, ClientKeyMaterial, ConsentEntry, ConsentOperation, ConsentScope,
    FanoutMessage, FieldSource, Frank, FrankAad, FrankingAgentData, FrankingIntegrityTbs, GroupInfoCode,
    GroupInfoOption, GroupInfoRatchetTreeTbe, GroupInfoRequest, GroupInfoRequestTbs, GroupInfoResponse,
    GroupInfoResponseTbs, HandshakeBundle, IdentifierQueryCode, IdentifierRequest, IdentifierResponse,
    KeyMaterialClientCode, KeyMaterialRequest, KeyMaterialRequestTbs, KeyMaterialResponse, KeyMaterialUserCode,
    PartialGroupInfo, PendingProposal, ProfileField, Protocol, QueryElement, RatchetTreeOption, RatchetTreePresence,
    SearchIdentifierType, ServerFrankingContext, SubmitMessageRequest, SubmitMessageResponse, SubmitResponseCode,
    UpdateRequest, UpdateResponseCode, UpdateRoomResponse, UserProfile, decode_all, encode_all,
};

fuzz_target!(|octets: &[u8]| {
    exact::<AbuseReport>(octets);
    exact::<AbusiveMessage>(octets);
    exact::<ClientIdentity>(octets);
    exact::<ClientKeyMaterial>(octets);
    exact::<ConsentEntry>(octets);
    exact::<ConsentOperation>(octets);
    exact::<ConsentScope>(octets);
    exact::<FanoutMessage>(octets);
    exact::<FieldSource>(octets);
    exact::<Frank>(octets);
    exact::<FrankAad>(octets);
    exact::<FrankingAgentData>(octets);
    exact::<FrankingIntegrityTbs>(octets);
    exact::<GroupInfoCode>(octets);
    exact::<GroupInfoOption>(octets);
    exact::<GroupInfoRatchetTreeTbe>(octets);
    exact::<GroupInfoRequest>(octets);
    exact::<GroupInfoRequestTbs>(octets);
    exact::<GroupInfoResponse>(octets);
    exact::<GroupInfoResponseTbs>(octets);
    exact::<HandshakeBundle>(octets);
    exact::<IdentifierQueryCode>(octets);
    exact::<IdentifierRequest>(octets);
    exact::<IdentifierResponse>(octets);
    exact::<KeyMaterialClientCode>(octets);
    exact::<KeyMaterialRequest>(octets);
    exact::<KeyMaterialRequestTbs>(octets);
    exact::<KeyMaterialResponse>(octets);
    exact::<KeyMaterialUserCode>(octets);
    exact::<PartialGroupInfo>(octets);
    exact::<PendingProposal>(octets);
    exact::<ProfileField>(octets);
    exact::<Protocol>(octets);
    exact::<QueryElement>(octets);
    exact::<RatchetTreeOption>(octets);
    exact::<RatchetTreePresence>(octets);
    exact::<SearchIdentifierType>(octets);
    exact::<ServerFrankingContext>(octets);
    exact::<SubmitMessageRequest>(octets);
    exact::<SubmitMessageResponse>(octets);
    exact::<SubmitResponseCode>(octets);
    exact::<UpdateRequest>(octets);
    exact::<UpdateResponseCode>(octets);
    exact::<UpdateRoomResponse>(octets);
    exact::<UserProfile>(octets);
    if let Ok(messages) = bounded(octets.len(), || decode_all(octets)) {
        assert_eq!(encode_all(&messages), octets);
    }
});
