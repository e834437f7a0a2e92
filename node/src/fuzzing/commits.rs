//! Commits and Proposals out of choices: plans that make sense and ones that do not, and bundles that say other things than
//! their Commit.

use mimi_hub_proto::components::{
    BASE_ROOM_POLICY, BaseRoomPolicy, JOIN_LINK_POLICY, JoinLinkPolicy, PREAUTH_LIST, ParticipantListUpdate,
    PreAuthData, PreAuthRoleEntry, ROLES_LIST, UserRolePair, UserindexRolePair,
};
use mimi_hub_proto::mls::ProposalMessage;
use mimi_hub_proto::{GroupInfoOption, HandshakeBundle, PartialGroupInfo, RatchetTreeOption, tls};
use openmls::prelude::{
    AppDataUpdateProposal, BasicCredential, Extension, Extensions, ExternalSender, GroupContext, KeyPackage, Lifetime,
    Proposal,
};

use super::choices::Choices;
use super::world::{ROLES, Sent, World, added, some_domain};
use crate::room::event::RoomEvent;
use crate::testing::client::{Bundle, Plan, app_data_update};
use crate::testing::credential::{Names, identity, pseudonym};
use crate::testing::roles;

impl World<'_> {
    /// A Commit as an honest client sends it, if openmls builds one.
    pub(super) fn honest(&mut self, who: usize, mut plan: Plan) -> Option<Sent> {
        // Of a SelfRemove and another proposal on the same leaf, openmls drops the latter with a `debug_assert!(false)`.
        let pending = || {
            self.people[who]
                .group()
                .pending_proposals()
                .map(|queued| queued.proposal())
        };
        if !plan.ignores_pending && pending().any(|proposal| matches!(proposal, Proposal::SelfRemove)) {
            plan.removes.clear();
            if pending().any(|proposal| matches!(proposal, Proposal::Remove(_) | Proposal::Update(_))) {
                return None;
            }
        }
        let bundle = self.people[who].try_commit(plan).ok()?;
        Some(sent(bundle, RatchetTreeOption::DistributionService))
    }
}

fn sent(bundle: Bundle, ratchet_tree: RatchetTreeOption) -> Sent {
    Sent {
        welcome: bundle.welcome.clone(),
        bundle: HandshakeBundle::Commit {
            commit: bundle.commit,
            welcome: bundle.welcome,
            group_info: bundle.group_info,
            ratchet_tree,
        },
    }
}

/// A member commits: up to three things at once, mostly from its own provider.
pub(super) fn commit(world: &mut World<'_>, choices: &mut Choices<'_>) {
    // The administrator may do most; and most Commits are honest, so that the room becomes something.
    let administrator = choices.below(2) == 0 && world.people[0].group.is_some();
    let someone = world.someone(choices);
    let Some(who) = administrator.then_some(0).or(someone) else {
        return;
    };
    let mut plan = Plan::default();
    for _ in 0..=choices.below(2) {
        plan = part(world, choices, who, plan);
    }
    plan.pathless = choices.rarely(3);
    if choices.below(3) != 2 {
        let Some(mut sent) = world.honest(who, plan) else {
            return;
        };
        upload(choices, &mut sent);
        let source = world.people[who].user().provider();
        world.send_commit(who, &source, &sent, true);
        return;
    }
    plan.ignores_pending = choices.rarely(6);
    plan.extensions = choices.rarely(6).then(|| extensions(world, choices, who));
    plan.tree_in_group_info = choices.rarely(12);
    if choices.rarely(10) {
        let user = world.some_user(choices);
        plan.renamed = Some(identity(&user, choices.number()));
    }
    let Some(mut sent) = world.honest(who, plan) else {
        return;
    };
    let genuine = dress(world, choices, &mut sent);
    let source = source(world, choices, who);
    world.send_commit(who, &source, &sent, genuine);
}

