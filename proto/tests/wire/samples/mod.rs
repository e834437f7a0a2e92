//! One deterministic value for each struct of the wire, and for each of its cases.

use std::fmt::Debug;

use mimi_hub_proto::components::{
    AppDataUpdate, AppDataUpdateOperation, BaseRoomPolicy, ComponentsList, FRANK_AAD, PARTICIPANT_LIST, RoomMetaData,
    SafeAad,
};
use mimi_hub_proto::mls::{self, Credential, CredentialType, MlsMessage, ProposalRef, Sender};
use mimi_hub_proto::tls::{Decode, Encode, decode_exact, encode};
use mimi_hub_proto::uri::IdentifierUri;
use mimi_hub_proto::{
    ClientIdentity, ClientKeyMaterial, ClientKeyMaterialOutcome, Error, FanoutEvent, FanoutMessage, FrankAad,
    FrankingAgentData, FrankingIntegrityTbs, GroupInfoOption, GroupInfoRatchetTreeTbe, GroupInfoResponse,
    HandshakeBundle, IdentityLinkTbe, KeyMaterialResponse, KeyMaterialUserCode, PendingProposal, RatchetTreeOption,
    SubmitMessageRequest, SubmitMessageResponse, UpdateOutcome, UpdateRequest, UpdateRoomResponse,
};

use crate::mls_bytes::{self, verbatim};

mod parts;
mod people;
mod policies;

pub(crate) use parts::*;

/// Whether octets decode to one value.
type DecodesTo = Box<dyn Fn(&[u8]) -> bool>;

/// A value with its name, its octets, and its codec.
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) octets: Vec<u8>,
    pub(crate) decodes_to_it: DecodesTo,
    /// Decodes octets as the sample's type and encodes the result.
    pub(crate) recode: fn(&[u8]) -> Result<Vec<u8>, Error>,
}

fn sample<T: Encode + Decode + PartialEq + Debug + 'static>(name: &'static str, value: T) -> Sample {
    Sample {
        name,
        octets: encode(&value),
        decodes_to_it: Box::new(move |octets| decode_exact::<T>(octets).as_ref() == Ok(&value)),
        recode: |octets| decode_exact::<T>(octets).map(|value| encode(&value)),
    }
}

