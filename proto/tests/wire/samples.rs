//! One deterministic value for each struct of the wire, and for each of its cases.

use std::fmt::Debug;

use mimi_hub_proto::components::{
    AppDataDictionary, AppDataUpdate, AppDataUpdateOperation, AppEphemeral, BaseRoomPolicy, Capability, ComponentsList,
    FRANK_AAD, PARTICIPANT_LIST, ParticipantListData, ParticipantListUpdate, ROLES_LIST, RichDescription, Role,
    RoleData, RoomMetaData, SafeAad, SafeAadItem, SingleSourceRoleChangeTargets, UserRolePair, UserindexRolePair,
};
use mimi_hub_proto::mls::{
    self, Capabilities, CipherSuite, ContentType, Credential, CredentialType, Extension, ExtensionType, ExternalSender,
    HpkeCiphertext, HpkePublicKey, MlsMessage, ProposalRef, RequiredCapabilities, Sender, SignaturePublicKey,
};
use mimi_hub_proto::tls::{Decode, Encode, decode_exact, encode};
use mimi_hub_proto::uri::{ClientUri, IdentifierUri, RoomUri, UserUri};
use mimi_hub_proto::{
    ClientIdentity, ClientKeyMaterial, ClientKeyMaterialOutcome, Error, FanoutEvent, FanoutMessage, Frank, FrankAad,
    FrankingAgentData, FrankingIntegrityTbs, GroupInfoOption, GroupInfoRatchetTreeTbe, GroupInfoRequest,
    GroupInfoRequestTbs, GroupInfoResponse, GroupInfoResponseTbs, HandshakeBundle, KeyMaterialRequest,
    KeyMaterialRequestTbs, KeyMaterialResponse, KeyMaterialUserCode, PartialGroupInfo, PendingProposal,
    RatchetTreeOption, RatchetTreePresence, ServerFrankingContext, SubmitMessageRequest, SubmitMessageResponse,
    UpdateOutcome, UpdateRequest, UpdateRoomResponse,
};

use crate::mls_bytes::{self, Content, Node, ProposalOrRef, Psk, Source, verbatim};

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

pub(crate) const SUITE: CipherSuite = CipherSuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_ED25519;
const TIMESTAMP: u64 = 1_644_387_225_019;

pub(crate) fn alice() -> UserUri {
    "mimi://a.example/u/alice".parse().unwrap()
}

pub(crate) fn bob() -> UserUri {
    "mimi://b.example/u/bob".parse().unwrap()
}

pub(crate) fn room() -> RoomUri {
    "mimi://a.example/r/clubhouse".parse().unwrap()
}

fn client(name: &str) -> ClientUri {
    format!("mimi://b.example/d/{name}").parse().unwrap()
}

fn group_id() -> Vec<u8> {
    room().group_uri().as_str().as_bytes().to_vec()
}

fn credential() -> Credential {
    ClientIdentity::new(client("ClientB1"), bob()).unwrap().to_credential()
}

fn signature_key() -> SignaturePublicKey {
    SignaturePublicKey::new([0x51; 32])
}

fn capabilities() -> Capabilities {
    Capabilities {
        versions: vec![1],
        cipher_suites: vec![SUITE],
        extensions: vec![ExtensionType::APP_DATA_DICTIONARY, ExtensionType(0x1a1a)],
        proposals: vec![8, 10],
        credentials: vec![CredentialType::BASIC],
    }
}

fn required_capabilities() -> RequiredCapabilities {
    RequiredCapabilities {
        extension_types: vec![ExtensionType::APP_DATA_DICTIONARY],
        proposal_types: vec![8],
        credential_types: vec![CredentialType::BASIC],
    }
}

fn extension(extension_type: ExtensionType, data: &[u8]) -> Extension {
    Extension {
        extension_type,
        data: data.to_vec(),
    }
}

fn leaf(source: Source) -> mls_bytes::LeafNode {
    mls_bytes::LeafNode {
        encryption_key: vec![0x1e; 32],
        signature_key: vec![0x51; 32],
        credential: credential(),
        capabilities: capabilities(),
        source,
        extensions: vec![extension(ExtensionType::APPLICATION_ID, &encode(&b"app".to_vec()))],
        signature: vec![0x5a; 64],
    }
}

