//! MLSMessage (RFC 9420, section 6), and the three messages that the endpoints ask for by content.

use std::ops::Deref;

use super::ids::{self, MLS10};
use super::{
    Commit, ContentType, FramedContent, GroupInfo, KeyPackage, PrivateMessage, Proposal, PublicMessage,
    SemiPrivateMessage, Welcome, WireFormat,
};
use crate::Error;
use crate::tls::{Decode, Encode, Reader, Writer};

/// An MLS object with the header that says which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MlsMessage {
    /// `mls_public_message`.
    PublicMessage(PublicMessage),
    /// `mls_private_message`.
    PrivateMessage(PrivateMessage),
    /// `mls_welcome`.
    Welcome(Welcome),
    /// `mls_group_info`.
    GroupInfo(GroupInfo),
    /// `mls_key_package`.
    KeyPackage(KeyPackage),
    /// `mls_semiprivate_message`. No endpoint takes one: see `SPEC_NOTES.md`.
    SemiPrivateMessage(SemiPrivateMessage),
}

impl MlsMessage {
    /// Which object it is.
    pub fn wire_format(&self) -> WireFormat {
        match self {
            MlsMessage::PublicMessage(_) => WireFormat::PublicMessage,
            MlsMessage::PrivateMessage(_) => WireFormat::PrivateMessage,
            MlsMessage::Welcome(_) => WireFormat::Welcome,
            MlsMessage::GroupInfo(_) => WireFormat::GroupInfo,
            MlsMessage::KeyPackage(_) => WireFormat::KeyPackage,
            MlsMessage::SemiPrivateMessage(_) => WireFormat::SemiPrivateMessage,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            MlsMessage::PublicMessage(_) => "a PublicMessage",
            MlsMessage::PrivateMessage(_) => "a PrivateMessage",
            MlsMessage::Welcome(_) => "a Welcome",
            MlsMessage::GroupInfo(_) => "a GroupInfo",
            MlsMessage::KeyPackage(_) => "a KeyPackage",
            MlsMessage::SemiPrivateMessage(_) => "a SemiPrivateMessage, which is not supported here",
        }
    }
}

impl Encode for MlsMessage {
    fn encode(&self, out: &mut Writer) {
        match self {
            MlsMessage::PublicMessage(body) => encode_message(body, WireFormat::PublicMessage, out),
            MlsMessage::PrivateMessage(body) => encode_message(body, WireFormat::PrivateMessage, out),
            MlsMessage::Welcome(body) => encode_message(body, WireFormat::Welcome, out),
            MlsMessage::GroupInfo(body) => encode_message(body, WireFormat::GroupInfo, out),
            MlsMessage::KeyPackage(body) => encode_message(body, WireFormat::KeyPackage, out),
            MlsMessage::SemiPrivateMessage(body) => encode_message(body, WireFormat::SemiPrivateMessage, out),
        }
    }
}

/// Writes a body behind its MLSMessage header.
pub(crate) fn encode_message<T: Encode>(body: &T, wire_format: WireFormat, out: &mut Writer) {
    MLS10.encode(out);
    wire_format.encode(out);
    body.encode(out);
}

impl Decode for MlsMessage {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        ids::protocol_version(reader)?;
        Ok(match WireFormat::decode(reader)? {
            WireFormat::PublicMessage => MlsMessage::PublicMessage(PublicMessage::decode(reader)?),
            WireFormat::PrivateMessage => MlsMessage::PrivateMessage(PrivateMessage::decode(reader)?),
            WireFormat::Welcome => MlsMessage::Welcome(Welcome::decode(reader)?),
            WireFormat::GroupInfo => MlsMessage::GroupInfo(GroupInfo::decode(reader)?),
            WireFormat::KeyPackage => MlsMessage::KeyPackage(KeyPackage::decode(reader)?),
            WireFormat::SemiPrivateMessage => MlsMessage::SemiPrivateMessage(SemiPrivateMessage::decode(reader)?),
        })
    }
}

/// A message of one kind, encoded as an MLSMessage.
macro_rules! narrowed {
    ($(#[$meta:meta])* $name:ident, $body:ident, $content:ident, $expected:literal, $found:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name($body);

        impl TryFrom<$body> for $name {
            type Error = Error;

            fn try_from(body: $body) -> Result<Self, Error> {
                if body.content_type() == ContentType::$content {
                    Ok($name(body))
                } else {
                    Err(Error::Unexpected { expected: $expected, found: $found })
                }
            }
        }

        impl TryFrom<MlsMessage> for $name {
            type Error = Error;

            fn try_from(message: MlsMessage) -> Result<Self, Error> {
                match message {
                    MlsMessage::$body(body) => body.try_into(),
                    other => Err(Error::Unexpected { expected: $expected, found: other.name() }),
                }
            }
        }

        impl From<$name> for MlsMessage {
            fn from(message: $name) -> Self {
                MlsMessage::$body(message.0)
            }
        }

        impl Deref for $name {
            type Target = $body;

            fn deref(&self) -> &$body {
                &self.0
            }
        }

        impl Encode for $name {
            fn encode(&self, out: &mut Writer) {
                encode_message(&self.0, WireFormat::$body, out);
            }
        }

        impl Decode for $name {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
                MlsMessage::decode(reader)?.try_into()
            }
        }
    };
}

narrowed! {
    /// A PrivateMessage with application data.
    ApplicationMessage, PrivateMessage, Application, "an application message", "an encrypted handshake"
}
narrowed! {
    /// A PublicMessage with a Commit.
    CommitMessage, PublicMessage, Commit, "a Commit", "a Proposal"
}
narrowed! {
    /// A PublicMessage with a Proposal.
    ProposalMessage, PublicMessage, Proposal, "a Proposal", "a Commit"
}

impl CommitMessage {
    /// The Commit.
    pub fn commit(&self) -> Commit<'_> {
        match self.0.content() {
            FramedContent::Commit { commit, .. } => commit,
            FramedContent::Proposal(_) => unreachable!("only Commits become CommitMessages"),
        }
    }

    /// The MAC that confirms the epoch the Commit starts.
    pub fn confirmation_tag(&self) -> &[u8] {
        match self.0.content() {
            FramedContent::Commit { confirmation_tag, .. } => confirmation_tag,
            FramedContent::Proposal(_) => unreachable!("only Commits become CommitMessages"),
        }
    }
}

impl ProposalMessage {
    /// The Proposal.
    pub fn proposal(&self) -> Proposal<'_> {
        match self.0.content() {
            FramedContent::Proposal(proposal) => proposal,
            FramedContent::Commit { .. } => unreachable!("only Proposals become ProposalMessages"),
        }
    }
}
