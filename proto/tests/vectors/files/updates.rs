//! The operation `apply`: the components of a room, the AppDataUpdates of one Commit, and the components afterwards.

use mimi_hub_proto::components::{
    AppDataDictionary, AppDataUpdate, AppDataUpdateOperation, BASE_ROOM_POLICY, BaseRoomPolicy, Capability,
    ComponentId, JOIN_LINK_POLICY, JOIN_LINKS, JoinLink, JoinLinkPolicy, JoinLinksUpdate, PARTICIPANT_LIST,
    PREAUTH_LIST, ParticipantListData, ParticipantListUpdate, PreAuthData, ROLES_LIST, ROOM_METADATA, Role, RoleData,
    UserRolePair, UserindexRolePair,
};
use mimi_hub_proto::policy::RoomPolicy;
use mimi_hub_proto::tls::encode;
use serde_json::{Value, json};

use super::fields::{Fields, Read, field};
use super::{case, expect};

const MEMBER: u32 = 2;
const ADMIN: u32 = 3;

fn pair(name: &str, role_index: u32) -> Read<UserRolePair> {
    let user = format!("mimi://a.example/u/{name}").parse();
    let user = user.map_err(|error| format!("{error}"))?;
    Ok(UserRolePair { user, role_index })
}

fn roles(names: &[(u32, &str)]) -> RoleData {
    let role = |(role_index, name): &(u32, &str)| Role {
        role_index: *role_index,
        role_name: (*name).to_owned(),
        role_capabilities: vec![Capability::CAN_SEND_MESSAGE],
        ..Role::default()
    };
    RoleData {
        roles: names.iter().map(role).collect(),
    }
}

fn update(component_id: ComponentId, data: Vec<u8>) -> AppDataUpdate {
    AppDataUpdate {
        component_id,
        op: AppDataUpdateOperation::Update(data),
    }
}

fn list(change: &ParticipantListUpdate) -> AppDataUpdate {
    update(PARTICIPANT_LIST, encode(change))
}

fn gives(changes: &[(u32, u32)]) -> ParticipantListUpdate {
    let changes = changes.iter().map(|(user_index, role_index)| UserindexRolePair {
        user_index: *user_index,
        role_index: *role_index,
    });
    ParticipantListUpdate {
        changed_role_participants: changes.collect(),
        ..ParticipantListUpdate::default()
    }
}

fn removes(indices: &[u32]) -> ParticipantListUpdate {
    ParticipantListUpdate {
        removed_indices: indices.to_vec(),
        ..ParticipantListUpdate::default()
    }
}

fn adds(pairs: Vec<UserRolePair>) -> ParticipantListUpdate {
    ParticipantListUpdate {
        added_participants: pairs,
        ..ParticipantListUpdate::default()
    }
}

