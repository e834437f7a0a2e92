//! A client of a user, with its MLS group as openmls keeps it. It does what it is told to, allowed or not.

#[cfg(test)]
mod unfailing;

use std::collections::BTreeSet;

use mimi_hub_proto::components::{
    AppDataDictionary, AppDataUpdate, AppDataUpdateOperation, BASE_ROOM_POLICY, BaseRoomPolicy, ComponentId,
    ComponentsList, FRANK_AAD, FRANKING_AGENT, PARTICIPANT_LIST, ParticipantListData, ParticipantListUpdate,
    ROLES_LIST, SAFE_AAD, UserRolePair,
};
use mimi_hub_proto::mls::{self as wire, ApplicationMessage, CommitMessage, MlsMessage, ProposalMessage};
use mimi_hub_proto::policy::RoomPolicy;
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{ClientIdentity, FrankAad, GroupInfoOption, tls};
use openmls::component::ComponentData;
use openmls::extensions::{AppDataDictionary as Components, AppDataDictionaryExtension};
use openmls::framing::SafeAadItem;
use openmls::group::{CommitMessageBundle, StagedWelcome};
use openmls::messages::group_info::VerifiableGroupInfo;
use openmls::prelude::{
    AppDataDictionaryUpdater, AppDataUpdateOperation as Operation, AppDataUpdateProposal, Ciphersuite, CredentialType,
    CredentialWithKey, Extension, ExtensionType, Extensions, ExternalSender, GroupContext, GroupId, KeyPackage,
    LeafNodeIndex, LeafNodeParameters, Lifetime, MlsGroup, MlsGroupJoinConfig, MlsMessageIn, MlsMessageOut,
    OpenMlsProvider, PURE_PLAINTEXT_WIRE_FORMAT_POLICY, ProcessedMessageContent, Proposal, ProposalType, RatchetTreeIn,
    RequiredCapabilitiesExtension,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use tls_codec::{Deserialize as _, Serialize as _};

use super::credential::{Names, capabilities, credential, identity, identity_in};

pub(crate) const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

/// One client.
pub(crate) struct Client {
    provider: OpenMlsRustCrypto,
    pub(crate) signer: SignatureKeyPair,
    pub(crate) identity: ClientIdentity,
    /// What its credential is like.
    pub(crate) names: Names,
    /// The base policy of rooms that it makes.
    pub(crate) base: BaseRoomPolicy,
    /// `None` before it joins and after it is removed.
    pub(crate) group: Option<MlsGroup>,
}

/// What a Commit is to do, beside the pending proposals.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) adds: Vec<KeyPackage>,
    pub(crate) removes: Vec<u32>,
    pub(crate) proposals: Vec<Proposal>,
    /// Leave the pending proposals out.
    pub(crate) ignores_pending: bool,
    /// No UpdatePath unless MLS demands it.
    pub(crate) pathless: bool,
    /// The committer's leaf names this client from now on.
    pub(crate) renamed: Option<ClientIdentity>,
    /// Replace the group's extensions by these.
    pub(crate) extensions: Option<Extensions<GroupContext>>,
    /// Put the ratchet tree into the GroupInfo.
    pub(crate) tree_in_group_info: bool,
}

impl Plan {
    pub(crate) fn list(mut self, update: &ParticipantListUpdate) -> Self {
        self.proposals
            .push(app_data_update(PARTICIPANT_LIST, tls::encode(update)));
        self
    }

    pub(crate) fn add(mut self, key_packages: impl IntoIterator<Item = KeyPackage>) -> Self {
        self.adds.extend(key_packages);
        self
    }

    pub(crate) fn remove(mut self, leaves: impl IntoIterator<Item = u32>) -> Self {
        self.removes.extend(leaves);
        self
    }

    pub(crate) fn with(mut self, proposal: Proposal) -> Self {
        self.proposals.push(proposal);
        self
    }
}

pub(crate) fn app_data_update(component: ComponentId, data: Vec<u8>) -> Proposal {
    Proposal::AppDataUpdate(Box::new(AppDataUpdateProposal::update(component, data)))
}

