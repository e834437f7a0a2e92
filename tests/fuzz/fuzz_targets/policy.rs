//! The pure part of a decision: arbitrary rooms, arbitrary updates and actors. What `apply` and `authorize` accept leaves
//! a room that is valid, and that a replica reads from its components as it was decided.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use mimi_hub_fuzz::bounded;
use mimi_hub_proto::components::{
    AppDataDictionary, AppDataUpdate, AppDataUpdateOperation, BASE_ROOM_POLICY, BaseRoomPolicy, Capability,
    PARTICIPANT_LIST, ParticipantListData, ParticipantListUpdate, ROLES_LIST, ROOM_METADATA, Role, RoleData,
    RoomMetaData, SingleSourceRoleChangeTargets, UserRolePair, UserindexRolePair,
};
use mimi_hub_proto::policy::{Actor, Change, RoomPolicy, authorize, authorize_together};
use mimi_hub_proto::tls::{Encode, encode};
use mimi_hub_proto::uri::UserUri;

#[derive(Arbitrary, Debug)]
struct Input {
    room: Room,
    clients: Vec<(u8, u8)>,
    updates: Vec<Update>,
    handshake: Vec<ClientChange>,
    actor: Who,
    joint: Option<Who>,
}

#[derive(Arbitrary, Debug)]
struct Room {
    roles: Vec<RoleSpec>,
    base: Base,
    participants: Vec<(u8, u8)>,
    name: Option<bool>,
}

#[derive(Arbitrary, Debug)]
struct RoleSpec {
    index: u8,
    banned: bool,
    capabilities: u64,
    minimum: (u8, u8),
    maximum: (Option<u8>, Option<u8>),
    changes: Vec<(u8, u8)>,
}

#[derive(Arbitrary, Debug)]
struct Base {
    fixed_membership: bool,
    multi_device: bool,
    max_clients: Option<u8>,
    max_users: Option<u8>,
}

#[derive(Arbitrary, Debug)]
enum Update {
    Participants {
        roles: Vec<(u8, u8)>,
        removed: Vec<u8>,
        added: Vec<(u8, u8)>,
    },
    Roles(Vec<RoleSpec>),
    Base(Base),
    Name(bool),
    Octets(u16, Vec<u8>),
    Remove(u16),
}

#[derive(Arbitrary, Debug)]
enum ClientChange {
    Add(u8),
    AddOwn,
    Remove(u8),
    RemoveOwn,
    RemoveSelf,
    ReInit,
    Message,
}

#[derive(Arbitrary, Debug)]
enum Who {
    Participant(u8),
    NewMember(u8),
    Hub,
}

/// One of eight users, so that inputs meet each other.
fn user(number: u8) -> UserUri {
    format!("mimi://a.example/u/{}", number % 8).parse().expect("a user")
}

fn pairs(pairs: &[(u8, u8)]) -> Vec<UserRolePair> {
    pairs
        .iter()
        .map(|(who, role)| UserRolePair {
            user: user(*who),
            role_index: (role % 6).into(),
        })
        .collect()
}

impl RoleSpec {
    fn role(&self) -> Role {
        let has = |capability: &&Capability| self.capabilities >> (capability.0 % 64) & 1 == 1;
        Role {
            role_index: (self.index % 6).into(),
            role_name: if self.banned { "banned".into() } else { "role".into() },
            role_description: String::new(),
            role_capabilities: Capability::REGISTERED.iter().filter(has).copied().collect(),
            minimum_participants_constraint: (self.minimum.0 % 4).into(),
            maximum_participants_constraint: self.maximum.0.map(|most| (most % 8).into()),
            minimum_active_participants_constraint: (self.minimum.1 % 4).into(),
            maximum_active_participants_constraint: self.maximum.1.map(|most| (most % 8).into()),
            authorized_role_changes: self
                .changes
                .iter()
                .map(|(from, to)| SingleSourceRoleChangeTargets {
                    from_role_index: (from % 6).into(),
                    target_role_indexes: vec![(to % 6).into()],
                })
                .collect(),
        }
    }
}

fn roles(specs: &[RoleSpec]) -> RoleData {
    RoleData {
        roles: specs.iter().map(RoleSpec::role).collect(),
    }
}

impl Base {
    fn policy(&self) -> BaseRoomPolicy {
        BaseRoomPolicy {
            fixed_membership: self.fixed_membership,
            multi_device: self.multi_device,
            max_clients: self.max_clients.map(Into::into),
            max_users: self.max_users.map(Into::into),
            ..BaseRoomPolicy::default()
        }
    }
}

