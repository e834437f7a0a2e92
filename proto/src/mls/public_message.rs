//! Public messages (RFC 9420, section 6.2): the handshakes a hub can read.

use bytes::Bytes;

use super::verbatim::verbatim;
use super::{Commit, ContentType, Proposal, commit, proposal};
use crate::Error;
use crate::tls::{Decode, Reader, Span};

/// A signed Proposal or Commit in the clear, verbatim.
#[derive(Debug, Clone)]
pub struct PublicMessage {
    octets: Bytes,
    layout: Box<Layout>,
}

verbatim!(PublicMessage, walk);

#[derive(Debug, Clone)]
struct Layout {
    group_id: Span,
    epoch: u64,
    sender: Sender,
    authenticated_data: Span,
    content: ContentLayout,
    signature: Span,
}

#[derive(Debug, Clone)]
enum ContentLayout {
    Proposal(proposal::Layout),
    Commit {
        commit: commit::Layout,
        confirmation_tag: Span,
    },
}

/// Who sent a message (RFC 9420, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The member at a leaf index.
    Member(u32),
    /// The sender at an index of the `external_senders` extension.
    External(u32),
    /// A client that proposes its own addition.
    NewMemberProposal,
    /// A client that joins by this Commit.
    NewMemberCommit,
}

impl Sender {
    fn walk(reader: &mut Reader<'_>) -> Result<Self, Error> {
        match u8::decode(reader)? {
            1 => u32::decode(reader).map(Sender::Member),
            2 => u32::decode(reader).map(Sender::External),
            3 => Ok(Sender::NewMemberProposal),
            4 => Ok(Sender::NewMemberCommit),
            value => Err(Error::UnknownValue {
                what: "SenderType",
                value: value.into(),
            }),
        }
    }

    /// Which content the sender may send at all: only members commit, and a joiner does just what its type says.
    fn check(self, content_type: ContentType) -> Result<(), Error> {
        let (expected, found) = match (self, content_type) {
            (Sender::External(_) | Sender::NewMemberProposal, ContentType::Commit) => ("a Proposal", "a Commit"),
            (Sender::NewMemberCommit, ContentType::Proposal) => ("a Commit", "a Proposal"),
            _ => return Ok(()),
        };
        Err(Error::Unexpected { expected, found })
    }
}

fn walk(reader: &mut Reader<'_>) -> Result<Layout, Error> {
    let group_id = reader.opaque_span()?;
    let epoch = u64::decode(reader)?;
    let sender = Sender::walk(reader)?;
    let authenticated_data = reader.opaque_span()?;
    let content_type = ContentType::decode(reader)?;
    sender.check(content_type)?;
    let (content, signature) = match content_type {
        // Section 6: application messages are always encrypted.
        ContentType::Application => {
            return Err(Error::Unexpected {
                expected: "a Proposal or Commit",
                found: "application data",
            });
        }
        ContentType::Proposal => {
            let proposal = proposal::walk(reader)?;
            (ContentLayout::Proposal(proposal), reader.opaque_span()?)
        }
        ContentType::Commit => {
            let commit = commit::walk(reader)?;
            let signature = reader.opaque_span()?;
            (
                ContentLayout::Commit {
                    commit,
                    confirmation_tag: reader.opaque_span()?,
                },
                signature,
            )
        }
    };
    if let Sender::Member(_) = sender {
        reader.opaque()?;
    }
    Ok(Layout {
        group_id,
        epoch,
        sender,
        authenticated_data,
        content,
        signature,
    })
}

/// The content of a [`PublicMessage`].
#[derive(Debug, Clone, Copy)]
pub enum FramedContent<'a> {
    /// A Proposal.
    Proposal(Proposal<'a>),
    /// A Commit, and the MAC that confirms the epoch it starts.
    Commit {
        /// The Commit.
        commit: Commit<'a>,
        /// The MAC.
        confirmation_tag: &'a [u8],
    },
}

impl PublicMessage {
    /// The additional authenticated data.
    pub fn authenticated_data(&self) -> &[u8] {
        self.layout.authenticated_data.of(&self.octets)
    }

    /// The Proposal or Commit.
    pub fn content(&self) -> FramedContent<'_> {
        match &self.layout.content {
            ContentLayout::Proposal(layout) => FramedContent::Proposal(Proposal::view(&self.octets, layout)),
            ContentLayout::Commit {
                commit,
                confirmation_tag,
            } => FramedContent::Commit {
                commit: Commit::view(&self.octets, commit),
                confirmation_tag: confirmation_tag.of(&self.octets),
            },
        }
    }

    /// Whether it is a Proposal or a Commit.
    pub fn content_type(&self) -> ContentType {
        match self.layout.content {
            ContentLayout::Proposal(_) => ContentType::Proposal,
            ContentLayout::Commit { .. } => ContentType::Commit,
        }
    }

    /// The epoch it was sent in.
    pub fn epoch(&self) -> u64 {
        self.layout.epoch
    }

    /// The MLS group ID.
    pub fn group_id(&self) -> &[u8] {
        self.layout.group_id.of(&self.octets)
    }

    /// The sender.
    pub fn sender(&self) -> Sender {
        self.layout.sender
    }

    /// The sender's signature.
    pub fn signature(&self) -> &[u8] {
        self.layout.signature.of(&self.octets)
    }
}
