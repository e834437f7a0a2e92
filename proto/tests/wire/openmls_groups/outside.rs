//! What a group shares with somebody outside it: semi-private messages (draft-mahy-mls-semiprivatemessage) and the key
//! schedule of associated parties (draft-kohbrok-mls-associated-parties), with real groups.

use mimi_hub_proto::associated_parties::{
    AssociatedPartyEntry, AssociatedPartyExportContext, CommitSecret, EpochSecrets, commit_base_secret,
};
use mimi_hub_proto::components::ASSOCIATED_PARTIES;
use mimi_hub_proto::mls::{
    self, CipherSuite, CommitMessage, Credential, ExternalReceiver, HpkeCiphertext, HpkePublicKey, MlsMessage,
    PerMessageKeyAndNonces, ProposalContent, ProposalMessage, SemiPrivateError, SemiPrivateMessage,
    SemiPrivateMessageContext, WireFormat, sign_content,
};
use mimi_hub_proto::tls::{Encode as _, Writer, decode_exact, encode};
use mimi_hub_proto::{Crypto as _, Error};
use openmls::prelude::{LeafNodeIndex, MlsGroup, OpenMlsCrypto as _, OpenMlsProvider as _};
use openmls_traits::signatures::Signer as _;

use super::room::{Client, Room, SUITE, received};
use super::{ours, public};
use crate::crypto::Provider;

const OURS: CipherSuite = CipherSuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_ED25519;

fn export(group: &MlsGroup, client: &Client) -> openmls::prelude::MlsMessageOut {
    group
        .export_group_info(client.provider.crypto(), &client.signer, false)
        .unwrap()
}

fn group_info(group: &MlsGroup, client: &Client) -> mls::GroupInfo {
    let message = export(group, client);
    match ours(&message) {
        MlsMessage::GroupInfo(group_info) => group_info,
        other => panic!("{other:?}"),
    }
}

/// Bob's proposal to remove Ada, as he would send it to a receiver outside; each field may be bent before it is used.
struct Sent {
    room: Room,
    info: mls::GroupInfo,
    receiver: ExternalReceiver,
    private_key: Vec<u8>,
    keys: PerMessageKeyAndNonces,
    hashed_keys: PerMessageKeyAndNonces,
    context: SemiPrivateMessageContext,
    wire_format: WireFormat,
    padding: Vec<u8>,
    hashed: Option<Vec<u8>>,
    receivers: usize,
}

impl Sent {
    fn new() -> Self {
        let room = Room::new();
        let info = group_info(&room.bob_group, &room.bob);
        let pair = Provider::default()
            .0
            .derive_hpke_keypair(SUITE.hpke_config(), &[9; 32])
            .unwrap();
        let keys = PerMessageKeyAndNonces {
            key: vec![1; 16],
            nonce: vec![2; 12],
            reuse_guard: [3, 4, 5, 6],
            sender_leaf_index: 1,
        };
        Sent {
            receiver: ExternalReceiver {
                external_receiver_public_key: HpkePublicKey::new(pair.public),
                credential: Credential::basic("hub"),
            },
            private_key: pair.private.to_vec(),
            hashed_keys: keys.clone(),
            keys,
            context: SemiPrivateMessageContext {
                group_id: info.group_context().group_id().to_vec(),
                epoch: info.group_context().epoch(),
                partial_context_hash: Vec::new(),
            },
            wire_format: WireFormat::SemiPrivateMessage,
            padding: vec![0; 7],
            hashed: None,
            receivers: 1,
            room,
            info,
        }
    }

