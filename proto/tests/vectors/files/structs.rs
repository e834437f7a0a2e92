//! The operations `encode` and `refuse`: structs as fields and as octets, and octets that are no such struct.

use std::fs;
use std::path::Path;

use mimi_hub_proto::associated_parties::AssociatedParties;
use mimi_hub_proto::components::{
    AppDataDictionary, AppDataUpdate, AppEphemeral, AssetPolicy, BaseRoomPolicy, BotPolicy, ComponentsList,
    HistoryPolicy, JoinLinkPolicy, JoinLinksData, JoinLinksUpdate, LinkPreviewPolicy, LoggingPolicy,
    MessageExpirationPolicy, OperationalParameters, ParticipantListData, ParticipantListUpdate, PreAuthData, RoleData,
    RoomMetaData, SafeAad, StatusNotificationPolicy,
};
use mimi_hub_proto::mls::{ExternalReceivers, KeyForExternalReceiver, PerMessageKeyAndNonces};
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::{
    AbuseReport, AbusiveMessage, ClientIdentity, ConsentEntry, ConsentScope, FanoutMessage, Frank, FrankAad,
    FrankingAgentData, FrankingIntegrityTbs, GroupInfoOption, GroupInfoRatchetTreeTbe, GroupInfoRequest,
    GroupInfoRequestTbs, GroupInfoResponse, GroupInfoResponseTbs, IdentifierRequest, IdentifierResponse,
    KeyMaterialRequest, KeyMaterialRequestTbs, KeyMaterialResponse, PartialGroupInfo, RatchetTreeOption,
    ServerFrankingContext, SubmitMessageRequest, SubmitMessageResponse, UpdateRequest, UpdateRoomResponse,
};
use serde_json::{Value, json};

use super::fields::{Fields, Read, field, hex, member, text};
use super::{case, expect};

/// A struct by its draft's name.
struct Kind {
    /// The fields of an encoding.
    show: fn(&[u8]) -> Read<Value>,
    /// The encoding of fields.
    encode: fn(&Value) -> Read<Vec<u8>>,
    /// The encoding of what an encoding is decoded to.
    again: fn(&[u8]) -> Read<Vec<u8>>,
}

macro_rules! kinds {
    ($($name:literal: $type:ty),+ $(,)?) => {
        fn kind(name: &str) -> Read<Kind> {
            Ok(match name {
                $($name => Kind {
                    show: |octets| decode_exact::<$type>(octets).map(|value| value.show()).map_err(|e| e.to_string()),
                    encode: |value| <$type as Fields>::read(value).map(|value| encode(&value)),
                    again: |octets| decode_exact::<$type>(octets).map(|v| encode(&v)).map_err(|e| e.to_string()),
                },)+
                other => return Err(format!("the type {other} is unknown")),
            })
        }
    };
}

