//! Proposals (RFC 9420, section 12.1; draft-ietf-mls-extensions, sections 4.7, 4.8 and 6.3).

use super::{
    CipherSuite, Extension, KeyPackage, LeafNodeSource, ProposalType, extensions, ids, key_package, leaf_node,
};
use crate::Error;
use crate::components::{AppDataUpdate, AppEphemeral};
use crate::tls::{Decode, Reader, Span, decode_exact};

/// Where a proposal stands in the object that contains it.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    proposal_type: ProposalType,
    body: Span,
}

/// Walks a Proposal.
pub(super) fn walk(reader: &mut Reader<'_>) -> Result<Layout, Error> {
    let proposal_type = ProposalType::decode(reader)?;
    let start = reader.position();
    match proposal_type {
        ProposalType::Add => {
            key_package::walk(reader)?;
        }
        ProposalType::Update => match leaf_node::walk(reader)?.source {
            LeafNodeSource::Update => {}
            other => return Err(other.unexpected("a leaf node of an Update")),
        },
        ProposalType::Remove => {
            u32::decode(reader)?;
        }
        ProposalType::PreSharedKey => walk_psk_id(reader)?,
        ProposalType::ReInit => {
            reader.opaque()?;
            ids::protocol_version(reader)?;
            CipherSuite::decode(reader)?;
            extensions::walk(reader)?;
        }
        ProposalType::ExternalInit => {
            reader.opaque()?;
        }
        ProposalType::GroupContextExtensions => {
            extensions::walk(reader)?;
        }
        ProposalType::AppDataUpdate => AppDataUpdate::walk(reader)?,
        ProposalType::AppEphemeral => AppEphemeral::walk(reader)?,
        ProposalType::SelfRemove => {}
    }
    Ok(Layout {
        proposal_type,
        body: reader.since(start),
    })
}

/// PreSharedKeyID (RFC 9420, section 8.4, with the third type of draft-ietf-mls-extensions, section 4.5).
fn walk_psk_id(reader: &mut Reader<'_>) -> Result<(), Error> {
    match u8::decode(reader)? {
        1 => {
            reader.opaque()?;
        }
        2 => {
            match u8::decode(reader)? {
                1..=3 => {}
                value => {
                    return Err(Error::UnknownValue {
                        what: "ResumptionPSKUsage",
                        value: value.into(),
                    });
                }
            }
            reader.opaque()?;
            u64::decode(reader)?;
        }
        3 => {
            u16::decode(reader)?;
            reader.opaque()?;
        }
        value => {
            return Err(Error::UnknownValue {
                what: "PSKType",
                value: value.into(),
            });
        }
    }
    reader.opaque()?;
    Ok(())
}

/// A borrowed proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposal<'a> {
    proposal_type: ProposalType,
    body: &'a [u8],
}

impl<'a> Proposal<'a> {
    pub(super) fn view(object: &'a [u8], layout: &Layout) -> Self {
        Proposal {
            proposal_type: layout.proposal_type,
            body: layout.body.of(object),
        }
    }

    /// The octets that follow the proposal type.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The type.
    pub fn proposal_type(&self) -> ProposalType {
        self.proposal_type
    }

    /// What it proposes, as far as a hub decides by it.
    ///
    /// # Errors
    /// None for a proposal that was decoded: its body has the structure of its type.
    pub fn content(&self) -> Result<ProposalContent, Error> {
        Ok(match self.proposal_type {
            ProposalType::Add => ProposalContent::Add(decode_exact(self.body)?),
            ProposalType::Update => ProposalContent::Update,
            ProposalType::Remove => ProposalContent::Remove(decode_exact(self.body)?),
            ProposalType::PreSharedKey => ProposalContent::PreSharedKey,
            ProposalType::ReInit => {
                let mut reader = Reader::new(self.body);
                let group_id = Vec::decode(&mut reader)?;
                ids::protocol_version(&mut reader)?;
                let cipher_suite = CipherSuite::decode(&mut reader)?;
                let extensions = Vec::decode(&mut reader)?;
                ProposalContent::ReInit(ReInit {
                    group_id,
                    cipher_suite,
                    extensions,
                })
            }
            ProposalType::ExternalInit => ProposalContent::ExternalInit,
            ProposalType::GroupContextExtensions => ProposalContent::GroupContextExtensions(decode_exact(self.body)?),
            ProposalType::AppDataUpdate => ProposalContent::AppDataUpdate(decode_exact(self.body)?),
            ProposalType::AppEphemeral => ProposalContent::AppEphemeral(decode_exact(self.body)?),
            ProposalType::SelfRemove => ProposalContent::SelfRemove,
        })
    }
}

/// What a proposal proposes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposalContent {
    /// Add the client of this KeyPackage.
    Add(KeyPackage),
    /// Replace the sender's leaf.
    Update,
    /// Remove the member at this leaf index.
    Remove(u32),
    /// Mix a key into the key schedule.
    PreSharedKey,
    /// Start the group anew.
    ReInit(ReInit),
    /// Join by an external Commit.
    ExternalInit,
    /// Replace the extensions of the GroupContext.
    GroupContextExtensions(Vec<Extension>),
    /// Change the state of a component.
    AppDataUpdate(AppDataUpdate),
    /// Attach data to the Commit.
    AppEphemeral(AppEphemeral),
    /// Remove the sender.
    SelfRemove,
}

/// RFC 9420, section 12.1.5. The version is MLS 1.0, the only one there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReInit {
    /// The ID of the new group.
    pub group_id: Vec<u8>,
    /// The suite of the new group.
    pub cipher_suite: CipherSuite,
    /// The extensions of the new group's GroupContext.
    pub extensions: Vec<Extension>,
}