    fn octets(&self) -> Vec<u8> {
        let provider = Provider::default();
        let body = [&3u16.to_be_bytes()[..], &0u32.to_be_bytes()].concat();
        let mut tbs = Writer::new();
        1u16.encode(&mut tbs);
        self.wire_format.encode(&mut tbs);
        self.context.group_id.encode(&mut tbs);
        self.context.epoch.encode(&mut tbs);
        1u8.encode(&mut tbs);
        self.keys.sender_leaf_index.encode(&mut tbs);
        tbs.opaque(b"additional");
        2u8.encode(&mut tbs);
        tbs.raw(&body);
        tbs.raw(self.info.group_context().as_bytes());
        let tbs = tbs.into_vec();
        let signature = self
            .room
            .bob
            .signer
            .sign(&sign_content("FramedContentTBS", &tbs))
            .unwrap();
        let plaintext = [&body[..], &encode(&signature), &self.padding].concat();

        let partial_context_hash = provider.hash(OURS, &self.hashed_keys.partial_context()).unwrap();
        let context = SemiPrivateMessageContext {
            partial_context_hash: partial_context_hash.clone(),
            ..self.context.clone()
        };
        let public = self.receiver.external_receiver_public_key.as_bytes();
        let info = context.encrypt_context();
        let sealed = provider
            .0
            .hpke_seal(SUITE.hpke_config(), public, &info, &[], &encode(&self.keys))
            .unwrap();
        let key = mls::KeyForExternalReceiver {
            external_receiver_ref: self.receiver.reference(&provider, OURS).unwrap(),
            encrypted_keys_and_nonces: HpkeCiphertext {
                kem_output: sealed.kem_output.into(),
                ciphertext: sealed.ciphertext.into(),
            },
        };
        let mut message = Writer::new();
        self.context.group_id.encode(&mut message);
        self.context.epoch.encode(&mut message);
        2u8.encode(&mut message);
        message.opaque(b"additional");
        partial_context_hash.encode(&mut message);
        vec![key; self.receivers].encode(&mut message);
        let hashed = self.hashed.as_ref().unwrap_or(&tbs);
        provider.hash(OURS, hashed).unwrap().encode(&mut message);
        let aad = message.into_vec();
        let nonce = self.keys.guarded_nonce().unwrap();
        let aead = SUITE.aead_algorithm();
        let ciphertext = provider
            .0
            .aead_encrypt(aead, &self.keys.key, &plaintext, &nonce, &aad)
            .unwrap();
        [aad, encode(&vec![0xaau8; 28]), encode(&ciphertext)].concat()
    }

    fn open(&self, octets: &[u8]) -> Result<mls::PublicMessage, SemiPrivateError> {
        let message: SemiPrivateMessage = decode_exact(octets)?;
        assert_eq!(encode(&message), octets);
        let key = |leaf| (leaf == 1).then(|| self.room.bob.signer.public().to_vec());
        message.open(
            &Provider::default(),
            &self.receiver,
            &self.private_key,
            self.info.group_context(),
            key,
        )
    }

    fn refused(&self) -> SemiPrivateError {
        self.open(&self.octets()).unwrap_err()
    }
}

#[test]
fn semi_private_an_external_receiver_reads_a_proposal() {
    let sent = Sent::new();
    let opened = sent.open(&sent.octets()).unwrap();
    assert_eq!(opened.sender(), mls::Sender::Member(1));
    assert_eq!(opened.authenticated_data(), b"additional");
    let proposal = ProposalMessage::try_from(opened).unwrap();
    assert_eq!(proposal.proposal().content(), Ok(ProposalContent::Remove(0)));
}

