//! GroupInfo and GroupContext (RFC 9420, sections 8.1 and 12.4.3).

use bytes::Bytes;

use super::ids::MLS10;
use super::verbatim::verbatim;
use super::{CipherSuite, Extension, ExtensionType, Extensions, extensions, ids};
use crate::Error;
use crate::tls::{Decode, Encode, Reader, Span, Writer, decode_exact};

/// What a joiner needs to know of a group, verbatim.
#[derive(Debug, Clone)]
pub struct GroupInfo {
    octets: Bytes,
    layout: Box<Layout>,
}

verbatim!(GroupInfo, walk);

/// Where its fields stand.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    group_context: ContextLayout,
    extensions: Span,
    confirmation_tag: Span,
    signer: u32,
    to_be_signed: Span,
    signature: Span,
}

#[derive(Debug, Clone)]
struct ContextLayout {
    whole: Span,
    cipher_suite: CipherSuite,
    group_id: Span,
    epoch: u64,
    tree_hash: Span,
    confirmed_transcript_hash: Span,
    extensions: Span,
}

/// Walks a GroupInfo.
pub(super) fn walk(reader: &mut Reader<'_>) -> Result<Layout, Error> {
    let start = reader.position();
    let group_context = walk_context(reader)?;
    let extensions = extensions::walk(reader)?;
    let confirmation_tag = reader.opaque_span()?;
    let signer = u32::decode(reader)?;
    let to_be_signed = reader.since(start);
    let signature = reader.opaque_span()?;
    Ok(Layout {
        group_context,
        extensions,
        confirmation_tag,
        signer,
        to_be_signed,
        signature,
    })
}

fn walk_context(reader: &mut Reader<'_>) -> Result<ContextLayout, Error> {
    let start = reader.position();
    ids::protocol_version(reader)?;
    let cipher_suite = CipherSuite::decode(reader)?;
    let group_id = reader.opaque_span()?;
    let epoch = u64::decode(reader)?;
    let tree_hash = reader.opaque_span()?;
    let confirmed_transcript_hash = reader.opaque_span()?;
    let extensions = extensions::walk(reader)?;
    let whole = reader.since(start);
    Ok(ContextLayout {
        whole,
        cipher_suite,
        group_id,
        epoch,
        tree_hash,
        confirmed_transcript_hash,
        extensions,
    })
}

impl GroupInfo {
    /// Puts a GroupInfo together from its fields, as a hub does that was sent a PartialGroupInfo.
    ///
    /// # Errors
    /// If two extensions of one list have the same type.
    pub fn assemble(
        context: &GroupContextFields<'_>,
        extensions: &[Extension],
        confirmation_tag: &[u8],
        signer: u32,
        signature: &[u8],
    ) -> Result<Self, Error> {
        let mut out = Writer::new();
        MLS10.encode(&mut out);
        context.cipher_suite.encode(&mut out);
        out.opaque(context.group_id);
        context.epoch.encode(&mut out);
        out.opaque(context.tree_hash);
        out.opaque(context.confirmed_transcript_hash);
        context.extensions.encode(&mut out);
        extensions.encode(&mut out);
        out.opaque(confirmation_tag);
        signer.encode(&mut out);
        out.opaque(signature);
        decode_exact(&out.into_vec())
    }

    /// The MAC that confirms the epoch.
    pub fn confirmation_tag(&self) -> &[u8] {
        self.layout.confirmation_tag.of(&self.octets)
    }

    /// The extensions of the GroupInfo itself.
    pub fn extensions(&self) -> Extensions<'_> {
        Extensions::view(self.layout.extensions.of(&self.octets))
    }

    /// The group's state that all members agree on.
    pub fn group_context(&self) -> GroupContext<'_> {
        GroupContext {
            object: &self.octets,
            layout: &self.layout.group_context,
        }
    }

    /// Whether the ratchet tree is embedded. In MIMI requests it must not be (draft-ietf-mimi-protocol, section 5.3).
    pub fn has_ratchet_tree(&self) -> bool {
        self.extensions().get(ExtensionType::RATCHET_TREE).is_some()
    }

    /// The signature of the signer's leaf over [`GroupInfo::to_be_signed`], under the label `GroupInfoTBS`.
    pub fn signature(&self) -> &[u8] {
        self.layout.signature.of(&self.octets)
    }

    /// The leaf index of the member who signed.
    pub fn signer(&self) -> u32 {
        self.layout.signer
    }

    /// GroupInfoTBS.
    pub fn to_be_signed(&self) -> &[u8] {
        self.layout.to_be_signed.of(&self.octets)
    }
}

/// The fields of a GroupContext, to build one from.
#[derive(Debug, Clone, Copy)]
pub struct GroupContextFields<'a> {
    /// The suite.
    pub cipher_suite: CipherSuite,
    /// The MLS group ID.
    pub group_id: &'a [u8],
    /// The epoch.
    pub epoch: u64,
    /// The hash of the ratchet tree's root.
    pub tree_hash: &'a [u8],
    /// The hash of all Commits so far.
    pub confirmed_transcript_hash: &'a [u8],
    /// The extensions.
    pub extensions: &'a [Extension],
}

/// A borrowed GroupContext.
#[derive(Debug, Clone, Copy)]
pub struct GroupContext<'a> {
    object: &'a [u8],
    layout: &'a ContextLayout,
}

impl<'a> GroupContext<'a> {
    /// The exact octets.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.layout.whole.of(self.object)
    }

    /// The suite.
    pub fn cipher_suite(&self) -> CipherSuite {
        self.layout.cipher_suite
    }

    /// The hash of all Commits so far.
    pub fn confirmed_transcript_hash(&self) -> &'a [u8] {
        self.layout.confirmed_transcript_hash.of(self.object)
    }

    /// The epoch.
    pub fn epoch(&self) -> u64 {
        self.layout.epoch
    }

    /// The extensions, `app_data_dictionary` and `external_senders` among them.
    pub fn extensions(&self) -> Extensions<'a> {
        Extensions::view(self.layout.extensions.of(self.object))
    }

    /// The MLS group ID.
    pub fn group_id(&self) -> &'a [u8] {
        self.layout.group_id.of(self.object)
    }

    /// The hash of the ratchet tree's root.
    pub fn tree_hash(&self) -> &'a [u8] {
        self.layout.tree_hash.of(self.object)
    }
}
