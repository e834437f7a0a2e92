//! Comparison with openmls: whatever its groups produce is accepted, octet for octet, and our views say what openmls'
//! own parsing, or the sender's state, says.

use mimi_hub_proto::ClientIdentity;
use mimi_hub_proto::components::{
    AppDataDictionary, AppDataUpdate, AppDataUpdateOperation, PARTICIPANT_LIST, ParticipantListData,
};
use mimi_hub_proto::mls::{
    self, ApplicationMessage, CommitMessage, ExtensionType, MlsMessage, ProposalContent, ProposalMessage, ProposalType,
    ref_hash_input, sign_content,
};
use mimi_hub_proto::tls::{Decode, Encode, decode_exact, encode};
use openmls::component::ComponentData;
use openmls::prelude::tls_codec::{Deserialize as _, Serialize as _};
use openmls::prelude::{
    AppDataUpdateProposal, ExternalProposal, HashType, JoinProposal, LeafNodeIndex, LeafNodeParameters, MlsGroup,
    MlsGroupJoinConfig, MlsMessageBodyIn, MlsMessageIn, MlsMessageOut, OpenMlsCrypto as _, OpenMlsProvider as _,
    PURE_PLAINTEXT_WIRE_FORMAT_POLICY, ProcessedMessageContent, Proposal, Sender, SenderExtensionIndex,
};
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::signatures::Signer as _;

mod outside;
mod room;

use room::{Client, Room, SUITE, ada_alone, capabilities, received, welcome_in};

/// The octets of one of openmls' objects, decoded by us; they encode to the same.
fn ours<T: Decode + Encode>(theirs: &impl openmls::prelude::tls_codec::Serialize) -> T {
    let octets = theirs.tls_serialize_detached().unwrap();
    let value = decode_exact::<T>(&octets).unwrap();
    assert_eq!(encode(&value), octets);
    value
}

/// Our view of a PublicMessage that openmls made, checked against openmls' parsing of the same octets.
fn public<T>(theirs: &MlsMessageOut) -> T
where
    T: Decode + Encode + std::ops::Deref<Target = mls::PublicMessage>,
{
    let view: T = ours(theirs);
    let MlsMessageBodyIn::PublicMessage(parsed) = received(theirs) else {
        panic!("not a PublicMessage")
    };
    assert_eq!(view.group_id(), parsed.group_id().as_slice());
    assert_eq!(view.epoch(), parsed.epoch().as_u64());
    assert_eq!(view.content_type() as u8, parsed.content_type() as u8);
    let sender = match parsed.sender() {
        Sender::Member(index) => mls::Sender::Member(index.u32()),
        Sender::External(index) => {
            mls::Sender::External(decode_exact(&index.tls_serialize_detached().unwrap()).unwrap())
        }
        Sender::NewMemberProposal => mls::Sender::NewMemberProposal,
        Sender::NewMemberCommit => mls::Sender::NewMemberCommit,
    };
    assert_eq!(view.sender(), sender);
    if let mls::FramedContent::Commit { confirmation_tag, .. } = view.content() {
        let tag = parsed.confirmation_tag().unwrap().tls_serialize_detached().unwrap();
        assert_eq!(encode(confirmation_tag), tag);
    }
    view
}

fn proposal_types(commit: &CommitMessage) -> Vec<Option<ProposalType>> {
    let types = commit.commit().proposals().map(|item| match item {
        mls::ProposalOrRef::Proposal(proposal) => Some(proposal.proposal_type()),
        mls::ProposalOrRef::Reference(_) => None,
    });
    types.collect()
}

/// KeyPackageRef, computed from our octets.
fn key_package_ref(client: &Client, key_package: &mls::KeyPackage) -> Vec<u8> {
    let input = ref_hash_input("MLS 1.0 KeyPackage Reference", key_package.as_bytes());
    client.provider.crypto().hash(HashType::Sha2_256, &input).unwrap()
}

