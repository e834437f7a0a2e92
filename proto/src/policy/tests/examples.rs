//! draft-ietf-mimi-room-policy, appendix A: the tables of who may do what in each example
//! (`testdata/role_examples/*.txt`), run through `authorize`.
//!
//! A table has a line of the actors' roles, and then a line an action, with `y` or `-` for each actor. In the room each
//! role but 0 has three holders named after it: the first acts, the second is acted on, the third is there so that
//! minimums hold; a role with a maximum has as many as that allows. Whoever may have clients has one.
//!
//! Actors: `no_role` joins by itself, `invited` with a join code for the role that the action names, `preauthorized` is
//! on the list for that role.

use std::collections::BTreeSet;

use super::*;
use crate::components::{Claim, MetadataField, PreAuthData, PreAuthRoleEntry};
use crate::policy::examples;

const COOPERATIVE: &str = include_str!("../../../testdata/role_examples/cooperative.txt");
const STRICT: &str = include_str!("../../../testdata/role_examples/strict.txt");
const MODERATED: &str = include_str!("../../../testdata/role_examples/moderated.txt");
const MULTI_ORGANISATION: &str = include_str!("../../../testdata/role_examples/multi_organisation.txt");

#[test]
fn room_policy_appendix_a_1_cooperative() {
    run(&examples::cooperative(), COOPERATIVE);
}

#[test]
fn room_policy_appendix_a_2_strict() {
    run(&examples::strict(), STRICT);
}

#[test]
fn room_policy_appendix_a_3_moderated() {
    run(&examples::moderated(), MODERATED);
}

#[test]
fn room_policy_appendix_a_4_multi_organisation() {
    run(&examples::multi_organisation(), MULTI_ORGANISATION);
}

/// Two admins a role can be made three, and not four.
#[test]
fn room_policy_appendix_a_4_at_most_three_admins_of_an_organisation() {
    let policy = room_of(&examples::multi_organisation());
    let actor = user("org_b_admin-1");
    let third = [add("new-1", 6)];
    let fourth = [add("new-1", 6), add("new-2", 6)];
    assert_eq!(authorize(&policy, Actor::Participant(&actor), &third), Ok(()));
    assert!(matches!(
        authorize(&policy, Actor::Participant(&actor), &fourth),
        Err(Denied::Constraint { .. })
    ));
}

fn holders(role: &Role) -> u32 {
    match role.role_index {
        0 => 0,
        _ => role.maximum_participants_constraint.map_or(3, |_| 2),
    }
}

fn room_of(roles: &RoleData) -> RoomPolicy {
    let mut participants = ParticipantListData::default();
    let mut active = Vec::new();
    for role in &roles.roles {
        for number in 1..=holders(role) {
            let user = user(&format!("{}-{number}", role.role_name));
            if role.maximum_active_participants_constraint != Some(0) {
                active.push((user.clone(), 1));
            }
            participants.participants.push(UserRolePair {
                user,
                role_index: role.role_index,
            });
        }
    }
    let mut policy = RoomPolicy::new(roles.clone(), BaseRoomPolicy::default(), participants, None).unwrap();
    policy.set_clients(active);
    policy
}

