//! Semi-private messages (draft-mahy-mls-semiprivatemessage): handshakes encrypted for the members of a group and for a
//! list of external receivers. Owns the structs, and what an external receiver does with a message; the cryptography is
//! the caller's ([`Crypto`]).

use super::ids::MLS10;
use super::verbatim::verbatim;
use super::{
    ContentType, Credential, GroupContext, HpkeCiphertext, HpkePublicKey, PublicMessage, WireFormat, commit,
    encrypt_context, proposal, sign_content,
};
use crate::Error;
use crate::crypto::{Crypto, CryptoFailed};
use crate::tls::{Decode, Encode, Reader, Span, Writer, decode_exact, encode, tls_struct};

/// Somebody outside the group that its members let read their handshakes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalReceiver {
    /// What keys are encrypted to.
    pub external_receiver_public_key: HpkePublicKey,
    /// Who it is.
    pub credential: Credential,
}

tls_struct!(ExternalReceiver {
    external_receiver_public_key,
    credential
});

impl ExternalReceiver {
    /// ExternalReceiverRef, by which a message names it.
    ///
    /// # Errors
    /// If the hash fails.
    pub fn reference(&self, crypto: &impl Crypto, suite: super::CipherSuite) -> Result<Vec<u8>, CryptoFailed> {
        crypto.hash(suite, &encode(self))
    }
}

/// The `external_receivers` component of a GroupContext.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExternalReceivers {
    /// The receivers.
    pub external_receivers: Vec<ExternalReceiver>,
}

tls_struct!(ExternalReceivers { external_receivers });

/// What opens a message and names its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerMessageKeyAndNonces {
    /// The AEAD key of the sender's handshake ratchet.
    pub key: Vec<u8>,
    /// The nonce beside it, before the guard is mixed in.
    pub nonce: Vec<u8>,
    /// Mixed into the first octets of the nonce.
    pub reuse_guard: [u8; 4],
    /// The sender.
    pub sender_leaf_index: u32,
}

tls_struct!(PerMessageKeyAndNonces {
    key,
    nonce,
    reuse_guard,
    sender_leaf_index
});

impl PerMessageKeyAndNonces {
    /// `sender_leaf_index || nonce`, whose hash is the `partial_context_hash`.
    pub fn partial_context(&self) -> Vec<u8> {
        [&self.sender_leaf_index.to_be_bytes()[..], &self.nonce].concat()
    }

    /// The nonce with the guard mixed in; nothing if it is shorter than the guard.
    pub fn guarded_nonce(&self) -> Option<Vec<u8>> {
        let mut nonce = self.nonce.clone();
        let head = nonce.get_mut(..self.reuse_guard.len())?;
        head.iter_mut()
            .zip(self.reuse_guard)
            .for_each(|(octet, guard)| *octet ^= guard);
        Some(nonce)
    }
}

/// The context under which a receiver's keys are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SemiPrivateMessageContext {
    /// The MLS group ID.
    pub group_id: Vec<u8>,
    /// The epoch.
    pub epoch: u64,
    /// The hash of [`PerMessageKeyAndNonces::partial_context`].
    pub partial_context_hash: Vec<u8>,
}

tls_struct!(SemiPrivateMessageContext {
    group_id,
    epoch,
    partial_context_hash
});

impl SemiPrivateMessageContext {
    /// EncryptContext under the label `SemiPrivateMessageReceiver`: the `info` of HPKE.
    pub fn encrypt_context(&self) -> Vec<u8> {
        encrypt_context("SemiPrivateMessageReceiver", &encode(self))
    }
}

/// The keys of a message, encrypted to one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyForExternalReceiver {
    /// The hash of the [`ExternalReceiver`].
    pub external_receiver_ref: Vec<u8>,
    /// A [`PerMessageKeyAndNonces`].
    pub encrypted_keys_and_nonces: HpkeCiphertext,
}

tls_struct!(KeyForExternalReceiver {
    external_receiver_ref,
    encrypted_keys_and_nonces
});

/// An encrypted Proposal or Commit, verbatim. No receiver is named twice in it.
#[derive(Debug, Clone)]
pub struct SemiPrivateMessage {
    octets: bytes::Bytes,
    layout: Box<Layout>,
}

verbatim!(SemiPrivateMessage, walk);

