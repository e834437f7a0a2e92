//! draft-ietf-mimi-room-policy, sections 4 to 8: preauthorization, join codes, parents, operational rules, and what may not
//! stand in one Commit.

use super::*;
use crate::Error;
use crate::components::{
    AppDataDictionary, AppDataUpdate, AppDataUpdateOperation, BASE_ROOM_POLICY, BOT_POLICY, Bot, BotPolicy,
    CHAT_HISTORY_POLICY, Claim, ComponentId, HistoryPolicy, HistorySharing, JOIN_LINK_POLICY, JOIN_LINKS, JoinLink,
    JoinLinkPolicy, JoinLinksData, JoinLinksUpdate, LOGGING_POLICY, MLS_OPERATIONAL_POLICY, OperationalParameters,
    PARTICIPANT_LIST, PREAUTH_LIST, ParticipantListUpdate, PreAuthData, PreAuthRoleEntry, ROLES_LIST, Ruled,
};
use crate::policy::UpdateError;
use crate::tls::{Encode, decode_exact, encode};

fn preauthorize(policy: &mut RoomPolicy, name: &str, role: u32) {
    let entry = PreAuthRoleEntry {
        claimset: vec![Claim::user(&user(name))],
        target_role: policy.roles().get(role).unwrap().clone(),
    };
    let mut entries = policy.preauthorized().preauthorized_entries.clone();
    entries.push(entry);
    policy
        .set_preauthorized(PreAuthData {
            preauthorized_entries: entries,
        })
        .unwrap();
}

fn granting(role: u32, capability: Capability) -> RoomPolicy {
    let roles = roles_with(role, |role| role.role_capabilities.push(capability));
    with(&roles, BaseRoomPolicy::default())
}

#[test]
fn can_join_if_preauthorized_8_1_1_is_of_the_target_role_and_takes_the_first_match() {
    let new = user("new");
    let join = |role| [Change::AddOwnClient, add("new", role)];
    let mut policy = granting(ORDINARY, Capability::CAN_JOIN_IF_PREAUTHORIZED);
    let open = missing(0, Capability::CAN_OPEN_JOIN);
    assert_eq!(authorize(&policy, Actor::NewMember(&new), &join(ORDINARY)), open);
    preauthorize(&mut policy, "new", ORDINARY);
    assert_eq!(authorize(&policy, Actor::NewMember(&new), &join(ORDINARY)), Ok(()));
    // Later entries, and other roles, are not what the user gets.
    preauthorize(&mut policy, "new", ADMIN);
    assert_eq!(authorize(&policy, Actor::NewMember(&new), &join(ADMIN)), open);
    // Only who acts by itself is looked up.
    assert_eq!(
        by(
            "otto",
            &without(ORDINARY, Capability::CAN_ADD_PARTICIPANT),
            &[add("new", ORDINARY)]
        ),
        missing(ORDINARY, Capability::CAN_ADD_PARTICIPANT)
    );
    // The role must have the capability.
    let mut policy = room();
    preauthorize(&mut policy, "new", ORDINARY);
    assert_eq!(authorize(&policy, Actor::NewMember(&new), &join(ORDINARY)), open);
}

#[test]
fn can_join_if_preauthorized_8_1_1_respects_the_maximums() {
    let new = user("new");
    let roles = roles_with(ORDINARY, |role| {
        role.role_capabilities.push(Capability::CAN_JOIN_IF_PREAUTHORIZED);
        role.maximum_participants_constraint = Some(2);
    });
    let mut policy = with(&roles, BaseRoomPolicy::default());
    preauthorize(&mut policy, "new", ORDINARY);
    let join = [Change::AddOwnClient, add("new", ORDINARY)];
    assert!(matches!(
        authorize(&policy, Actor::NewMember(&new), &join),
        Err(Denied::Constraint { .. })
    ));
}

