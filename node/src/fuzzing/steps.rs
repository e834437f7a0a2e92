//! What can be asked of a room, one request a step.

use mimi_hub_proto::components::AppDataDictionary;
use mimi_hub_proto::mls::{CipherSuite, HpkePublicKey, SignaturePublicKey};
use mimi_hub_proto::{
    AbuseReport, AbuseType, AbusiveMessage, ClientKeyMaterial, ClientKeyMaterialOutcome, Frank, GroupInfoRequest,
    GroupInfoRequestTbs, KeyMaterialResponse, KeyMaterialUserCode, SubmitMessageRequest, SubmitMessageResponse, tls,
};
use openmls::prelude::Lifetime;
use openmls_traits::signatures::Signer as _;
use serde_bytes::ByteBuf;

use super::choices::Choices;
use super::commits;
use super::world::{ROLES, World, room_uri, some_domain};
use crate::mls::crypto;
use crate::room::entity::{RoomAnswer, RoomRequest};
use crate::room::group_info::seal;
use crate::room::join_codes::{self, JoinCodeRequest, JoinCodeTerms};
use crate::room::moderation::ModerationRequest;
use crate::testing::client::wire_key_package;
use crate::testing::entity::Asked;

pub(super) fn step(world: &mut World<'_>, choices: &mut Choices<'_>) {
    match choices.below(20) {
        0..5 => commits::commit(world, choices),
        5 => commits::join(world, choices),
        6 | 7 => commits::propose(world, choices),
        8 => commits::again(world, choices),
        9 | 10 => message(world, choices),
        11 => group_info(world, choices),
        12 => claimed(world, choices),
        13 | 14 => join_code(world, choices),
        15 => moderate(world, choices),
        16 => report(world, choices),
        17 => {
            let seq = u64::from(choices.number()) + 4;
            world.ask(&RoomRequest::CloseReport { seq });
        }
        18 => question(world, choices),
        _ => {
            world.now_ms += 1_000 * u64::from(choices.octet());
            world.room.reload();
        }
    }
}

fn message(world: &mut World<'_>, choices: &mut Choices<'_>) {
    let Some(who) = world.someone(choices) else { return };
    let mut content = Vec::new();
    let old = (choices.rarely(3) && !world.messages.is_empty()).then(|| choices.of(&world.messages).clone());
    let message = match old {
        Some(message) => message,
        // openmls gives no message while proposals are pending (RFC 9420, 12.4).
        None if world.people[who].group().pending_proposals().next().is_some() => return,
        None => {
            let client = &mut world.people[who];
            match choices.below(4) {
                0 => {
                    let (message, octets) = client.franked_message(&room_uri(), "hello");
                    content = octets;
                    message
                }
                1 => client.message(choices.octets(9)),
                2 => {
                    let count = choices.below(40);
                    client.message_with_item(choices.octets(count).to_vec(), b"hello")
                }
                _ => client.message_with_tag([choices.octet(); 32], b"hello"),
            }
        }
    };
    world.messages.push(message.clone());
    let sending_uri = if choices.rarely(6) {
        world.some_user(choices)
    } else {
        world.people[who].user().clone()
    };
    let source = if choices.rarely(8) {
        some_domain(choices)
    } else {
        sending_uri.provider()
    };
    let request = SubmitMessageRequest {
        app_message: message,
        sending_uri: sending_uri.clone(),
    };
    if let Asked::Accepted { reply, .. } = world.ask(&RoomRequest::Submit { source, request })
        && let Ok(SubmitMessageResponse::Accepted {
            accepted_timestamp,
            frank: Some(frank),
        }) = tls::decode_exact(&reply)
    {
        let message = AbusiveMessage {
            message_content: content,
            frank,
            accepted_timestamp,
        };
        world.franked.push((sending_uri, message));
    }
}