#[test]
fn key_packages() {
    let ada = Client::new("ada");
    let theirs = ada.key_package();
    let view: mls::KeyPackage = ours(&theirs);
    assert_eq!(view.cipher_suite().0, u16::from(theirs.ciphersuite()));
    assert_eq!(view.init_key(), theirs.hpke_init_key().as_slice());
    assert_eq!(view.lifetime().not_before, theirs.life_time().not_before());
    assert_eq!(view.lifetime().not_after, theirs.life_time().not_after());
    assert_eq!(view.leaf_node().signature_key(), ada.signer.public());
    let encryption_key = theirs.leaf_node().encryption_key().tls_serialize_detached().unwrap();
    assert_eq!(encode(view.leaf_node().encryption_key()), encryption_key);
    assert_eq!(
        ClientIdentity::from_credential(view.leaf_node().credential()).as_ref(),
        Ok(&ada.identity)
    );
    let capabilities = view.leaf_node().capabilities();
    assert_eq!(
        encode(&capabilities),
        theirs.leaf_node().capabilities().tls_serialize_detached().unwrap()
    );
    assert!(capabilities.extensions.contains(&ExtensionType::APP_DATA_DICTIONARY));
    assert_eq!(view.extensions().iter().count(), 1, "the mark of a last resort");
    assert_eq!(
        key_package_ref(&ada, &view),
        theirs.hash_ref(ada.provider.crypto()).unwrap().as_slice()
    );

    let framed: MlsMessage = ours(&MlsMessageOut::from(theirs));
    assert_eq!(framed, MlsMessage::KeyPackage(view));
}

#[test]
fn commits_with_adds_and_welcomes() {
    let (hub, ada, bob, cleo) = (
        Client::new("hub"),
        Client::new("ada"),
        Client::new("bob"),
        Client::new("cleo"),
    );
    let mut group = ada_alone(&hub, &ada);
    let added = [bob.key_package(), cleo.key_package()];
    group.set_aad(b"additional".to_vec());
    let (commit, welcome, _) = group.add_members(&ada.provider, &ada.signer, &added).unwrap();

    let view: CommitMessage = public(&commit);
    assert_eq!(view.authenticated_data(), b"additional");
    assert_eq!(
        proposal_types(&view),
        [Some(ProposalType::Add), Some(ProposalType::Add)]
    );
    for (item, expected) in view.commit().proposals().zip(&added) {
        let mls::ProposalOrRef::Proposal(proposal) = item else {
            panic!("by value")
        };
        assert_eq!(proposal.content(), Ok(ProposalContent::Add(ours(expected))));
    }
    let leaf = view.commit().path_leaf().unwrap();
    assert_eq!(leaf.signature_key(), ada.signer.public());
    assert_eq!(
        ClientIdentity::from_credential(leaf.credential()).as_ref(),
        Ok(&ada.identity)
    );

    let framed: MlsMessage = ours(&welcome);
    let MlsMessage::Welcome(framed) = framed else {
        panic!("not a Welcome")
    };
    let theirs = welcome_in(&welcome);
    let view: mls::Welcome = ours(&theirs);
    assert_eq!(view, framed);
    assert_eq!(view.cipher_suite().0, u16::from(SUITE));
    let members: Vec<_> = added
        .iter()
        .map(|package| key_package_ref(&ada, &ours(package)))
        .collect();
    assert_eq!(view.new_members().collect::<Vec<_>>(), members);
}

#[test]
fn commits_without_path_and_with_references() {
    let mut room = Room::new();
    let cleo = Client::new("cleo");
    let (commit, _, _) = room
        .ada_group
        .add_members_without_update(&room.ada.provider, &room.ada.signer, &[cleo.key_package()])
        .unwrap();
    let view: CommitMessage = public(&commit);
    assert!(view.commit().path_leaf().is_none());
    room.ada_group
        .clear_pending_commit(room.ada.provider.storage())
        .unwrap();

    let (_, reference) = room
        .ada_group
        .propose_add_member(&room.ada.provider, &room.ada.signer, &cleo.key_package())
        .unwrap();
    let (commit, _, _) = room
        .ada_group
        .commit_to_pending_proposals(&room.ada.provider, &room.ada.signer)
        .unwrap();
    let view: CommitMessage = public(&commit);
    let references: Vec<_> = view.commit().proposals().collect();
    assert_eq!(references, [mls::ProposalOrRef::Reference(reference.as_slice())]);
}

