//! MLS objects, and every view that a hub takes of them.
#![no_main]

use std::hint::black_box;

use libfuzzer_sys::fuzz_target;
use mimi_hub_fuzz::{bounded, exact, seen};
use mimi_hub_proto::associated_parties::{
    AssociatedParties, AssociatedPartyEntry, AssociatedPartyEntryTbs, AssociatedPartyExportContext,
};
use mimi_hub_proto::mls::{
    ApplicationMessage, Capabilities, Commit, CommitMessage, ContentType, Credential, Extension, ExternalReceiver,
    ExternalReceivers, ExternalSender, FramedContent, GroupInfo, HpkeCiphertext, HpkePublicKey, KeyForExternalReceiver,
    KeyPackage, KeyPackageRef, LeafNode, Lifetime, MlsMessage, PerMessageKeyAndNonces, PrivateMessage, Proposal,
    ProposalMessage, ProposalOrRef, ProposalRef, ProposalType, PublicMessage, RatchetTree, RequiredCapabilities,
    SemiPrivateMessage, SemiPrivateMessageContext, SignaturePublicKey, Welcome, WireFormat,
};
use mimi_hub_proto::{IdentityLinkTbe, PseudonymousCredential, PseudonymousCredentialTbs};

fn leaf_node(leaf: LeafNode<'_>) {
    let capabilities = leaf.capabilities();
    black_box((
        capabilities.satisfy(&RequiredCapabilities::default()),
        leaf.credential().to_owned(),
        leaf.source(),
    ));
    black_box((
        leaf.encryption_key(),
        leaf.signature_key(),
        leaf.extensions().iter().count(),
    ));
}

fn key_package(key_package: &KeyPackage) {
    leaf_node(key_package.leaf_node());
    black_box((
        key_package.lifetime(),
        key_package.init_key(),
        key_package.extensions().iter().count(),
    ));
}

fn proposal(proposal: Proposal<'_>) {
    seen(bounded(proposal.body().len(), || proposal.content()));
}

fn commit(commit: Commit<'_>) {
    if let Some(leaf) = commit.path_leaf() {
        leaf_node(leaf);
    }
    for item in commit.proposals() {
        match item {
            ProposalOrRef::Proposal(item) => proposal(item),
            ProposalOrRef::Reference(reference) => {
                black_box(reference);
            }
        }
    }
}

fn public_message(message: &PublicMessage) {
    black_box((
        message.group_id(),
        message.epoch(),
        message.sender(),
        message.authenticated_data(),
        message.signature(),
    ));
    match message.content() {
        FramedContent::Proposal(content) => proposal(content),
        FramedContent::Commit {
            commit: content,
            confirmation_tag,
        } => {
            black_box(confirmation_tag);
            commit(content);
        }
    }
}

fn group_info(group_info: &GroupInfo) {
    let context = group_info.group_context();
    black_box((
        context.epoch(),
        context.group_id(),
        context.tree_hash(),
        context.confirmed_transcript_hash(),
    ));
    black_box((
        context.extensions().iter().count(),
        group_info.extensions().iter().count(),
        group_info.signer(),
    ));
    black_box((
        group_info.to_be_signed(),
        group_info.signature(),
        group_info.confirmation_tag(),
    ));
}

fn welcome(welcome: &Welcome) {
    black_box((welcome.cipher_suite(), welcome.new_members().count()));
}

fuzz_target!(|octets: &[u8]| {
    exact::<AssociatedParties>(octets);
    exact::<AssociatedPartyEntry>(octets);
    exact::<AssociatedPartyEntryTbs>(octets);
    exact::<AssociatedPartyExportContext>(octets);
    exact::<ApplicationMessage>(octets);
    exact::<Capabilities>(octets);
    exact::<CommitMessage>(octets);
    exact::<ContentType>(octets);
    exact::<Credential>(octets);
    exact::<Extension>(octets);
    exact::<ExternalReceiver>(octets);
    exact::<ExternalReceivers>(octets);
    exact::<ExternalSender>(octets);
    exact::<IdentityLinkTbe>(octets);
    exact::<PseudonymousCredential>(octets);
    exact::<PseudonymousCredentialTbs>(octets);
    exact::<HpkeCiphertext>(octets);
    exact::<HpkePublicKey>(octets);
    exact::<KeyForExternalReceiver>(octets);
    exact::<KeyPackageRef>(octets);
    exact::<Lifetime>(octets);
    exact::<PerMessageKeyAndNonces>(octets);
    exact::<PrivateMessage>(octets);
    exact::<ProposalMessage>(octets);
    exact::<ProposalRef>(octets);
    exact::<ProposalType>(octets);
    exact::<PublicMessage>(octets);
    exact::<RequiredCapabilities>(octets);
    exact::<SemiPrivateMessage>(octets);
    exact::<SemiPrivateMessageContext>(octets);
    exact::<SignaturePublicKey>(octets);
    exact::<Welcome>(octets);
    exact::<WireFormat>(octets);
    if let Some(object) = exact::<GroupInfo>(octets) {
        group_info(&object);
    }
    if let Some(object) = exact::<KeyPackage>(octets) {
        key_package(&object);
    }
    if let Some(tree) = exact::<RatchetTree>(octets) {
        assert!(!tree.is_empty());
    }
    match exact::<MlsMessage>(octets) {
        Some(MlsMessage::PublicMessage(message)) => public_message(&message),
        Some(MlsMessage::PrivateMessage(message)) => {
            black_box((
                message.group_id(),
                message.epoch(),
                message.content_type(),
                message.authenticated_data(),
            ));
        }
        Some(MlsMessage::Welcome(object)) => welcome(&object),
        Some(MlsMessage::GroupInfo(object)) => group_info(&object),
        Some(MlsMessage::KeyPackage(object)) => key_package(&object),
        Some(MlsMessage::SemiPrivateMessage(message)) => {
            black_box((message.group_id(), message.epoch(), message.content_type()));
            black_box((message.authenticated_data(), message.keys_for_external_receivers()));
        }
        None => {}
    }
});