kinds! {
    "AbuseReport": AbuseReport,
    "AbusiveMessage": AbusiveMessage,
    "AppDataDictionary": AppDataDictionary,
    "AppDataUpdate": AppDataUpdate,
    "AppEphemeral": AppEphemeral,
    "AssetPolicy": AssetPolicy,
    "AssociatedParties": AssociatedParties,
    "BaseRoomPolicy": BaseRoomPolicy,
    "BotPolicy": BotPolicy,
    "ClientIdentity": ClientIdentity,
    "ComponentsList": ComponentsList,
    "ConsentEntry": ConsentEntry,
    "ConsentScope": ConsentScope,
    "ExternalReceivers": ExternalReceivers,
    "FanoutMessage": FanoutMessage,
    "Frank": Frank,
    "FrankAAD": FrankAad,
    "FrankingAgentData": FrankingAgentData,
    "FrankingIntegrityTBS": FrankingIntegrityTbs,
    "GroupInfoOption": GroupInfoOption,
    "GroupInfoRatchetTreeTBE": GroupInfoRatchetTreeTbe,
    "GroupInfoRequest": GroupInfoRequest,
    "GroupInfoRequestTBS": GroupInfoRequestTbs,
    "GroupInfoResponse": GroupInfoResponse,
    "GroupInfoResponseTBS": GroupInfoResponseTbs,
    "HistoryPolicy": HistoryPolicy,
    "IdentifierRequest": IdentifierRequest,
    "IdentifierResponse": IdentifierResponse,
    "JoinLinkPolicy": JoinLinkPolicy,
    "JoinLinksData": JoinLinksData,
    "JoinLinksUpdate": JoinLinksUpdate,
    "KeyForExternalReceiver": KeyForExternalReceiver,
    "KeyMaterialRequest": KeyMaterialRequest,
    "KeyMaterialRequestTBS": KeyMaterialRequestTbs,
    "KeyMaterialResponse": KeyMaterialResponse,
    "LinkPreviewPolicy": LinkPreviewPolicy,
    "LoggingPolicy": LoggingPolicy,
    "MessageExpirationPolicy": MessageExpirationPolicy,
    "OperationalParameters": OperationalParameters,
    "PartialGroupInfo": PartialGroupInfo,
    "ParticipantListData": ParticipantListData,
    "ParticipantListUpdate": ParticipantListUpdate,
    "PerMessageKeyAndNonces": PerMessageKeyAndNonces,
    "PreAuthData": PreAuthData,
    "RatchetTreeOption": RatchetTreeOption,
    "RoleData": RoleData,
    "RoomMetaData": RoomMetaData,
    "SafeAAD": SafeAad,
    "ServerFrankingContext": ServerFrankingContext,
    "StatusNotificationPolicy": StatusNotificationPolicy,
    "SubmitMessageRequest": SubmitMessageRequest,
    "SubmitMessageResponse": SubmitMessageResponse,
    "UpdateRequest": UpdateRequest,
    "UpdateRoomResponse": UpdateRoomResponse,
}

/// Golden octets: the beginning of the file's name, the type, the section.
const BODIES: &[(&str, &str, &str)] = &[
    ("client_identity", "ClientIdentity", "SPEC_NOTES, Credentials"),
    ("key_material_request_tbs", "KeyMaterialRequestTBS", "protocol 5.2"),
    ("key_material_request", "KeyMaterialRequest", "protocol 5.2"),
    ("key_material_response", "KeyMaterialResponse", "protocol 5.2"),
    ("update_request", "UpdateRequest", "protocol 5.3"),
    ("update_room_response", "UpdateRoomResponse", "protocol 5.3"),
    ("group_info_option", "GroupInfoOption", "protocol 5.3"),
    ("partial_group_info", "PartialGroupInfo", "ratchet-tree-options"),
    ("ratchet_tree_option", "RatchetTreeOption", "ratchet-tree-options"),
    ("submit_message_request", "SubmitMessageRequest", "protocol 5.4"),
    ("submit_message_response", "SubmitMessageResponse", "protocol 5.4"),
    ("frank", "Frank", "protocol 5.4"),
    ("frank_aad", "FrankAAD", "protocol 5.4.1"),
    ("franking_agent_data", "FrankingAgentData", "protocol 5.4.1"),
    ("server_franking_context", "ServerFrankingContext", "protocol 5.4.1"),
    ("franking_integrity_tbs", "FrankingIntegrityTBS", "protocol 5.4.1"),
    ("fanout_message", "FanoutMessage", "protocol 5.5"),
    ("group_info_request_tbs", "GroupInfoRequestTBS", "protocol 5.6"),
    ("group_info_request", "GroupInfoRequest", "protocol 5.6"),
    ("group_info_ratchet_tree_tbe", "GroupInfoRatchetTreeTBE", "protocol 5.6"),
    ("group_info_response_tbs", "GroupInfoResponseTBS", "protocol 5.6"),
    ("group_info_response", "GroupInfoResponse", "protocol 5.6"),
    ("consent_scope", "ConsentScope", "protocol 5.7"),
    ("consent_entry", "ConsentEntry", "protocol 5.7"),
    ("identifier_request", "IdentifierRequest", "protocol 5.8"),
    ("identifier_response", "IdentifierResponse", "protocol 5.8"),
    ("abusive_message", "AbusiveMessage", "protocol 5.9"),
    ("abuse_report", "AbuseReport", "protocol 5.9"),
];

