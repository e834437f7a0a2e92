//! Clients and their groups.

use mimi_hub_proto::ClientIdentity;
use mimi_hub_proto::components::{AppDataDictionary, PARTICIPANT_LIST, ParticipantListData};
use mimi_hub_proto::tls::encode;
use openmls::prelude::tls_codec::Deserialize as _;
use openmls::prelude::{
    AppDataDictionaryExtension, BasicCredential, Capabilities, Ciphersuite, CredentialType, CredentialWithKey,
    Extension, ExtensionType as TheirExtensionType, Extensions, ExternalSender, GroupId, KeyPackage, MlsGroup,
    MlsGroupCreateConfig, MlsGroupJoinConfig, MlsMessageBodyIn, MlsMessageIn, MlsMessageOut,
    PURE_PLAINTEXT_WIRE_FORMAT_POLICY, ProposalType as TheirProposalType, RequiredCapabilitiesExtension, StagedWelcome,
    Welcome,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;

pub(super) const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// A client of a user of the same name.
pub(super) struct Client {
    pub(super) provider: OpenMlsRustCrypto,
    pub(super) signer: SignatureKeyPair,
    pub(super) credential: CredentialWithKey,
    pub(super) identity: ClientIdentity,
}

impl Client {
    pub(super) fn new(name: &str) -> Self {
        let client = format!("mimi://a.example/d/{name}1").parse().unwrap();
        let identity = ClientIdentity::new(client, format!("mimi://a.example/u/{name}").parse().unwrap()).unwrap();
        let signer = SignatureKeyPair::new(SUITE.signature_algorithm()).unwrap();
        let credential = CredentialWithKey {
            credential: BasicCredential::new(encode(&identity)).into(),
            signature_key: signer.public().into(),
        };
        Client {
            provider: OpenMlsRustCrypto::default(),
            signer,
            credential,
            identity,
        }
    }

    pub(super) fn key_package(&self) -> KeyPackage {
        let builder = KeyPackage::builder()
            .leaf_node_capabilities(capabilities())
            .mark_as_last_resort();
        let bundle = builder
            .build(SUITE, &self.provider, &self.signer, self.credential.clone())
            .unwrap();
        bundle.key_package().clone()
    }

    pub(super) fn join(&self, welcome: Welcome, inviter: &MlsGroup) -> MlsGroup {
        let config = MlsGroupJoinConfig::builder()
            .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .build();
        let tree = Some(inviter.export_ratchet_tree().into());
        StagedWelcome::new_from_welcome(&self.provider, &config, welcome, tree)
            .unwrap()
            .into_group(&self.provider)
            .unwrap()
    }
}

pub(super) fn capabilities() -> Capabilities {
    Capabilities::new(
        None,
        Some(&[SUITE]),
        Some(&[TheirExtensionType::AppDataDictionary, TheirExtensionType::LastResort]),
        Some(&[TheirProposalType::AppDataUpdate, TheirProposalType::SelfRemove]),
        Some(&[CredentialType::Basic]),
    )
}

/// A room of Ada and Bob, with a hub as external sender.
pub(super) struct Room {
    pub(super) hub: Client,
    pub(super) ada: Client,
    pub(super) ada_group: MlsGroup,
    pub(super) bob: Client,
    pub(super) bob_group: MlsGroup,
}

pub(super) fn ada_alone(hub: &Client, ada: &Client) -> MlsGroup {
    let mut dictionary = AppDataDictionary::new();
    dictionary.set(PARTICIPANT_LIST, encode(&ParticipantListData::default()));
    let dictionary = openmls::prelude::AppDataDictionary::tls_deserialize_exact(encode(&dictionary)).unwrap();
    let required = RequiredCapabilitiesExtension::new(
        &[TheirExtensionType::AppDataDictionary],
        &[TheirProposalType::AppDataUpdate],
        &[CredentialType::Basic],
    );
    let sender = ExternalSender::new(hub.signer.public().into(), hub.credential.credential.clone());
    let extensions = Extensions::from_vec(vec![
        Extension::RequiredCapabilities(required),
        Extension::ExternalSenders(vec![sender]),
        Extension::AppDataDictionary(AppDataDictionaryExtension::new(dictionary)),
    ]);
    let config = MlsGroupCreateConfig::builder()
        .ciphersuite(SUITE)
        .capabilities(capabilities())
        .with_group_context_extensions(extensions.unwrap())
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .build();
    let group_id = GroupId::from_slice(b"mimi://a.example/g/clubhouse");
    MlsGroup::new_with_group_id(&ada.provider, &ada.signer, &config, group_id, ada.credential.clone()).unwrap()
}

impl Room {
    pub(super) fn new() -> Self {
        let (hub, ada, bob) = (Client::new("hub"), Client::new("ada"), Client::new("bob"));
        let mut ada_group = ada_alone(&hub, &ada);
        let (_, welcome, _) = ada_group
            .add_members(&ada.provider, &ada.signer, &[bob.key_package()])
            .unwrap();
        ada_group.merge_pending_commit(&ada.provider).unwrap();
        let bob_group = bob.join(welcome_in(&welcome), &ada_group);
        Room {
            hub,
            ada,
            ada_group,
            bob,
            bob_group,
        }
    }
}

/// A message as openmls reads it.
pub(super) fn received(message: &MlsMessageOut) -> MlsMessageBodyIn {
    MlsMessageIn::tls_deserialize_exact(message.to_bytes().unwrap())
        .unwrap()
        .extract()
}

pub(super) fn welcome_in(message: &MlsMessageOut) -> Welcome {
    match received(message) {
        MlsMessageBodyIn::Welcome(welcome) => welcome,
        _ => panic!("not a Welcome"),
    }
}