/// The group's extensions, with other external senders: the own provider, nobody but the hub, or nobody at all.
fn extensions(world: &World<'_>, choices: &mut Choices<'_>, who: usize) -> Extensions<GroupContext> {
    let client = &world.people[who];
    let mut extensions = client.group().extensions().clone();
    let mut senders = extensions.external_senders().expect("the hub's").to_vec();
    match choices.below(4) {
        0 => senders.clear(),
        1 => senders.truncate(1),
        2 => {
            let credential = BasicCredential::new(format!("mimi://{}", client.user().provider()).into_bytes());
            senders.push(ExternalSender::new(vec![7; 32].into(), credential.into()));
        }
        _ => {}
    }
    let senders = Extension::ExternalSenders(senders);
    extensions.add_or_replace(senders).expect("a kind that groups have");
    extensions
}

/// A client that goes by a pseudonym, among clients that do not.
fn stranger(world: &mut World<'_>, choices: &mut Choices<'_>) -> Option<KeyPackage> {
    let kinds = [
        Names::Pseudonyms,
        Names::OfAnotherKey,
        Names::Unlisted,
        Names::Malformed,
    ];
    let user = pseudonym("b.example", choices.number());
    let client = world.another(&user)?.named(*choices.of(&kinds));
    Some(client.key_package())
}

/// One thing that a Commit does.
fn part(world: &mut World<'_>, choices: &mut Choices<'_>, who: usize, plan: Plan) -> Plan {
    let victim = choices.of(&world.people[who].members()).0;
    match choices.below(9) {
        0 => plan,
        1 => {
            let user = world.some_user(choices);
            let own = choices.rarely(3);
            let user = if own { world.people[who].user().clone() } else { user };
            if choices.rarely(10) {
                return plan.add(stranger(world, choices));
            }
            let Some(client) = world.another(&user) else {
                return plan;
            };
            // A KeyPackage that the hub has not seen is not to be added.
            let key_package = match choices.below(5) {
                1 => client.key_package(),
                2 => client.key_package_for(&client.identity, Lifetime::init(0, u64::MAX / 2_000)),
                _ => world.claim(&client),
            };
            world.people.push(client);
            let plan = plan.add([key_package]);
            if own || choices.rarely(6) {
                return plan;
            }
            plan.list(&added(&user, *choices.of(&ROLES)))
        }
        2 => plan.remove([victim]),
        3 => {
            let user = choices.of(&world.people[who].members()).1.user().clone();
            let leaves = world.people[who].leaves_of(&user);
            let list = ParticipantListUpdate {
                removed_indices: vec![world.people[who].place_of(&user)],
                ..ParticipantListUpdate::default()
            };
            plan.remove(leaves).list(&list)
        }
        4 => {
            let user = choices.of(&world.people[who].members()).1.user().clone();
            let role_index = *choices.of(&ROLES);
            let leaves = if role_index == roles::BANNED {
                world.people[who].leaves_of(&user)
            } else {
                Vec::new()
            };
            plan.remove(leaves).list(&ParticipantListUpdate {
                changed_role_participants: vec![UserindexRolePair {
                    user_index: world.people[who].place_of(&user),
                    role_index,
                }],
                ..ParticipantListUpdate::default()
            })
        }
        5 => {
            let update = any_list(world, choices);
            plan.list(&update)
        }
        6 => plan.with(component(world, choices)),
        7 => plan.with(Proposal::AppDataUpdate(Box::new(AppDataUpdateProposal::remove(
            component_id(choices),
        )))),
        _ => {
            let count = choices.below(40);
            plan.with(app_data_update(component_id(choices), choices.octets(count).to_vec()))
        }
    }
}

/// The components of the room, their neighbours among the registered ones, and any.
fn component_id(choices: &mut Choices<'_>) -> u16 {
    match choices.octet() {
        octet @ 0..200 => 0x20 + u16::from(octet % 18),
        octet => u16::from(octet) - 200,
    }
}

