//! MLS clients whose every random choice follows from a seed. What they send is deterministic: signatures are Ed25519, and
//! Commits have no path, so that nothing is encrypted to anybody.

use std::sync::Mutex;

use ed25519_dalek::SigningKey;
use mimi_hub_ops::client::resolve_app_data;
use mimi_hub_proto::components::{
    BASE_ROOM_POLICY, BaseRoomPolicy, Capability, PARTICIPANT_LIST, ParticipantListData, ParticipantListUpdate,
    ROLES_LIST, Role, RoleData, SingleSourceRoleChangeTargets, UserRolePair,
};
use mimi_hub_proto::mls as wire;
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{ClientIdentity, GroupInfoOption, HandshakeBundle, RatchetTreeOption, tls};
use openmls::group::StagedWelcome;
use openmls::messages::Welcome;
use openmls::prelude::tls_codec::{Deserialize as _, Serialize as _};
use openmls::prelude::{
    AppDataDictionary, AppDataDictionaryExtension, AppDataUpdateProposal, BasicCredential, Capabilities, Ciphersuite,
    CredentialType, CredentialWithKey, Extension, ExtensionType, Extensions, ExternalSender, GroupId, KeyPackage,
    Lifetime, MlsGroup, MlsGroupJoinConfig, MlsMessageIn, OpenMlsProvider, PURE_PLAINTEXT_WIRE_FORMAT_POLICY,
    ProcessedMessageContent, Proposal, ProposalType, ProtocolMessage, RatchetTreeIn, RequiredCapabilitiesExtension,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_memory_storage::MemoryStorage;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::random::OpenMlsRand;
use openmls_traits::types::SignatureScheme;
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// The role of everybody.
const MEMBER: u32 = 2;
/// The role of those who are not on the list.
const NOBODY: u32 = 0;

/// Valid now, whenever that is: openmls asks the real clock.
fn lifetime() -> Lifetime {
    Lifetime::init(0, 1 << 40)
}

/// A key pair, private and public key.
pub(super) fn key_pair(rng: &mut SmallRng) -> ([u8; 32], [u8; 32]) {
    let private = rng.random();
    (private, SigningKey::from_bytes(&private).verifying_key().to_bytes())
}

struct Rand(Mutex<SmallRng>);

impl OpenMlsRand for Rand {
    type Error = std::convert::Infallible;

    fn random_array<const N: usize>(&self) -> Result<[u8; N], Self::Error> {
        let mut bytes = [0; N];
        self.0.lock().unwrap().fill_bytes(&mut bytes);
        Ok(bytes)
    }

    fn random_vec(&self, len: usize) -> Result<Vec<u8>, Self::Error> {
        let mut bytes = vec![0; len];
        self.0.lock().unwrap().fill_bytes(&mut bytes);
        Ok(bytes)
    }
}

struct Provider {
    crypto: RustCrypto,
    rand: Rand,
    storage: MemoryStorage,
}

impl OpenMlsProvider for Provider {
    type CryptoProvider = RustCrypto;
    type RandProvider = Rand;
    type StorageProvider = MemoryStorage;

    fn storage(&self) -> &MemoryStorage {
        &self.storage
    }

    fn crypto(&self) -> &RustCrypto {
        &self.crypto
    }

    fn rand(&self) -> &Rand {
        &self.rand
    }
}

/// A client, perhaps with its group.
pub(super) struct Client {
    provider: Provider,
    signer: SignatureKeyPair,
    identity: ClientIdentity,
    group: Option<MlsGroup>,
    /// The Commit that the group has pending.
    pending: Option<Vec<u8>>,
}

impl Client {
    pub(super) fn new(rng: &mut SmallRng, identity: ClientIdentity) -> Self {
        let (private, public) = key_pair(rng);
        Client {
            provider: Provider {
                crypto: RustCrypto::default(),
                rand: Rand(Mutex::new(SmallRng::seed_from_u64(rng.random()))),
                storage: MemoryStorage::default(),
            },
            signer: SignatureKeyPair::from_raw(SignatureScheme::ED25519, private.to_vec(), public.to_vec()),
            identity,
            group: None,
            pending: None,
        }
    }

    pub(super) fn identity(&self) -> &ClientIdentity {
        &self.identity
    }

    fn credential(&self) -> CredentialWithKey {
        CredentialWithKey {
            credential: BasicCredential::new(tls::encode(&self.identity)).into(),
            signature_key: self.signer.public().into(),
        }
    }

    fn new_key_package(&self) -> KeyPackage {
        let builder = KeyPackage::builder()
            .leaf_node_capabilities(capabilities())
            .key_package_lifetime(lifetime());
        let bundle = builder.build(SUITE, &self.provider, &self.signer, self.credential());
        bundle.unwrap().key_package().clone()
    }

    pub(super) fn key_package(&self) -> wire::KeyPackage {
        tls::decode_exact(&self.new_key_package().tls_serialize_detached().unwrap()).unwrap()
    }

    /// Makes the room's group, in which `others` are from the start.
    pub(super) fn create(
        &mut self,
        room: &RoomUri,
        external_sender: &[u8],
        others: &mut [Client],
    ) -> (wire::GroupInfo, wire::RatchetTree) {
        let sender = ExternalSender::tls_deserialize_exact(external_sender).unwrap();
        let clients = std::iter::once(&*self).chain(others.iter());
        let users: Vec<UserUri> = clients.map(|client| client.identity.user().clone()).collect();
        let extensions = Extensions::from_vec(vec![
            Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary(&users))),
            Extension::ExternalSenders(vec![sender]),
            Extension::RequiredCapabilities(RequiredCapabilitiesExtension::new(
                &[ExtensionType::AppDataDictionary],
                &[ProposalType::AppDataUpdate],
                &[CredentialType::Basic],
            )),
        ]);
        let mut group = MlsGroup::builder()
            .with_group_id(GroupId::from_slice(room.group_uri().as_str().as_bytes()))
            .ciphersuite(SUITE)
            .lifetime(lifetime())
            .with_wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .with_group_context_extensions(extensions.unwrap())
            .with_capabilities(capabilities())
            .build(&self.provider, &self.signer, self.credential())
            .unwrap();
        let added: Vec<KeyPackage> = others.iter().map(Client::new_key_package).collect();
        let Provider { crypto, rand, storage } = &self.provider;
        let built = group
            .commit_builder()
            .force_self_update(false)
            .propose_adds(added)
            .load_psks(storage)
            .unwrap()
            .create_group_info(true)
            .use_ratchet_tree_extension(false)
            .build(rand, crypto, &self.signer, |_| true)
            .unwrap()
            .stage_commit(&self.provider)
            .unwrap();
        group.merge_pending_commit(&self.provider).unwrap();
        let (_, welcome, group_info) = built.into_contents();
        let tree = group.export_ratchet_tree().tls_serialize_detached().unwrap();
        for other in others {
            other.welcome(welcome.clone().unwrap(), &tree);
        }
        self.group = Some(group);
        let group_info = group_info.unwrap().tls_serialize_detached().unwrap();
        (
            tls::decode_exact(&group_info).unwrap(),
            tls::decode_exact(&tree).unwrap(),
        )
    }

    fn welcome(&mut self, welcome: Welcome, tree: &[u8]) {
        let config = MlsGroupJoinConfig::builder()
            .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .build();
        let staged = StagedWelcome::build_from_welcome(&self.provider, &config, welcome).unwrap();
        let tree = RatchetTreeIn::tls_deserialize_exact(tree).unwrap();
        let staged = staged.with_ratchet_tree(tree).build().unwrap();
        self.group = Some(staged.into_group(&self.provider).unwrap());
    }

    pub(super) fn epoch(&self) -> u64 {
        self.group.as_ref().unwrap().epoch().as_u64()
    }

    /// A Commit that puts another user on the participant list.
    pub(super) fn commit(&mut self, guest: UserUri) -> HandshakeBundle {
        let update = ParticipantListUpdate {
            added_participants: vec![UserRolePair {
                user: guest,
                role_index: MEMBER,
            }],
            ..ParticipantListUpdate::default()
        };
        let update = AppDataUpdateProposal::update(PARTICIPANT_LIST, tls::encode(&update));
        let Provider { crypto, rand, storage } = &self.provider;
        let group = self.group.as_mut().unwrap();
        let extensions = group.extensions().clone();
        let mut stage = group
            .commit_builder()
            .force_self_update(false)
            .add_proposals(vec![Proposal::AppDataUpdate(Box::new(update))])
            .load_psks(storage)
            .unwrap()
            .create_group_info(true)
            .use_ratchet_tree_extension(false);
        let mut updater = stage.app_data_dictionary_updater();
        resolve_app_data(&extensions, stage.app_data_update_proposals(), &mut updater).unwrap();
        let changes = updater.changes();
        stage.with_app_data_dictionary_updates(changes);
        let built = stage.build(rand, crypto, &self.signer, |_| true).unwrap();
        let (commit, _, group_info) = built.stage_commit(&self.provider).unwrap().into_contents();
        let commit = commit.tls_serialize_detached().unwrap();
        let group_info = group_info.unwrap().tls_serialize_detached().unwrap();
        let bundle = HandshakeBundle::Commit {
            commit: tls::decode_exact(&commit).unwrap(),
            welcome: None,
            group_info: GroupInfoOption::Full(tls::decode_exact(&group_info).unwrap()),
            ratchet_tree: RatchetTreeOption::DistributionService,
        };
        self.pending = Some(commit);
        bundle
    }

    /// Follows the room's Commits, of which these are all; its own pending one among them or not.
    pub(super) fn follow(&mut self, commits: &[Vec<u8>], first_epoch: u64) {
        let group = self.group.as_mut().unwrap();
        let known = (group.epoch().as_u64() - first_epoch) as usize;
        for commit in commits.iter().skip(known) {
            if self.pending.take().is_some_and(|own| own == *commit) {
                group.merge_pending_commit(&self.provider).unwrap();
                continue;
            }
            group.clear_pending_commit(self.provider.storage()).unwrap();
            let message: ProtocolMessage = MlsMessageIn::tls_deserialize_exact(commit)
                .unwrap()
                .try_into_protocol_message()
                .unwrap();
            let processed = group.process_message(&self.provider, message).unwrap();
            let ProcessedMessageContent::UnresolvedAppDataCommit(unresolved) = processed.into_content() else {
                panic!("not a Commit with an AppDataUpdate")
            };
            let mut updater = group.app_data_dictionary_updater();
            let updates = unresolved.app_data_update_proposals();
            resolve_app_data(group.extensions(), updates, &mut updater).unwrap();
            let changes = updater.changes();
            let staged = group
                .stage_app_data_commit(&self.provider, *unresolved, changes)
                .unwrap();
            group.merge_staged_commit(&self.provider, staged).unwrap();
        }
    }
}

