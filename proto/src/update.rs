//! `POST /update/{roomId}` (draft-ietf-mimi-protocol, section 5.3).

use crate::Error;
use crate::mls::{CommitMessage, ContentType, MlsMessage, ProposalMessage, ProposalRef, Welcome};
use crate::ratchet_tree::{GroupInfoOption, RatchetTreeOption};
use crate::tls::{Decode, Encode, Reader, Writer, tls_enum, tls_struct};

/// A handshake and what comes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeBundle {
    /// A Commit. Neither the Welcome nor the GroupInfo contains the ratchet tree.
    Commit {
        /// The Commit.
        commit: CommitMessage,
        /// For the clients it adds.
        welcome: Option<Welcome>,
        /// The GroupInfo of the new epoch.
        group_info: GroupInfoOption,
        /// The ratchet tree of the new epoch.
        ratchet_tree: RatchetTreeOption,
    },
    /// One or more Proposals.
    Proposals {
        /// The first.
        proposal: ProposalMessage,
        /// The others.
        more_proposals: Vec<ProposalMessage>,
    },
}

impl Encode for HandshakeBundle {
    fn encode(&self, out: &mut Writer) {
        match self {
            HandshakeBundle::Commit {
                commit,
                welcome,
                group_info,
                ratchet_tree,
            } => {
                commit.encode(out);
                welcome.encode(out);
                group_info.encode(out);
                ratchet_tree.encode(out);
            }
            HandshakeBundle::Proposals {
                proposal,
                more_proposals,
            } => {
                proposal.encode(out);
                more_proposals.encode(out);
            }
        }
    }
}

impl Decode for HandshakeBundle {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        match MlsMessage::decode(reader)? {
            MlsMessage::PublicMessage(message) if message.content_type() == ContentType::Commit => {
                Ok(HandshakeBundle::Commit {
                    commit: message.try_into()?,
                    welcome: Option::decode(reader)?,
                    group_info: GroupInfoOption::decode(reader)?,
                    ratchet_tree: RatchetTreeOption::decode(reader)?,
                })
            }
            other => Ok(HandshakeBundle::Proposals {
                proposal: other.try_into()?,
                more_proposals: Vec::decode(reader)?,
            }),
        }
    }
}

/// The request. The protocol is that of the room and not on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateRequest {
    /// The handshake.
    pub bundle: HandshakeBundle,
}

tls_struct!(UpdateRequest { bundle });

tls_enum! {
    /// Whether an update was accepted.
    pub enum UpdateResponseCode: u8 {
        /// It was, and will be distributed.
        Success = 0,
        /// The hub is in another epoch.
        WrongEpoch = 1,
        /// The room's policy forbids it.
        NotAllowed = 2,
        /// A proposal is invalid.
        InvalidProposal = 3,
    }
}

/// Whether an update was accepted, with what belongs to each case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// It was, and will be distributed.
    Success {
        /// When, in milliseconds since the Unix epoch.
        accepted_timestamp: u64,
    },
    /// The hub is in another epoch.
    WrongEpoch {
        /// Which.
        current_epoch: u64,
    },
    /// The room's policy forbids it.
    NotAllowed,
    /// A proposal is invalid.
    InvalidProposal {
        /// Which ones.
        invalid_proposals: Vec<ProposalRef>,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateRoomResponse {
    /// For people; may be empty.
    pub error_description: String,
    /// Whether the update was accepted.
    pub outcome: UpdateOutcome,
}

impl UpdateRoomResponse {
    /// The code of the outcome.
    pub fn response_code(&self) -> UpdateResponseCode {
        match self.outcome {
            UpdateOutcome::Success { .. } => UpdateResponseCode::Success,
            UpdateOutcome::WrongEpoch { .. } => UpdateResponseCode::WrongEpoch,
            UpdateOutcome::NotAllowed => UpdateResponseCode::NotAllowed,
            UpdateOutcome::InvalidProposal { .. } => UpdateResponseCode::InvalidProposal,
        }
    }
}

impl Encode for UpdateRoomResponse {
    fn encode(&self, out: &mut Writer) {
        self.response_code().encode(out);
        self.error_description.encode(out);
        match &self.outcome {
            UpdateOutcome::Success { accepted_timestamp } => accepted_timestamp.encode(out),
            UpdateOutcome::WrongEpoch { current_epoch } => current_epoch.encode(out),
            UpdateOutcome::NotAllowed => {}
            UpdateOutcome::InvalidProposal { invalid_proposals } => invalid_proposals.encode(out),
        }
    }
}

impl Decode for UpdateRoomResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let code = UpdateResponseCode::decode(reader)?;
        let error_description = String::decode(reader)?;
        let outcome = match code {
            UpdateResponseCode::Success => UpdateOutcome::Success {
                accepted_timestamp: u64::decode(reader)?,
            },
            UpdateResponseCode::WrongEpoch => UpdateOutcome::WrongEpoch {
                current_epoch: u64::decode(reader)?,
            },
            UpdateResponseCode::NotAllowed => UpdateOutcome::NotAllowed,
            UpdateResponseCode::InvalidProposal => UpdateOutcome::InvalidProposal {
                invalid_proposals: Vec::decode(reader)?,
            },
        };
        Ok(UpdateRoomResponse {
            error_description,
            outcome,
        })
    }
}