/// All samples. The names are those of the golden files.
pub(crate) fn samples() -> Vec<Sample> {
    [
        components(),
        policies::policies(),
        credentials_and_franking(),
        mls_objects(),
        ratchet_trees(),
        key_material(),
        updates(),
        messages(),
        group_infos(),
        people::samples(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn components() -> Vec<Sample> {
    vec![
        sample("app_data_dictionary", dictionary()),
        sample(
            "app_data_update.remove",
            AppDataUpdate {
                component_id: 0x8001,
                op: AppDataUpdateOperation::Remove,
            },
        ),
        sample("app_data_update.update", app_data_update()),
        sample("app_ephemeral", app_ephemeral()),
        sample("base_room_policy", base_room_policy()),
        sample("base_room_policy.default", BaseRoomPolicy::default()),
        sample(
            "components_list",
            ComponentsList {
                component_ids: vec![FRANK_AAD, PARTICIPANT_LIST],
            },
        ),
        sample("participant_list_data", participants()),
        sample("participant_list_update", participant_list_update()),
        sample("role_data", roles()),
        sample("room_meta_data", metadata()),
        sample("room_meta_data.empty", RoomMetaData::default()),
        sample("safe_aad", safe_aad()),
        sample("safe_aad.empty", SafeAad::default()),
    ]
}

fn credentials_and_franking() -> Vec<Sample> {
    let agent = FrankingAgentData {
        franking_signature_key: signature_key(),
        credential: credential(),
    };
    let tbs = FrankingIntegrityTbs {
        server_frank: [0xf0; 32],
        franking_signature_ciphersuite: SUITE,
        context: franking_context(),
    };
    let x509 = encode(&vec![0xceu8; 70]).repeat(2);
    vec![
        sample(
            "client_identity",
            ClientIdentity::new(client("ClientB1"), bob()).unwrap(),
        ),
        sample("credential.basic", credential()),
        sample("credential.pseudonymous", pseudonymous_credential().to_credential()),
        sample(
            "credential.unknown",
            Credential::new(CredentialType(0xf00d), b"opaque".to_vec()).unwrap(),
        ),
        sample("credential.x509", Credential::new(CredentialType::X509, x509).unwrap()),
        sample("external_sender", external_sender()),
        sample("frank", frank()),
        sample(
            "frank_aad",
            FrankAad {
                franking_tag: [0x7a; 32],
            },
        ),
        sample("franking_agent_data", agent),
        sample("franking_integrity_tbs", tbs),
        sample(
            "identifier_uri",
            "https://a.example/avatar.png".parse::<IdentifierUri>().unwrap(),
        ),
        sample(
            "identity_link_tbe",
            IdentityLinkTbe {
                pseudonymous_credential_signature: vec![0x5e; 64],
                client_credential: credential(),
            },
        ),
        sample("pseudonymous_credential", pseudonymous_credential()),
        sample("pseudonymous_credential_tbs", pseudonymous_credential().tbs()),
        sample("server_franking_context", franking_context()),
    ]
}

fn mls_objects() -> Vec<Sample> {
    let public = |message: mls::ProposalMessage| MlsMessage::from(message);
    let mut samples = vec![
        sample("capabilities", capabilities()),
        sample("group_info", group_info()),
        sample("key_package", verbatim::<mls::KeyPackage>(&key_package())),
        sample("mls_message.commit", MlsMessage::from(commit_message())),
        sample("mls_message.external_commit", MlsMessage::from(external_commit())),
        sample("mls_message.group_info", MlsMessage::GroupInfo(group_info())),
        sample(
            "mls_message.key_package",
            MlsMessage::KeyPackage(verbatim(&key_package())),
        ),
        sample("mls_message.private_message", MlsMessage::from(application_message())),
        sample("mls_message.welcome", MlsMessage::Welcome(welcome())),
        sample("required_capabilities", required_capabilities()),
        sample("welcome", welcome()),
        sample(
            "mls_message.proposal_of_new_member",
            public(proposal_message(
                Sender::NewMemberProposal,
                mls_bytes::Proposal::Add(key_package()),
            )),
        ),
        sample("mls_message.proposal_of_external_sender", public(hub_remove())),
        sample("mls_message.proposal_of_member", public(self_remove())),
    ];
    let names = [
        "proposal.add",
        "proposal.update",
        "proposal.remove",
        "proposal.psk_external",
        "proposal.psk_resumption",
        "proposal.psk_application",
        "proposal.reinit",
        "proposal.external_init",
        "proposal.group_context_extensions",
        "proposal.app_data_update",
        "proposal.app_data_remove",
        "proposal.app_ephemeral",
        "proposal.self_remove",
    ];
    let proposals = names.into_iter().zip(proposals());
    samples.extend(proposals.map(|(name, proposal)| sample(name, proposal_message(Sender::Member(3), proposal))));
    samples
}

fn ratchet_trees() -> Vec<Sample> {
    let https = RatchetTreeOption::HttpsUri {
        ratchet_tree_url: "https://a.example/tree".into(),
        tree_signature: vec![0x62; 64],
    };
    vec![
        sample("group_info_option.full", GroupInfoOption::Full(group_info())),
        sample(
            "group_info_option.partial",
            GroupInfoOption::Partial(partial_group_info()),
        ),
        sample("partial_group_info", partial_group_info()),
        sample("ratchet_tree", tree()),
        sample(
            "ratchet_tree_option.distribution_service",
            RatchetTreeOption::DistributionService,
        ),
        sample("ratchet_tree_option.full", RatchetTreeOption::Full(tree())),
        sample("ratchet_tree_option.https_uri", https),
        sample(
            "ratchet_tree_option.out_of_band",
            RatchetTreeOption::OutOfBand {
                tree_signature: vec![0x62; 64],
            },
        ),
    ]
}

fn key_material() -> Vec<Sample> {
    let with = |name: &str, outcome| ClientKeyMaterial {
        client_uri: client(name),
        outcome,
    };
    let claimed = || with("ClientB1", ClientKeyMaterialOutcome::Success(verbatim(&key_package())));
    let exhausted = || with("ClientB2", ClientKeyMaterialOutcome::KeyMaterialExhausted);
    let incompatible = || {
        with(
            "ClientB3",
            ClientKeyMaterialOutcome::NothingCompatible(Some(capabilities())),
        )
    };
    let private = || with("ClientB4", ClientKeyMaterialOutcome::NothingCompatible(None));
    let of = |clients| KeyMaterialResponse::from_clients(bob(), clients).unwrap();
    let refused = |code| KeyMaterialResponse::refused(bob(), code).unwrap();
    let mut without_room = key_material_request();
    without_room.tbs.room_id = None;
    vec![
        sample("key_material_request", key_material_request()),
        sample("key_material_request.without_room", without_room),
        sample("key_material_request_tbs", key_material_request().tbs),
        sample("key_material_response.success", of(vec![claimed()])),
        sample(
            "key_material_response.partial_success",
            of(vec![claimed(), exhausted(), incompatible(), private()]),
        ),
        sample(
            "key_material_response.no_compatible_material",
            of(vec![exhausted(), incompatible()]),
        ),
        sample(
            "key_material_response.incompatible_protocol",
            refused(KeyMaterialUserCode::IncompatibleProtocol),
        ),
        sample(
            "key_material_response.user_unknown",
            refused(KeyMaterialUserCode::UserUnknown),
        ),
        sample(
            "key_material_response.no_consent",
            refused(KeyMaterialUserCode::NoConsent),
        ),
        sample(
            "key_material_response.no_consent_for_this_room",
            refused(KeyMaterialUserCode::NoConsentForThisRoom),
        ),
        sample(
            "key_material_response.user_deleted",
            refused(KeyMaterialUserCode::UserDeleted),
        ),
    ]
}

fn updates() -> Vec<Sample> {
    let full = HandshakeBundle::Commit {
        commit: commit_message(),
        welcome: Some(welcome()),
        group_info: GroupInfoOption::Full(group_info()),
        ratchet_tree: RatchetTreeOption::Full(tree()),
    };
    let partial = HandshakeBundle::Commit {
        commit: external_commit(),
        welcome: None,
        group_info: GroupInfoOption::Partial(partial_group_info()),
        ratchet_tree: RatchetTreeOption::DistributionService,
    };
    let proposals = HandshakeBundle::Proposals {
        proposal: self_remove(),
        more_proposals: vec![hub_remove()],
    };
    let response = |text: &str, outcome| UpdateRoomResponse {
        error_description: text.into(),
        outcome,
    };
    let invalid_proposals = vec![ProposalRef::new([0x4e; 32]), ProposalRef::new([0x4f; 32])];
    vec![
        sample("update_request.commit_full", UpdateRequest { bundle: full }),
        sample("update_request.commit_partial", UpdateRequest { bundle: partial }),
        sample("update_request.proposals", UpdateRequest { bundle: proposals }),
        sample("update_room_response.success", {
            response(
                "",
                UpdateOutcome::Success {
                    accepted_timestamp: TIMESTAMP,
                },
            )
        }),
        sample("update_room_response.wrong_epoch", {
            response("the epoch is over", UpdateOutcome::WrongEpoch { current_epoch: 43 })
        }),
        sample(
            "update_room_response.not_allowed",
            response("not you", UpdateOutcome::NotAllowed),
        ),
        sample("update_room_response.invalid_proposal", {
            response("", UpdateOutcome::InvalidProposal { invalid_proposals })
        }),
    ]
}

fn messages() -> Vec<Sample> {
    let request = SubmitMessageRequest {
        app_message: application_message(),
        sending_uri: alice(),
    };
    let accepted = |frank| SubmitMessageResponse::Accepted {
        accepted_timestamp: TIMESTAMP,
        frank,
    };
    let fanout = |event| FanoutMessage {
        timestamp: TIMESTAMP,
        event,
    };
    let application = |frank| {
        fanout(FanoutEvent::Application {
            message: application_message(),
            frank,
        })
    };
    vec![
        sample("submit_message_request", request),
        sample("submit_message_response.accepted", accepted(None)),
        sample("submit_message_response.accepted_and_franked", accepted(Some(frank()))),
        sample(
            "submit_message_response.epoch_too_old",
            SubmitMessageResponse::EpochTooOld { current_epoch: 43 },
        ),
        sample("submit_message_response.not_allowed", SubmitMessageResponse::NotAllowed),
        sample("fanout_message.application", application(None)),
        sample("fanout_message.application_franked", application(Some(frank()))),
        sample("fanout_message.commit", {
            fanout(FanoutEvent::Commit {
                commit: commit_message(),
                external_proposals: vec![],
            })
        }),
        sample("fanout_message.external_commit", {
            fanout(FanoutEvent::Commit {
                commit: external_commit(),
                external_proposals: vec![hub_remove()],
            })
        }),
        sample("fanout_message.proposals", {
            fanout(FanoutEvent::Proposals {
                proposal: self_remove(),
                more_proposals: vec![hub_remove()],
            })
        }),
        sample("fanout_message.welcome", {
            fanout(FanoutEvent::Welcome {
                welcome: welcome(),
                ratchet_tree: RatchetTreeOption::DistributionService,
            })
        }),
    ]
}

fn group_infos() -> Vec<Sample> {
    let tbe = GroupInfoRatchetTreeTbe {
        group_info: group_info(),
        ratchet_tree: RatchetTreeOption::Full(tree()),
        pending_proposals: vec![PendingProposal {
            proposal: self_remove(),
            hub_accepted_time: TIMESTAMP,
        }],
    };
    let success = GroupInfoResponse::Success {
        tbs: group_info_response_tbs(),
        signature: vec![0x63; 64],
    };
    vec![
        sample("group_info_ratchet_tree_tbe", tbe),
        sample("group_info_request", group_info_request(None)),
        sample(
            "group_info_request.joining_code",
            group_info_request(Some(b"let me in".to_vec())),
        ),
        sample("group_info_request_tbs", group_info_request(None).tbs),
        sample("group_info_response.success", success),
        sample(
            "group_info_response.no_such_room",
            GroupInfoResponse::NoSuchRoom { room_id: room() },
        ),
        sample(
            "group_info_response.not_authorized",
            GroupInfoResponse::NotAuthorized { room_id: room() },
        ),
        sample("group_info_response_tbs", group_info_response_tbs()),
    ]
}