#[derive(Debug, Clone)]
struct Layout {
    group_id: Span,
    epoch: u64,
    content_type: ContentType,
    authenticated_data: Span,
    partial_context_hash: Span,
    keys: Vec<KeyForExternalReceiver>,
    framed_content_tbs_hash: Span,
    /// SemiPrivateContentAAD is the beginning of the message.
    aad: Span,
    ciphertext: Span,
}

fn walk(reader: &mut Reader<'_>) -> Result<Layout, Error> {
    let start = reader.position();
    let group_id = reader.opaque_span()?;
    let epoch = u64::decode(reader)?;
    let content_type = ContentType::decode(reader)?;
    if content_type == ContentType::Application {
        return Err(Error::Unexpected {
            expected: "a Proposal or Commit",
            found: "application data",
        });
    }
    let authenticated_data = reader.opaque_span()?;
    let partial_context_hash = reader.opaque_span()?;
    let keys: Vec<KeyForExternalReceiver> = Vec::decode(reader)?;
    let mut references: Vec<&[u8]> = keys.iter().map(|key| &key.external_receiver_ref[..]).collect();
    references.sort_unstable();
    if references.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Error::Invalid {
            what: "keys_for_external_receivers",
            why: "a receiver is named more than once",
        });
    }
    let framed_content_tbs_hash = reader.opaque_span()?;
    let aad = reader.since(start);
    reader.opaque()?;
    let ciphertext = reader.opaque_span()?;
    Ok(Layout {
        group_id,
        epoch,
        content_type,
        authenticated_data,
        partial_context_hash,
        keys,
        framed_content_tbs_hash,
        aad,
        ciphertext,
    })
}