#[test]
fn semi_private_every_check_of_an_external_receiver_refuses() {
    let bent = |bend: fn(&mut Sent)| {
        let mut sent = Sent::new();
        bend(&mut sent);
        sent.refused()
    };
    let mismatch = SemiPrivateError::Mismatch;
    assert_eq!(
        bent(|sent| sent.context.group_id = b"other".to_vec()),
        mismatch("group_id")
    );
    assert_eq!(bent(|sent| sent.context.epoch += 1), mismatch("epoch"));
    assert_eq!(
        bent(|sent| sent.hashed_keys.nonce[0] ^= 1),
        mismatch("partial_context_hash")
    );
    assert_eq!(
        bent(|sent| sent.hashed_keys.sender_leaf_index = 0),
        mismatch("partial_context_hash")
    );
    assert_eq!(
        bent(|sent| sent.hashed = Some(b"other".to_vec())),
        mismatch("framed_content_tbs_hash")
    );
    // A signature over a PublicMessage is none over a SemiPrivateMessage; the hash alone says so already.
    assert_eq!(
        bent(|sent| sent.wire_format = WireFormat::PublicMessage),
        mismatch("framed_content_tbs_hash")
    );
    let leaf = |sent: &mut Sent| {
        sent.keys.sender_leaf_index = 0;
        sent.hashed_keys.sender_leaf_index = 0;
    };
    assert_eq!(bent(leaf), SemiPrivateError::UnknownSender(0));
    assert!(matches!(
        bent(|sent| sent.padding[3] = 1),
        SemiPrivateError::Malformed(Error::Invalid { what: "padding", .. })
    ));
    assert!(matches!(
        bent(|sent| sent.receivers = 2),
        SemiPrivateError::Malformed(Error::Invalid {
            what: "keys_for_external_receivers",
            ..
        })
    ));
    assert_eq!(bent(|sent| sent.receivers = 0), SemiPrivateError::NotAReceiver);
    let signer = |sent: &mut Sent| sent.room.bob.signer = Client::new("eve").signer;
    let mut sent = Sent::new();
    let key = sent.room.bob.signer.public().to_vec();
    signer(&mut sent);
    let message: SemiPrivateMessage = decode_exact(&sent.octets()).unwrap();
    let opened = message.open(
        &Provider::default(),
        &sent.receiver,
        &sent.private_key,
        sent.info.group_context(),
        |_| Some(key),
    );
    assert!(
        matches!(opened, Err(SemiPrivateError::Crypto { what: "signature", .. })),
        "{opened:?}"
    );
}

#[test]
fn semi_private_no_octet_can_be_changed_but_those_for_members() {
    let sent = Sent::new();
    let octets = sent.octets();
    let opened = sent.open(&octets).unwrap();
    let for_members = octets.windows(28).position(|window| window == [0xaa; 28]).unwrap();
    for position in 0..octets.len() {
        let mut changed = octets.clone();
        changed[position] ^= 1;
        if (for_members..for_members + 28).contains(&position) {
            assert_eq!(
                sent.open(&changed).as_ref(),
                Ok(&opened),
                "it cannot be read by a receiver outside"
            );
        } else {
            assert!(sent.open(&changed).is_err(), "octet {position}");
        }
    }
}

#[test]
fn semi_private_no_endpoint_takes_one() {
    let message = MlsMessage::SemiPrivateMessage(decode_exact(&Sent::new().octets()).unwrap());
    let octets = encode(&message);
    assert_eq!(decode_exact(&octets), Ok(message));
    let found = "a SemiPrivateMessage, which is not supported here";
    for error in [
        decode_exact::<CommitMessage>(&octets).unwrap_err(),
        decode_exact::<ProposalMessage>(&octets).unwrap_err(),
        decode_exact::<mls::ApplicationMessage>(&octets).unwrap_err(),
    ] {
        assert!(
            matches!(error, Error::Unexpected { found: said, .. } if said == found),
            "{error}"
        );
    }
}