#[test]
fn proposals_of_members() {
    let Room { bob, mut bob_group, .. } = Room::new();
    let content = |message: &MlsMessageOut| public::<ProposalMessage>(message).proposal().content().unwrap();

    let (message, reference) = bob_group
        .propose_remove_member(&bob.provider, &bob.signer, LeafNodeIndex::new(0))
        .unwrap();
    assert_eq!(content(&message), ProposalContent::Remove(0));
    // A ProposalRef is the hash of the authenticated content: wire format, content and signature, not the tag.
    let view: ProposalMessage = public(&message);
    let octets = message.to_bytes().unwrap();
    let authenticated = &octets[2..octets.len() - 33];
    assert!(authenticated.ends_with(view.signature()));
    let input = ref_hash_input("MLS 1.0 Proposal Reference", authenticated);
    assert_eq!(
        bob.provider.crypto().hash(HashType::Sha2_256, &input).unwrap(),
        reference.as_slice()
    );

    let cleo = Client::new("cleo").key_package();
    let (message, _) = bob_group.propose_add_member(&bob.provider, &bob.signer, &cleo).unwrap();
    assert_eq!(content(&message), ProposalContent::Add(ours(&cleo)));
    let (message, _) = bob_group
        .propose_self_update(&bob.provider, &bob.signer, LeafNodeParameters::default())
        .unwrap();
    assert_eq!(content(&message), ProposalContent::Update);
    let (message, _) = bob_group
        .propose_group_context_extensions(&bob.provider, bob_group.extensions().clone(), &bob.signer)
        .unwrap();
    let ProposalContent::GroupContextExtensions(extensions) = content(&message) else {
        panic!("not the extensions")
    };
    assert_eq!(
        encode(&extensions),
        bob_group.extensions().tls_serialize_detached().unwrap()
    );
    let (message, _) = bob_group
        .propose_app_data_update(
            &bob.provider,
            &bob.signer,
            PARTICIPANT_LIST,
            openmls::prelude::AppDataUpdateOperation::Update(vec![0, 0, 0].into()),
        )
        .unwrap();
    let op = AppDataUpdateOperation::Update(vec![0, 0, 0]);
    let expected = AppDataUpdate {
        component_id: PARTICIPANT_LIST,
        op,
    };
    assert_eq!(content(&message), ProposalContent::AppDataUpdate(expected));
    let (message, _) = bob_group
        .propose_app_data_update(
            &bob.provider,
            &bob.signer,
            PARTICIPANT_LIST,
            openmls::prelude::AppDataUpdateOperation::Remove,
        )
        .unwrap();
    let expected = AppDataUpdate {
        component_id: PARTICIPANT_LIST,
        op: AppDataUpdateOperation::Remove,
    };
    assert_eq!(content(&message), ProposalContent::AppDataUpdate(expected));
    let message = bob_group
        .leave_group_via_self_remove(&bob.provider, &bob.signer)
        .unwrap();
    assert_eq!(content(&message), ProposalContent::SelfRemove);
}