fn key_package() -> mls_bytes::KeyPackage {
    mls_bytes::KeyPackage {
        cipher_suite: SUITE,
        init_key: vec![0x11; 32],
        leaf_node: leaf(Source::KeyPackage(1_600_000_000, 1_700_000_000)),
        extensions: vec![extension(ExtensionType(0x0a0a), b"")],
        signature: vec![0x5b; 64],
    }
}

fn ciphertext() -> HpkeCiphertext {
    HpkeCiphertext {
        kem_output: vec![0xe0; 32],
        ciphertext: vec![0xc0; 48],
    }
}

fn app_data_update() -> AppDataUpdate {
    AppDataUpdate {
        component_id: PARTICIPANT_LIST,
        op: AppDataUpdateOperation::Update(encode(&participant_list_update())),
    }
}

fn app_ephemeral() -> AppEphemeral {
    AppEphemeral {
        component_id: 0x8001,
        data: b"ack".to_vec(),
    }
}

/// Every proposal there is, with every kind of pre-shared key.
pub(crate) fn proposals() -> Vec<mls_bytes::Proposal> {
    let nonce = || vec![0x0c; 32];
    vec![
        mls_bytes::Proposal::Add(key_package()),
        mls_bytes::Proposal::Update(leaf(Source::Update)),
        mls_bytes::Proposal::Remove(7),
        mls_bytes::Proposal::PreSharedKey(Psk::External { id: b"psk".to_vec() }, nonce()),
        mls_bytes::Proposal::PreSharedKey(
            Psk::Resumption {
                usage: 2,
                group_id: group_id(),
                epoch: 3,
            },
            nonce(),
        ),
        mls_bytes::Proposal::PreSharedKey(
            Psk::Application {
                component_id: 0x8001,
                id: b"psk".to_vec(),
            },
            nonce(),
        ),
        mls_bytes::Proposal::ReInit {
            group_id: b"next".to_vec(),
            cipher_suite: SUITE,
            extensions: vec![extension(ExtensionType(0xf001), b"x")],
        },
        mls_bytes::Proposal::ExternalInit(vec![0xe1; 32]),
        mls_bytes::Proposal::GroupContextExtensions(vec![extension(
            ExtensionType::REQUIRED_CAPABILITIES,
            &encode(&required_capabilities()),
        )]),
        mls_bytes::Proposal::AppDataUpdate(app_data_update()),
        mls_bytes::Proposal::AppDataUpdate(AppDataUpdate {
            component_id: 0x8001,
            op: AppDataUpdateOperation::Remove,
        }),
        mls_bytes::Proposal::AppEphemeral(app_ephemeral()),
        mls_bytes::Proposal::SelfRemove,
    ]
}

pub(crate) fn public_message(sender: Sender, content: Content) -> mls_bytes::PublicMessage {
    mls_bytes::PublicMessage {
        group_id: group_id(),
        epoch: 42,
        sender,
        authenticated_data: encode(&safe_aad()),
        content,
        signature: vec![0x5c; 64],
        membership_tag: vec![0x3a; 32],
    }
}

pub(crate) fn commit() -> mls_bytes::Commit {
    let mut proposals: Vec<_> = proposals()
        .into_iter()
        .map(Box::new)
        .map(ProposalOrRef::Proposal)
        .collect();
    proposals.insert(1, ProposalOrRef::Reference(vec![0x4e; 32]));
    mls_bytes::Commit {
        proposals,
        path: Some(mls_bytes::UpdatePath {
            leaf_node: leaf(Source::Commit(vec![0x9a; 32])),
            nodes: vec![
                mls_bytes::PathNode {
                    encryption_key: vec![0x1f; 32],
                    secrets: vec![ciphertext(), ciphertext()],
                },
                mls_bytes::PathNode {
                    encryption_key: vec![0x1f; 32],
                    secrets: vec![],
                },
            ],
        }),
    }
}

fn commit_content(commit: mls_bytes::Commit) -> Content {
    Content::Commit {
        commit: Box::new(commit),
        confirmation_tag: vec![0xcf; 32],
    }
}

fn commit_message() -> mls::CommitMessage {
    verbatim::<mls::PublicMessage>(&public_message(Sender::Member(1), commit_content(commit())))
        .try_into()
        .unwrap()
}

fn external_commit() -> mls::CommitMessage {
    let commit = mls_bytes::Commit {
        proposals: vec![ProposalOrRef::Proposal(Box::new(mls_bytes::Proposal::ExternalInit(
            vec![0xe1; 32],
        )))],
        path: commit().path,
    };
    verbatim::<mls::PublicMessage>(&public_message(Sender::NewMemberCommit, commit_content(commit)))
        .try_into()
        .unwrap()
}

