//! The bodies of the endpoints, and the structs that are hashed and signed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mimi_hub_fuzz::{bounded, exact};
use mimi_hub_proto::{
    ClientIdentity, Frank, FrankAad, FrankingAgentData, FrankingIntegrityTbs, GroupInfoOption, GroupInfoRatchetTreeTbe,
    GroupInfoRequest, GroupInfoRequestTbs, GroupInfoResponse, GroupInfoResponseTbs, KeyMaterialRequest,
    KeyMaterialRequestTbs, KeyMaterialResponse, PartialGroupInfo, RatchetTreeOption, ServerFrankingContext,
    SubmitMessageRequest, SubmitMessageResponse, UpdateRequest, UpdateRoomResponse, decode_all, encode_all,
};

fuzz_target!(|octets: &[u8]| {
    exact::<ClientIdentity>(octets);
    exact::<Frank>(octets);
    exact::<FrankAad>(octets);
    exact::<FrankingAgentData>(octets);
    exact::<FrankingIntegrityTbs>(octets);
    exact::<GroupInfoOption>(octets);
    exact::<GroupInfoRatchetTreeTbe>(octets);
    exact::<GroupInfoRequest>(octets);
    exact::<GroupInfoRequestTbs>(octets);
    exact::<GroupInfoResponse>(octets);
    exact::<GroupInfoResponseTbs>(octets);
    exact::<KeyMaterialRequest>(octets);
    exact::<KeyMaterialRequestTbs>(octets);
    exact::<KeyMaterialResponse>(octets);
    exact::<PartialGroupInfo>(octets);
    exact::<RatchetTreeOption>(octets);
    exact::<ServerFrankingContext>(octets);
    exact::<SubmitMessageRequest>(octets);
    exact::<SubmitMessageResponse>(octets);
    exact::<UpdateRequest>(octets);
    exact::<UpdateRoomResponse>(octets);
    if let Ok(messages) = bounded(octets.len(), || decode_all(octets)) {
        assert_eq!(encode_all(&messages), octets);
    }
});