#[test]
fn proposals_of_others() {
    let room = Room::new();
    let (group_id, epoch) = (room.ada_group.group_id().clone(), room.ada_group.epoch());
    let message = ExternalProposal::new_remove::<OpenMlsRustCrypto>(
        LeafNodeIndex::new(1),
        group_id.clone(),
        epoch,
        &room.hub.signer,
        SenderExtensionIndex::new(0),
    );
    let view: ProposalMessage = public(&message.unwrap());
    assert_eq!(
        (view.sender(), view.proposal().content()),
        (mls::Sender::External(0), Ok(ProposalContent::Remove(1)))
    );

    let cleo = Client::new("cleo");
    let message = JoinProposal::new::<<OpenMlsRustCrypto as openmls_traits::OpenMlsProvider>::StorageProvider>(
        cleo.key_package(),
        group_id,
        epoch,
        &cleo.signer,
    );
    let view: ProposalMessage = public(&message.unwrap());
    assert_eq!(view.sender(), mls::Sender::NewMemberProposal);
    let ProposalContent::Add(added) = view.proposal().content().unwrap() else {
        panic!("not an Add")
    };
    assert_eq!(
        ClientIdentity::from_credential(added.leaf_node().credential()).as_ref(),
        Ok(&cleo.identity)
    );
}

#[test]
fn commits_with_app_data_updates() {
    let Room {
        ada,
        mut ada_group,
        bob,
        mut bob_group,
        ..
    } = Room::new();
    let update = AppDataUpdateProposal::update(PARTICIPANT_LIST, vec![0, 0, 0]);
    let mut stage = ada_group
        .commit_builder()
        .add_proposal(Proposal::AppDataUpdate(Box::new(update)))
        .load_psks(ada.provider.storage())
        .unwrap();
    let mut updater = stage.app_data_dictionary_updater();
    updater.set(ComponentData::from_parts(PARTICIPANT_LIST, vec![0].into()));
    let changes = updater.changes();
    stage.with_app_data_dictionary_updates(changes);
    let stage = stage
        .build(ada.provider.rand(), ada.provider.crypto(), &ada.signer, |_| true)
        .unwrap();
    let (commit, ..) = stage.stage_commit(&ada.provider).unwrap().into_contents();
    let view: CommitMessage = public(&commit);
    assert_eq!(proposal_types(&view), [Some(ProposalType::AppDataUpdate)]);

    // What is accepted by us comes from the octets that a member accepts too.
    let parsed = MlsMessageIn::tls_deserialize_exact(encode(&view))
        .unwrap()
        .try_into_protocol_message()
        .unwrap();
    assert!(bob_group.process_message(&bob.provider, parsed).is_ok());
}

#[test]
fn group_infos_and_trees() {
    let Room { ada, ada_group, .. } = Room::new();
    for with_tree in [false, true] {
        let theirs = ada_group
            .export_group_info(ada.provider.crypto(), &ada.signer, with_tree)
            .unwrap();
        let MlsMessage::GroupInfo(view) = ours(&theirs) else {
            panic!("not a GroupInfo")
        };
        assert_eq!(view.has_ratchet_tree(), with_tree);
        assert!(view.extensions().get(ExtensionType::EXTERNAL_PUB).is_some());
        let context = view.group_context();
        assert_eq!(
            context.as_bytes(),
            ada_group
                .public_group()
                .group_context()
                .tls_serialize_detached()
                .unwrap()
        );
        assert_eq!(context.cipher_suite().0, u16::from(SUITE));
        assert_eq!(context.group_id(), ada_group.group_id().as_slice());
        assert_eq!(context.epoch(), ada_group.epoch().as_u64());
        assert_eq!(
            context.tree_hash(),
            ada_group.public_group().group_context().tree_hash()
        );
        let transcript = ada_group.public_group().group_context().confirmed_transcript_hash();
        assert_eq!(context.confirmed_transcript_hash(), transcript);
        let tag = ada_group.confirmation_tag().tls_serialize_detached().unwrap();
        assert_eq!(encode(view.confirmation_tag()), tag);
        assert_eq!(view.signer(), ada_group.own_leaf_index().u32());
        let signed = sign_content("GroupInfoTBS", view.to_be_signed());
        let verified = ada.provider.crypto().verify_signature(
            SUITE.signature_algorithm(),
            &signed,
            ada.signer.public(),
            view.signature(),
        );
        assert!(verified.is_ok());

        let dictionary: AppDataDictionary = context
            .extensions()
            .decode(ExtensionType::APP_DATA_DICTIONARY)
            .unwrap()
            .unwrap();
        assert_eq!(
            dictionary.decode(PARTICIPANT_LIST),
            Ok(Some(ParticipantListData::default()))
        );
        let senders: Vec<mls::ExternalSender> = context
            .extensions()
            .decode(ExtensionType::EXTERNAL_SENDERS)
            .unwrap()
            .unwrap();
        assert_eq!(senders.len(), 1);
        let required: mls::RequiredCapabilities = context
            .extensions()
            .decode(ExtensionType::REQUIRED_CAPABILITIES)
            .unwrap()
            .unwrap();
        assert_eq!(required.proposal_types, [8]);
    }
    let tree: mls::RatchetTree = ours(&ada_group.export_ratchet_tree());
    assert_eq!(tree.len(), 3);
}

