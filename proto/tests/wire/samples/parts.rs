//! The values that the samples are put together from.

use mimi_hub_proto::components::{
    AppDataDictionary, AppDataUpdate, AppDataUpdateOperation, AppEphemeral, BaseRoomPolicy, Capability, FRANK_AAD,
    PARTICIPANT_LIST, ParticipantListData, ParticipantListUpdate, ROLES_LIST, RichDescription, Role, RoleData,
    RoomMetaData, SafeAad, SafeAadItem, SingleSourceRoleChangeTargets, UserRolePair, UserindexRolePair,
};
use mimi_hub_proto::mls::{
    self, Capabilities, CipherSuite, ContentType, Credential, CredentialType, Extension, ExtensionType, ExternalSender,
    HpkeCiphertext, HpkePublicKey, RequiredCapabilities, Sender, SignaturePublicKey,
};
use mimi_hub_proto::tls::encode;
use mimi_hub_proto::uri::{ClientUri, RoomUri, UserUri};
use mimi_hub_proto::{
    ClientIdentity, Frank, FrankAad, GroupInfoRequest, GroupInfoRequestTbs, GroupInfoResponseTbs, KeyMaterialRequest,
    KeyMaterialRequestTbs, PartialGroupInfo, PseudonymousCredential, PseudonymousCredentialTbs, RatchetTreePresence,
    ServerFrankingContext,
};

use crate::mls_bytes::{self, Content, Node, ProposalOrRef, Psk, Source, verbatim};

pub(crate) const SUITE: CipherSuite = CipherSuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_ED25519;
pub(super) const TIMESTAMP: u64 = 1_644_387_225_019;

pub(crate) fn alice() -> UserUri {
    "mimi://a.example/u/alice".parse().unwrap()
}

pub(crate) fn bob() -> UserUri {
    "mimi://b.example/u/bob".parse().unwrap()
}

pub(crate) fn room() -> RoomUri {
    "mimi://a.example/r/clubhouse".parse().unwrap()
}

pub(super) fn client(name: &str) -> ClientUri {
    format!("mimi://b.example/d/{name}").parse().unwrap()
}

pub(super) fn group_id() -> Vec<u8> {
    room().group_uri().as_str().as_bytes().to_vec()
}

pub(super) fn credential() -> Credential {
    ClientIdentity::new(client("ClientB1"), bob()).unwrap().to_credential()
}

pub(super) fn pseudonymous_credential() -> PseudonymousCredential {
    let client = client("0c1ca6a6-5b1f-4c39-9a53-5d6c8e1f7b02");
    let user = "mimi://b.example/u/7d3f0b52-91c4-4e7a-b0de-2f4a6c8e0d11"
        .parse()
        .unwrap();
    let tbs = PseudonymousCredentialTbs::new(client, user, signature_key()).unwrap();
    PseudonymousCredential::new(tbs, vec![0xe1; 48])
}

pub(super) fn signature_key() -> SignaturePublicKey {
    SignaturePublicKey::new([0x51; 32])
}

pub(super) fn capabilities() -> Capabilities {
    Capabilities {
        versions: vec![1],
        cipher_suites: vec![SUITE],
        extensions: vec![ExtensionType::APP_DATA_DICTIONARY, ExtensionType(0x1a1a)],
        proposals: vec![8, 10],
        credentials: vec![CredentialType::BASIC],
    }
}

pub(super) fn required_capabilities() -> RequiredCapabilities {
    RequiredCapabilities {
        extension_types: vec![ExtensionType::APP_DATA_DICTIONARY],
        proposal_types: vec![8],
        credential_types: vec![CredentialType::BASIC],
    }
}

pub(super) fn extension(extension_type: ExtensionType, data: &[u8]) -> Extension {
    Extension {
        extension_type,
        data: data.to_vec(),
    }
}