#[test]
fn preauth_4_does_not_bring_back_the_banned() {
    let mut policy = granting(ORDINARY, Capability::CAN_JOIN_IF_PREAUTHORIZED);
    preauthorize(&mut policy, "bert", ORDINARY);
    let bert = user("bert");
    for changes in [
        vec![Change::AddOwnClient, add("bert", ORDINARY)],
        vec![change_role("bert", BANNED, ORDINARY)],
        vec![Change::AddOwnClient],
    ] {
        assert!(
            authorize(&policy, Actor::NewMember(&bert), &changes).is_err(),
            "{changes:?}"
        );
        assert!(by("bert", &policy, &changes).is_err(), "{changes:?}");
    }
}

#[test]
fn can_change_own_role_8_1_3_leads_to_the_first_preauthorized_role_only() {
    let up = [change_role("olga", ORDINARY, ADMIN)];
    let not_preauthorized = Err(Denied::NotPreauthorized { user: user("olga") });
    let mut policy = granting(ORDINARY, Capability::CAN_CHANGE_OWN_ROLE);
    assert_eq!(by("olga", &policy, &up), not_preauthorized);
    preauthorize(&mut policy, "olga", ADMIN);
    // `authorized_role_changes` of an ordinary user has no such entry, and is not consulted.
    assert_eq!(by("olga", &policy, &up), Ok(()));
    let mut incapable = room();
    preauthorize(&mut incapable, "olga", ADMIN);
    assert_eq!(
        by("olga", &incapable, &up),
        missing(ORDINARY, Capability::CAN_CHANGE_OWN_ROLE)
    );
    let mut elsewhere = granting(ORDINARY, Capability::CAN_CHANGE_OWN_ROLE);
    preauthorize(&mut elsewhere, "olga", ORDINARY);
    preauthorize(&mut elsewhere, "olga", ADMIN);
    assert_eq!(by("olga", &elsewhere, &up), not_preauthorized);
}

#[test]
fn can_change_own_role_8_1_3_keeps_the_minimum_of_the_role_left() {
    let roles = roles_with(ORDINARY, |role| {
        role.role_capabilities.push(Capability::CAN_CHANGE_OWN_ROLE);
        role.minimum_participants_constraint = 2;
    });
    let mut policy = with(&roles, BaseRoomPolicy::default());
    preauthorize(&mut policy, "olga", ADMIN);
    assert!(matches!(
        by("olga", &policy, &[change_role("olga", ORDINARY, ADMIN)]),
        Err(Denied::Constraint { .. })
    ));
}

fn coded() -> RoomPolicy {
    let roles = roles_with(0, |role| {
        role.role_capabilities.push(Capability::CAN_USE_JOIN_CODE);
        role.authorized_role_changes = changes(&[(0, &[ORDINARY])]);
    });
    with(&roles, BaseRoomPolicy::default())
}

#[test]
fn can_use_join_code_8_1_1_takes_the_capability_and_the_role_of_the_code() {
    let new = user("new");
    let join = |role| [Change::AddOwnClient, add("new", role)];
    let invited = |role| Actor::JoinCode { user: &new, role };
    assert_eq!(authorize(&coded(), invited(ORDINARY), &join(ORDINARY)), Ok(()));
    // A code for one role is none for another.
    assert_eq!(
        authorize(&coded(), invited(ORDINARY), &join(ADMIN)),
        missing(0, Capability::CAN_OPEN_JOIN)
    );
    // Role 0 must lead to the role.
    assert_eq!(
        authorize(&coded(), invited(ADMIN), &join(ADMIN)),
        not_authorized(0, 0, ADMIN)
    );
    assert_eq!(
        authorize(&room(), invited(ORDINARY), &join(ORDINARY)),
        missing(0, Capability::CAN_USE_JOIN_CODE)
    );
    assert_eq!(
        authorize(&coded(), invited(9), &join(9)),
        Err(Denied::UnknownRole { role: 9 })
    );
    // It is for the user itself and nothing else.
    for change in [add("other", ORDINARY), remove("otto"), Change::SendMessage] {
        assert_eq!(
            authorize(&coded(), invited(ORDINARY), &[change]),
            Err(Denied::NewMemberMayNot)
        );
    }
}