fn group_info(world: &mut World<'_>, choices: &mut Choices<'_>) {
    let user = world.some_user(choices);
    let Some(client) = world.another(&user) else { return };
    let code = match choices.below(3) {
        0 => None,
        1 => Some(choices.octets(5).to_vec()),
        _ if world.codes.is_empty() => None,
        _ => {
            let (id, at_ms) = choices.of(&world.codes).clone();
            let code = join_codes::derive(&world.settings().keys, &room_uri(), &id, at_ms).unwrap();
            Some(code.into_bytes())
        }
    };
    let tbs = GroupInfoRequestTbs {
        cipher_suite: CipherSuite(*choices.of(&[1, 1, 1, 2, 3, 0xffff])),
        requesting_signature_key: SignaturePublicKey::new(client.signer.public()),
        requesting_credential: client.identity.to_credential(),
        // Some are no points of the curve; that is found when the answer is sealed.
        group_info_public_key: HpkePublicKey::new(client.key_package().hpke_init_key().as_slice()),
        joining_code: code,
    };
    let mut signature = client.signer.sign(&tbs.sign_content()).unwrap();
    if choices.rarely(6) {
        signature.truncate(choices.below(65));
    }
    let source = if choices.rarely(8) {
        some_domain(choices)
    } else {
        user.provider()
    };
    let request = GroupInfoRequest { tbs, signature };
    for _ in 0..2 {
        let (source, request) = (source.clone(), request.clone());
        match world.ask(&RoomRequest::GroupInfo {
            source,
            request: request.clone(),
        }) {
            Asked::Answer(RoomAnswer::GroupInfo(parts)) => {
                seal(&world.settings().keys, &request, &parts).expect("it is sealed for a client that may have it");
                return;
            }
            // Who has shown a code asks again.
            Asked::Accepted { .. } => {}
            Asked::Answer(_) => return,
        }
    }
}

fn claimed(world: &mut World<'_>, choices: &mut Choices<'_>) {
    let user = world.some_user(choices);
    let Some(client) = world.another(&user) else { return };
    let mut clients = Vec::new();
    for _ in 0..choices.below(3) {
        let lifetime = match choices.below(3) {
            0 => Lifetime::default(),
            1 => Lifetime::init(0, 1),
            _ => Lifetime::init(0, u64::MAX),
        };
        let named = choices.of(&world.people).identity.clone();
        let identity = if choices.rarely(4) { &named } else { &client.identity };
        let key_package = wire_key_package(&client.key_package_for(identity, lifetime));
        let outcome = match choices.below(4) {
            1 => ClientKeyMaterialOutcome::KeyMaterialExhausted,
            2 => ClientKeyMaterialOutcome::NothingCompatible(None),
            _ => ClientKeyMaterialOutcome::Success(key_package),
        };
        clients.push(ClientKeyMaterial {
            client_uri: client.identity.client().clone(),
            outcome,
        });
    }
    let response = match clients.is_empty() {
        true => KeyMaterialResponse::refused(user.clone(), KeyMaterialUserCode::NoConsent),
        false => KeyMaterialResponse::from_clients(user.clone(), clients),
    };
    if let Ok(response) = response {
        let provider = some_domain(choices);
        world.ask(&RoomRequest::Claimed { provider, response });
    }
    world.people.push(client);
}

fn join_code(world: &mut World<'_>, choices: &mut Choices<'_>) {
    let by = world.some_user(choices);
    let by = if choices.rarely(3) {
        by
    } else {
        world.people[0].user().clone()
    };
    let id = (*choices.of(&["one", "two", "", "with space"])).to_owned();
    let request = match choices.below(4) {
        0 | 1 => JoinCodeRequest::Create {
            by,
            id: id.clone(),
            terms: JoinCodeTerms {
                role: *choices.of(&ROLES),
                expires_in_s: u64::from(choices.number()) * 60,
                uses_max: choices.number(),
            },
        },
        2 => JoinCodeRequest::Revoke { by, id: id.clone() },
        _ => JoinCodeRequest::List { by },
    };
    let creates = matches!(request, JoinCodeRequest::Create { .. });
    let at_ms = world.now_ms;
    if matches!(world.ask(&RoomRequest::JoinCodes(request)), Asked::Accepted { .. }) && creates {
        world.codes.push((id, at_ms));
    }
}

