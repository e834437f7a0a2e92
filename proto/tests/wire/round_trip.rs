//! `decode(encode(x)) == x` for values of any content.

use std::fmt::Debug;

use mimi_hub_proto::components::ComponentsList;
use mimi_hub_proto::mls::{
    self, CommitMessage, ContentType, HpkePublicKey, KeyPackageRef, MlsMessage, ProposalMessage, ProposalRef,
    SignaturePublicKey,
};
use mimi_hub_proto::tls::{Decode, Encode, decode_exact, encode};
use mimi_hub_proto::{
    ClientIdentity, ClientKeyMaterial, ClientKeyMaterialOutcome, FanoutEvent, FanoutMessage, Frank, FrankAad,
    FrankingAgentData, FrankingIntegrityTbs, GroupInfoOption, GroupInfoRatchetTreeTbe, GroupInfoRequest,
    GroupInfoRequestTbs, GroupInfoResponse, GroupInfoResponseTbs, HandshakeBundle, IdentityLinkTbe, KeyMaterialRequest,
    KeyMaterialRequestTbs, KeyMaterialResponse, KeyMaterialUserCode, LeafCredential, PartialGroupInfo, PendingProposal,
    PseudonymousCredential, PseudonymousCredentialTbs, RatchetTreeOption, RatchetTreePresence, ServerFrankingContext,
    SubmitMessageRequest, SubmitMessageResponse, UpdateOutcome, UpdateRequest, UpdateRoomResponse, decode_all,
    encode_all,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::arbitrary::*;
use crate::mls_bytes::{Content, verbatim};

fn survives<T: Encode + Decode + PartialEq + Debug>(value: &T) -> Result<(), TestCaseError> {
    let octets = encode(value);
    let decoded = decode_exact::<T>(&octets);
    prop_assert_eq!(decoded.as_ref(), Ok(value));
    prop_assert_eq!(encode(&decoded.unwrap()), octets);
    Ok(())
}

fn proposal_message() -> BoxedStrategy<ProposalMessage> {
    (public_message(), proposal())
        .prop_map(|(mut message, proposal)| {
            if let mls::Sender::NewMemberCommit = message.sender {
                message.sender = mls::Sender::NewMemberProposal;
            }
            message.content = Content::Proposal(Box::new(proposal));
            verbatim::<mls::PublicMessage>(&message).try_into().unwrap()
        })
        .boxed()
}

fn commit_message() -> BoxedStrategy<CommitMessage> {
    (public_message(), commit(), octets())
        .prop_map(|(mut message, commit, confirmation_tag)| {
            if !matches!(message.sender, mls::Sender::Member(_)) {
                message.sender = mls::Sender::NewMemberCommit;
            }
            message.content = Content::Commit {
                commit: Box::new(commit),
                confirmation_tag,
            };
            verbatim::<mls::PublicMessage>(&message).try_into().unwrap()
        })
        .boxed()
}

fn application_message() -> BoxedStrategy<mls::ApplicationMessage> {
    private_message()
        .prop_map(|mut message| {
            message.content_type = ContentType::Application;
            verbatim::<mls::PrivateMessage>(&message).try_into().unwrap()
        })
        .boxed()
}

fn mls_message() -> BoxedStrategy<MlsMessage> {
    prop_oneof![
        public_message().prop_map(|spec| MlsMessage::PublicMessage(verbatim(&spec))),
        private_message().prop_map(|spec| MlsMessage::PrivateMessage(verbatim(&spec))),
        welcome().prop_map(|spec| MlsMessage::Welcome(verbatim(&spec))),
        group_info().prop_map(|spec| MlsMessage::GroupInfo(verbatim(&spec))),
        key_package().prop_map(|spec| MlsMessage::KeyPackage(verbatim(&spec))),
    ]
    .boxed()
}

fn ratchet_tree_option() -> BoxedStrategy<RatchetTreeOption> {
    prop_oneof![
        tree().prop_map(|spec| RatchetTreeOption::Full(verbatim(&spec))),
        (text(), octets()).prop_map(|(ratchet_tree_url, tree_signature)| RatchetTreeOption::HttpsUri {
            ratchet_tree_url,
            tree_signature
        }),
        octets().prop_map(|tree_signature| RatchetTreeOption::OutOfBand { tree_signature }),
        Just(RatchetTreeOption::DistributionService),
    ]
    .boxed()
}

fn partial_group_info() -> BoxedStrategy<PartialGroupInfo> {
    let presence = prop_oneof![
        Just(RatchetTreePresence::NoRatchetTree),
        Just(RatchetTreePresence::Present),
        Just(RatchetTreePresence::Removed),
        Just(RatchetTreePresence::Added)
    ];
    (presence, extensions(), octets())
        .prop_map(|(presence, mut extensions, signature)| {
            extensions.retain(|extension| extension.extension_type != mls::ExtensionType::RATCHET_TREE);
            PartialGroupInfo::new(presence, extensions, signature).unwrap()
        })
        .boxed()
}

fn handshake_bundle() -> BoxedStrategy<HandshakeBundle> {
    let group_info = prop_oneof![
        group_info().prop_map(|spec| GroupInfoOption::Full(verbatim(&spec))),
        partial_group_info().prop_map(GroupInfoOption::Partial)
    ];
    prop_oneof![
        (
            commit_message(),
            option::of(welcome()),
            group_info,
            ratchet_tree_option()
        )
            .prop_map(|(commit, welcome, group_info, ratchet_tree)| HandshakeBundle::Commit {
                commit,
                welcome: welcome.map(|spec| verbatim(&spec)),
                group_info,
                ratchet_tree,
            }),
        (proposal_message(), vec(proposal_message(), 0..3)).prop_map(|(proposal, more_proposals)| {
            HandshakeBundle::Proposals {
                proposal,
                more_proposals,
            }
        }),
    ]
    .boxed()
}

fn frank() -> BoxedStrategy<Frank> {
    (any::<[u8; 32]>(), suite(), octets())
        .prop_map(
            |(server_frank, franking_signature_ciphersuite, franking_integrity_signature)| Frank {
                server_frank,
                franking_signature_ciphersuite,
                franking_integrity_signature,
            },
        )
        .boxed()
}

fn fanout_message() -> BoxedStrategy<FanoutMessage> {
    let event = prop_oneof![
        (application_message(), option::of(frank()))
            .prop_map(|(message, frank)| FanoutEvent::Application { message, frank }),
        (commit_message(), vec(proposal_message(), 0..3)).prop_map(|(commit, external_proposals)| {
            FanoutEvent::Commit {
                commit,
                external_proposals,
            }
        }),
        (proposal_message(), vec(proposal_message(), 0..3)).prop_map(|(proposal, more_proposals)| {
            FanoutEvent::Proposals {
                proposal,
                more_proposals,
            }
        }),
        (welcome(), ratchet_tree_option()).prop_map(|(spec, ratchet_tree)| FanoutEvent::Welcome {
            welcome: verbatim(&spec),
            ratchet_tree
        }),
    ];
    (any::<u64>(), event)
        .prop_map(|(timestamp, event)| FanoutMessage { timestamp, event })
        .boxed()
}

fn key_material_request() -> BoxedStrategy<KeyMaterialRequest> {
    let users = (user_uri(), user_uri(), option::of(room_uri()));
    (
        users,
        vec(suite(), 1..4),
        required_capabilities(),
        external_sender(),
        octets(),
    )
        .prop_map(
            |((requesting_user, target_user, room_id), suites, required_capabilities, requester, signature)| {
                KeyMaterialRequest {
                    tbs: KeyMaterialRequestTbs {
                        requesting_user,
                        target_user,
                        room_id,
                        acceptable_ciphersuites: suites,
                        required_capabilities,
                        requester_signature_key: requester.signature_key,
                        requester_credential: requester.credential,
                    },
                    key_material_request_signature: signature,
                }
            },
        )
        .boxed()
}

fn key_material_response() -> BoxedStrategy<KeyMaterialResponse> {
    let outcome = prop_oneof![
        key_package().prop_map(|spec| ClientKeyMaterialOutcome::Success(verbatim(&spec))),
        Just(ClientKeyMaterialOutcome::KeyMaterialExhausted),
        option::of(capabilities()).prop_map(ClientKeyMaterialOutcome::NothingCompatible),
    ];
    let claimed = (user_uri(), vec(outcome, 0..4)).prop_map(|(user, outcomes)| {
        let client = |n: usize| format!("mimi://{}/d/client{n}", user.domain()).parse().unwrap();
        let clients = outcomes.into_iter().enumerate();
        let clients = clients
            .map(|(n, outcome)| ClientKeyMaterial {
                client_uri: client(n),
                outcome,
            })
            .collect();
        KeyMaterialResponse::from_clients(user, clients).unwrap()
    });
    let code = prop_oneof![
        Just(KeyMaterialUserCode::IncompatibleProtocol),
        Just(KeyMaterialUserCode::NoCompatibleMaterial),
        Just(KeyMaterialUserCode::UserUnknown),
        Just(KeyMaterialUserCode::NoConsent),
        Just(KeyMaterialUserCode::NoConsentForThisRoom),
        Just(KeyMaterialUserCode::UserDeleted),
    ];
    let refused = (user_uri(), code).prop_map(|(user, code)| KeyMaterialResponse::refused(user, code).unwrap());
    prop_oneof![claimed, refused].boxed()
}

fn group_info_request() -> BoxedStrategy<GroupInfoRequest> {
    (suite(), external_sender(), octets(), option::of(octets()), octets())
        .prop_map(
            |(cipher_suite, requester, key, joining_code, signature)| GroupInfoRequest {
                tbs: GroupInfoRequestTbs {
                    cipher_suite,
                    requesting_signature_key: requester.signature_key,
                    requesting_credential: requester.credential,
                    group_info_public_key: HpkePublicKey::new(key),
                    joining_code,
                },
                signature,
            },
        )
        .boxed()
}

fn group_info_response() -> BoxedStrategy<GroupInfoResponse> {
    let success = (room_uri(), suite(), external_sender(), ciphertext(), octets()).prop_map(
        |(room_id, cipher_suite, hub_sender, encrypted_groupinfo_and_tree, signature)| GroupInfoResponse::Success {
            tbs: GroupInfoResponseTbs {
                room_id,
                cipher_suite,
                hub_sender,
                encrypted_groupinfo_and_tree,
            },
            signature,
        },
    );
    prop_oneof![
        success,
        room_uri().prop_map(|room_id| GroupInfoResponse::NotAuthorized { room_id }),
        room_uri().prop_map(|room_id| GroupInfoResponse::NoSuchRoom { room_id }),
    ]
    .boxed()
}

fn update_room_response() -> BoxedStrategy<UpdateRoomResponse> {
    let outcome = prop_oneof![
        any::<u64>().prop_map(|accepted_timestamp| UpdateOutcome::Success { accepted_timestamp }),
        any::<u64>().prop_map(|current_epoch| UpdateOutcome::WrongEpoch { current_epoch }),
        Just(UpdateOutcome::NotAllowed),
        vec(octets().prop_map(ProposalRef::new), 0..4)
            .prop_map(|invalid_proposals| UpdateOutcome::InvalidProposal { invalid_proposals }),
    ];
    (text(), outcome)
        .prop_map(|(error_description, outcome)| UpdateRoomResponse {
            error_description,
            outcome,
        })
        .boxed()
}

/// The octets as a UUID of version 4.
fn random_uuid(octets: u128) -> String {
    let hex = format!("{:032x}", octets & !(0xf << 76) & !(0xc << 60) | (4 << 76) | (8 << 60));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn identifiers(client in client_uri(), room in room_uri(), user in user_uri(), avatar in avatar()) {
        survives(&client)?;
        survives(&room)?;
        survives(&room.group_uri())?;
        survives(&user)?;
        survives(&avatar)?;
        prop_assert_eq!(room.as_str().parse(), Ok(room.clone()));
        prop_assert_eq!(room.group_uri().room_uri(), room);
    }

    #[test]
    fn credentials(credential in credential(), client in client_uri(), id in "[a-z]{1,9}") {
        survives(&credential)?;
        let user = format!("mimi://{}/u/{id}", client.domain()).parse().unwrap();
        survives(&ClientIdentity::new(client, user).unwrap())?;
    }

    #[test]
    fn pseudonymous_credentials(
        domain in "[a-z]{1,9}\\.example",
        ids in any::<[u128; 2]>(),
        key in octets(),
        link in octets(),
        signature in octets(),
        real in credential(),
    ) {
        let [client, user] = ids.map(random_uuid);
        let client = format!("mimi://{domain}/d/{client}").parse().unwrap();
        let user = format!("mimi://{domain}/u/{user}").parse().unwrap();
        let tbs = PseudonymousCredentialTbs::new(client, user, SignaturePublicKey::new(key)).unwrap();
        survives(&tbs)?;
        let pseudonymous = PseudonymousCredential::new(tbs, link);
        survives(&pseudonymous)?;
        survives(&pseudonymous.to_credential())?;
        let read = LeafCredential::from_credential(pseudonymous.to_credential().as_ref());
        prop_assert_eq!(read, Ok(LeafCredential::Pseudonymous(Box::new(pseudonymous))));
        survives(&IdentityLinkTbe { pseudonymous_credential_signature: signature, client_credential: real })?;
    }

    #[test]
    fn small_mls_structs(
        capabilities in capabilities(),
        required in required_capabilities(),
        sender in external_sender(),
        sealed in ciphertext(),
        octets in octets(),
        extensions in extensions(),
    ) {
        survives(&capabilities)?;
        survives(&required)?;
        survives(&sender)?;
        survives(&sealed)?;
        survives(&HpkePublicKey::new(octets.clone()))?;
        survives(&KeyPackageRef::new(octets.clone()))?;
        survives(&ProposalRef::new(octets.clone()))?;
        survives(&SignaturePublicKey::new(octets))?;
        survives(&extensions)?;
    }

    #[test]
    fn mls_messages(message in mls_message()) {
        survives(&message)?;
    }

    #[test]
    fn ratchet_trees(spec in tree(), option in ratchet_tree_option(), partial in partial_group_info()) {
        let tree: mls::RatchetTree = verbatim(&spec);
        survives(&tree)?;
        prop_assert_eq!(tree.len(), spec.len());
        survives(&option)?;
        survives(&partial)?;
    }

    #[test]
    fn components(
        dictionary in dictionary(),
        update in app_data_update(),
        ephemeral in app_ephemeral(),
        aad in safe_aad(),
        ids in vec(any::<u16>(), 0..5),
    ) {
        survives(&dictionary)?;
        survives(&update)?;
        survives(&ephemeral)?;
        survives(&aad)?;
        survives(&ComponentsList { component_ids: ids })?;
    }

    #[test]
    fn room_components(
        list in participant_list(),
        update in participant_list_update(),
        roles in roles(),
        base in base_room_policy(),
        metadata in metadata(),
    ) {
        survives(&list)?;
        survives(&update)?;
        survives(&roles)?;
        survives(&base)?;
        survives(&metadata)?;
    }

    #[test]
    fn franking(frank in frank(), tag in any::<[u8; 32]>(), agent in external_sender(), sender in user_uri(), room in room_uri(), time in any::<u64>()) {
        survives(&frank)?;
        survives(&FrankAad { franking_tag: tag })?;
        survives(&FrankingAgentData { franking_signature_key: agent.signature_key, credential: agent.credential })?;
        let context = ServerFrankingContext { sender_uri: sender, room_uri: room, accepted_timestamp: time };
        survives(&context)?;
        let franking_signature_ciphersuite = frank.franking_signature_ciphersuite;
        survives(&FrankingIntegrityTbs { server_frank: frank.server_frank, franking_signature_ciphersuite, context })?;
    }

    #[test]
    fn key_material(request in key_material_request(), response in key_material_response()) {
        survives(&request)?;
        survives(&request.tbs)?;
        survives(&response)?;
        for client in response.clients() {
            survives(client)?;
        }
    }

    #[test]
    fn updates(bundle in handshake_bundle(), response in update_room_response()) {
        survives(&UpdateRequest { bundle })?;
        survives(&response)?;
    }

    #[test]
    fn submitted_messages(app_message in application_message(), sending_uri in user_uri(), frank in option::of(frank()), number in any::<u64>()) {
        survives(&SubmitMessageRequest { app_message, sending_uri })?;
        survives(&SubmitMessageResponse::Accepted { accepted_timestamp: number, frank })?;
        survives(&SubmitMessageResponse::EpochTooOld { current_epoch: number })?;
    }

    #[test]
    fn fanout_messages(messages in vec(fanout_message(), 1..4)) {
        for message in &messages {
            survives(message)?;
        }
        prop_assert_eq!(decode_all(&encode_all(&messages)), Ok(messages));
    }

    #[test]
    fn group_infos(
        request in group_info_request(),
        response in group_info_response(),
        spec in group_info(),
        ratchet_tree in ratchet_tree_option(),
        pending in vec((proposal_message(), any::<u64>()), 0..3),
    ) {
        survives(&request)?;
        survives(&request.tbs)?;
        survives(&response)?;
        if let GroupInfoResponse::Success { tbs, .. } = &response {
            survives(tbs)?;
        }
        let pending = pending.into_iter();
        let pending_proposals =
            pending.map(|(proposal, hub_accepted_time)| PendingProposal { proposal, hub_accepted_time }).collect();
        survives(&GroupInfoRatchetTreeTbe { group_info: verbatim(&spec), ratchet_tree, pending_proposals })?;
    }

    /// What is signed is the beginning of what is sent.
    #[test]
    fn to_be_signed_parts_are_prefixes(
        key_material in key_material_request(),
        request in group_info_request(),
        response in group_info_response(),
    ) {
        prop_assert!(encode(&key_material).starts_with(&encode(&key_material.tbs)));
        prop_assert!(encode(&request).starts_with(&encode(&request.tbs)));
        if let GroupInfoResponse::Success { tbs, .. } = &response {
            prop_assert!(encode(&response).starts_with(&encode(tbs)));
        }
    }
}