/// Changes of the list, whatever they mean.
pub(super) fn any_list(world: &mut World<'_>, choices: &mut Choices<'_>) -> ParticipantListUpdate {
    let mut list = ParticipantListUpdate::default();
    for _ in 0..choices.below(3) {
        list.changed_role_participants.push(UserindexRolePair {
            user_index: choices.number(),
            role_index: *choices.of(&ROLES),
        });
    }
    for _ in 0..choices.below(3) {
        list.removed_indices.push(choices.number());
    }
    for _ in 0..choices.below(2) {
        let user = world.some_user(choices);
        let role_index = *choices.of(&ROLES);
        list.added_participants.push(UserRolePair { user, role_index });
    }
    list
}

/// A component that is well-formed, allowed or not.
fn component(world: &mut World<'_>, choices: &mut Choices<'_>) -> Proposal {
    match choices.below(4) {
        0 => {
            let policy = BaseRoomPolicy {
                fixed_membership: choices.rarely(4),
                multi_device: !choices.rarely(3),
                max_clients: choices.rarely(3).then(|| choices.number()),
                max_users: choices.rarely(3).then(|| choices.number()),
                ..BaseRoomPolicy::default()
            };
            app_data_update(BASE_ROOM_POLICY, tls::encode(&policy))
        }
        1 => {
            let mut data = roles::roles();
            let place = choices.below(data.roles.len());
            let role = &mut data.roles[place];
            role.minimum_participants_constraint = choices.number();
            role.maximum_active_participants_constraint = choices.rarely(2).then(|| choices.number());
            if choices.rarely(3) {
                role.role_capabilities.clear();
            }
            if choices.rarely(4) {
                data.roles.remove(place);
            }
            app_data_update(ROLES_LIST, tls::encode(&data))
        }
        2 => {
            let policy = JoinLinkPolicy {
                on_request: choices.rarely(2),
                multiuser: choices.rarely(2),
                expiration: choices.number(),
                ..JoinLinkPolicy::default()
            };
            app_data_update(JOIN_LINK_POLICY, tls::encode(&policy))
        }
        _ => {
            let target_role = choices.of(&roles::roles().roles).clone();
            let entry = PreAuthRoleEntry {
                claimset: vec![mimi_hub_proto::components::Claim::user(&world.some_user(choices))],
                target_role,
            };
            let data = PreAuthData {
                preauthorized_entries: vec![entry],
            };
            app_data_update(PREAUTH_LIST, tls::encode(&data))
        }
    }
}

fn source(world: &World<'_>, choices: &mut Choices<'_>, who: usize) -> mimi_hub_proto::uri::ProviderDomain {
    if choices.rarely(12) {
        return some_domain(choices);
    }
    world.people[who].user().provider()
}

/// The GroupInfo whole or in part.
fn upload(choices: &mut Choices<'_>, sent: &mut Sent) {
    if let HandshakeBundle::Commit { group_info, .. } = &mut sent.bundle
        && choices.rarely(2)
        && let GroupInfoOption::Full(whole) = &*group_info
        && let Ok(partial) = PartialGroupInfo::of(whole)
    {
        *group_info = GroupInfoOption::Partial(partial);
    }
}

/// What goes with a Commit, in all the ways it may be laid out, and some wrong ones. Is the Commit still the client's?
fn dress(world: &World<'_>, choices: &mut Choices<'_>, sent: &mut Sent) -> bool {
    upload(choices, sent);
    let HandshakeBundle::Commit {
        commit,
        welcome,
        group_info,
        ratchet_tree,
    } = &mut sent.bundle
    else {
        return true;
    };
    if choices.rarely(6) {
        *group_info = GroupInfoOption::Full(world.group_info().0);
    }
    *ratchet_tree = match choices.below(12) {
        1 => RatchetTreeOption::Full(world.group_info().1),
        2 => RatchetTreeOption::OutOfBand {
            tree_signature: choices.octets(3).to_vec(),
        },
        3 => RatchetTreeOption::HttpsUri {
            ratchet_tree_url: "https://a.example/".to_owned(),
            tree_signature: Vec::new(),
        },
        _ => RatchetTreeOption::DistributionService,
    };
    if choices.rarely(12) {
        let earlier = world.updates.iter().rev().find_map(|(_, bundle)| match bundle {
            HandshakeBundle::Commit { welcome, .. } => Some(welcome.clone()),
            HandshakeBundle::Proposals { .. } => None,
        });
        *welcome = earlier.flatten();
        return false;
    }
    if choices.rarely(10) {
        let mut octets = tls::encode(commit);
        let at = (choices.below(256) * 256 + choices.below(256)) % octets.len();
        octets[at] ^= 1 << choices.below(8);
        if let Ok(changed) = tls::decode_exact(&octets) {
            *commit = changed;
            return false;
        }
    }
    true
}