fn moderate(world: &mut World<'_>, choices: &mut Choices<'_>) {
    let user = world.some_user(choices);
    let request = match choices.below(12) {
        0..3 => ModerationRequest::Remove { user, client: None },
        3 => {
            let client = choices.of(&world.people).identity.client().clone();
            let client = Some(client);
            ModerationRequest::Remove { user, client }
        }
        4..8 => ModerationRequest::Bar(user),
        8..11 => {
            let barred = world.state().records.barred.first().cloned();
            ModerationRequest::Unbar(barred.filter(|_| !choices.rarely(3)).unwrap_or(user))
        }
        _ => ModerationRequest::Destroy { by: user },
    };
    let destroys = matches!(request, ModerationRequest::Destroy { .. });
    if let Asked::Accepted { event, .. } = world.ask(&RoomRequest::Moderate(request)) {
        world.tell_of(&event);
        world.over |= destroys;
    }
    world.check();
}

fn report(world: &mut World<'_>, choices: &mut Choices<'_>) {
    let reporter = world.some_user(choices);
    let (mut alleged_abuser, mut messages) = (world.some_user(choices), Vec::new());
    for _ in 0..choices.below(3) {
        if !world.franked.is_empty() && !choices.rarely(3) {
            let (sender, mut message) = choices.of(&world.franked).clone();
            alleged_abuser = sender;
            if choices.rarely(3) {
                message.accepted_timestamp ^= u64::from(choices.octet());
            }
            if choices.rarely(4) {
                message.frank.franking_signature_ciphersuite = CipherSuite(u16::from(choices.octet()));
            }
            messages.push(message);
            continue;
        }
        let count = choices.below(60);
        messages.push(AbusiveMessage {
            message_content: choices.octets(count).to_vec(),
            frank: Frank {
                server_frank: [choices.octet(); 32],
                franking_signature_ciphersuite: CipherSuite(u16::from(choices.octet())),
                franking_integrity_signature: choices.octets(3).to_vec(),
            },
            accepted_timestamp: u64::from(choices.octet()),
        });
    }
    let report = AbuseReport {
        reporting_user: (!choices.rarely(4)).then(|| reporter.clone()),
        alleged_abuser,
        reason_code: AbuseType(choices.octet()),
        note: "a note".to_owned(),
        messages,
        abuse_extensions: AppDataDictionary::new(),
    };
    let source = if choices.rarely(6) {
        some_domain(choices)
    } else {
        reporter.provider()
    };
    world.ask(&RoomRequest::Report { source, report });
}

/// What is only asked, and a second beginning.
fn question(world: &mut World<'_>, choices: &mut Choices<'_>) {
    let (one, other) = (world.some_user(choices), world.some_user(choices));
    let request = match choices.below(7) {
        0 => RoomRequest::MayClaim {
            requester: one,
            target: other,
        },
        1 => {
            let reference = crypto::hmac_sha256(b"", choices.octets(2)).unwrap();
            RoomRequest::AreAddable(vec![ByteBuf::from(reference)])
        }
        2 => RoomRequest::AreActive(vec![one, other]),
        3 => RoomRequest::Participants,
        4 => {
            let (group_info, ratchet_tree) = world.group_info();
            let create = RoomRequest::Create {
                creator: one.clone(),
                group_info,
                ratchet_tree,
            };
            RoomRequest::Within {
                parent: vec![one, other],
                request: Box::new(create),
            }
        }
        _ => RoomRequest::View,
    };
    assert!(
        matches!(world.ask(&request), Asked::Answer(_)),
        "a question is answered"
    );
}
