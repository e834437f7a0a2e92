//! A client that builds what the reference client refuses to build: KeyPackages of any lifetime, requests signed by anybody,
//! Commits of any proposals over any participant list.

use mimi_hub_ops::client::InitialState;
use mimi_hub_proto::components::{
    BASE_ROOM_POLICY, PARTICIPANT_LIST, ParticipantListData, ParticipantListUpdate, ROLES_LIST, ROOM_METADATA,
};
use mimi_hub_proto::mls::{CipherSuite, HpkePublicKey, RequiredCapabilities, SignaturePublicKey};
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::{ClientUri, RoomUri, UserUri};
use mimi_hub_proto::{
    ClientIdentity, GroupInfoOption, GroupInfoRequest, GroupInfoRequestTbs, HandshakeBundle, KeyMaterialRequest,
    KeyMaterialRequestTbs, RatchetTreeOption, UpdateRequest,
};
use openmls::component::ComponentData;
use openmls::group::{
    CommitMessageBundle, GroupId, MlsGroup, MlsGroupCreateConfig, MlsGroupJoinConfig, PURE_PLAINTEXT_WIRE_FORMAT_POLICY,
};
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::tls_codec::{Deserialize as _, Serialize as _};
use openmls::prelude::{
    AppDataDictionary, AppDataDictionaryExtension, AppDataUpdateProposal, BasicCredential, Capabilities, Ciphersuite,
    Credential, CredentialType, CredentialWithKey, Extension, ExtensionType, Extensions, ExternalSender, KeyPackage,
    KeyPackageIn, LeafNodeIndex, LeafNodeParameters, Lifetime, Proposal, ProposalType, ProtocolVersion, RatchetTreeIn,
    RequiredCapabilitiesExtension,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::signatures::Signer as _;

use crate::hub::Hub;

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// What a forged Commit does.
#[derive(Default)]
pub struct Forgery {
    /// KeyPackage structs of clients to add.
    pub add: Vec<Vec<u8>>,
    /// Leaves to remove.
    pub remove: Vec<u32>,
    /// The change of the participant list that the Commit contains.
    pub participants: Option<ParticipantListUpdate>,
    /// What the committer claims the list to be afterwards.
    pub list_after: Option<ParticipantListData>,
}

/// One client.
pub struct Forger {
    provider: OpenMlsRustCrypto,
    signer: SignatureKeyPair,
    credential: Credential,
    identity: ClientIdentity,
    group: Option<MlsGroup>,
}

impl Forger {
    /// A client that has no room.
    ///
    /// # Panics
    /// Client and user are of different providers.
    #[must_use]
    pub fn new(user: UserUri, client: ClientUri) -> Self {
        let identity = ClientIdentity::new(client, user).unwrap();
        Self {
            provider: OpenMlsRustCrypto::default(),
            signer: SignatureKeyPair::new(SUITE.signature_algorithm()).unwrap(),
            credential: BasicCredential::new(encode(&identity)).into(),
            identity,
            group: None,
        }
    }

    /// Registers the client and creates a room, in which it is alone. Gives the room's GroupInfo and ratchet tree.
    ///
    /// # Panics
    /// The hub refuses.
    pub async fn create_room(&mut self, hub: &Hub, room: &RoomUri, initial: &InitialState) -> (Vec<u8>, Vec<u8>) {
        let gateway = hub.gateway();
        let user = self.identity.user().clone();
        gateway.put_user(&user).await.unwrap();
        gateway.put_client(&user, self.identity.client()).await.unwrap();
        let sender = gateway.hub().await.unwrap().external_sender;
        let (group_info, tree) = self.group(room.group_uri().as_str(), Some(&sender), initial);
        gateway.create_room(&user, room, &group_info, &tree).await.unwrap();
        (group_info, tree)
    }

    /// Makes a group with any id, with or without the hub as an external sender, and gives its GroupInfo and ratchet tree.
    ///
    /// # Panics
    /// `external_sender` is no ExternalSender.
    pub fn group(
        &mut self,
        group_id: &str,
        external_sender: Option<&[u8]>,
        initial: &InitialState,
    ) -> (Vec<u8>, Vec<u8>) {
        let mut dictionary = AppDataDictionary::new();
        dictionary.insert(PARTICIPANT_LIST, encode(&initial.participants));
        dictionary.insert(ROOM_METADATA, encode(&initial.metadata));
        dictionary.insert(ROLES_LIST, encode(&initial.roles));
        dictionary.insert(BASE_ROOM_POLICY, encode(&initial.policy));
        let mut extensions = vec![
            Extension::RequiredCapabilities(RequiredCapabilitiesExtension::new(
                &[ExtensionType::AppDataDictionary],
                &[ProposalType::AppDataUpdate],
                &[CredentialType::Basic],
            )),
            Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary)),
        ];
        if let Some(sender) = external_sender {
            let sender = ExternalSender::tls_deserialize_exact(sender).unwrap();
            extensions.push(Extension::ExternalSenders(vec![sender]));
        }
        let config = MlsGroupCreateConfig::builder()
            .ciphersuite(SUITE)
            .capabilities(capabilities())
            .with_group_context_extensions(Extensions::from_vec(extensions).unwrap())
            .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .build();
        let group = MlsGroup::new_with_group_id(
            &self.provider,
            &self.signer,
            &config,
            GroupId::from_slice(group_id.as_bytes()),
            self.credential_with_key(),
        )
        .unwrap();
        let exported = group
            .export_group_info(self.provider.crypto(), &self.signer, false)
            .unwrap()
            .tls_serialize_detached()
            .unwrap();
        // The GroupInfo struct, without the MLSMessage around it: version and wire format.
        let group_info = exported[4..].to_vec();
        let tree = group.export_ratchet_tree().tls_serialize_detached().unwrap();
        self.group = Some(group);
        (group_info, tree)
    }

    /// A KeyPackage that is valid for `lifetime_s` seconds.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn key_package(&self, lifetime_s: u64) -> Vec<u8> {
        let bundle = KeyPackage::builder()
            .leaf_node_capabilities(capabilities())
            .key_package_lifetime(Lifetime::new(lifetime_s))
            .build(SUITE, &self.provider, &self.signer, self.credential_with_key())
            .unwrap();
        bundle.key_package().tls_serialize_detached().unwrap()
    }

    /// A KeyMaterialRequest as `change` leaves it, signed afterwards.
    ///
    /// # Panics
    /// It cannot be signed.
    #[must_use]
    pub fn key_material_request(
        &self,
        room: Option<&RoomUri>,
        target: &UserUri,
        change: impl FnOnce(&mut KeyMaterialRequestTbs),
    ) -> KeyMaterialRequest {
        let mut tbs = KeyMaterialRequestTbs {
            requesting_user: self.identity.user().clone(),
            target_user: target.clone(),
            room_id: room.cloned(),
            acceptable_ciphersuites: vec![CipherSuite(SUITE.into())],
            required_capabilities: RequiredCapabilities::default(),
            requester_signature_key: SignaturePublicKey::new(self.signer.public()),
            requester_credential: self.identity.to_credential(),
        };
        change(&mut tbs);
        let key_material_request_signature = self.signer.sign(&tbs.sign_content()).unwrap();
        KeyMaterialRequest {
            tbs,
            key_material_request_signature,
        }
    }

    /// A GroupInfoRequest for an answer encrypted to `hpke_key`.
    ///
    /// # Panics
    /// It cannot be signed.
    #[must_use]
    pub fn group_info_request(&self, hpke_key: &[u8]) -> GroupInfoRequest {
        let tbs = GroupInfoRequestTbs {
            cipher_suite: CipherSuite(SUITE.into()),
            requesting_signature_key: SignaturePublicKey::new(self.signer.public()),
            requesting_credential: self.identity.to_credential(),
            group_info_public_key: HpkePublicKey::new(hpke_key.to_vec()),
            joining_code: None,
        };
        let signature = self.signer.sign(&tbs.sign_content()).unwrap();
        GroupInfoRequest { tbs, signature }
    }

    /// The UpdateRequest of a Commit that does what is wanted, allowed or not. It is not applied here: the next one is for
    /// the same epoch.
    ///
    /// # Panics
    /// This client has no group, or openmls refuses to build it.
    pub fn commit(&mut self, wanted: Forgery) -> Vec<u8> {
        let group = self.group.as_mut().expect("this client has a group");
        let (provider, signer) = (&self.provider, &self.signer);
        let added = wanted.add.iter().map(|octets| {
            KeyPackageIn::tls_deserialize_exact(octets)
                .unwrap()
                .validate(provider.crypto(), ProtocolVersion::Mls10)
                .unwrap()
        });
        let updates = wanted
            .participants
            .map(|update| AppDataUpdateProposal::update(PARTICIPANT_LIST, encode(&update)));
        let mut stage = group
            .commit_builder()
            .force_self_update(true)
            .propose_adds(added.collect::<Vec<_>>())
            .propose_removals(wanted.remove.iter().map(|leaf| LeafNodeIndex::new(*leaf)))
            .add_proposals(updates.map(|update| Proposal::AppDataUpdate(Box::new(update))))
            .load_psks(provider.storage())
            .unwrap()
            .create_group_info(true);
        let mut updater = stage.app_data_dictionary_updater();
        if let Some(list) = &wanted.list_after {
            updater.set(ComponentData::from_parts(PARTICIPANT_LIST, encode(list).into()));
        }
        let changes = updater.changes();
        stage.with_app_data_dictionary_updates(changes);
        let bundle = stage
            .build(provider.rand(), provider.crypto(), signer, |_| true)
            .unwrap()
            .stage_commit(provider)
            .unwrap();
        let request = update_request(bundle);
        group.clear_pending_commit(provider.storage()).unwrap();
        request
    }

    /// The UpdateRequest of an external Commit into the group of a GroupInfo and a ratchet tree.
    ///
    /// # Panics
    /// They are not of one group.
    #[must_use]
    pub fn external_commit(&self, group_info: &[u8], tree: &[u8]) -> Vec<u8> {
        let leaf = LeafNodeParameters::builder().with_capabilities(capabilities()).build();
        let (_, bundle) = MlsGroup::external_commit_builder()
            .with_config(
                MlsGroupJoinConfig::builder()
                    .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
                    .build(),
            )
            .with_ratchet_tree(RatchetTreeIn::tls_deserialize_exact(tree).unwrap())
            .build_group(
                &self.provider,
                VerifiableGroupInfo::tls_deserialize_exact(group_info).unwrap(),
                self.credential_with_key(),
            )
            .unwrap()
            .leaf_node_parameters(leaf)
            .load_psks(self.provider.storage())
            .unwrap()
            .create_group_info(true)
            .build(self.provider.rand(), self.provider.crypto(), &self.signer, |_| true)
            .unwrap()
            .finalize(&self.provider)
            .unwrap();
        update_request(bundle)
    }

    fn credential_with_key(&self) -> CredentialWithKey {
        CredentialWithKey {
            credential: self.credential.clone(),
            signature_key: self.signer.public().into(),
        }
    }
}

fn update_request(bundle: CommitMessageBundle) -> Vec<u8> {
    let (commit, welcome, group_info) = bundle.into_contents();
    let group_info = group_info.expect("it was asked for").tls_serialize_detached().unwrap();
    encode(&UpdateRequest {
        bundle: HandshakeBundle::Commit {
            commit: decode_exact(&commit.tls_serialize_detached().unwrap()).unwrap(),
            welcome: welcome.map(|welcome| decode_exact(&welcome.tls_serialize_detached().unwrap()).unwrap()),
            group_info: GroupInfoOption::Full(decode_exact(&group_info).unwrap()),
            ratchet_tree: RatchetTreeOption::DistributionService,
        },
    })
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
