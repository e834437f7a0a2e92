//! MLS objects, written field by field from RFC 9420: what the verbatim types are decoded from.

use mimi_hub_proto::components::{AppDataUpdate, AppEphemeral};
use mimi_hub_proto::mls::{
    Capabilities, CipherSuite, ContentType, Credential, Extension, HpkeCiphertext, ProposalType, Sender,
};
use mimi_hub_proto::tls::{Decode, Encode, Writer, decode_exact, encode};

/// Encodes fields one after the other.
macro_rules! fields {
    ($out:ident: $($field:expr),+ $(,)?) => {{ $( $field.encode($out); )+ }};
}

/// The verbatim object with these octets.
pub(crate) fn verbatim<T: Decode>(spec: &impl Encode) -> T {
    decode_exact(&encode(spec)).expect("the octets are valid")
}

#[derive(Debug, Clone)]
pub(crate) enum Source {
    KeyPackage(u64, u64),
    Update,
    Commit(Vec<u8>),
}

#[derive(Debug, Clone)]
pub(crate) struct LeafNode {
    pub(crate) encryption_key: Vec<u8>,
    pub(crate) signature_key: Vec<u8>,
    pub(crate) credential: Credential,
    pub(crate) capabilities: Capabilities,
    pub(crate) source: Source,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) signature: Vec<u8>,
}

impl Encode for LeafNode {
    fn encode(&self, out: &mut Writer) {
        fields!(out: self.encryption_key, self.signature_key, self.credential, self.capabilities);
        match &self.source {
            Source::KeyPackage(not_before, not_after) => fields!(out: 1u8, not_before, not_after),
            Source::Update => fields!(out: 2u8),
            Source::Commit(parent_hash) => fields!(out: 3u8, parent_hash),
        }
        fields!(out: self.extensions, self.signature);
    }
}

#[derive(Debug, Clone)]
pub(crate) struct KeyPackage {
    pub(crate) cipher_suite: CipherSuite,
    pub(crate) init_key: Vec<u8>,
    pub(crate) leaf_node: LeafNode,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) signature: Vec<u8>,
}

