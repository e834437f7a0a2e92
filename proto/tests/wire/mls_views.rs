//! What the views of verbatim MLS objects say, and what the walker refuses.

use mimi_hub_proto::components::{AppDataUpdate, PARTICIPANT_LIST};
use mimi_hub_proto::mls::{
    self, CipherSuite, CommitMessage, ContentType, Extension, ExtensionType, FramedContent, GroupContextFields,
    LeafNodeSource, MlsMessage, ProposalContent, ProposalMessage, ProposalType, Sender, encrypt_context,
    ref_hash_input, sign_content,
};
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::{ClientIdentity, Error};
use proptest::prelude::*;

use crate::arbitrary;
use crate::mls_bytes::{self, Content, Node, ProposalOrRef, Source, verbatim};
use crate::samples::{
    SUITE, commit, group_info_bytes, private_message, proposals, public_message, tree_bytes, welcome_bytes,
};

fn check_leaf(view: mls::LeafNode<'_>, spec: &mls_bytes::LeafNode) -> Result<(), TestCaseError> {
    prop_assert_eq!(view.encryption_key(), &spec.encryption_key);
    prop_assert_eq!(view.signature_key(), &spec.signature_key);
    prop_assert_eq!(view.credential().to_owned(), spec.credential.clone());
    prop_assert_eq!(view.capabilities(), spec.capabilities.clone());
    check_extensions(view.extensions(), &spec.extensions)?;
    match (&spec.source, view.source()) {
        (Source::KeyPackage(not_before, not_after), LeafNodeSource::KeyPackage(lifetime)) => {
            prop_assert_eq!((lifetime.not_before, lifetime.not_after), (*not_before, *not_after));
        }
        (Source::Update, LeafNodeSource::Update) | (Source::Commit(_), LeafNodeSource::Commit) => {}
        (spec, view) => prop_assert!(false, "{spec:?} was read as {view:?}"),
    }
    Ok(())
}

fn check_extensions(view: mls::Extensions<'_>, spec: &[Extension]) -> Result<(), TestCaseError> {
    let read: Vec<_> = view
        .iter()
        .map(|(extension_type, data)| Extension {
            extension_type,
            data: data.to_vec(),
        })
        .collect();
    prop_assert_eq!(&read[..], spec);
    for extension in spec {
        prop_assert_eq!(view.get(extension.extension_type), Some(&extension.data[..]));
    }
    Ok(())
}

fn check_key_package(view: &mls::KeyPackage, spec: &mls_bytes::KeyPackage) -> Result<(), TestCaseError> {
    prop_assert_eq!(view.as_bytes(), encode(spec));
    prop_assert_eq!(view.cipher_suite(), spec.cipher_suite);
    prop_assert_eq!(view.init_key(), &spec.init_key);
    check_extensions(view.extensions(), &spec.extensions)?;
    if let Source::KeyPackage(not_before, not_after) = spec.leaf_node.source {
        prop_assert_eq!(
            (view.lifetime().not_before, view.lifetime().not_after),
            (not_before, not_after)
        );
    }
    check_leaf(view.leaf_node(), &spec.leaf_node)
}