const COMPONENTS: &[(&str, &str, &str)] = &[
    ("app_data_dictionary", "AppDataDictionary", "extensions 4.6"),
    ("app_data_update", "AppDataUpdate", "extensions 4.7"),
    ("app_ephemeral", "AppEphemeral", "extensions 4.8"),
    ("safe_aad", "SafeAAD", "extensions 4.9"),
    ("components_list", "ComponentsList", "extensions 5"),
    ("participant_list_data", "ParticipantListData", "protocol 7.5"),
    ("participant_list_update", "ParticipantListUpdate", "protocol 7.5"),
    ("room_meta_data", "RoomMetaData", "protocol 7.6"),
    ("role_data", "RoleData", "room-policy 3"),
    ("preauth_list", "PreAuthData", "room-policy 4"),
    ("base_room_policy", "BaseRoomPolicy", "room-policy 5"),
    (
        "status_notification_policy",
        "StatusNotificationPolicy",
        "room-policy 6.1",
    ),
    ("join_link_policy", "JoinLinkPolicy", "room-policy 6.2"),
    ("join_links", "JoinLinksData", "room-policy 6.2"),
    ("join_links_update", "JoinLinksUpdate", "room-policy 6.2"),
    ("link_preview_policy", "LinkPreviewPolicy", "room-policy 6.3"),
    ("asset_policy", "AssetPolicy", "room-policy 6.4"),
    ("logging_policy", "LoggingPolicy", "room-policy 6.5"),
    ("chat_history_policy", "HistoryPolicy", "room-policy 6.6"),
    ("bot_policy", "BotPolicy", "room-policy 6.7"),
    (
        "message_expiration_policy",
        "MessageExpirationPolicy",
        "room-policy 6.8",
    ),
    ("mls_operational_policy", "OperationalParameters", "room-policy 7"),
];

/// The octets of a golden file.
pub(super) fn golden(name: &str) -> Read<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden");
    let text = fs::read_to_string(folder.join(format!("{name}.hex"))).map_err(|error| format!("{name}: {error}"))?;
    super::fields::unhex(&text.split_whitespace().collect::<String>())
}

pub(super) fn bodies() -> Read<Vec<Value>> {
    Ok([of_golden(BODIES)?, malformed_bodies()?].concat())
}

pub(super) fn components() -> Read<Vec<Value>> {
    Ok([of_golden(COMPONENTS)?, malformed_components()?].concat())
}

/// The cases of golden files, and for each type what is one octet too long or too short.
fn of_golden(list: &[(&str, &str, &str)]) -> Read<Vec<Value>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/golden");
    let files = fs::read_dir(folder).map_err(|error| error.to_string())?;
    let mut names: Vec<String> = files
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".hex").map(str::to_owned))
        .collect();
    names.sort();
    let mut cases = Vec::new();
    for (prefix, kind, section) in list {
        let ours = names.iter().filter(|name| name.split('.').next() == Some(prefix));
        for (place, name) in ours.enumerate() {
            let octets = golden(name)?;
            let variant = name.strip_prefix(prefix).unwrap_or_default().trim_start_matches('.');
            let title = match variant {
                "" => (*kind).to_owned(),
                variant => format!("{kind}: {}", variant.replace('_', " ")),
            };
            cases.push(of_octets(&title, section, kind, &octets)?);
            if place == 0 {
                cases.push(refused(
                    &format!("{title}: an octet follows"),
                    section,
                    kind,
                    &[&octets[..], &[0]].concat(),
                ));
                let short = &octets[..octets.len() - 1];
                cases.push(refused(
                    &format!("{title}: the last octet is missing"),
                    section,
                    kind,
                    short,
                ));
            }
        }
    }
    Ok(cases)
}

/// A case of `encode`.
pub(super) fn of_octets(name: &str, section: &str, type_name: &str, octets: &[u8]) -> Read<Value> {
    let fields = (kind(type_name)?.show)(octets).map_err(|error| format!("{name}: {error}"))?;
    let more = json!({ "type": type_name, "fields": fields, "encoded": hex(octets) });
    Ok(case(name, section, "encode", more))
}