#[test]
fn can_use_join_code_8_1_1_does_not_bring_back_the_banned() {
    let bert = user("bert");
    let changes = [Change::AddOwnClient, add("bert", ORDINARY)];
    let actor = Actor::JoinCode {
        user: &bert,
        role: ORDINARY,
    };
    assert!(authorize(&coded(), actor, &changes).is_err());
}

#[test]
fn can_create_join_code_8_7_makes_only_codes_that_can_be_used() {
    let make = |role| [Change::CreateJoinCode { role }];
    let with_code = |zero: &[u32]| {
        let mut roles = roles_with(ADMIN, |role| {
            role.role_capabilities
                .extend([Capability::CAN_CREATE_JOIN_CODE, Capability::CAN_DELETE_JOIN_CODE]);
        });
        roles.roles[0].role_capabilities = vec![Capability::CAN_USE_JOIN_CODE];
        roles.roles[0].authorized_role_changes = changes(&[(0, zero)]);
        with(&roles, BaseRoomPolicy::default())
    };
    let policy = with_code(&[ORDINARY]);
    assert_eq!(by("ada", &policy, &make(ORDINARY)), Ok(()));
    assert_eq!(by("ada", &policy, &[Change::DeleteJoinCode]), Ok(()));
    assert_eq!(by("ada", &policy, &make(ADMIN)), not_authorized(0, 0, ADMIN));
    assert_eq!(
        by("olga", &policy, &make(ORDINARY)),
        missing(ORDINARY, Capability::CAN_CREATE_JOIN_CODE)
    );
    assert_eq!(
        by("olga", &policy, &[Change::DeleteJoinCode]),
        missing(ORDINARY, Capability::CAN_DELETE_JOIN_CODE)
    );
    assert_eq!(by("ada", &policy, &make(0)), Err(Denied::UnknownRole { role: 0 }));
}

#[test]
fn fixed_membership_5_holds_for_every_way_in() {
    let new = user("new");
    let mut roles = roles_with(ORDINARY, |role| {
        role.role_capabilities = vec![Capability::CAN_JOIN_IF_PREAUTHORIZED];
    });
    roles.roles[3]
        .role_capabilities
        .retain(|held| *held != Capability::CAN_ADD_PARTICIPANT);
    roles.roles[0].role_capabilities = vec![Capability::CAN_OPEN_JOIN, Capability::CAN_USE_JOIN_CODE];
    roles.roles[0].authorized_role_changes = changes(&[(0, &[ORDINARY])]);
    let base = BaseRoomPolicy {
        fixed_membership: true,
        ..Default::default()
    };
    let mut policy = with(&roles, base);
    preauthorize(&mut policy, "new", ORDINARY);
    let join = [Change::AddOwnClient, add("new", ORDINARY)];
    let code = Actor::JoinCode {
        user: &new,
        role: ORDINARY,
    };
    for actor in [Actor::NewMember(&new), code] {
        assert_eq!(authorize(&policy, actor, &join), Err(Denied::FixedMembership));
    }
}

fn depending(participants: &[(&str, u32)]) -> RoomPolicy {
    let base = BaseRoomPolicy {
        parent_room: Some("mimi://a.example/r/parent".parse().unwrap()),
        ..Default::default()
    };
    RoomPolicy::new(roles(), base, list(participants), None).unwrap()
}