fn run(roles: &RoleData, table: &str) {
    let policy = room_of(roles);
    let mut lines = table
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let actors: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    let named: BTreeSet<&str> = actors.iter().copied().collect();
    for role in &roles.roles {
        assert!(
            named.contains(role.role_name.as_str()),
            "{} has no column",
            role.role_name
        );
    }
    let mut wrong = Vec::new();
    let mut rows = 0;
    for line in lines {
        rows += 1;
        let (action, cells) = line.split_once('|').unwrap();
        let action = action.trim();
        let cells: Vec<&str> = cells.split_whitespace().collect();
        assert_eq!(cells.len(), actors.len(), "{action}");
        for (actor, cell) in actors.iter().zip(cells) {
            let verdict = judge(&policy, actor, action);
            let expected = match cell {
                "y" => true,
                "-" => false,
                other => panic!("{action}: {other}"),
            };
            if verdict.is_ok() != expected {
                wrong.push(format!("{actor} {action}: {verdict:?}"));
            }
        }
    }
    assert!(rows >= 20, "{rows} rows");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn judge(policy: &RoomPolicy, actor: &str, action: &str) -> Result<(), Denied> {
    let words: Vec<&str> = action.split_whitespace().collect();
    let index = |name: &str| {
        let role = policy.roles().roles.iter().find(|role| role.role_name == name);
        role.unwrap_or_else(|| panic!("no role {name}")).role_index
    };
    if let ["join", role] = words[..] {
        return join(policy, actor, index(role));
    }
    let me = format!("{actor}-1");
    let target = |role: &str| format!("{role}-2");
    let changes = match words[..] {
        ["add", role] => vec![add("new", index(role)), add_client("new")],
        ["remove", role] => with_clients(policy, &target(role), remove(&target(role))),
        ["kick", role] => vec![remove_client(&target(role))],
        ["ban", role] => with_clients(policy, &target(role), change_role(&target(role), index(role), BANNED)),
        ["move", from, to] => vec![change_role(&target(from), index(from), index(to))],
        ["become", to] => match policy.role_of(&user(&me)) {
            Some(role) => vec![change_role(&me, role.role_index, index(to))],
            None => return Err(Denied::NotParticipant { user: user(&me) }),
        },
        ["leave"] => match policy.clients_of(&user(&me)) {
            0 => vec![Change::RemoveSelf],
            _ => vec![Change::RemoveSelf, Change::RemoveOwnClient],
        },
        ["add-own-client"] => vec![Change::AddOwnClient],
        ["remove-own-client"] => vec![Change::RemoveOwnClient],
        ["send"] => vec![Change::SendMessage],
        ["receive"] => vec![Change::ReceiveMessage],
        ["report"] => vec![Change::ReportAbuse],
        ["name"] => vec![Change::ChangeMetadata(MetadataField::Name)],
        ["description"] => vec![Change::ChangeMetadata(MetadataField::Description)],
        ["avatar"] => vec![Change::ChangeMetadata(MetadataField::Avatar)],
        ["subject"] => vec![Change::ChangeMetadata(MetadataField::Subject)],
        ["mood"] => vec![Change::ChangeMetadata(MetadataField::Mood)],
        ["code", role] => vec![Change::CreateJoinCode { role: index(role) }],
        ["revoke-code"] => vec![Change::DeleteJoinCode],
        ["define-roles"] => vec![Change::ChangeRoleDefinitions],
        ["preauthorize"] => vec![Change::ChangePreauthorizedUsers],
        ["membership-style"] => vec![Change::ChangeBasePolicy],
        ["operational-policy"] => vec![Change::ChangeOperationalPolicy],
        ["destroy"] => vec![Change::DestroyRoom],
        ["reinit"] => vec![Change::ReInit],
        _ => panic!("no action {action}"),
    };
    authorize(policy, Actor::Participant(&user(&me)), &changes)
}

/// What takes a user's clients along.
fn with_clients(policy: &RoomPolicy, name: &str, change: Change) -> Vec<Change> {
    let clients = policy.clients_of(&user(name));
    let removals = (0..clients).map(|_| remove_client(name));
    std::iter::once(change).chain(removals).collect()
}

/// An external Commit of somebody who is not in the list.
fn join(policy: &RoomPolicy, actor: &str, role: u32) -> Result<(), Denied> {
    let (me, mut policy) = (user("new"), policy.clone());
    let changes = [Change::AddOwnClient, add("new", role)];
    let actor = match actor {
        "invited" => Actor::JoinCode { user: &me, role },
        "preauthorized" => {
            let entry = PreAuthRoleEntry {
                claimset: vec![Claim::user(&me)],
                target_role: policy.roles().get(role).unwrap().clone(),
            };
            let preauthorized_entries = vec![entry];
            policy.set_preauthorized(PreAuthData { preauthorized_entries }).unwrap();
            Actor::NewMember(&me)
        }
        "no_role" => Actor::NewMember(&me),
        // Who is in the list already does not join it again.
        _ => return Err(Denied::AlreadyParticipant { user: me }),
    };
    authorize(&policy, actor, &changes)
}