fn check_proposal(view: mls::Proposal<'_>, spec: &mls_bytes::Proposal) -> Result<(), TestCaseError> {
    prop_assert_eq!(view.proposal_type(), spec.proposal_type());
    prop_assert_eq!(view.body(), &encode(spec)[2..]);
    let content = view.content().unwrap();
    match (spec, &content) {
        (mls_bytes::Proposal::Add(spec), ProposalContent::Add(view)) => check_key_package(view, spec)?,
        (mls_bytes::Proposal::Remove(spec), ProposalContent::Remove(view)) => prop_assert_eq!(spec, view),
        (
            mls_bytes::Proposal::ReInit {
                group_id,
                cipher_suite,
                extensions,
            },
            ProposalContent::ReInit(view),
        ) => {
            prop_assert_eq!(
                (group_id, cipher_suite, extensions),
                (&view.group_id, &view.cipher_suite, &view.extensions)
            );
        }
        (mls_bytes::Proposal::GroupContextExtensions(spec), ProposalContent::GroupContextExtensions(view)) => {
            prop_assert_eq!(spec, view);
        }
        (mls_bytes::Proposal::AppDataUpdate(spec), ProposalContent::AppDataUpdate(view)) => prop_assert_eq!(spec, view),
        (mls_bytes::Proposal::AppEphemeral(spec), ProposalContent::AppEphemeral(view)) => prop_assert_eq!(spec, view),
        (mls_bytes::Proposal::Update(_), ProposalContent::Update)
        | (mls_bytes::Proposal::PreSharedKey(..), ProposalContent::PreSharedKey)
        | (mls_bytes::Proposal::ExternalInit(_), ProposalContent::ExternalInit)
        | (mls_bytes::Proposal::SelfRemove, ProposalContent::SelfRemove) => {}
        (spec, view) => prop_assert!(false, "{spec:?} was read as {view:?}"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn public_message_views(spec in arbitrary::public_message()) {
        let view: mls::PublicMessage = verbatim(&spec);
        prop_assert_eq!(view.as_bytes(), encode(&spec));
        prop_assert_eq!(view.group_id(), &spec.group_id);
        prop_assert_eq!(view.epoch(), spec.epoch);
        prop_assert_eq!(view.sender(), spec.sender);
        prop_assert_eq!(view.authenticated_data(), &spec.authenticated_data);
        prop_assert_eq!(view.signature(), &spec.signature);
        match (&spec.content, view.content()) {
            (Content::Proposal(spec), FramedContent::Proposal(view)) => check_proposal(view, spec)?,
            (Content::Commit { commit, confirmation_tag: tag }, FramedContent::Commit { commit: view, confirmation_tag }) => {
                prop_assert_eq!(confirmation_tag, tag);
                prop_assert_eq!(view.path_leaf().is_some(), commit.path.is_some());
                if let (Some(view), Some(path)) = (view.path_leaf(), &commit.path) {
                    check_leaf(view, &path.leaf_node)?;
                }
                prop_assert_eq!(view.proposals().len(), commit.proposals.len());
                for (view, spec) in view.proposals().zip(&commit.proposals) {
                    match (spec, view) {
                        (ProposalOrRef::Proposal(spec), mls::ProposalOrRef::Proposal(view)) => {
                            check_proposal(view, spec)?;
                        }
                        (ProposalOrRef::Reference(spec), mls::ProposalOrRef::Reference(view)) => {
                            prop_assert_eq!(view, spec);
                        }
                        (spec, view) => prop_assert!(false, "{spec:?} was read as {view:?}"),
                    }
                }
            }
            (spec, view) => prop_assert!(false, "{spec:?} was read as {view:?}"),
        }
    }

    #[test]
    fn private_message_views(spec in arbitrary::private_message()) {
        let view: mls::PrivateMessage = verbatim(&spec);
        prop_assert_eq!(view.as_bytes(), encode(&spec));
        prop_assert_eq!(view.group_id(), &spec.group_id);
        prop_assert_eq!((view.epoch(), view.content_type()), (spec.epoch, spec.content_type));
        prop_assert_eq!(view.authenticated_data(), &spec.authenticated_data);
    }

    #[test]
    fn welcome_views(spec in arbitrary::welcome()) {
        let view: mls::Welcome = verbatim(&spec);
        prop_assert_eq!(view.as_bytes(), encode(&spec));
        prop_assert_eq!(view.cipher_suite(), spec.cipher_suite);
        let expected: Vec<&[u8]> = spec.secrets.iter().map(|secrets| &secrets.new_member[..]).collect();
        prop_assert_eq!(view.new_members().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn group_info_views(spec in arbitrary::group_info()) {
        let view: mls::GroupInfo = verbatim(&spec);
        prop_assert_eq!(view.as_bytes(), encode(&spec));
        let context = view.group_context();
        prop_assert_eq!((context.cipher_suite(), context.epoch()), (spec.cipher_suite, spec.epoch));
        prop_assert_eq!(context.group_id(), &spec.group_id);
        prop_assert_eq!(context.tree_hash(), &spec.tree_hash);
        prop_assert_eq!(context.confirmed_transcript_hash(), &spec.confirmed_transcript_hash);
        check_extensions(context.extensions(), &spec.context_extensions)?;
        check_extensions(view.extensions(), &spec.extensions)?;
        prop_assert_eq!(view.confirmation_tag(), &spec.confirmation_tag);
        prop_assert_eq!(view.signer(), spec.signer);
        prop_assert_eq!(view.signature(), &spec.signature);
        prop_assert_eq!(view.to_be_signed(), spec.to_be_signed());
        prop_assert!(view.to_be_signed().starts_with(context.as_bytes()));

        let fields = GroupContextFields {
            cipher_suite: context.cipher_suite(),
            group_id: context.group_id(),
            epoch: context.epoch(),
            tree_hash: context.tree_hash(),
            confirmed_transcript_hash: context.confirmed_transcript_hash(),
            extensions: &spec.context_extensions,
        };
        let signature = view.signature();
        let assembled =
            mls::GroupInfo::assemble(&fields, &spec.extensions, view.confirmation_tag(), view.signer(), signature);
        prop_assert_eq!(assembled, Ok(view.clone()));
    }

    #[test]
    fn key_package_views(spec in arbitrary::key_package()) {
        check_key_package(&verbatim(&spec), &spec)?;
    }
}

#[test]
fn a_group_info_says_whether_the_tree_is_embedded() {
    let mut spec = group_info_bytes();
    assert!(!verbatim::<mls::GroupInfo>(&spec).has_ratchet_tree());
    spec.extensions.push(Extension {
        extension_type: ExtensionType::RATCHET_TREE,
        data: encode(&tree_bytes()),
    });
    let group_info: mls::GroupInfo = verbatim(&spec);
    assert!(group_info.has_ratchet_tree());
    let tree = group_info
        .extensions()
        .decode::<mls::RatchetTree>(ExtensionType::RATCHET_TREE)
        .unwrap()
        .unwrap();
    assert_eq!(tree.len(), 5);
    assert_eq!(
        group_info
            .extensions()
            .decode::<mls::RatchetTree>(ExtensionType::APPLICATION_ID),
        Ok(None)
    );
    assert!(
        group_info
            .extensions()
            .decode::<u8>(ExtensionType::RATCHET_TREE)
            .is_err()
    );
}

#[test]
fn a_commit_names_its_proposals_and_its_committer() {
    let content = Content::Commit {
        commit: Box::new(commit()),
        confirmation_tag: vec![1],
    };
    let message: CommitMessage = verbatim::<mls::PublicMessage>(&public_message(Sender::Member(1), content))
        .try_into()
        .unwrap();
    assert_eq!(
        (message.content_type(), message.confirmation_tag()),
        (ContentType::Commit, &[1][..])
    );
    let mut references = 0;
    let mut types = Vec::new();
    for item in message.commit().proposals() {
        match item {
            mls::ProposalOrRef::Proposal(proposal) => types.push(proposal.proposal_type()),
            mls::ProposalOrRef::Reference(reference) => {
                assert_eq!(reference, [0x4e; 32]);
                references += 1;
            }
        }
    }
    let expected: Vec<ProposalType> = proposals().iter().map(mls_bytes::Proposal::proposal_type).collect();
    assert_eq!((references, types), (1, expected));
    let leaf = message.commit().path_leaf().unwrap();
    let identity = ClientIdentity::from_credential(leaf.credential()).unwrap();
    assert_eq!(identity.user().as_str(), "mimi://b.example/u/bob");
}

#[test]
fn one_kind_of_message_is_not_another() {
    let proposal = |proposal| verbatim::<mls::PublicMessage>(&public_message(Sender::Member(1), proposal));
    let proposal = proposal(Content::Proposal(Box::new(mls_bytes::Proposal::Remove(1))));
    let handshake: mls::PrivateMessage = verbatim(&private_message(ContentType::Commit));
    let unexpected = |result: Result<(), Error>, expected: &str, found: &str| {
        assert!(
            matches!(&result, Err(Error::Unexpected { expected: e, found: f }) if *e == expected && *f == found),
            "{result:?}"
        );
    };
    unexpected(
        CommitMessage::try_from(proposal.clone()).map(drop),
        "a Commit",
        "a Proposal",
    );
    unexpected(
        mls::ApplicationMessage::try_from(handshake).map(drop),
        "an application message",
        "an encrypted handshake",
    );
    let message = MlsMessage::PublicMessage(proposal);
    unexpected(
        mls::ApplicationMessage::try_from(message.clone()).map(drop),
        "an application message",
        "a PublicMessage",
    );
    assert!(ProposalMessage::try_from(message).is_ok());
    let welcome = MlsMessage::Welcome(verbatim(&welcome_bytes()));
    unexpected(ProposalMessage::try_from(welcome).map(drop), "a Proposal", "a Welcome");
}

#[test]
fn rfc9420_6_application_data_in_the_clear_is_refused() {
    let message = public_message(
        Sender::Member(1),
        Content::Proposal(Box::new(mls_bytes::Proposal::SelfRemove)),
    );
    let mut octets = encode(&message);
    let content_type = octets.len() - encode(&message.signature).len() - encode(&message.membership_tag).len() - 3;
    assert_eq!(octets[content_type], 2);
    octets[content_type] = 1;
    let error = decode_exact::<mls::PublicMessage>(&octets);
    assert!(
        matches!(
            error,
            Err(Error::Unexpected {
                found: "application data",
                ..
            })
        ),
        "{error:?}"
    );
}

#[test]
fn rfc9420_6_who_is_no_member_sends_only_what_its_sender_type_says() {
    let commit = || Content::Commit {
        commit: Box::new(commit()),
        confirmation_tag: vec![],
    };
    let proposal = || Content::Proposal(Box::new(mls_bytes::Proposal::Remove(1)));
    for (sender, content) in [
        (Sender::External(0), commit()),
        (Sender::NewMemberProposal, commit()),
        (Sender::NewMemberCommit, proposal()),
    ] {
        let error = decode_exact::<mls::PublicMessage>(&encode(&public_message(sender, content)));
        assert!(matches!(error, Err(Error::Unexpected { .. })), "{sender:?}: {error:?}");
    }
}

/// Decodes an MLSMessage with a Proposal of these octets.
fn with_proposal(proposal: &[u8]) -> Result<MlsMessage, Error> {
    let message = public_message(
        Sender::Member(1),
        Content::Proposal(Box::new(mls_bytes::Proposal::SelfRemove)),
    );
    let octets = encode(&message);
    let tail = octets.len() - encode(&message.signature).len() - encode(&message.membership_tag).len();
    let body = [&octets[..tail - 2], proposal, &octets[tail..]].concat();
    decode_exact(&[&[0, 1, 0, 1], &body[..]].concat())
}

#[test]
fn unknown_values_are_named() {
    let unknown = |what, value| Err(Error::UnknownValue { what, value });
    assert!(with_proposal(&[0, 10]).is_ok());
    assert_eq!(with_proposal(&[0x0a, 0x0a]), unknown("ProposalType", 0x0a0a));
    assert_eq!(with_proposal(&[0, 0]), unknown("ProposalType", 0));
    assert_eq!(with_proposal(&[0, 4, 9]), unknown("PSKType", 9));
    assert_eq!(with_proposal(&[0, 4, 2, 9]), unknown("ResumptionPSKUsage", 9));
    assert_eq!(with_proposal(&[0, 5, 0, 0, 2]), unknown("ProtocolVersion", 2));
    assert_eq!(with_proposal(&[0, 8, 0, 1, 0]), unknown("AppDataUpdateOperation", 0));
    assert_eq!(decode_exact::<MlsMessage>(&[0, 2]), unknown("ProtocolVersion", 2));
    // SemiPrivateMessage and all other wire formats.
    assert_eq!(decode_exact::<MlsMessage>(&[0, 1, 0, 6]), unknown("WireFormat", 6));
}

#[test]
fn a_leaf_node_has_the_source_that_its_place_implies() {
    let leaf = |source: Source| {
        let mls_bytes::Proposal::Update(leaf) = proposals().swap_remove(1) else {
            panic!("the second is an Update")
        };
        mls_bytes::LeafNode { source, ..leaf }
    };
    let unexpected = |result: Result<MlsMessage, Error>| matches!(result, Err(Error::Unexpected { .. }));
    let update = |source| with_proposal(&encode(&mls_bytes::Proposal::Update(leaf(source))));
    assert!(update(Source::Update).is_ok());
    assert!(unexpected(update(Source::KeyPackage(0, 1))));
    assert!(unexpected(update(Source::Commit(vec![]))));
    let add = |source| {
        let mls_bytes::Proposal::Add(key_package) = proposals().swap_remove(0) else {
            panic!("the first is an Add")
        };
        with_proposal(&encode(&mls_bytes::Proposal::Add(mls_bytes::KeyPackage {
            leaf_node: leaf(source),
            ..key_package
        })))
    };
    assert!(add(Source::KeyPackage(0, 1)).is_ok());
    assert!(unexpected(add(Source::Update)));
    let path = |source| {
        let mut commit = commit();
        commit.path.as_mut().unwrap().leaf_node.source = source;
        let content = Content::Commit {
            commit: Box::new(commit),
            confirmation_tag: vec![],
        };
        decode_exact::<mls::PublicMessage>(&encode(&public_message(Sender::Member(1), content)))
    };
    assert!(path(Source::Commit(vec![])).is_ok());
    assert!(matches!(path(Source::Update), Err(Error::Unexpected { .. })));
    let mut octets = encode(&leaf(Source::Update));
    let source = octets.iter().rposition(|octet| *octet == 2).unwrap();
    octets[source] = 4;
    let error = with_proposal(&[&[0, 2], &octets[..]].concat());
    assert_eq!(
        error,
        Err(Error::UnknownValue {
            what: "LeafNodeSource",
            value: 4
        })
    );
}

#[test]
fn an_extension_type_appears_once_in_a_list() {
    let mut spec = group_info_bytes();
    spec.extensions.push(spec.extensions[0].clone());
    let error = decode_exact::<mls::GroupInfo>(&encode(&spec));
    assert_eq!(
        error,
        Err(Error::Duplicate {
            what: "ExtensionType",
            value: "4".into()
        })
    );
}

#[test]
fn an_x509_credential_holds_certificates() {
    let credential = |content: &[u8]| mls::Credential::new(mls::CredentialType::X509, content.to_vec());
    assert!(credential(&[1, 0xce, 2, 0xce, 0xce]).is_ok());
    assert!(matches!(credential(&[2, 0xce]), Err(Error::Truncated { .. })));
}

#[test]
fn rfc9420_12_4_3_3_a_tree_has_nodes_of_the_right_type_and_no_blank_end() {
    let decode = |tree: &[Option<Node>]| decode_exact::<mls::RatchetTree>(&encode(tree));
    let tree = tree_bytes();
    let decoded = decode(&tree).unwrap();
    assert_eq!((decoded.len(), decoded.is_empty()), (5, false));
    let invalid = |result| {
        matches!(
            result,
            Err(Error::Invalid {
                what: "ratchet_tree",
                ..
            })
        )
    };
    assert!(invalid(decode(&[])));
    assert!(invalid(decode(&[&tree[..], &[None]].concat())));
    assert!(invalid(decode(&tree[3..])), "a parent cannot be first");
    assert!(
        invalid(decode(&[tree[0].clone(), tree[4].clone()])),
        "a leaf cannot be second"
    );
}

#[test]
fn rfc9420_7_2_default_types_are_always_supported() {
    let none = mls::Capabilities::default();
    let required = |extensions: &[u16], proposals: &[u16], credentials: &[u16]| mls::RequiredCapabilities {
        extension_types: extensions.iter().copied().map(ExtensionType).collect(),
        proposal_types: proposals.to_vec(),
        credential_types: credentials.iter().copied().map(mls::CredentialType).collect(),
    };
    assert!(none.satisfy(&required(&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5, 6, 7], &[])));
    for unmet in [
        required(&[6], &[], &[]),
        required(&[], &[8], &[]),
        required(&[], &[], &[1]),
    ] {
        assert!(!none.satisfy(&unmet), "{unmet:?}");
    }
    let some = mls::Capabilities {
        extensions: vec![ExtensionType(6)],
        proposals: vec![8],
        credentials: vec![mls::CredentialType::BASIC],
        ..mls::Capabilities::default()
    };
    assert!(some.satisfy(&required(&[6], &[8], &[1])));
}

#[test]
fn an_app_data_update_is_read_from_its_proposal() {
    let update: AppDataUpdate = proposals()
        .iter()
        .find_map(|proposal| match proposal {
            mls_bytes::Proposal::AppDataUpdate(update) => Some(update.clone()),
            _ => None,
        })
        .unwrap();
    let message = with_proposal(&encode(&mls_bytes::Proposal::AppDataUpdate(update.clone()))).unwrap();
    let message: ProposalMessage = message.try_into().unwrap();
    assert_eq!(update.component_id, PARTICIPANT_LIST);
    assert_eq!(message.proposal().content(), Ok(ProposalContent::AppDataUpdate(update)));
}

#[test]
fn rfc9420_5_1_labels_are_prefixed() {
    let expected = [&[12][..], b"MLS 1.0 Test", &[3], b"abc"].concat();
    assert_eq!(sign_content("Test", b"abc"), expected);
    assert_eq!(encrypt_context("Test", b"abc"), expected);
    let reference = [&[29][..], b"MLS 1.0 KeyPackage Reference!", &[1, 7]].concat();
    assert_eq!(ref_hash_input("MLS 1.0 KeyPackage Reference!", &[7]), reference);
}

#[test]
fn suites_have_their_registered_numbers() {
    assert_eq!(SUITE, CipherSuite(1));
    assert_eq!(CipherSuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256, CipherSuite(2));
    assert_eq!(
        CipherSuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_ED25519,
        CipherSuite(3)
    );
}