/// Somebody joins by itself: a participant's further client, or who has a role by preauthorization or a join code.
pub(super) fn join(world: &mut World<'_>, choices: &mut Choices<'_>) {
    let user = world.some_user(choices);
    let Some(mut client) = world.another(&user) else { return };
    let (group_info, tree) = world.group_info();
    let list = match choices.below(3) {
        0 => None,
        1 => Some(any_list(world, choices)),
        _ => Some(added(&user, *choices.of(&ROLES))),
    };
    let Ok((group, bundle)) = client.try_external_commit(&group_info, &tree, list.as_ref()) else {
        return;
    };
    let mut sent = sent(bundle, RatchetTreeOption::DistributionService);
    let genuine = dress(world, choices, &mut sent);
    let source = if choices.rarely(12) {
        some_domain(choices)
    } else {
        user.provider()
    };
    match world.update(&source, &sent.bundle) {
        Some(_) if !genuine => world.over = true,
        Some(event) => {
            client.group = Some(group);
            world.people.push(client);
            let who = world.people.len() - 1;
            world.deliver(who, &sent, &event);
        }
        None => {}
    }
    world.check();
}

/// A member proposes.
pub(super) fn propose(world: &mut World<'_>, choices: &mut Choices<'_>) {
    let Some(who) = world.someone(choices) else { return };
    let mut proposals: Vec<ProposalMessage> = Vec::new();
    for _ in 0..=choices.below(3) {
        match choices.below(6) {
            0 => proposals.extend(world.people[who].propose_to_leave()),
            1 => proposals.push(world.people[who].propose_update(None)),
            2 => {
                let leaf = choices.of(&world.people[who].members()).0;
                proposals.push(world.people[who].propose_remove(leaf));
            }
            3 => proposals.push(world.people[who].propose_self_remove()),
            4 => {
                let list = any_list(world, choices);
                proposals.push(world.people[who].propose_list(&list));
            }
            _ => {
                let user = world.some_user(choices);
                let Some(client) = world.another(&user) else { continue };
                let key_package = world.claim(&client);
                world.people.push(client);
                proposals.push(world.people[who].propose_add(&key_package));
            }
        }
    }
    let Some((proposal, more)) = proposals.split_first() else {
        return;
    };
    let bundle = HandshakeBundle::Proposals {
        proposal: proposal.clone(),
        more_proposals: more.to_vec(),
    };
    let source = source(world, choices, who);
    match world.update(&source, &bundle) {
        Some(RoomEvent::Proposals { .. }) => world.tell(who, &proposals),
        Some(other) => panic!("{other:?}"),
        // A client whose proposal was refused goes on with it otherwise: its next Commit has a reference that nobody knows.
        None if world.state().pending.is_empty() => world.people[who].drop_proposals(),
        None => {}
    }
    world.check();
}

/// What has been sent to `update` before, as it was or from another provider.
pub(super) fn again(world: &mut World<'_>, choices: &mut Choices<'_>) {
    if world.updates.is_empty() {
        return;
    }
    let (mut source, bundle) = choices.of(&world.updates).clone();
    if choices.rarely(4) {
        source = some_domain(choices);
    }
    // What was refused may have become acceptable: then nobody has it pending any more.
    if world.update(&source, &bundle).is_some() {
        world.over = true;
    }
}