fn proposal_message(sender: Sender, proposal: mls_bytes::Proposal) -> mls::ProposalMessage {
    let message = public_message(sender, Content::Proposal(Box::new(proposal)));
    verbatim::<mls::PublicMessage>(&message).try_into().unwrap()
}

fn self_remove() -> mls::ProposalMessage {
    proposal_message(Sender::Member(3), mls_bytes::Proposal::SelfRemove)
}

fn hub_remove() -> mls::ProposalMessage {
    proposal_message(Sender::External(0), mls_bytes::Proposal::Remove(7))
}

pub(crate) fn private_message(content_type: ContentType) -> mls_bytes::PrivateMessage {
    mls_bytes::PrivateMessage {
        group_id: group_id(),
        epoch: 42,
        content_type,
        authenticated_data: encode(&safe_aad()),
        encrypted_sender_data: vec![0x5d; 28],
        ciphertext: vec![0xc1; 100],
    }
}

fn application_message() -> mls::ApplicationMessage {
    verbatim::<mls::PrivateMessage>(&private_message(ContentType::Application))
        .try_into()
        .unwrap()
}

pub(crate) fn welcome_bytes() -> mls_bytes::Welcome {
    let secrets = |octet| mls_bytes::EncryptedGroupSecrets {
        new_member: vec![octet; 32],
        secrets: ciphertext(),
    };
    mls_bytes::Welcome {
        cipher_suite: SUITE,
        secrets: vec![secrets(1), secrets(2)],
        encrypted_group_info: vec![0xc2; 80],
    }
}

fn welcome() -> mls::Welcome {
    verbatim(&welcome_bytes())
}

pub(crate) fn group_info_bytes() -> mls_bytes::GroupInfo {
    mls_bytes::GroupInfo {
        cipher_suite: SUITE,
        group_id: group_id(),
        epoch: 43,
        tree_hash: vec![0x73; 32],
        confirmed_transcript_hash: vec![0x74; 32],
        context_extensions: vec![
            extension(ExtensionType::APP_DATA_DICTIONARY, &encode(&dictionary())),
            extension(ExtensionType::EXTERNAL_SENDERS, &encode(&vec![external_sender()])),
        ],
        extensions: vec![extension(ExtensionType::EXTERNAL_PUB, &encode(&vec![0xeeu8; 32]))],
        confirmation_tag: vec![0xcf; 32],
        signer: 1,
        signature: vec![0x5e; 64],
    }
}

fn group_info() -> mls::GroupInfo {
    verbatim(&group_info_bytes())
}

/// Three leaves, of which the middle one is blank.
pub(crate) fn tree_bytes() -> Vec<Option<Node>> {
    let leaf = |source| Some(Node::Leaf(Box::new(leaf(source))));
    let parent = Node::Parent {
        encryption_key: vec![0x1d; 32],
        parent_hash: vec![],
        unmerged_leaves: vec![2],
    };
    vec![
        leaf(Source::KeyPackage(1, 2)),
        None,
        None,
        Some(parent),
        leaf(Source::Commit(vec![0x9a; 32])),
    ]
}

fn tree() -> mls::RatchetTree {
    verbatim(&tree_bytes())
}

fn external_sender() -> ExternalSender {
    ExternalSender {
        signature_key: signature_key(),
        credential: Credential::basic(*b"mimi://a.example"),
    }
}

fn frank() -> Frank {
    Frank {
        server_frank: [0xf0; 32],
        franking_signature_ciphersuite: SUITE,
        franking_integrity_signature: vec![0x5f; 64],
    }
}

fn franking_context() -> ServerFrankingContext {
    ServerFrankingContext {
        sender_uri: alice(),
        room_uri: room(),
        accepted_timestamp: TIMESTAMP,
    }
}

fn safe_aad() -> SafeAad {
    let tag = FrankAad {
        franking_tag: [0x7a; 32],
    };
    SafeAad::new(vec![SafeAadItem {
        component_id: FRANK_AAD,
        aad_item_data: encode(&tag),
    }])
    .unwrap()
}

