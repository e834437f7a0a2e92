//! The components of a room's GroupContext, what updates them, and what travels with messages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mimi_hub_fuzz::{bounded, exact};
use mimi_hub_proto::FrankAad;
use mimi_hub_proto::components::{
    AppDataDictionary, AppDataUpdate, AppEphemeral, BaseRoomPolicy, ComponentsList, FRANK_AAD, ParticipantListData,
    ParticipantListUpdate, RoleData, RoomMetaData, SafeAad,
};
use mimi_hub_proto::policy::RoomPolicy;

fuzz_target!(|octets: &[u8]| {
    exact::<AppDataUpdate>(octets);
    exact::<AppEphemeral>(octets);
    exact::<BaseRoomPolicy>(octets);
    exact::<ComponentsList>(octets);
    exact::<ParticipantListData>(octets);
    exact::<ParticipantListUpdate>(octets);
    exact::<RoleData>(octets);
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