/// A Commit and what goes with it to the hub.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    pub(crate) commit: CommitMessage,
    pub(crate) welcome: Option<wire::Welcome>,
    pub(crate) group_info: GroupInfoOption,
}

/// As it goes over the wire.
pub(crate) fn wire_key_package(key_package: &KeyPackage) -> wire::KeyPackage {
    tls::decode_exact(&key_package.tls_serialize_detached().unwrap()).unwrap()
}

impl Client {
    pub(crate) fn new(user: &UserUri, number: u32) -> Self {
        Client {
            provider: OpenMlsRustCrypto::default(),
            signer: SignatureKeyPair::new(SUITE.signature_algorithm()).unwrap(),
            identity: identity(user, number),
            names: Names::Real,
            base: BaseRoomPolicy::default(),
            group: None,
        }
    }

    /// The same client, with another credential.
    pub(crate) fn named(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    pub(crate) fn user(&self) -> &UserUri {
        self.identity.user()
    }

    pub(crate) fn group(&self) -> &MlsGroup {
        self.group.as_ref().expect("a member")
    }

    fn credential(&self) -> CredentialWithKey {
        credential(self.names, &self.identity, &self.signer)
    }

    /// Its Credential struct.
    #[cfg(test)]
    pub(crate) fn encoded_credential(&self) -> Vec<u8> {
        self.credential().credential.tls_serialize_detached().unwrap()
    }

    pub(crate) fn key_package(&self) -> KeyPackage {
        self.key_package_for(&self.identity, Lifetime::default())
    }

    /// A KeyPackage under any name, with any lifetime.
    pub(crate) fn key_package_for(&self, identity: &ClientIdentity, lifetime: Lifetime) -> KeyPackage {
        let builder = KeyPackage::builder()
            .leaf_node_capabilities(capabilities(self.names))
            .key_package_lifetime(lifetime);
        let credential = credential(self.names, identity, &self.signer);
        let bundle = builder.build(SUITE, &self.provider, &self.signer, credential).unwrap();
        bundle.key_package().clone()
    }

    /// Makes the room's group, with itself and whoever else is given.
    pub(crate) fn create(
        &mut self,
        room: &RoomUri,
        external_sender: &[u8],
        participants: &[(UserUri, u32)],
        others: &[&Client],
    ) -> (wire::GroupInfo, wire::RatchetTree) {
        let sender = ExternalSender::tls_deserialize_exact(external_sender).unwrap();
        // A FrankingAgentData is encoded as an ExternalSender is.
        let agent = (FRANKING_AGENT, external_sender.to_vec());
        let safe_aad = ComponentsList {
            component_ids: vec![FRANK_AAD],
        };
        let more = [agent, (SAFE_AAD, tls::encode(&safe_aad))];
        self.create_from(room.group_uri().as_str(), vec![sender], participants, others, &more)
    }

    /// With these components beside the usual ones.
    pub(crate) fn create_from(
        &mut self,
        group_id: &str,
        external_senders: Vec<ExternalSender>,
        participants: &[(UserUri, u32)],
        others: &[&Client],
        more: &[(ComponentId, Vec<u8>)],
    ) -> (wire::GroupInfo, wire::RatchetTree) {
        let mut components = components(participants, &self.base);
        for (component, data) in more {
            components.insert(*component, data.clone());
        }
        let extensions = Extensions::from_vec(vec![
            Extension::AppDataDictionary(AppDataDictionaryExtension::new(components)),
            Extension::ExternalSenders(external_senders),
            Extension::RequiredCapabilities(RequiredCapabilitiesExtension::new(
                &[ExtensionType::AppDataDictionary],
                &[ProposalType::AppDataUpdate],
                &[CredentialType::Basic],
            )),
        ]);
        let mut group = MlsGroup::builder()
            .with_group_id(GroupId::from_slice(group_id.as_bytes()))
            .ciphersuite(SUITE)
            .with_wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .with_group_context_extensions(extensions.unwrap())
            .with_capabilities(capabilities(self.names))
            .max_past_epochs(8)
            .replace_old_group()
            .build(&self.provider, &self.signer, self.credential())
            .unwrap();
        let added: Vec<KeyPackage> = others.iter().map(|other| other.key_package()).collect();
        if !added.is_empty() {
            group.add_members(&self.provider, &self.signer, &added).unwrap();
            group.merge_pending_commit(&self.provider).unwrap();
        }
        self.group = Some(group);
        (self.export_group_info(false), self.ratchet_tree())
    }

    pub(crate) fn export_group_info(&self, with_tree: bool) -> wire::GroupInfo {
        let exported = self
            .group()
            .export_group_info(self.provider.crypto(), &self.signer, with_tree)
            .unwrap();
        match tls::decode_exact(&exported.tls_serialize_detached().unwrap()).unwrap() {
            MlsMessage::GroupInfo(group_info) => group_info,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn ratchet_tree(&self) -> wire::RatchetTree {
        tls::decode_exact(&self.group().export_ratchet_tree().tls_serialize_detached().unwrap()).unwrap()
    }

    /// Builds a Commit, if openmls does; the group stays where it is until the Commit is merged or dropped.
    pub(crate) fn try_commit(&mut self, plan: Plan) -> Result<Bundle, String> {
        let Client {
            provider,
            signer,
            group,
            names,
            ..
        } = self;
        let group = group.as_mut().expect("a member");
        let extensions = group.extensions().clone();
        let own = plan.proposals.clone();
        let mut builder = group.commit_builder();
        // Before any AppDataUpdate: openmls minds the order.
        if let Some(wanted) = plan.extensions {
            builder = builder.propose_group_context_extensions(wanted).map_err(in_words)?;
        }
        builder = builder
            .consume_proposal_store(!plan.ignores_pending)
            .force_self_update(!plan.pathless)
            .propose_adds(plan.adds)
            .propose_removals(plan.removes.into_iter().map(LeafNodeIndex::new))
            .add_proposals(plan.proposals);
        if let Some(renamed) = &plan.renamed {
            let leaf = LeafNodeParameters::builder().with_credential_with_key(credential(*names, renamed, signer));
            builder = builder.leaf_node_parameters(leaf.build());
        }
        let mut stage = builder.load_psks(provider.storage()).map_err(in_words)?;
        stage = stage
            .create_group_info(true)
            .use_ratchet_tree_extension(plan.tree_in_group_info);
        let mut updater = stage.app_data_dictionary_updater();
        let own = own.iter().filter_map(|proposal| match proposal {
            Proposal::AppDataUpdate(update) => Some(update.as_ref()),
            _ => None,
        });
        if plan.ignores_pending {
            resolve(&extensions, own, &mut updater);
        } else {
            resolve(&extensions, stage.app_data_update_proposals(), &mut updater);
        }
        let changes = updater.changes();
        stage.with_app_data_dictionary_updates(changes);
        let built = stage
            .build(provider.rand(), provider.crypto(), signer, |_| true)
            .map_err(in_words)?;
        Ok(bundle(built.stage_commit(provider).map_err(in_words)?))
    }

    /// Joins by an external Commit, if openmls builds one; the group is the own one once the hub has accepted.
    pub(crate) fn try_external_commit(
        &self,
        group_info: &wire::GroupInfo,
        tree: &wire::RatchetTree,
        list: Option<&ParticipantListUpdate>,
    ) -> Result<(MlsGroup, Bundle), String> {
        let extensions = group_info.group_context().extensions();
        let before = extensions
            .decode(wire::ExtensionType::APP_DATA_DICTIONARY)
            .unwrap()
            .unwrap_or_default();
        let group_info = VerifiableGroupInfo::tls_deserialize_exact(group_info.as_bytes()).unwrap();
        let tree = RatchetTreeIn::tls_deserialize_exact(tree.as_bytes()).unwrap();
        let leaf = LeafNodeParameters::builder()
            .with_capabilities(capabilities(self.names))
            .build();
        let mut builder = MlsGroup::external_commit_builder()
            .with_config(join_config())
            .with_ratchet_tree(tree)
            .build_group(&self.provider, group_info, self.credential())
            .map_err(in_words)?
            .leaf_node_parameters(leaf);
        if let Some(update) = list {
            let update = AppDataUpdateProposal::update(PARTICIPANT_LIST, tls::encode(update));
            builder = builder.add_app_data_update_proposal(update);
        }
        let mut stage = builder
            .load_psks(self.provider.storage())
            .map_err(in_words)?
            .create_group_info(true);
        let mut updater = stage.app_data_dictionary_updater();
        resolve_in(before, stage.app_data_update_proposals(), &mut updater);
        let changes = updater.changes();
        stage.with_app_data_dictionary_updates(changes);
        let (group, built) = stage
            .build(self.provider.rand(), self.provider.crypto(), &self.signer, |_| true)
            .map_err(in_words)?
            .finalize(&self.provider)
            .map_err(in_words)?;
        Ok((group, bundle(built)))
    }

    pub(crate) fn merge(&mut self) {
        let group = self.group.as_mut().expect("a member");
        group.merge_pending_commit(&self.provider).unwrap();
        if !group.is_active() {
            self.group = None;
        }
    }

    /// Forgets what it has built and the hub has refused.
    pub(crate) fn drop_commit(&mut self) {
        let group = self.group.as_mut().expect("a member");
        group.clear_pending_commit(self.provider.storage()).unwrap();
    }

    pub(crate) fn drop_proposals(&mut self) {
        let group = self.group.as_mut().expect("a member");
        group.clear_pending_proposals(self.provider.storage()).unwrap();
    }

    /// Follows another member's Commit.
    pub(crate) fn follow(&mut self, commit: &CommitMessage) {
        let Some(group) = &mut self.group else { return };
        let processed = group
            .process_message(&self.provider, protocol_message(&tls::encode(commit)))
            .unwrap();
        let staged = match processed.into_content() {
            ProcessedMessageContent::StagedCommitMessage(staged) => *staged,
            ProcessedMessageContent::UnresolvedAppDataCommit(unresolved) => {
                let mut updater = group.app_data_dictionary_updater();
                resolve(group.extensions(), unresolved.app_data_update_proposals(), &mut updater);
                let changes = updater.changes();
                group
                    .stage_app_data_commit(&self.provider, *unresolved, changes)
                    .unwrap()
            }
            _ => panic!("not a Commit"),
        };
        group.merge_staged_commit(&self.provider, staged).unwrap();
        if !group.is_active() {
            self.group = None;
        }
    }

    pub(crate) fn follow_proposal(&mut self, proposal: &ProposalMessage) {
        let Some(group) = &mut self.group else { return };
        let message = protocol_message(&tls::encode(proposal));
        let processed = group.process_message(&self.provider, message).unwrap();
        let ProcessedMessageContent::ProposalMessage(queued) = processed.into_content() else {
            panic!("not a Proposal")
        };
        group.store_pending_proposal(self.provider.storage(), *queued).unwrap();
    }

    /// Joins if one of its KeyPackages is meant.
    pub(crate) fn welcome(&mut self, welcome: &wire::Welcome, tree: &wire::RatchetTree) -> bool {
        let octets = tls::encode(welcome);
        let welcome = openmls::messages::Welcome::tls_deserialize_exact(octets).unwrap();
        let Ok(builder) = StagedWelcome::build_from_welcome(&self.provider, &join_config(), welcome) else {
            return false;
        };
        let tree = RatchetTreeIn::tls_deserialize_exact(tree.as_bytes()).unwrap();
        let staged = builder.replace_old_group().with_ratchet_tree(tree).build().unwrap();
        self.group = Some(staged.into_group(&self.provider).unwrap());
        true
    }

    pub(crate) fn message(&mut self, text: &[u8]) -> ApplicationMessage {
        let Client {
            provider,
            signer,
            group,
            ..
        } = self;
        let message = group
            .as_mut()
            .expect("a member")
            .create_message(provider, signer, text)
            .unwrap();
        tls::decode_exact(&message.tls_serialize_detached().unwrap()).unwrap()
    }

    /// A text with its sender and room in it, and its franking tag beside it. Gives the content, too.
    pub(crate) fn franked_message(&mut self, room: &RoomUri, text: &str) -> (ApplicationMessage, Vec<u8>) {
        let content = super::content::content_of(self.user(), room, text);
        let tag = crate::mls::crypto::hmac_sha256(&content.salt, &content.encode()).unwrap();
        let message = self.message_with_tag(tag, &content.encode());
        (message, content.encode())
    }

    /// Any content beside any franking tag.
    pub(crate) fn message_with_tag(&mut self, franking_tag: [u8; 32], content: &[u8]) -> ApplicationMessage {
        self.message_with_item(tls::encode(&FrankAad { franking_tag }), content)
    }

    /// Anything as `frank_aad`.
    pub(crate) fn message_with_item(&mut self, data: Vec<u8>, content: &[u8]) -> ApplicationMessage {
        let group = self.group.as_mut().expect("a member");
        group.set_safe_aad(vec![SafeAadItem::new(FRANK_AAD, data)]).unwrap();
        self.message(content)
    }

    pub(crate) fn propose_remove(&mut self, leaf: u32) -> ProposalMessage {
        self.propose(|group, provider, signer| {
            group
                .propose_remove_member(provider, signer, LeafNodeIndex::new(leaf))
                .unwrap()
                .0
        })
    }

    pub(crate) fn propose_self_remove(&mut self) -> ProposalMessage {
        self.propose(|group, provider, signer| group.leave_group_via_self_remove(provider, signer).unwrap())
    }

    pub(crate) fn propose_update(&mut self, renamed: Option<&ClientIdentity>) -> ProposalMessage {
        let names = self.names;
        self.propose(|group, provider, signer| {
            let mut leaf = LeafNodeParameters::builder();
            if let Some(renamed) = renamed {
                leaf = leaf.with_credential_with_key(credential(names, renamed, signer));
            }
            group.propose_self_update(provider, signer, leaf.build()).unwrap().0
        })
    }

    pub(crate) fn propose_add(&mut self, key_package: &KeyPackage) -> ProposalMessage {
        self.propose(|group, provider, signer| group.propose_add_member(provider, signer, key_package).unwrap().0)
    }

    pub(crate) fn propose_list(&mut self, update: &ParticipantListUpdate) -> ProposalMessage {
        self.propose(|group, provider, signer| {
            let operation = Operation::Update(tls::encode(update).into());
            group
                .propose_app_data_update(provider, signer, PARTICIPANT_LIST, operation)
                .unwrap()
                .0
        })
    }

    fn propose(
        &mut self,
        build: impl FnOnce(&mut MlsGroup, &OpenMlsRustCrypto, &SignatureKeyPair) -> MlsMessageOut,
    ) -> ProposalMessage {
        let Client {
            provider,
            signer,
            group,
            ..
        } = self;
        let message = build(group.as_mut().expect("a member"), provider, signer);
        tls::decode_exact(&message.tls_serialize_detached().unwrap()).unwrap()
    }

    /// The proposals that take this client's user out of the room: all its clients, and its place in the list.
    pub(crate) fn propose_to_leave(&mut self) -> Vec<ProposalMessage> {
        let user = self.user().clone();
        let leaves = self.leaves_of(&user);
        let mut proposals: Vec<_> = leaves.into_iter().map(|leaf| self.propose_remove(leaf)).collect();
        let place = self.place_of(&user);
        proposals.push(self.propose_list(&ParticipantListUpdate {
            removed_indices: vec![place],
            ..ParticipantListUpdate::default()
        }));
        proposals
    }

    pub(crate) fn policy(&self) -> RoomPolicy {
        RoomPolicy::from_dictionary(&dictionary(self.group().extensions())).unwrap()
    }

    /// The user's index in the participant list.
    pub(crate) fn place_of(&self, user: &UserUri) -> u32 {
        let policy = self.policy();
        let place = policy
            .participants()
            .participants
            .iter()
            .position(|entry| entry.user == *user);
        u32::try_from(place.expect("a participant")).unwrap()
    }

    pub(crate) fn members(&self) -> Vec<(u32, ClientIdentity)> {
        let members = self.group().members();
        members
            .map(|member| (member.index.u32(), identity_in(&member.credential)))
            .collect()
    }

    pub(crate) fn leaves_of(&self, user: &UserUri) -> Vec<u32> {
        let members = self.members().into_iter();
        members
            .filter(|(_, member)| member.user() == user)
            .map(|(leaf, _)| leaf)
            .collect()
    }
}

fn in_words(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}

fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .use_ratchet_tree_extension(false)
        .max_past_epochs(8)
        .build()
}

fn components(participants: &[(UserUri, u32)], base: &BaseRoomPolicy) -> Components {
    let participants = participants.iter().map(|(user, role_index)| UserRolePair {
        user: user.clone(),
        role_index: *role_index,
    });
    let list = ParticipantListData {
        participants: participants.collect(),
    };
    let mut components = Components::new();
    components.insert(PARTICIPANT_LIST, tls::encode(&list));
    components.insert(ROLES_LIST, tls::encode(&super::roles::roles()));
    components.insert(BASE_ROOM_POLICY, tls::encode(base));
    components
}

fn dictionary(extensions: &Extensions<GroupContext>) -> AppDataDictionary {
    let extension = extensions.app_data_dictionary().expect("a room's group has components");
    tls::decode_exact(&extension.dictionary().tls_serialize_detached().unwrap()).unwrap()
}

/// What the updates make of the components. Nothing, where they make no sense: a client may well commit such.
fn resolve<'a>(
    extensions: &Extensions<GroupContext>,
    proposals: impl Iterator<Item = &'a AppDataUpdateProposal>,
    updater: &mut AppDataDictionaryUpdater<'_>,
) {
    resolve_in(dictionary(extensions), proposals, updater);
}

fn resolve_in<'a>(
    before: AppDataDictionary,
    proposals: impl Iterator<Item = &'a AppDataUpdateProposal>,
    updater: &mut AppDataDictionaryUpdater<'_>,
) {
    let updates: Vec<AppDataUpdate> = proposals
        .map(|proposal| AppDataUpdate {
            component_id: proposal.component_id(),
            op: match proposal.operation() {
                Operation::Update(data) => AppDataUpdateOperation::Update(data.as_slice().to_vec()),
                Operation::Remove => AppDataUpdateOperation::Remove,
            },
        })
        .collect();
    let Ok(policy) = RoomPolicy::from_dictionary(&before) else {
        return;
    };
    let after = match policy.apply(&before, &updates) {
        Ok(applied) => applied.dictionary,
        Err(_) => before,
    };
    let touched: BTreeSet<ComponentId> = updates.iter().map(|update| update.component_id).collect();
    for id in touched {
        match after.get(id) {
            Some(data) => updater.set(ComponentData::from_parts(id, data.into())),
            None => updater.remove(&id),
        }
    }
}

fn bundle(built: CommitMessageBundle) -> Bundle {
    let (commit, welcome, group_info) = built.into_contents();
    let welcome = welcome.map(|welcome| tls::decode_exact(&welcome.tls_serialize_detached().unwrap()).unwrap());
    let group_info = group_info.expect("a GroupInfo").tls_serialize_detached().unwrap();
    Bundle {
        commit: tls::decode_exact(&commit.tls_serialize_detached().unwrap()).unwrap(),
        welcome,
        group_info: GroupInfoOption::Full(tls::decode_exact(&group_info).unwrap()),
    }
}

fn protocol_message(octets: &[u8]) -> openmls::prelude::ProtocolMessage {
    MlsMessageIn::tls_deserialize_exact(octets)
        .unwrap()
        .try_into_protocol_message()
        .unwrap()
}
