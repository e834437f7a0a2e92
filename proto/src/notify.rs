//! `POST /notify/{roomId}` (draft-ietf-mimi-protocol, section 5.5).

use crate::Error;
use crate::franking::Frank;
use crate::mls::{
    ApplicationMessage, CommitMessage, ContentType, MlsMessage, ProposalMessage, Welcome, WireFormat, encode_message,
};
use crate::ratchet_tree::RatchetTreeOption;
use crate::tls::{Decode, Encode, Reader, Writer};

/// The most messages one request may carry.
pub const MAX_FANOUT_MESSAGES: usize = 4096;

/// An event of a room, on its way to a follower provider. The protocol is that of the room and not on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FanoutMessage {
    /// When the hub accepted it, in milliseconds since the Unix epoch.
    pub timestamp: u64,
    /// What happened.
    pub event: FanoutEvent,
}

/// What happened in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FanoutEvent {
    /// A message was sent.
    Application {
        /// The message.
        message: ApplicationMessage,
        /// The hub's stamp.
        frank: Option<Frank>,
    },
    /// A Commit ended the epoch.
    Commit {
        /// The Commit.
        commit: CommitMessage,
        /// After an external Commit: the hub's proposals of the old epoch, made anew.
        external_proposals: Vec<ProposalMessage>,
    },
    /// Changes were proposed.
    Proposals {
        /// The first.
        proposal: ProposalMessage,
        /// The others, as they came in one request.
        more_proposals: Vec<ProposalMessage>,
    },
    /// Clients of the receiving provider were added.
    Welcome {
        /// What lets them in.
        welcome: Welcome,
        /// Where the tree is.
        ratchet_tree: RatchetTreeOption,
    },
}

impl Encode for FanoutMessage {
    fn encode(&self, out: &mut Writer) {
        self.timestamp.encode(out);
        match &self.event {
            FanoutEvent::Application { message, frank } => {
                message.encode(out);
                frank.encode(out);
            }
            FanoutEvent::Commit {
                commit,
                external_proposals,
            } => {
                commit.encode(out);
                external_proposals.encode(out);
            }
            FanoutEvent::Proposals {
                proposal,
                more_proposals,
            } => {
                proposal.encode(out);
                more_proposals.encode(out);
            }
            FanoutEvent::Welcome { welcome, ratchet_tree } => {
                encode_message(welcome, WireFormat::Welcome, out);
                ratchet_tree.encode(out);
            }
        }
    }
}

impl Decode for FanoutMessage {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let timestamp = u64::decode(reader)?;
        let event = match MlsMessage::decode(reader)? {
            MlsMessage::Welcome(welcome) => FanoutEvent::Welcome {
                welcome,
                ratchet_tree: RatchetTreeOption::decode(reader)?,
            },
            MlsMessage::PublicMessage(message) if message.content_type() == ContentType::Commit => {
                FanoutEvent::Commit {
                    commit: message.try_into()?,
                    external_proposals: Vec::decode(reader)?,
                }
            }
            MlsMessage::PublicMessage(message) => FanoutEvent::Proposals {
                proposal: message.try_into()?,
                more_proposals: Vec::decode(reader)?,
            },
            other => FanoutEvent::Application {
                message: other.try_into()?,
                frank: Option::decode(reader)?,
            },
        };
        Ok(FanoutMessage { timestamp, event })
    }
}

/// Reads a request body: one or more messages, one after the other.
///
/// # Errors
/// What is wrong with one of them, an empty body, or more than [`MAX_FANOUT_MESSAGES`].
pub fn decode_all(body: &[u8]) -> Result<Vec<FanoutMessage>, Error> {
    let mut reader = Reader::new(body);
    let mut messages = vec![FanoutMessage::decode(&mut reader)?];
    while !reader.is_empty() {
        if messages.len() == MAX_FANOUT_MESSAGES {
            return Err(Error::Limit {
                what: "FanoutMessages",
                value: MAX_FANOUT_MESSAGES + 1,
                limit: MAX_FANOUT_MESSAGES,
            });
        }
        messages.push(FanoutMessage::decode(&mut reader)?);
    }
    Ok(messages)
}

/// The body that carries `messages`; at most [`MAX_FANOUT_MESSAGES`] of them are accepted by [`decode_all`].
pub fn encode_all<'a>(messages: impl IntoIterator<Item = &'a FanoutMessage>) -> Vec<u8> {
    let mut out = Writer::new();
    for message in messages {
        message.encode(&mut out);
    }
    out.into_vec()
}
