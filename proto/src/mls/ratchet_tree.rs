//! The ratchet tree as it travels (RFC 9420, section 12.4.3.3).

use bytes::Bytes;

use super::leaf_node;
use super::verbatim::verbatim;
use crate::Error;
use crate::tls::{Decode, Reader};

/// `optional<Node> ratchet_tree<V>`, verbatim, with its length prefix.
#[derive(Debug, Clone)]
pub struct RatchetTree {
    octets: Bytes,
    layout: Box<Layout>,
}

verbatim!(RatchetTree, walk);

#[derive(Debug, Clone)]
struct Layout {
    nodes: usize,
}

fn walk(reader: &mut Reader<'_>) -> Result<Layout, Error> {
    let mut tree = reader.vector()?;
    let mut nodes = 0;
    let mut last_is_blank = true;
    while !tree.is_empty() {
        let present = tree.presence()?;
        if present {
            walk_node(&mut tree, nodes)?;
        }
        last_is_blank = !present;
        nodes += 1;
    }
    if last_is_blank {
        // Section 12.4.3.3: the sender leaves blank nodes at the end out, so that a tree has one encoding.
        return Err(Error::Invalid {
            what: "ratchet_tree",
            why: "its last node is blank",
        });
    }
    Ok(Layout { nodes })
}

fn walk_node(reader: &mut Reader<'_>, index: usize) -> Result<(), Error> {
    let is_leaf = match u8::decode(reader)? {
        1 => {
            leaf_node::walk(reader)?;
            true
        }
        2 => {
            reader.opaque()?;
            reader.opaque()?;
            if reader.vector()?.remaining() % 4 != 0 {
                return Err(Error::Invalid {
                    what: "ParentNode",
                    why: "unmerged_leaves holds a part of an index",
                });
            }
            false
        }
        value => {
            return Err(Error::UnknownValue {
                what: "NodeType",
                value: value.into(),
            });
        }
    };
    // Appendix C: leaves have the even indices, parents the odd ones.
    match (is_leaf, index % 2) {
        (true, 0) | (false, 1) => Ok(()),
        _ => Err(Error::Invalid {
            what: "ratchet_tree",
            why: "a node is not of the type its position asks for",
        }),
    }
}

impl RatchetTree {
    /// How many nodes it has, blank ones included.
    pub fn len(&self) -> usize {
        self.layout.nodes
    }

    /// Whether it has no nodes. A tree that was decoded has at least one.
    pub fn is_empty(&self) -> bool {
        self.layout.nodes == 0
    }
}