#[test]
fn external_commits() {
    let Room { ada, ada_group, .. } = Room::new();
    let cleo = Client::new("cleo");
    let group_info = ada_group
        .export_group_info(ada.provider.crypto(), &ada.signer, true)
        .unwrap();
    let config = MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .build();
    let MlsMessageBodyIn::GroupInfo(verifiable) = received(&group_info) else {
        panic!("not a GroupInfo")
    };
    let (_, bundle) = MlsGroup::external_commit_builder()
        .with_config(config)
        .build_group(&cleo.provider, verifiable, cleo.credential.clone())
        .unwrap()
        .leaf_node_parameters(LeafNodeParameters::builder().with_capabilities(capabilities()).build())
        .load_psks(cleo.provider.storage())
        .unwrap()
        .create_group_info(true)
        .build(cleo.provider.rand(), cleo.provider.crypto(), &cleo.signer, |_| true)
        .unwrap()
        .finalize(&cleo.provider)
        .unwrap();
    let (commit, _, group_info) = bundle.into_contents();
    let view: CommitMessage = public(&commit);
    assert_eq!(view.sender(), mls::Sender::NewMemberCommit);
    assert_eq!(proposal_types(&view), [Some(ProposalType::ExternalInit)]);
    let leaf = view.commit().path_leaf().unwrap();
    assert_eq!(
        ClientIdentity::from_credential(leaf.credential()).as_ref(),
        Ok(&cleo.identity)
    );
    let group_info: mls::GroupInfo = ours(&group_info.unwrap());
    assert_eq!(group_info.group_context().epoch(), view.epoch() + 1);
}

#[test]
fn application_messages() {
    let Room {
        ada,
        mut ada_group,
        bob,
        mut bob_group,
        ..
    } = Room::new();
    ada_group.set_aad(b"additional".to_vec());
    let message = ada_group.create_message(&ada.provider, &ada.signer, b"Hello").unwrap();
    let view: ApplicationMessage = ours(&message);
    assert_eq!(view.authenticated_data(), b"additional");
    assert_eq!(view.group_id(), ada_group.group_id().as_slice());
    assert_eq!(view.epoch(), ada_group.epoch().as_u64());
    let parsed = MlsMessageIn::tls_deserialize_exact(encode(&view))
        .unwrap()
        .try_into_protocol_message()
        .unwrap();
    let processed = bob_group.process_message(&bob.provider, parsed).unwrap();
    let ProcessedMessageContent::ApplicationMessage(read) = processed.into_content() else {
        panic!("not a message")
    };
    assert_eq!(read.into_bytes(), b"Hello");
}

#[test]
fn signatures_cover_sign_content() {
    let ada = Client::new("ada");
    let signed = sign_content("Test", b"content");
    let signature = ada.signer.sign(&signed).unwrap();
    let label = openmls::prelude::SignContent::new("Test", b"content".to_vec().into());
    assert_eq!(signed, label.tls_serialize_detached().unwrap());
    let crypto = ada.provider.crypto();
    assert!(
        crypto
            .verify_signature(SUITE.signature_algorithm(), &signed, ada.signer.public(), &signature)
            .is_ok()
    );
}