pub(super) fn leaf(source: Source) -> mls_bytes::LeafNode {
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

pub(super) fn key_package() -> mls_bytes::KeyPackage {
    mls_bytes::KeyPackage {
        cipher_suite: SUITE,
        init_key: vec![0x11; 32],
        leaf_node: leaf(Source::KeyPackage(1_600_000_000, 1_700_000_000)),
        extensions: vec![extension(ExtensionType(0x0a0a), b"")],
        signature: vec![0x5b; 64],
    }
}

pub(super) fn ciphertext() -> HpkeCiphertext {
    HpkeCiphertext {
        kem_output: vec![0xe0; 32],
        ciphertext: vec![0xc0; 48],
    }
}

pub(super) fn app_data_update() -> AppDataUpdate {
    AppDataUpdate {
        component_id: PARTICIPANT_LIST,
        op: AppDataUpdateOperation::Update(encode(&participant_list_update())),
    }
}

pub(super) fn app_ephemeral() -> AppEphemeral {
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

pub(super) fn commit_content(commit: mls_bytes::Commit) -> Content {
    Content::Commit {
        commit: Box::new(commit),
        confirmation_tag: vec![0xcf; 32],
    }
}

pub(super) fn commit_message() -> mls::CommitMessage {
    verbatim::<mls::PublicMessage>(&public_message(Sender::Member(1), commit_content(commit())))
        .try_into()
        .unwrap()
}

pub(super) fn external_commit() -> mls::CommitMessage {
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

pub(super) fn proposal_message(sender: Sender, proposal: mls_bytes::Proposal) -> mls::ProposalMessage {
    let message = public_message(sender, Content::Proposal(Box::new(proposal)));
    verbatim::<mls::PublicMessage>(&message).try_into().unwrap()
}

pub(super) fn self_remove() -> mls::ProposalMessage {
    proposal_message(Sender::Member(3), mls_bytes::Proposal::SelfRemove)
}

pub(super) fn hub_remove() -> mls::ProposalMessage {
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

pub(super) fn application_message() -> mls::ApplicationMessage {
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

pub(super) fn welcome() -> mls::Welcome {
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

pub(super) fn group_info() -> mls::GroupInfo {
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

pub(super) fn tree() -> mls::RatchetTree {
    verbatim(&tree_bytes())
}

pub(super) fn external_sender() -> ExternalSender {
    ExternalSender {
        signature_key: signature_key(),
        credential: Credential::basic(*b"mimi://a.example"),
    }
}

pub(super) fn frank() -> Frank {
    Frank {
        server_frank: [0xf0; 32],
        franking_signature_ciphersuite: SUITE,
        franking_integrity_signature: vec![0x5f; 64],
    }
}

pub(super) fn franking_context() -> ServerFrankingContext {
    ServerFrankingContext {
        sender_uri: alice(),
        room_uri: room(),
        accepted_timestamp: TIMESTAMP,
    }
}

pub(super) fn safe_aad() -> SafeAad {
    let tag = FrankAad {
        franking_tag: [0x7a; 32],
    };
    SafeAad::new(vec![SafeAadItem {
        component_id: FRANK_AAD,
        aad_item_data: encode(&tag),
    }])
    .unwrap()
}

pub(super) fn roles() -> RoleData {
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

pub(super) fn participants() -> ParticipantListData {
    let pair = |user, role_index| UserRolePair { user, role_index };
    ParticipantListData {
        participants: vec![pair(alice(), 3), pair(bob(), 1)],
    }
}

pub(super) fn participant_list_update() -> ParticipantListUpdate {
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

pub(super) fn dictionary() -> AppDataDictionary {
    let mut dictionary = AppDataDictionary::new();
    dictionary.set(ROLES_LIST, encode(&roles()));
    dictionary.set(PARTICIPANT_LIST, encode(&participants()));
    dictionary
}

pub(super) fn metadata() -> RoomMetaData {
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

pub(super) fn base_room_policy() -> BaseRoomPolicy {
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

pub(super) fn key_material_request() -> KeyMaterialRequest {
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

pub(super) fn group_info_request(joining_code: Option<Vec<u8>>) -> GroupInfoRequest {
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

pub(super) fn group_info_response_tbs() -> GroupInfoResponseTbs {
    GroupInfoResponseTbs {
        room_id: room(),
        cipher_suite: SUITE,
        hub_sender: external_sender(),
        encrypted_groupinfo_and_tree: ciphertext(),
    }
}

pub(super) fn partial_group_info() -> PartialGroupInfo {
    let extensions = vec![extension(ExtensionType::EXTERNAL_PUB, &encode(&vec![0xeeu8; 32]))];
    PartialGroupInfo::new(RatchetTreePresence::NoRatchetTree, extensions, vec![0x5e; 64]).unwrap()
}