/// A case of `refuse`.
pub(super) fn refused(name: &str, section: &str, type_name: &str, octets: &[u8]) -> Value {
    let more = json!({ "type": type_name, "encoded": hex(octets) });
    case(name, section, "refuse", more)
}

/// `opaque<V>`.
fn opaque(octets: &[u8]) -> Vec<u8> {
    encode(&octets.to_vec())
}

/// The octets with one place changed.
fn changed(octets: &[u8], at: usize, to: u8) -> Vec<u8> {
    let mut octets = octets.to_vec();
    octets[at] = to;
    octets
}

fn malformed_bodies() -> Read<Vec<Value>> {
    let user = opaque(b"mimi://a.example/u/alice");
    let empty = vec![0u8];
    let mut cases = Vec::new();
    let mut add = |name: &str, section: &str, kind: &str, octets: Vec<u8>| {
        cases.push(refused(&format!("{kind}: {name}"), section, kind, &octets));
    };
    let request = golden("key_material_request")?;
    add(
        "the protocol is reserved",
        "protocol 5.2",
        "KeyMaterialRequest",
        changed(&request, 0, 0),
    );
    add(
        "the protocol is unknown",
        "protocol 5.2",
        "KeyMaterialRequest",
        changed(&request, 0, 9),
    );
    let uris = [&[1u8][..], &user, &opaque(b"mimi://b.example/u/bob"), &empty].concat();
    let rest = [&[0u8, 0, 0][..], &opaque(&[7; 32]), &[0, 1], &empty, &empty].concat();
    let no_suites = [&uris[..], &[0], &rest].concat();
    add("no cipher suites", "protocol 5.2", "KeyMaterialRequest", no_suites);
    let half_a_suite = [&uris[..], &[1, 0], &rest].concat();
    add(
        "half a cipher suite",
        "protocol 5.2",
        "KeyMaterialRequest",
        half_a_suite,
    );
    let long_prefix = [&[1, 0x40, 24], &user[1..], &request[1 + user.len()..]].concat();
    add(
        "a length prefix that is not the shortest",
        "protocol 5.2",
        "KeyMaterialRequest",
        long_prefix,
    );
    let success_of_nobody = [&[1, 0], &user[..], &[0]].concat();
    add(
        "success without clients",
        "protocol 5.2",
        "KeyMaterialResponse",
        success_of_nobody,
    );
    let unknown_code = [&[1, 8], &user[..], &[0]].concat();
    add(
        "an unknown userStatus",
        "protocol 5.2",
        "KeyMaterialResponse",
        unknown_code,
    );
    let exhausted = |client: &[u8]| [&[1u8][..], &opaque(client)].concat();
    let (one, other) = (exhausted(b"mimi://a.example/d/A1"), exhausted(b"mimi://b.example/d/B1"));
    let response = |code: u8, clients: &[u8]| [&[1, code], &user[..], &opaque(clients)].concat();
    let twice = response(3, &[&one[..], &one].concat());
    add("a client is listed twice", "protocol 5.2", "KeyMaterialResponse", twice);
    add(
        "a client of another provider",
        "protocol 5.2",
        "KeyMaterialResponse",
        response(3, &other),
    );
    add(
        "success without a KeyPackage",
        "protocol 5.2",
        "KeyMaterialResponse",
        response(0, &one),
    );
    add(
        "userUnknown with clients",
        "protocol 5.2",
        "KeyMaterialResponse",
        response(4, &one),
    );
    add(
        "an unknown responseCode",
        "protocol 5.3",
        "UpdateRoomResponse",
        vec![4, 0],
    );
    add(
        "errorDescription is not UTF-8",
        "protocol 5.3",
        "UpdateRoomResponse",
        vec![2, 1, 0xff],
    );
    let message = golden("mls_message.private_message")?;
    add(
        "a PrivateMessage",
        "protocol 5.3",
        "UpdateRequest",
        [&message[..], &[0]].concat(),
    );
    add(
        "a KeyPackage",
        "protocol 5.3",
        "UpdateRequest",
        golden("mls_message.key_package")?,
    );
    add("an unknown representation", "protocol 5.3", "GroupInfoOption", vec![3]);
    add(
        "an unknown representation",
        "ratchet-tree-options",
        "RatchetTreeOption",
        vec![5],
    );
    let proposal = golden("mls_message.proposal_of_member")?;
    add(
        "a proposal",
        "protocol 5.4",
        "SubmitMessageRequest",
        [&[1u8][..], &proposal, &user].concat(),
    );
    let to_room = [&[1u8][..], &message, &opaque(b"mimi://a.example/r/clubhouse")].concat();
    add("sendingUri is a room", "protocol 5.4", "SubmitMessageRequest", to_room);
    let not_canonical = [&[1u8][..], &message, &opaque(b"mimi://A.example/u/alice")].concat();
    add(
        "sendingUri is not in its normal form",
        "protocol 5.4",
        "SubmitMessageRequest",
        not_canonical,
    );
    let presence = [&[1u8, 0][..], &[0; 8], &[2]].concat();
    add(
        "a presence octet of 2",
        "protocol 5.4",
        "SubmitMessageResponse",
        presence,
    );
    add("31 octets", "protocol 5.4.1", "FrankAAD", vec![7; 31]);
    add("nothing", "protocol 5.5", "FanoutMessage", Vec::new());
    add(
        "a KeyPackage",
        "protocol 5.5",
        "FanoutMessage",
        [&[0; 8], &golden("mls_message.key_package")?[..]].concat(),
    );
    let room = opaque(b"mimi://a.example/r/clubhouse");
    add(
        "status 0",
        "protocol 5.6",
        "GroupInfoResponse",
        [&[1u8][..], &room, &[0]].concat(),
    );
    add(
        "an unknown status",
        "protocol 5.6",
        "GroupInfoResponse",
        [&[1u8][..], &room, &[4]].concat(),
    );
    let failure = [&[1u8][..], &room, &[2]].concat();
    add(
        "a failure, of which nothing is signed",
        "protocol 5.6",
        "GroupInfoResponseTBS",
        failure,
    );
    let entry = golden("consent_entry.request")?;
    add(
        "an unknown consentOperation",
        "protocol 5.7",
        "ConsentEntry",
        changed(&entry, 0, 4),
    );
    add(
        "a grant without its KeyPackages",
        "protocol 5.7",
        "ConsentEntry",
        changed(&entry, 0, 2),
    );
    add("no query elements", "protocol 5.8", "IdentifierRequest", vec![0, 0]);
    add("searchType 0", "protocol 5.8", "IdentifierRequest", vec![2, 0, 0, 0]);
    let element = [&[2u8][..], &opaque(&[0xff])].concat();
    add(
        "searchValue is not UTF-8",
        "protocol 5.8",
        "IdentifierRequest",
        [&opaque(&element)[..], &[0]].concat(),
    );
    let many = opaque(&[2u8, 1, b'x'].repeat(17));
    add(
        "more than 16 elements",
        "protocol 5.8",
        "IdentifierRequest",
        [&many[..], &[0]].concat(),
    );
    add(
        "success that names nobody",
        "protocol 5.8",
        "IdentifierResponse",
        vec![0, 0, 0, 0],
    );
    let uri_only = [&[0u8][..], &opaque(&user), &[0, 0]].concat();
    add(
        "uri and foundProfiles disagree",
        "protocol 5.8",
        "IdentifierResponse",
        uri_only,
    );
    let report = [&room[..], &user, &[1, 0, 0, 0]].concat();
    add("reportingUser is a room", "protocol 5.9", "AbuseReport", report);
    let report = [&[0u8][..], &[0], &[1, 0, 0, 0]].concat();
    add("nobody is accused", "protocol 5.9", "AbuseReport", report);
    let identity = [opaque(b"mimi://b.example/d/B1"), user].concat();
    add(
        "client and user of different providers",
        "SPEC_NOTES, Credentials",
        "ClientIdentity",
        identity,
    );
    Ok(cases)
}