#[test]
fn parent_dependent_5_participants_are_a_strict_subset_of_the_parents() {
    let parent: Vec<UserUri> = room().unbanned_users().cloned().collect();
    assert_eq!(parent.len(), 4);
    assert!(depending(&[("ada", ADMIN), ("olga", ORDINARY)]).is_within(&parent));
    // The same participants are no strict subset.
    let all = [("ada", ADMIN), ("al", ADMIN), ("olga", ORDINARY), ("otto", ORDINARY)];
    assert!(!depending(&all).is_within(&parent));
    assert!(!depending(&[("ada", ADMIN), ("eve", ORDINARY)]).is_within(&parent));
    // Who is banned in the parent may not take part here, and may be banned here.
    assert!(!depending(&[("ada", ADMIN), ("bert", ORDINARY)]).is_within(&parent));
    assert!(depending(&[("ada", ADMIN), ("bert", BANNED)]).is_within(&parent));
}

#[test]
fn can_receive_message_8_3_and_can_report_abuse_8_3() {
    for (change, capability) in [
        (Change::ReceiveMessage, Capability::CAN_RECEIVE_MESSAGE),
        (Change::ReportAbuse, Capability::CAN_REPORT_ABUSE),
        (Change::DestroyRoom, Capability::CAN_DESTROY_ROOM),
        (
            Change::ChangePreauthorizedUsers,
            Capability::CAN_CHANGE_PREAUTHORIZED_USER_LIST,
        ),
        (
            Change::ChangeOperationalPolicy,
            Capability::CAN_CHANGE_MLS_OPERATIONAL_POLICIES,
        ),
        (
            Change::ChangeOtherPolicy(LOGGING_POLICY),
            Capability::CAN_CHANGE_OTHER_POLICY_ATTRIBUTE,
        ),
    ] {
        assert_eq!(
            by("olga", &room(), std::slice::from_ref(&change)),
            missing(ORDINARY, capability)
        );
        assert_eq!(
            by("olga", &granting(ORDINARY, capability), std::slice::from_ref(&change)),
            Ok(())
        );
        let new = user("new");
        assert_eq!(
            authorize(&room(), Actor::NewMember(&new), std::slice::from_ref(&change)),
            Err(Denied::NewMemberMayNot)
        );
        assert_eq!(authorize(&room(), Actor::Hub, &[change]), Err(Denied::HubMayNot));
    }
}

fn dictionary() -> AppDataDictionary {
    let mut dictionary = AppDataDictionary::new();
    dictionary.set(ROLES_LIST, encode(&roles()));
    dictionary.set(BASE_ROOM_POLICY, encode(&BaseRoomPolicy::default()));
    dictionary.set(PARTICIPANT_LIST, encode(room().participants()));
    dictionary
}

fn update<T: Encode>(component_id: ComponentId, data: &T) -> AppDataUpdate {
    AppDataUpdate {
        component_id,
        op: AppDataUpdateOperation::Update(encode(data)),
    }
}

fn removal(component_id: ComponentId) -> AppDataUpdate {
    AppDataUpdate {
        component_id,
        op: AppDataUpdateOperation::Remove,
    }
}

fn applied(dictionary: &AppDataDictionary, updates: &[AppDataUpdate]) -> Result<Vec<Change>, UpdateError> {
    let policy = RoomPolicy::from_dictionary(dictionary).unwrap();
    policy.apply(dictionary, updates).map(|applied| applied.changes)
}

fn preauth(role_index: u32) -> PreAuthData {
    PreAuthData {
        preauthorized_entries: vec![PreAuthRoleEntry {
            claimset: vec![Claim::domain("a.example")],
            target_role: Role {
                role_index,
                ..Role::default()
            },
        }],
    }
}

#[test]
fn preauth_4_is_not_updated_along_with_participants_unless_they_are_removed() {
    let preauthorized = update(PREAUTH_LIST, &preauth(ORDINARY));
    let participants = |change: ParticipantListUpdate| update(PARTICIPANT_LIST, &change);
    let removed = participants(ParticipantListUpdate {
        removed_indices: vec![2],
        ..Default::default()
    });
    let added = participants(ParticipantListUpdate {
        added_participants: vec![UserRolePair {
            user: user("new"),
            role_index: ORDINARY,
        }],
        ..Default::default()
    });
    let changed = participants(ParticipantListUpdate {
        changed_role_participants: vec![crate::components::UserindexRolePair {
            user_index: 2,
            role_index: ADMIN,
        }],
        ..Default::default()
    });
    assert_eq!(
        applied(&dictionary(), &[preauthorized.clone(), removed]).unwrap(),
        [remove("olga"), Change::ChangePreauthorizedUsers]
    );
    for list in [added, changed] {
        assert_eq!(
            applied(&dictionary(), &[preauthorized.clone(), list]),
            Err(UpdateError::PreauthorizedWithParticipants)
        );
    }
}