impl Encode for KeyPackage {
    fn encode(&self, out: &mut Writer) {
        fields!(out: 1u16, self.cipher_suite, self.init_key, self.leaf_node, self.extensions, self.signature);
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Psk {
    External { id: Vec<u8> },
    Resumption { usage: u8, group_id: Vec<u8>, epoch: u64 },
    Application { component_id: u16, id: Vec<u8> },
}

#[derive(Debug, Clone)]
pub(crate) enum Proposal {
    Add(KeyPackage),
    Update(LeafNode),
    Remove(u32),
    PreSharedKey(Psk, Vec<u8>),
    ReInit {
        group_id: Vec<u8>,
        cipher_suite: CipherSuite,
        extensions: Vec<Extension>,
    },
    ExternalInit(Vec<u8>),
    GroupContextExtensions(Vec<Extension>),
    AppDataUpdate(AppDataUpdate),
    AppEphemeral(AppEphemeral),
    SelfRemove,
}

impl Proposal {
    pub(crate) fn proposal_type(&self) -> ProposalType {
        match self {
            Proposal::Add(_) => ProposalType::Add,
            Proposal::Update(_) => ProposalType::Update,
            Proposal::Remove(_) => ProposalType::Remove,
            Proposal::PreSharedKey(..) => ProposalType::PreSharedKey,
            Proposal::ReInit { .. } => ProposalType::ReInit,
            Proposal::ExternalInit(_) => ProposalType::ExternalInit,
            Proposal::GroupContextExtensions(_) => ProposalType::GroupContextExtensions,
            Proposal::AppDataUpdate(_) => ProposalType::AppDataUpdate,
            Proposal::AppEphemeral(_) => ProposalType::AppEphemeral,
            Proposal::SelfRemove => ProposalType::SelfRemove,
        }
    }
}

impl Encode for Proposal {
    fn encode(&self, out: &mut Writer) {
        self.proposal_type().encode(out);
        match self {
            Proposal::Add(key_package) => fields!(out: key_package),
            Proposal::Update(leaf_node) => fields!(out: leaf_node),
            Proposal::Remove(index) => fields!(out: index),
            Proposal::PreSharedKey(psk, nonce) => {
                match psk {
                    Psk::External { id } => fields!(out: 1u8, id),
                    Psk::Resumption { usage, group_id, epoch } => fields!(out: 2u8, usage, group_id, epoch),
                    Psk::Application { component_id, id } => fields!(out: 3u8, component_id, id),
                }
                fields!(out: nonce);
            }
            Proposal::ReInit {
                group_id,
                cipher_suite,
                extensions,
            } => {
                fields!(out: group_id, 1u16, cipher_suite, extensions);
            }
            Proposal::ExternalInit(kem_output) => fields!(out: kem_output),
            Proposal::GroupContextExtensions(extensions) => fields!(out: extensions),
            Proposal::AppDataUpdate(update) => fields!(out: update),
            Proposal::AppEphemeral(ephemeral) => fields!(out: ephemeral),
            Proposal::SelfRemove => {}
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum ProposalOrRef {
    Proposal(Box<Proposal>),
    Reference(Vec<u8>),
}

impl Encode for ProposalOrRef {
    fn encode(&self, out: &mut Writer) {
        match self {
            ProposalOrRef::Proposal(proposal) => fields!(out: 1u8, proposal.as_ref()),
            ProposalOrRef::Reference(reference) => fields!(out: 2u8, reference),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct PathNode {
    pub(crate) encryption_key: Vec<u8>,
    pub(crate) secrets: Vec<HpkeCiphertext>,
}

impl Encode for PathNode {
    fn encode(&self, out: &mut Writer) {
        fields!(out: self.encryption_key, self.secrets);
    }
}

#[derive(Debug, Clone)]
pub(crate) struct UpdatePath {
    pub(crate) leaf_node: LeafNode,
    pub(crate) nodes: Vec<PathNode>,
}

impl Encode for UpdatePath {
    fn encode(&self, out: &mut Writer) {
        fields!(out: self.leaf_node, self.nodes);
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) proposals: Vec<ProposalOrRef>,
    pub(crate) path: Option<UpdatePath>,
}

impl Encode for Commit {
    fn encode(&self, out: &mut Writer) {
        fields!(out: self.proposals, self.path);
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Proposal(Box<Proposal>),
    Commit {
        commit: Box<Commit>,
        confirmation_tag: Vec<u8>,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct PublicMessage {
    pub(crate) group_id: Vec<u8>,
    pub(crate) epoch: u64,
    pub(crate) sender: Sender,
    pub(crate) authenticated_data: Vec<u8>,
    pub(crate) content: Content,
    pub(crate) signature: Vec<u8>,
    pub(crate) membership_tag: Vec<u8>,
}

impl Encode for PublicMessage {
    fn encode(&self, out: &mut Writer) {
        fields!(out: self.group_id, self.epoch);
        match self.sender {
            Sender::Member(index) => fields!(out: 1u8, index),
            Sender::External(index) => fields!(out: 2u8, index),
            Sender::NewMemberProposal => fields!(out: 3u8),
            Sender::NewMemberCommit => fields!(out: 4u8),
        }
        fields!(out: self.authenticated_data);
        match &self.content {
            Content::Proposal(proposal) => {
                fields!(out: ContentType::Proposal, proposal.as_ref(), self.signature);
            }
            Content::Commit {
                commit,
                confirmation_tag,
            } => {
                fields!(out: ContentType::Commit, commit.as_ref(), self.signature, confirmation_tag);
            }
        }
        if let Sender::Member(_) = self.sender {
            fields!(out: self.membership_tag);
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct PrivateMessage {
    pub(crate) group_id: Vec<u8>,
    pub(crate) epoch: u64,
    pub(crate) content_type: ContentType,
    pub(crate) authenticated_data: Vec<u8>,
    pub(crate) encrypted_sender_data: Vec<u8>,
    pub(crate) ciphertext: Vec<u8>,
}

impl Encode for PrivateMessage {
    fn encode(&self, out: &mut Writer) {
        fields!(out: self.group_id, self.epoch, self.content_type, self.authenticated_data);
        fields!(out: self.encrypted_sender_data, self.ciphertext);
    }
}

#[derive(Debug, Clone)]
pub(crate) struct EncryptedGroupSecrets {
    pub(crate) new_member: Vec<u8>,
    pub(crate) secrets: HpkeCiphertext,
}

impl Encode for EncryptedGroupSecrets {
    fn encode(&self, out: &mut Writer) {
        fields!(out: self.new_member, self.secrets);
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Welcome {
    pub(crate) cipher_suite: CipherSuite,
    pub(crate) secrets: Vec<EncryptedGroupSecrets>,
    pub(crate) encrypted_group_info: Vec<u8>,
}

impl Encode for Welcome {
    fn encode(&self, out: &mut Writer) {
        fields!(out: self.cipher_suite, self.secrets, self.encrypted_group_info);
    }
}

#[derive(Debug, Clone)]
pub(crate) struct GroupInfo {
    pub(crate) cipher_suite: CipherSuite,
    pub(crate) group_id: Vec<u8>,
    pub(crate) epoch: u64,
    pub(crate) tree_hash: Vec<u8>,
    pub(crate) confirmed_transcript_hash: Vec<u8>,
    pub(crate) context_extensions: Vec<Extension>,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) confirmation_tag: Vec<u8>,
    pub(crate) signer: u32,
    pub(crate) signature: Vec<u8>,
}

impl GroupInfo {
    /// GroupInfoTBS.
    pub(crate) fn to_be_signed(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let out = &mut writer;
        fields!(out: 1u16, self.cipher_suite, self.group_id, self.epoch, self.tree_hash);
        fields!(out: self.confirmed_transcript_hash, self.context_extensions);
        fields!(out: self.extensions, self.confirmation_tag, self.signer);
        writer.into_vec()
    }
}

impl Encode for GroupInfo {
    fn encode(&self, out: &mut Writer) {
        out.raw(&self.to_be_signed());
        fields!(out: self.signature);
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Node {
    Leaf(Box<LeafNode>),
    Parent {
        encryption_key: Vec<u8>,
        parent_hash: Vec<u8>,
        unmerged_leaves: Vec<u32>,
    },
}

impl Encode for Node {
    fn encode(&self, out: &mut Writer) {
        match self {
            Node::Leaf(leaf_node) => fields!(out: 1u8, leaf_node.as_ref()),
            Node::Parent {
                encryption_key,
                parent_hash,
                unmerged_leaves,
            } => {
                fields!(out: 2u8, encryption_key, parent_hash, unmerged_leaves);
            }
        }
    }
}