fn malformed_components() -> Read<Vec<Value>> {
    let mut cases = Vec::new();
    let mut add = |name: &str, section: &str, kind: &str, octets: Vec<u8>| {
        cases.push(refused(&format!("{kind}: {name}"), section, kind, &octets));
    };
    let entries = |ids: [u8; 2]| opaque(&[0, ids[0], 0, 0, ids[1], 0]);
    add(
        "the components are not sorted",
        "extensions 4.6",
        "AppDataDictionary",
        entries([2, 1]),
    );
    add(
        "a component is there twice",
        "extensions 4.6",
        "AppDataDictionary",
        entries([2, 2]),
    );
    add(
        "op is invalid(0)",
        "extensions 4.7",
        "AppDataUpdate",
        vec![0, 0x22, 0, 0],
    );
    add("an unknown op", "extensions 4.7", "AppDataUpdate", vec![0, 0x22, 3, 0]);
    add(
        "a remove with data",
        "extensions 4.7",
        "AppDataUpdate",
        vec![0, 0x22, 2, 0],
    );
    add("the items are not sorted", "extensions 4.9", "SafeAAD", entries([2, 1]));
    add("an item is there twice", "extensions 4.9", "SafeAAD", entries([2, 2]));
    let list = |user: &[u8]| opaque(&[&opaque(user)[..], &[0, 0, 0, 2]].concat());
    add(
        "a participant is a room",
        "protocol 7.5",
        "ParticipantListData",
        list(b"mimi://a.example/r/clubhouse"),
    );
    add(
        "a participant without a name",
        "protocol 7.5",
        "ParticipantListData",
        list(b""),
    );
    let spelled = list(b"mimi://a.example/u/%61lice");
    add(
        "a user URI is not in its normal form",
        "protocol 7.5",
        "ParticipantListData",
        spelled,
    );
    add(
        "half an index",
        "protocol 7.5",
        "ParticipantListUpdate",
        vec![0, 2, 0, 1, 0],
    );
    let metadata = |name: &[u8], avatar: &[u8]| {
        let parts = [b"mimi://a.example/r/x", name, b"", avatar, b"", b""];
        parts.into_iter().flat_map(opaque).collect::<Vec<u8>>()
    };
    add(
        "room_name has a NUL",
        "protocol 7.6",
        "RoomMetaData",
        metadata(b"a\0b", b""),
    );
    add(
        "room_name is not UTF-8",
        "protocol 7.6",
        "RoomMetaData",
        metadata(&[0xff], b""),
    );
    add(
        "room_avatar is not https",
        "protocol 7.6",
        "RoomMetaData",
        metadata(b"a", b"http://a.example/x"),
    );
    let policy = golden("base_room_policy.default")?;
    add(
        "parent_dependant without parent_room",
        "room-policy 5",
        "BaseRoomPolicy",
        changed(&policy, 1, 1),
    );
    add("a bool of 2", "room-policy 5", "BaseRoomPolicy", changed(&policy, 0, 2));
    add(
        "an unknown optionality",
        "room-policy 6.1",
        "StatusNotificationPolicy",
        vec![3, 0],
    );
    let expiration = [&[0u8][..], &9u32.to_be_bytes(), &8u32.to_be_bytes(), &[0]].concat();
    add(
        "the minimum is more than the maximum",
        "room-policy 6.8",
        "MessageExpirationPolicy",
        expiration,
    );
    Ok(cases)
}

pub(super) fn check(case: &Value) -> Read<()> {
    let kind = kind(text(member(case, "type")?)?)?;
    let octets: Vec<u8> = field(case, "encoded")?;
    if text(member(case, "operation")?)? == "refuse" {
        return match (kind.again)(&octets) {
            Ok(_) => Err("it is decoded".to_owned()),
            Err(_) => Ok(()),
        };
    }
    expect(case, "fields", &(kind.show)(&octets)?)?;
    expect(case, "encoded", &(kind.again)(&octets)?.show())?;
    expect(case, "encoded", &(kind.encode)(member(case, "fields")?)?.show())
}
