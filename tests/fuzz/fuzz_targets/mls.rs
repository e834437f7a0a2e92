//! MLS objects, and every view that a hub takes of them.
#![no_main]

use std::hint::black_box;

use libfuzzer_sys::fuzz_target;
use mimi_hub_fuzz::{bounded, exact, seen};
use mimi_hub_proto::associated_parties::AssociatedParties;
use mimi_hub_proto::mls::{
    Capabilities, Commit, Credential, ExternalReceivers, ExternalSender, FramedContent, GroupInfo, HpkeCiphertext,
    KeyPackage, LeafNode, MlsMessage, PerMessageKeyAndNonces, Proposal, ProposalOrRef, PublicMessage, RatchetTree,
    RequiredCapabilities, SemiPrivateMessage, Welcome,
};

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
    exact::<Capabilities>(octets);
    exact::<Credential>(octets);
    exact::<ExternalReceivers>(octets);
    exact::<ExternalSender>(octets);
    exact::<PerMessageKeyAndNonces>(octets);
    exact::<SemiPrivateMessage>(octets);
    exact::<HpkeCiphertext>(octets);
    exact::<RequiredCapabilities>(octets);
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
