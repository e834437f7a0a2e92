//! Commits (RFC 9420, section 12.4).

use super::welcome::walk_ciphertext;
use super::{LeafNode, LeafNodeSource, Proposal, leaf_node, proposal};
use crate::Error;
use crate::tls::{Decode, Reader, Span};

/// Where the parts of a Commit stand in the object that contains it.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    proposals: Vec<ProposalOrRefLayout>,
    path: Option<leaf_node::Layout>,
}

#[derive(Debug, Clone)]
enum ProposalOrRefLayout {
    Proposal(proposal::Layout),
    Reference(Span),
}

/// Walks a Commit.
pub(super) fn walk(reader: &mut Reader<'_>) -> Result<Layout, Error> {
    let mut list = reader.vector()?;
    let mut proposals = Vec::new();
    while !list.is_empty() {
        proposals.push(match u8::decode(&mut list)? {
            1 => ProposalOrRefLayout::Proposal(proposal::walk(&mut list)?),
            2 => ProposalOrRefLayout::Reference(list.opaque_span()?),
            value => {
                return Err(Error::UnknownValue {
                    what: "ProposalOrRefType",
                    value: value.into(),
                });
            }
        });
    }
    let path = if reader.presence()? {
        Some(walk_path(reader)?)
    } else {
        None
    };
    Ok(Layout { proposals, path })
}

/// UpdatePath (RFC 9420, section 7.6).
fn walk_path(reader: &mut Reader<'_>) -> Result<leaf_node::Layout, Error> {
    let leaf_node = leaf_node::walk(reader)?;
    match leaf_node.source {
        LeafNodeSource::Commit => {}
        other => return Err(other.unexpected("a leaf node of a Commit")),
    }
    let mut nodes = reader.vector()?;
    while !nodes.is_empty() {
        nodes.opaque()?;
        let mut secrets = nodes.vector()?;
        while !secrets.is_empty() {
            walk_ciphertext(&mut secrets)?;
        }
    }
    Ok(leaf_node)
}

/// A borrowed Commit.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    object: &'a [u8],
    layout: &'a Layout,
}

/// An element of a Commit's list of proposals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProposalOrRef<'a> {
    /// The committer's own proposal, by value.
    Proposal(Proposal<'a>),
    /// The ProposalRef of one sent before.
    Reference(&'a [u8]),
}

impl<'a> Commit<'a> {
    pub(super) fn view(object: &'a [u8], layout: &'a Layout) -> Self {
        Commit { object, layout }
    }

    /// The committer's new leaf, if there is an UpdatePath. An external Commit always has one.
    pub fn path_leaf(&self) -> Option<LeafNode<'a>> {
        self.layout
            .path
            .as_ref()
            .map(|layout| LeafNode::view(self.object, layout))
    }

    /// The proposals, in order.
    pub fn proposals(&self) -> impl ExactSizeIterator<Item = ProposalOrRef<'a>> + use<'a> {
        let object = self.object;
        self.layout.proposals.iter().map(move |layout| match layout {
            ProposalOrRefLayout::Proposal(layout) => ProposalOrRef::Proposal(Proposal::view(object, layout)),
            ProposalOrRefLayout::Reference(span) => ProposalOrRef::Reference(span.of(object)),
        })
    }
}