#[test]
fn preauth_4_target_roles_are_defined() {
    for role in [0, 9] {
        assert!(matches!(
            applied(&dictionary(), &[update(PREAUTH_LIST, &preauth(role))]),
            Err(UpdateError::Malformed(Error::UnknownValue { .. }))
        ));
    }
}

#[test]
fn further_components_6_are_replaced_and_removed_by_update() {
    let bots = BotPolicy {
        allowed_bots: vec![Bot::default()],
    };
    let updates = [update(BOT_POLICY, &bots), update(PREAUTH_LIST, &preauth(ORDINARY))];
    let policy = RoomPolicy::from_dictionary(&dictionary()).unwrap();
    let after = policy.apply(&dictionary(), &updates).unwrap();
    assert_eq!(
        after.changes,
        [Change::ChangePreauthorizedUsers, Change::ChangeOtherPolicy(BOT_POLICY)]
    );
    assert_eq!(after.policy.preauthorized().first_match(&user("new")), Some(ORDINARY));
    let gone = after
        .policy
        .apply(&after.dictionary, &[removal(BOT_POLICY), removal(PREAUTH_LIST)])
        .unwrap();
    assert_eq!(gone.dictionary, dictionary());
    assert_eq!(
        applied(&dictionary(), &[removal(BOT_POLICY)]),
        Err(UpdateError::UnknownComponent { component: BOT_POLICY })
    );
    assert_eq!(
        applied(&after.dictionary, &[removal(BOT_POLICY), update(BOT_POLICY, &bots)]),
        Err(UpdateError::Repeated { component: BOT_POLICY })
    );
    for core in [ROLES_LIST, BASE_ROOM_POLICY, PARTICIPANT_LIST] {
        assert_eq!(
            applied(&dictionary(), &[removal(core)]),
            Err(UpdateError::Removal { component: core })
        );
    }
}

#[test]
fn further_components_6_that_are_malformed_or_do_not_fit_the_roles_are_refused() {
    let history = |role| HistoryPolicy {
        history_sharing: Ruled::Optional(HistorySharing {
            roles_that_can_share: vec![role],
            ..Default::default()
        }),
    };
    assert!(applied(&dictionary(), &[update(CHAT_HISTORY_POLICY, &history(ADMIN))]).is_ok());
    assert!(applied(&dictionary(), &[update(CHAT_HISTORY_POLICY, &history(9))]).is_err());
    let mut with_enforcer = roles();
    with_enforcer.roles.push(Role {
        role_index: 5,
        role_name: "policy_enforcer".into(),
        maximum_active_participants_constraint: Some(0),
        ..Default::default()
    });
    let mut dictionary_with_enforcer = dictionary();
    dictionary_with_enforcer.set(ROLES_LIST, encode(&with_enforcer));
    let shares = [update(CHAT_HISTORY_POLICY, &history(5))];
    assert!(applied(&dictionary_with_enforcer, &shares).is_err());
    let bots = BotPolicy {
        allowed_bots: vec![Bot {
            bot_role_index: 9,
            ..Default::default()
        }],
    };
    assert!(applied(&dictionary(), &[update(BOT_POLICY, &bots)]).is_err());
    assert!(applied(&dictionary(), &[update(LOGGING_POLICY, &7u8)]).is_err());
}