pub(super) fn cases() -> Read<Vec<Value>> {
    let participants = ["alice", "bob", "cathy", "dave"];
    let list_before = ParticipantListData {
        participants: participants
            .iter()
            .map(|name| pair(name, if *name == "alice" { ADMIN } else { MEMBER }))
            .collect::<Read<_>>()?,
    };
    let mut before = AppDataDictionary::new();
    before.set(PARTICIPANT_LIST, encode(&list_before));
    before.set(
        ROLES_LIST,
        encode(&roles(&[(1, "banned"), (MEMBER, "member"), (ADMIN, "admin")])),
    );
    before.set(BASE_ROOM_POLICY, encode(&BaseRoomPolicy::default()));
    before.set(JOIN_LINK_POLICY, encode(&JoinLinkPolicy::default()));

    let three_at_once = ParticipantListUpdate {
        changed_role_participants: gives(&[(3, ADMIN)]).changed_role_participants,
        removed_indices: vec![1],
        added_participants: vec![pair("erin", MEMBER)?],
    };
    let link = |name: &str| JoinLink {
        join_link: name.as_bytes().to_vec(),
    };
    let links = JoinLinksUpdate {
        removed_indices: Vec::new(),
        added_links: vec![link("https://a.example/one"), link("https://a.example/two")],
    };
    let small_room = BaseRoomPolicy {
        max_users: Some(10),
        ..BaseRoomPolicy::default()
    };
    let twice = pair("bob", MEMBER)?;
    let lists: Vec<(&str, Vec<AppDataUpdate>)> = vec![
        ("nothing changes", vec![list(&ParticipantListUpdate::default())]),
        ("a user is added", vec![list(&adds(vec![pair("erin", MEMBER)?]))]),
        (
            "users are removed, who stays keeps its order",
            vec![list(&removes(&[2, 1]))],
        ),
        ("a role is changed in place", vec![list(&gives(&[(1, ADMIN)]))]),
        ("change, removal and addition in one update", vec![list(&three_at_once)]),
        (
            "the indices of two updates refer to the list before the Commit",
            vec![
                list(&removes(&[0])),
                list(&gives(&[(1, ADMIN)])),
                list(&adds(vec![pair("erin", MEMBER)?])),
            ],
        ),
        ("an index that is none", vec![list(&removes(&[4]))]),
        (
            "a user is operated on twice in one update",
            vec![list(&removes(&[1, 1]))],
        ),
        (
            "a user is operated on twice in two updates",
            vec![list(&removes(&[1])), list(&gives(&[(1, ADMIN)]))],
        ),
        ("a user is added that is there", vec![list(&adds(vec![twice.clone()]))]),
        (
            "a user is removed and added again",
            vec![list(&removes(&[1])), list(&adds(vec![twice]))],
        ),
        ("a role that is not defined", vec![list(&gives(&[(1, 77)]))]),
        ("role 0", vec![list(&gives(&[(1, 0)]))]),
        ("an update that is malformed", vec![update(PARTICIPANT_LIST, vec![0])]),
        (
            "the list is removed",
            vec![AppDataUpdate {
                component_id: PARTICIPANT_LIST,
                op: AppDataUpdateOperation::Remove,
            }],
        ),
    ];
    let new_roles = roles(&[(1, "banned"), (MEMBER, "member"), (ADMIN, "admin"), (9, "guest")]);
    let policies: Vec<(&str, &str, Vec<AppDataUpdate>)> = vec![
        (
            "roles are replaced",
            "room-policy 3",
            vec![update(ROLES_LIST, encode(&new_roles))],
        ),
        (
            "roles that do not fit the participants",
            "room-policy 3",
            vec![update(ROLES_LIST, encode(&roles(&[(MEMBER, "member")])))],
        ),
        (
            "two roles of one index",
            "room-policy 3",
            vec![update(
                ROLES_LIST,
                encode(&roles(&[(MEMBER, "a"), (MEMBER, "b"), (ADMIN, "admin")])),
            )],
        ),
        (
            "roles and participants in one Commit",
            "room-policy 3",
            vec![update(ROLES_LIST, encode(&new_roles)), list(&removes(&[1]))],
        ),
        (
            "roles are replaced twice in one Commit",
            "room-policy 3",
            vec![
                update(ROLES_LIST, encode(&new_roles)),
                update(ROLES_LIST, encode(&new_roles)),
            ],
        ),
        (
            "preauthorized users and a new participant in one Commit",
            "room-policy 4",
            vec![
                update(PREAUTH_LIST, encode(&PreAuthData::default())),
                list(&adds(vec![pair("erin", MEMBER)?])),
            ],
        ),
        (
            "preauthorized users and a removed participant in one Commit",
            "room-policy 4",
            vec![
                update(PREAUTH_LIST, encode(&PreAuthData::default())),
                list(&removes(&[1])),
            ],
        ),
        (
            "the base policy is replaced",
            "room-policy 5",
            vec![update(BASE_ROOM_POLICY, encode(&small_room))],
        ),
        (
            "join links are added",
            "room-policy 6.2",
            vec![update(JOIN_LINKS, encode(&links))],
        ),
        (
            "a join link is removed that is not there",
            "room-policy 6.2",
            vec![update(
                JOIN_LINKS,
                encode(&JoinLinksUpdate {
                    removed_indices: vec![0],
                    added_links: Vec::new(),
                }),
            )],
        ),
        (
            "a component is removed",
            "room-policy 6",
            vec![AppDataUpdate {
                component_id: JOIN_LINK_POLICY,
                op: AppDataUpdateOperation::Remove,
            }],
        ),
        (
            "a component is removed that is not there",
            "room-policy 6",
            vec![AppDataUpdate {
                component_id: ROOM_METADATA + 0x100,
                op: AppDataUpdateOperation::Remove,
            }],
        ),
    ];
    let lists = lists.into_iter().map(|(name, updates)| (name, "protocol 7.5", updates));
    lists
        .chain(policies)
        .map(|(name, section, updates)| {
            let more = json!({ "before": before.show(), "updates": updates.show() });
            let outputs = apply(&more)?;
            Ok(case(name, section, "apply", super::fields::with(more, outputs)))
        })
        .collect()
}

/// What the inputs of a case come to.
fn apply(case: &Value) -> Read<Value> {
    let before: AppDataDictionary = field(case, "before")?;
    let updates: Vec<AppDataUpdate> = field(case, "updates")?;
    let lists: Vec<Value> = updates
        .iter()
        .filter(|update| update.component_id == PARTICIPANT_LIST)
        .filter_map(|update| match &update.op {
            AppDataUpdateOperation::Update(data) => {
                mimi_hub_proto::tls::decode_exact::<ParticipantListUpdate>(data).ok()
            }
            AppDataUpdateOperation::Remove => None,
        })
        .map(|update| update.show())
        .collect();
    let policy = RoomPolicy::from_dictionary(&before).map_err(|error| error.to_string())?;
    let applied = policy.apply(&before, &updates).ok();
    let after = applied.as_ref().map(|applied| &applied.dictionary);
    Ok(json!({
        "valid": applied.is_some(),
        "after": after.map_or(Value::Null, Fields::show),
        "participant_list_before": policy.participants().show(),
        "participant_list_updates": lists,
        "participant_list_after": applied.map_or(Value::Null, |applied| applied.policy.participants().show()),
    }))
}

pub(super) fn check(case: &Value) -> Read<()> {
    let outputs = apply(case)?;
    for (name, found) in outputs.as_object().into_iter().flatten() {
        expect(case, name, found)?;
    }
    Ok(())
}