/// Why an external receiver does not take a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SemiPrivateError {
    /// A key, a hash or the content does not open or verify.
    #[error("{what}: {source}")]
    Crypto {
        /// What does not.
        what: &'static str,
        /// The failure.
        source: CryptoFailed,
    },
    /// What was encrypted is malformed.
    #[error(transparent)]
    Malformed(#[from] Error),
    /// A field does not say what the content does.
    #[error("{0} does not match")]
    Mismatch(&'static str),
    /// The message is not encrypted to this receiver.
    #[error("the message has no key for this receiver")]
    NotAReceiver,
    /// No member is at the sender's place.
    #[error("there is no member at leaf {0}")]
    UnknownSender(u32),
}

/// For `map_err`: names what a primitive was used for.
fn crypto(what: &'static str) -> impl Fn(CryptoFailed) -> SemiPrivateError {
    move |source| SemiPrivateError::Crypto { what, source }
}

impl SemiPrivateMessage {
    /// The additional authenticated data; in a room, an encoded SafeAAD.
    pub fn authenticated_data(&self) -> &[u8] {
        self.layout.authenticated_data.of(&self.octets)
    }

    /// Whether it is a Proposal or a Commit.
    pub fn content_type(&self) -> ContentType {
        self.layout.content_type
    }

    /// The epoch it was sent in.
    pub fn epoch(&self) -> u64 {
        self.layout.epoch
    }

    /// The MLS group ID.
    pub fn group_id(&self) -> &[u8] {
        self.layout.group_id.of(&self.octets)
    }

    /// The keys, one for each receiver.
    pub fn keys_for_external_receivers(&self) -> &[KeyForExternalReceiver] {
        &self.layout.keys
    }

    /// Opens the message as `receiver`, which the group's `external_receivers` must list (the caller sees to that), and
    /// makes all checks of the draft's section "Decryption of SemiPrivateMessage as an external receiver".
    /// `signature_key` tells the key of the member at a leaf of the tree of this epoch.
    ///
    /// The content is returned as a PublicMessage with an empty membership tag, so that it is read like any other
    /// handshake. It is not one that was sent: its signature covers the wire format of a SemiPrivateMessage.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn open(
        &self,
        crypto_of: &impl Crypto,
        receiver: &ExternalReceiver,
        private_key: &[u8],
        context: GroupContext<'_>,
        signature_key: impl FnOnce(u32) -> Option<Vec<u8>>,
    ) -> Result<PublicMessage, SemiPrivateError> {
        if self.group_id() != context.group_id() {
            return Err(SemiPrivateError::Mismatch("group_id"));
        }
        if self.epoch() != context.epoch() {
            return Err(SemiPrivateError::Mismatch("epoch"));
        }
        let suite = context.cipher_suite();
        let keys = self.keys(crypto_of, suite, receiver, private_key)?;
        let nonce = keys.guarded_nonce().ok_or(SemiPrivateError::Mismatch("nonce"))?;
        let aad = self.layout.aad.of(&self.octets);
        let ciphertext = self.layout.ciphertext.of(&self.octets);
        let plaintext = crypto_of
            .aead_open(suite, &keys.key, &nonce, aad, ciphertext)
            .map_err(crypto("ciphertext"))?;

        let content = SemiPrivateContent::read(self.content_type(), &plaintext)?;
        let tbs = self.framed_content_tbs(&keys, content.body, context);
        let hash = crypto_of.hash(suite, &tbs).map_err(crypto("framed_content_tbs_hash"))?;
        if hash != self.layout.framed_content_tbs_hash.of(&self.octets) {
            return Err(SemiPrivateError::Mismatch("framed_content_tbs_hash"));
        }
        let sender = keys.sender_leaf_index;
        let key = signature_key(sender).ok_or(SemiPrivateError::UnknownSender(sender))?;
        crypto_of
            .verify(suite, &key, &sign_content("FramedContentTBS", &tbs), content.signature)
            .map_err(crypto("signature"))?;

        let mut message = Writer::new();
        self.framed_content(&keys, content.body, &mut message);
        message.raw(content.auth);
        message.opaque(&[]);
        Ok(decode_exact(&message.into_vec())?)
    }

    fn keys(
        &self,
        crypto_of: &impl Crypto,
        suite: super::CipherSuite,
        receiver: &ExternalReceiver,
        private_key: &[u8],
    ) -> Result<PerMessageKeyAndNonces, SemiPrivateError> {
        let reference = receiver
            .reference(crypto_of, suite)
            .map_err(crypto("external_receiver_ref"))?;
        let mut keys = self.layout.keys.iter();
        let key = keys
            .find(|key| key.external_receiver_ref == reference)
            .ok_or(SemiPrivateError::NotAReceiver)?;
        let context = SemiPrivateMessageContext {
            group_id: self.group_id().to_vec(),
            epoch: self.epoch(),
            partial_context_hash: self.layout.partial_context_hash.of(&self.octets).to_vec(),
        };
        let opened = crypto_of
            .hpke_open(
                suite,
                private_key,
                &context.encrypt_context(),
                &key.encrypted_keys_and_nonces,
            )
            .map_err(crypto("encrypted_keys_and_nonces"))?;
        let keys: PerMessageKeyAndNonces = decode_exact(&opened)?;
        let hash = crypto_of
            .hash(suite, &keys.partial_context())
            .map_err(crypto("partial_context_hash"))?;
        if hash != context.partial_context_hash {
            return Err(SemiPrivateError::Mismatch("partial_context_hash"));
        }
        Ok(keys)
    }

    /// FramedContent (RFC 9420, section 6); the sender is a member.
    fn framed_content(&self, keys: &PerMessageKeyAndNonces, body: &[u8], out: &mut Writer) {
        out.opaque(self.group_id());
        self.epoch().encode(out);
        1u8.encode(out);
        keys.sender_leaf_index.encode(out);
        out.opaque(self.authenticated_data());
        self.content_type().encode(out);
        out.raw(body);
    }

    /// FramedContentTBS (RFC 9420, section 6.1).
    fn framed_content_tbs(&self, keys: &PerMessageKeyAndNonces, body: &[u8], context: GroupContext<'_>) -> Vec<u8> {
        let mut out = Writer::new();
        MLS10.encode(&mut out);
        WireFormat::SemiPrivateMessage.encode(&mut out);
        self.framed_content(keys, body, &mut out);
        out.raw(context.as_bytes());
        out.into_vec()
    }
}

/// SemiPrivateMessageContent, the plaintext.
struct SemiPrivateContent<'a> {
    body: &'a [u8],
    /// FramedContentAuthData.
    auth: &'a [u8],
    signature: &'a [u8],
}

impl<'a> SemiPrivateContent<'a> {
    fn read(content_type: ContentType, plaintext: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(plaintext);
        if content_type == ContentType::Commit {
            commit::walk(&mut reader)?;
        } else {
            proposal::walk(&mut reader)?;
        }
        let body_end = reader.position();
        let signature = reader.opaque()?;
        if content_type == ContentType::Commit {
            reader.opaque()?;
        }
        let auth_end = reader.position();
        if reader.rest().iter().any(|octet| *octet != 0) {
            return Err(Error::Invalid {
                what: "padding",
                why: "it is not zero",
            });
        }
        Ok(SemiPrivateContent {
            body: &plaintext[..body_end],
            auth: &plaintext[body_end..auth_end],
            signature,
        })
    }
}