fn roles() -> RoleData {
    let banned = Role {
        role_index: 1,
        role_name: "banned".into(),
        maximum_active_participants_constraint: Some(0),
        ..Default::default()
    };
    let admin = Role {
        role_index: 3,
        role_name: "group_admin".into(),
        role_description: "Looks after the room".into(),
        role_capabilities: vec![Capability::CAN_ADD_PARTICIPANT, Capability::CAN_BAN, Capability(0xf00d)],
        minimum_participants_constraint: 1,
        maximum_participants_constraint: Some(5),
        minimum_active_participants_constraint: 0,
        maximum_active_participants_constraint: None,
        authorized_role_changes: vec![
            SingleSourceRoleChangeTargets {
                from_role_index: 0,
                target_role_indexes: vec![1, 3],
            },
            SingleSourceRoleChangeTargets {
                from_role_index: 1,
                target_role_indexes: vec![0],
            },
        ],
    };
    RoleData {
        roles: vec![banned, admin],
    }
}

fn participants() -> ParticipantListData {
    let pair = |user, role_index| UserRolePair { user, role_index };
    ParticipantListData {
        participants: vec![pair(alice(), 3), pair(bob(), 1)],
    }
}

fn participant_list_update() -> ParticipantListUpdate {
    ParticipantListUpdate {
        changed_role_participants: vec![UserindexRolePair {
            user_index: 1,
            role_index: 3,
        }],
        removed_indices: vec![0, 2],
        added_participants: vec![UserRolePair {
            user: bob(),
            role_index: 3,
        }],
    }
}

fn dictionary() -> AppDataDictionary {
    let mut dictionary = AppDataDictionary::new();
    dictionary.set(ROLES_LIST, encode(&roles()));
    dictionary.set(PARTICIPANT_LIST, encode(&participants()));
    dictionary
}

fn metadata() -> RoomMetaData {
    RoomMetaData {
        room_uri: room().as_str().parse().unwrap(),
        room_name: "Clubhouse".into(),
        room_descriptions: vec![RichDescription {
            media_type: "text/markdown".into(),
            language_tag: "en".into(),
            description_content: b"*Hello*".to_vec(),
        }],
        room_avatar: "https://a.example/avatar.png".parse().unwrap(),
        room_subject: "Golf".into(),
        room_mood: "🏌".into(),
    }
}

fn base_room_policy() -> BaseRoomPolicy {
    BaseRoomPolicy {
        fixed_membership: false,
        parent_room: Some(room()),
        multi_device: true,
        max_clients: Some(500),
        max_users: None,
        pseudonyms_allowed: false,
        persistent_room: true,
        discoverable: false,
        policy_component_ids: vec![ROLES_LIST],
    }
}

fn key_material_request() -> KeyMaterialRequest {
    KeyMaterialRequest {
        tbs: KeyMaterialRequestTbs {
            requesting_user: alice(),
            target_user: bob(),
            room_id: Some(room()),
            acceptable_ciphersuites: vec![SUITE, CipherSuite(2)],
            required_capabilities: required_capabilities(),
            requester_signature_key: signature_key(),
            requester_credential: credential(),
        },
        key_material_request_signature: vec![0x60; 64],
    }
}

fn group_info_request(joining_code: Option<Vec<u8>>) -> GroupInfoRequest {
    let tbs = GroupInfoRequestTbs {
        cipher_suite: SUITE,
        requesting_signature_key: signature_key(),
        requesting_credential: credential(),
        group_info_public_key: HpkePublicKey::new([0x1c; 32]),
        joining_code,
    };
    GroupInfoRequest {
        tbs,
        signature: vec![0x61; 64],
    }
}

fn group_info_response_tbs() -> GroupInfoResponseTbs {
    GroupInfoResponseTbs {
        room_id: room(),
        cipher_suite: SUITE,
        hub_sender: external_sender(),
        encrypted_groupinfo_and_tree: ciphertext(),
    }
}

fn partial_group_info() -> PartialGroupInfo {
    let extensions = vec![extension(ExtensionType::EXTERNAL_PUB, &encode(&vec![0xeeu8; 32]))];
    PartialGroupInfo::new(RatchetTreePresence::NoRatchetTree, extensions, vec![0x5e; 64]).unwrap()
}

/// All samples. The names are those of the golden files.
pub(crate) fn samples() -> Vec<Sample> {
    [
        components(),
        credentials_and_franking(),
        mls_objects(),
        ratchet_trees(),
        key_material(),
        updates(),
        messages(),
        group_infos(),
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