#[test]
fn semi_private_openmls_does_not_know_the_wire_format() {
    use openmls::group::PublicProcessMessageError;
    use openmls::prelude::tls_codec::Deserialize as _;
    use openmls::prelude::{MlsMessageBodyIn, MlsMessageIn, ProposalStore, PublicGroup, ValidationError};
    use openmls_rust_crypto::OpenMlsRustCrypto;
    let octets = encode(&MlsMessage::SemiPrivateMessage(
        decode_exact(&Sent::new().octets()).unwrap(),
    ));
    assert!(MlsMessageIn::tls_deserialize_exact(octets).is_err());

    // Nor does its PublicGroup take the content as a PublicMessage, whose membership tag it does not look at: what is signed
    // names the wire format. The same proposal, signed as a PublicMessage, is taken.
    let mut sent = Sent::new();
    let MlsMessageBodyIn::GroupInfo(info) = received(&export(&sent.room.bob_group, &sent.room.bob)) else {
        panic!("not a GroupInfo")
    };
    let provider = OpenMlsRustCrypto::default();
    let tree = sent.room.bob_group.export_ratchet_tree().into();
    let store = ProposalStore::new();
    let (group, _) = PublicGroup::from_external(provider.crypto(), provider.storage(), tree, info, store).unwrap();
    let (proper, _) = sent
        .room
        .bob_group
        .propose_remove_member(&sent.room.bob.provider, &sent.room.bob.signer, LeafNodeIndex::new(0))
        .unwrap();
    let process = |octets: Vec<u8>| {
        let message = MlsMessageIn::tls_deserialize_exact(octets)
            .unwrap()
            .try_into_protocol_message()
            .unwrap();
        group.process_message(provider.crypto(), message)
    };
    process(proper.to_bytes().unwrap()).unwrap();
    let opened = sent.open(&sent.octets()).unwrap();
    let refused = process(encode(&MlsMessage::PublicMessage(opened))).unwrap_err();
    let expected = PublicProcessMessageError::ValidationError(ValidationError::InvalidSignature);
    assert_eq!(refused, expected);
}

#[test]
fn associated_parties_members_and_party_come_to_the_same_secrets() {
    let mut room = Room::new();
    let provider = Provider::default();
    let entry = |index| AssociatedPartyExportContext {
        ap_index: index,
        ap_entry: AssociatedPartyEntry {
            encryption_key: HpkePublicKey::new([7; 32]),
            external_sender_index: 0,
            signature: vec![8; 64],
        },
    };
    let mut previous: Option<Vec<u8>> = None;
    for _ in 0..3 {
        let (commit, _, _) = room
            .ada_group
            .self_update(
                &room.ada.provider,
                &room.ada.signer,
                openmls::prelude::LeafNodeParameters::default(),
            )
            .unwrap()
            .into_messages();
        let _: CommitMessage = public(&commit);
        // The committer exports from the epoch that it is about to start, the others from the one they are in.
        let committer = room
            .ada_group
            .safe_export_secret_from_pending(
                room.ada.provider.crypto(),
                room.ada.provider.storage(),
                ASSOCIATED_PARTIES,
            )
            .unwrap();
        room.ada_group.merge_pending_commit(&room.ada.provider).unwrap();
        let openmls::prelude::MlsMessageBodyIn::PublicMessage(message) = received(&commit) else {
            panic!("not a PublicMessage")
        };
        let processed = room.bob_group.process_message(&room.bob.provider, message).unwrap();
        let openmls::prelude::ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else {
            panic!("not a Commit")
        };
        room.bob_group.merge_staged_commit(&room.bob.provider, *staged).unwrap();
        let member = room
            .bob_group
            .safe_export_secret(
                room.bob.provider.crypto(),
                room.bob.provider.storage(),
                ASSOCIATED_PARTIES,
            )
            .unwrap();
        assert_eq!(committer, member);

        let base = commit_base_secret(&provider, OURS, &committer, &entry(0)).unwrap();
        assert_ne!(
            base,
            commit_base_secret(&provider, OURS, &committer, &entry(1)).unwrap()
        );
        let secret = CommitSecret::new(&provider, OURS, &base).unwrap();
        assert_ne!(secret.id, secret.secret);
        let (ada, bob) = (
            group_info(&room.ada_group, &room.ada),
            group_info(&room.bob_group, &room.bob),
        );
        let next = |info: &mls::GroupInfo| {
            EpochSecrets::next(&provider, previous.as_deref(), &secret, info.group_context()).unwrap()
        };
        let epoch = next(&ada);
        assert!(epoch == next(&bob));
        let fresh = EpochSecrets::next(&provider, None, &secret, ada.group_context()).unwrap();
        assert_eq!(previous.is_none(), fresh == epoch, "the epoch before counts");
        previous = Some(epoch.init);
    }
    assert_eq!(room.ada_group.own_leaf_index(), LeafNodeIndex::new(0));
}
