//! A room's MLS group of any size, made with openmls as clients make it, and the requests that its first member sends.

use mimi_hub_proto::components::{
    BASE_ROOM_POLICY, BaseRoomPolicy, Capability, PARTICIPANT_LIST, ParticipantListData, ROLES_LIST, Role, RoleData,
    UserRolePair,
};
use mimi_hub_proto::mls::{CommitMessage, GroupInfo, RatchetTree};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{ClientIdentity, GroupInfoOption, tls};
use openmls::prelude::{
    AppDataDictionary, AppDataDictionaryExtension, BasicCredential, Capabilities, Ciphersuite, CredentialType,
    CredentialWithKey, Extension, ExtensionType, Extensions, ExternalSender, GroupId, LeafNodeParameters, MlsGroup,
    OpenMlsProvider, PURE_PLAINTEXT_WIRE_FORMAT_POLICY, ProposalType, RequiredCapabilitiesExtension,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use tls_codec::{Deserialize, Serialize};

pub(crate) const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// The role of everybody.
const MEMBER: u32 = 2;

/// One client.
pub(crate) struct Client {
    pub(crate) provider: OpenMlsRustCrypto,
    pub(crate) signer: SignatureKeyPair,
    pub(crate) identity: ClientIdentity,
}

/// A room's group, in the hands of its first member.
pub(crate) struct RoomGroup {
    pub(crate) room: RoomUri,
    pub(crate) first: Client,
    pub(crate) group: MlsGroup,
}

impl Client {
    pub(crate) fn new(number: usize) -> Self {
        let client = format!("mimi://a.example/d/client{number}")
            .parse()
            .expect("a client URI");
        let user = format!("mimi://a.example/u/user{number}").parse().expect("a user URI");
        Client {
            provider: OpenMlsRustCrypto::default(),
            signer: SignatureKeyPair::new(SUITE.signature_algorithm()).expect("a key pair"),
            identity: ClientIdentity::new(client, user).expect("one provider"),
        }
    }

    pub(crate) fn credential(&self) -> CredentialWithKey {
        let credential = BasicCredential::new(tls::encode(&self.identity)).into();
        CredentialWithKey {
            credential,
            signature_key: self.signer.public().into(),
        }
    }
}

impl RoomGroup {
    /// The group of one member, with all users on the participant list.
    pub(crate) fn of(first: Client, users: &[UserUri], external_sender: &[u8]) -> Self {
        let room: RoomUri = "mimi://a.example/r/clubhouse".parse().expect("a room URI");
        let sender = ExternalSender::tls_deserialize_exact(external_sender).expect("an ExternalSender");
        let extensions = Extensions::from_vec(vec![
            Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary(users))),
            Extension::ExternalSenders(vec![sender]),
            Extension::RequiredCapabilities(RequiredCapabilitiesExtension::new(
                &[ExtensionType::AppDataDictionary],
                &[ProposalType::AppDataUpdate],
                &[CredentialType::Basic],
            )),
        ])
        .expect("extensions of a GroupContext");
        let group = MlsGroup::builder()
            .with_group_id(GroupId::from_slice(room.group_uri().as_str().as_bytes()))
            .ciphersuite(SUITE)
            .with_wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .with_group_context_extensions(extensions)
            .with_capabilities(capabilities())
            .build(&first.provider, &first.signer, first.credential())
            .expect("a group");
        RoomGroup { room, first, group }
    }

    pub(crate) fn creator(&self) -> &UserUri {
        self.first.identity.user()
    }

    /// What the first member hands the hub to make the room.
    pub(crate) fn group_info_and_tree(&self) -> (GroupInfo, RatchetTree) {
        let exported = self
            .group
            .export_group_info(self.first.provider.crypto(), &self.first.signer, false);
        let message = exported
            .expect("a GroupInfo")
            .tls_serialize_detached()
            .expect("an MLSMessage");
        let mimi_hub_proto::mls::MlsMessage::GroupInfo(group_info) =
            tls::decode_exact(&message).expect("an MLSMessage")
        else {
            unreachable!("a GroupInfo was exported")
        };
        let tree = self
            .group
            .export_ratchet_tree()
            .tls_serialize_detached()
            .expect("a tree");
        (group_info, tls::decode_exact(&tree).expect("a ratchet tree"))
    }

    /// A Commit with a full path and nothing else, with its GroupInfo; the group stays in its epoch.
    pub(crate) fn full_path_commit(&mut self) -> (CommitMessage, GroupInfoOption) {
        let Client { provider, signer, .. } = &self.first;
        let bundle = self
            .group
            .commit_builder()
            .leaf_node_parameters(LeafNodeParameters::builder().build())
            .force_self_update(true)
            .load_psks(provider.storage())
            .expect("no PSKs")
            .use_ratchet_tree_extension(false)
            .create_group_info(true)
            .build(provider.rand(), provider.crypto(), signer, |_| true)
            .expect("a Commit")
            .stage_commit(provider)
            .expect("a staged Commit");
        let group_info = bundle
            .group_info()
            .expect("a GroupInfo")
            .tls_serialize_detached()
            .expect("its octets");
        let commit = bundle.into_commit().tls_serialize_detached().expect("its octets");
        self.group
            .clear_pending_commit(provider.storage())
            .expect("a pending Commit");
        let group_info = GroupInfoOption::Full(tls::decode_exact(&group_info).expect("a GroupInfo"));
        (tls::decode_exact(&commit).expect("a Commit"), group_info)
    }
}

pub(crate) fn capabilities() -> Capabilities {
    Capabilities::new(
        None,
        Some(&[SUITE]),
        Some(&[ExtensionType::AppDataDictionary]),
        Some(&[ProposalType::AppDataUpdate]),
        Some(&[CredentialType::Basic]),
    )
}

fn dictionary(users: &[UserUri]) -> AppDataDictionary {
    let roles = RoleData {
        roles: vec![Role {
            role_index: MEMBER,
            role_name: "member".to_owned(),
            role_description: String::new(),
            role_capabilities: vec![
                Capability::CAN_SEND_MESSAGE,
                Capability::CAN_RECEIVE_MESSAGE,
                Capability::CAN_ADD_PARTICIPANT,
            ],
            minimum_participants_constraint: 0,
            maximum_participants_constraint: None,
            minimum_active_participants_constraint: 0,
            maximum_active_participants_constraint: None,
            authorized_role_changes: Vec::new(),
        }],
    };
    let participants = users
        .iter()
        .map(|user| UserRolePair {
            user: user.clone(),
            role_index: MEMBER,
        })
        .collect();
    let entries = [
        (PARTICIPANT_LIST, tls::encode(&ParticipantListData { participants })),
        (ROLES_LIST, tls::encode(&roles)),
        (BASE_ROOM_POLICY, tls::encode(&BaseRoomPolicy::default())),
    ];
    let mut dictionary = AppDataDictionary::new();
    for (component, data) in entries {
        dictionary.insert(component, data);
    }
    dictionary
}