fn metadata(name: bool) -> RoomMetaData {
    RoomMetaData {
        room_name: if name { "one" } else { "other" }.into(),
        ..RoomMetaData::default()
    }
}

impl Update {
    fn update(&self) -> AppDataUpdate {
        let update = |component_id, data: &dyn Encode| AppDataUpdate {
            component_id,
            op: AppDataUpdateOperation::Update(encode(data)),
        };
        match self {
            Update::Participants { roles, removed, added } => update(
                PARTICIPANT_LIST,
                &ParticipantListUpdate {
                    changed_role_participants: roles
                        .iter()
                        .map(|(index, role)| UserindexRolePair {
                            user_index: (index % 8).into(),
                            role_index: (role % 6).into(),
                        })
                        .collect(),
                    removed_indices: removed.iter().map(|index| (index % 8).into()).collect(),
                    added_participants: pairs(added),
                },
            ),
            Update::Roles(specs) => update(ROLES_LIST, &roles(specs)),
            Update::Base(base) => update(BASE_ROOM_POLICY, &base.policy()),
            Update::Name(name) => update(ROOM_METADATA, &metadata(*name)),
            Update::Octets(component_id, octets) => AppDataUpdate {
                component_id: component_id % 0x30,
                op: AppDataUpdateOperation::Update(octets.clone()),
            },
            Update::Remove(component_id) => AppDataUpdate {
                component_id: component_id % 0x30,
                op: AppDataUpdateOperation::Remove,
            },
        }
    }
}

impl ClientChange {
    fn change(&self) -> Change {
        match *self {
            ClientChange::Add(who) => Change::AddClient { user: user(who) },
            ClientChange::AddOwn => Change::AddOwnClient,
            ClientChange::Remove(who) => Change::RemoveClient { user: user(who) },
            ClientChange::RemoveOwn => Change::RemoveOwnClient,
            ClientChange::RemoveSelf => Change::RemoveSelf,
            ClientChange::ReInit => Change::ReInit,
            ClientChange::Message => Change::SendMessage,
        }
    }
}

impl Who {
    fn user(&self) -> UserUri {
        match *self {
            Who::Participant(who) | Who::NewMember(who) => user(who),
            Who::Hub => user(0),
        }
    }

    fn actor<'a>(&self, user: &'a UserUri) -> Actor<'a> {
        match self {
            Who::Participant(_) => Actor::Participant(user),
            Who::NewMember(_) => Actor::NewMember(user),
            Who::Hub => Actor::Hub,
        }
    }
}

fuzz_target!(|input: Input| {
    let mut dictionary = AppDataDictionary::new();
    dictionary.set(ROLES_LIST, encode(&roles(&input.room.roles)));
    dictionary.set(BASE_ROOM_POLICY, encode(&input.room.base.policy()));
    let participants = ParticipantListData {
        participants: pairs(&input.room.participants),
    };
    dictionary.set(PARTICIPANT_LIST, encode(&participants));
    if let Some(name) = input.room.name {
        dictionary.set(ROOM_METADATA, encode(&metadata(name)));
    }
    let Ok(mut policy) = RoomPolicy::from_dictionary(&dictionary) else {
        return;
    };
    policy.set_clients(
        input
            .clients
            .iter()
            .map(|(who, count)| (user(*who), u32::from(count % 4))),
    );

    let updates: Vec<AppDataUpdate> = input.updates.iter().map(Update::update).collect();
    let size = encode(&dictionary).len() + encode(&updates).len();
    let Ok(applied) = bounded(size, || policy.apply(&dictionary, &updates)) else {
        return;
    };
    let read = RoomPolicy::from_dictionary(&applied.dictionary).expect("what apply leaves is a valid room");
    assert_eq!(read.participants(), applied.policy.participants());
    assert_eq!(read.roles(), applied.policy.roles());
    assert_eq!(read.base(), applied.policy.base());
    assert_eq!(read.metadata(), applied.policy.metadata());

    let mut changes = applied.changes;
    changes.extend(input.handshake.iter().map(ClientChange::change));
    let who = input.actor.user();
    let actor = input.actor.actor(&who);
    let alone = authorize(&policy, actor, &changes);
    assert_eq!(
        alone,
        authorize_together(&policy, &[(actor, &changes)]),
        "one actor, judged two ways"
    );
    if let Some(joint) = &input.joint {
        // Together is never allowed where alone is not.
        let other = joint.user();
        let leaves = [Change::RemoveSelf];
        let together = authorize_together(&policy, &[(actor, &changes), (joint.actor(&other), &leaves)]);
        assert!(together.is_err() || alone.is_ok());
    }
});