/// An application message of a room as the hub sees it: it can read nothing but group and epoch (RFC 9420, 6.3).
pub(super) fn application_message(room: &RoomUri, epoch: u64, ciphertext: [u8; 32]) -> wire::ApplicationMessage {
    let group = room.group_uri();
    let group = group.as_str().as_bytes();
    let mut bytes = vec![0, 1, 0, 2];
    let length = group.len() as u16 | 0x4000;
    bytes.extend_from_slice(&length.to_be_bytes());
    // No more than 63 bytes take one byte of length; that is the only encoding there is.
    if group.len() < 64 {
        bytes.truncate(4);
        bytes.push(group.len() as u8);
    }
    bytes.extend_from_slice(group);
    bytes.extend_from_slice(&epoch.to_be_bytes());
    bytes.push(1);
    bytes.push(0);
    for part in [&ciphertext[..16], &ciphertext[..]] {
        bytes.push(part.len() as u8);
        bytes.extend_from_slice(part);
    }
    tls::decode_exact(&bytes).unwrap()
}

fn capabilities() -> Capabilities {
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
            role_capabilities: vec![Capability::CAN_SEND_MESSAGE, Capability::CAN_ADD_PARTICIPANT],
            authorized_role_changes: vec![SingleSourceRoleChangeTargets {
                from_role_index: NOBODY,
                target_role_indexes: vec![MEMBER],
            }],
            ..Role::default()
        }],
    };
    let participants = users.iter().map(|user| UserRolePair {
        user: user.clone(),
        role_index: MEMBER,
    });
    let list = ParticipantListData {
        participants: participants.collect(),
    };
    let mut dictionary = AppDataDictionary::new();
    dictionary.insert(PARTICIPANT_LIST, tls::encode(&list));
    dictionary.insert(ROLES_LIST, tls::encode(&roles));
    dictionary.insert(BASE_ROOM_POLICY, tls::encode(&BaseRoomPolicy::default()));
    dictionary
}
