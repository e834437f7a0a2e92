//! KeyPackages (RFC 9420, section 10).

use bytes::Bytes;

use super::verbatim::verbatim;
use super::{CipherSuite, Extensions, LeafNode, LeafNodeSource, Lifetime, extensions, ids, leaf_node};
use crate::Error;
use crate::tls::{Decode, Reader, Span};

/// The material to add one client to one group, verbatim.
#[derive(Debug, Clone)]
pub struct KeyPackage {
    octets: Bytes,
    layout: Box<Layout>,
}

verbatim!(KeyPackage, walk);

/// Where its fields stand.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    cipher_suite: CipherSuite,
    init_key: Span,
    leaf_node: leaf_node::Layout,
    lifetime: Lifetime,
    extensions: Span,
}

/// Walks a KeyPackage.
pub(super) fn walk(reader: &mut Reader<'_>) -> Result<Layout, Error> {
    ids::protocol_version(reader)?;
    let cipher_suite = CipherSuite::decode(reader)?;
    let init_key = reader.opaque_span()?;
    let leaf_node = leaf_node::walk(reader)?;
    let lifetime = match leaf_node.source {
        LeafNodeSource::KeyPackage(lifetime) => lifetime,
        other => return Err(other.unexpected("a leaf node of a KeyPackage")),
    };
    let extensions = extensions::walk(reader)?;
    reader.opaque()?;
    Ok(Layout {
        cipher_suite,
        init_key,
        leaf_node,
        lifetime,
        extensions,
    })
}

impl KeyPackage {
    /// The suite of the group it is made for. The version is MLS 1.0, the only one there is.
    pub fn cipher_suite(&self) -> CipherSuite {
        self.layout.cipher_suite
    }

    /// Its own extensions, other than those of its leaf node.
    pub fn extensions(&self) -> Extensions<'_> {
        Extensions::view(self.layout.extensions.of(&self.octets))
    }

    /// The HPKE key of the Welcome.
    pub fn init_key(&self) -> &[u8] {
        self.layout.init_key.of(&self.octets)
    }

    /// The leaf: signature key, credential and capabilities.
    pub fn leaf_node(&self) -> LeafNode<'_> {
        LeafNode::view(&self.octets, &self.layout.leaf_node)
    }

    /// When it may be used.
    pub fn lifetime(&self) -> Lifetime {
        self.layout.lifetime
    }
}