#[test]
fn join_links_6_2_are_changed_by_index() {
    let link = JoinLink {
        join_link: b"https://a.example/join#one".to_vec(),
    };
    let added = JoinLinksUpdate {
        removed_indices: vec![],
        added_links: vec![link.clone()],
    };
    let policy = RoomPolicy::from_dictionary(&dictionary()).unwrap();
    let after = policy.apply(&dictionary(), &[update(JOIN_LINKS, &added)]).unwrap();
    assert_eq!(
        after.changes,
        [Change::ChangeJoinLinks {
            added: true,
            removed: false
        }]
    );
    assert_eq!(after.policy.join_links().links, [link]);
    let dropped = JoinLinksUpdate {
        removed_indices: vec![0],
        added_links: vec![],
    };
    let gone = after
        .policy
        .apply(&after.dictionary, &[update(JOIN_LINKS, &dropped)])
        .unwrap();
    assert_eq!(
        gone.changes,
        [Change::ChangeJoinLinks {
            added: false,
            removed: true
        }]
    );
    let data: JoinLinksData = decode_exact(gone.dictionary.get(JOIN_LINKS).unwrap()).unwrap();
    assert!(data.links.is_empty());
    // The capabilities that section 8.7 reserves.
    let change = |added, removed| [Change::ChangeJoinLinks { added, removed }];
    let adding = granting(ORDINARY, Capability::CAN_CREATE_JOIN_CODE);
    assert_eq!(by("olga", &adding, &change(true, false)), Ok(()));
    assert_eq!(
        by("olga", &adding, &change(true, true)),
        missing(ORDINARY, Capability::CAN_DELETE_JOIN_CODE)
    );
    let deleting = granting(ORDINARY, Capability::CAN_DELETE_JOIN_CODE);
    assert_eq!(by("olga", &deleting, &change(false, true)), Ok(()));
    assert_eq!(
        by("olga", &deleting, &change(false, false)),
        missing(ORDINARY, Capability::CAN_CREATE_JOIN_CODE)
    );
}

#[test]
fn operational_7_external_commits_can_be_switched_off() {
    let time = crate::components::MinDefaultMaxTime::default();
    let closed = OperationalParameters {
        mandatory_capabilities: Default::default(),
        default_capabilities: Default::default(),
        forbidden_capabilities: Default::default(),
        handshake_formats: vec![1],
        external_proposal_allowed: true,
        external_commit_allowed: false,
        pending_proposal_policy: crate::components::PendingProposalPolicy::Unspecified,
        leaf_node_update_time: time,
        app_message_policy: Default::default(),
        max_kp_lifetime: 0,
        max_credential_lifetime: 0,
        resumption_psk_lifetime: 0,
        sender_nonce_keypair_lifetime: time,
        max_keypairs: 0,
        buffer_incoming_message_time: time,
        max_buffered_messages: 0,
    };
    let policy = RoomPolicy::from_dictionary(&dictionary()).unwrap();
    let update = update(MLS_OPERATIONAL_POLICY, &closed);
    let after = policy.apply(&dictionary(), &[update]).unwrap();
    assert_eq!(after.changes, [Change::ChangeOperationalPolicy]);
    let olga = user("olga");
    let join = |policy: &RoomPolicy| authorize(policy, Actor::NewMember(&olga), &[Change::AddOwnClient]);
    assert_eq!(join(&policy), Ok(()));
    assert_eq!(join(&after.policy), Err(Denied::ExternalCommit));
    assert_eq!(by("olga", &after.policy, &[Change::AddOwnClient]), Ok(()));
}

#[test]
fn join_link_policy_6_2_is_read() {
    let mut dictionary = dictionary();
    let policy = JoinLinkPolicy {
        expiration: 60,
        ..Default::default()
    };
    dictionary.set(JOIN_LINK_POLICY, encode(&policy));
    let read = RoomPolicy::from_dictionary(&dictionary).unwrap();
    assert_eq!(read.join_link_policy(), Some(&policy));
}
