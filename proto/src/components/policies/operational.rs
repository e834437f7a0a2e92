//! The `mls_operational_policy` component (draft-ietf-mimi-room-policy, section 7).

use super::MediaType;
use crate::Error;
use crate::components::ComponentId;
use crate::mls::{CipherSuite, CredentialType, ExtensionType};
use crate::tls::{Decode, Encode, Reader, Writer, tls_struct};

/// What a client can do, or must, or must not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtendedCapabilities {
    /// MLS versions.
    pub versions: Vec<u16>,
    /// Cipher suites.
    pub cipher_suites: Vec<CipherSuite>,
    /// Extensions.
    pub extensions: Vec<ExtensionType>,
    /// Proposal types.
    pub proposals: Vec<u16>,
    /// Credential types.
    pub credentials: Vec<CredentialType>,
    /// Wire formats.
    pub wire_formats: Vec<u16>,
    /// Components.
    pub component_ids: Vec<ComponentId>,
    /// Components in Safe AAD.
    pub safe_aad_types: Vec<ComponentId>,
    /// Media types of application data.
    pub media_types: Vec<MediaType>,
    /// Content types of framed content.
    pub content_types: Vec<u8>,
}

tls_struct!(ExtendedCapabilities {
    versions,
    cipher_suites,
    extensions,
    proposals,
    credentials,
    wire_formats,
    component_ids,
    safe_aad_types,
    media_types,
    content_types
});

/// When members commit proposals that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingProposalPolicy {
    /// Whenever they like.
    Unspecified,
    /// At once.
    ImmediateCommit,
    /// After a random delay between these, in milliseconds.
    RandomDelay {
        /// The shortest.
        minimum_delay_ms: u64,
        /// The longest.
        maximum_delay_ms: u64,
    },
    /// As a component says. The draft gives `extension` no value: every value that has no other meaning is one.
    Extension {
        /// The value of the enumeration.
        strategy: u8,
        /// The component.
        id_of_strategy_params: ComponentId,
    },
}

impl Encode for PendingProposalPolicy {
    fn encode(&self, out: &mut Writer) {
        match self {
            PendingProposalPolicy::Unspecified => 0u8.encode(out),
            PendingProposalPolicy::ImmediateCommit => 1u8.encode(out),
            PendingProposalPolicy::RandomDelay {
                minimum_delay_ms,
                maximum_delay_ms,
            } => {
                2u8.encode(out);
                minimum_delay_ms.encode(out);
                maximum_delay_ms.encode(out);
            }
            PendingProposalPolicy::Extension {
                strategy,
                id_of_strategy_params,
            } => {
                strategy.encode(out);
                id_of_strategy_params.encode(out);
            }
        }
    }
}

impl Decode for PendingProposalPolicy {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(match u8::decode(reader)? {
            0 => PendingProposalPolicy::Unspecified,
            1 => PendingProposalPolicy::ImmediateCommit,
            2 => {
                let (minimum_delay_ms, maximum_delay_ms) = (u64::decode(reader)?, u64::decode(reader)?);
                if minimum_delay_ms > maximum_delay_ms {
                    return Err(Error::Invalid {
                        what: "minimum_delay_ms",
                        why: "it is more than the maximum",
                    });
                }
                PendingProposalPolicy::RandomDelay {
                    minimum_delay_ms,
                    maximum_delay_ms,
                }
            }
            strategy => PendingProposalPolicy::Extension {
                strategy,
                id_of_strategy_params: ComponentId::decode(reader)?,
            },
        })
    }
}

/// A range of times and the usual one. The draft names no unit: seconds, as for lifetimes in MLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MinDefaultMaxTime {
    /// The shortest.
    pub minimum_time: u64,
    /// The usual one.
    pub default_time: u64,
    /// The longest.
    pub maximum_time: u64,
}

impl Encode for MinDefaultMaxTime {
    fn encode(&self, out: &mut Writer) {
        self.minimum_time.encode(out);
        self.default_time.encode(out);
        self.maximum_time.encode(out);
    }
}

impl Decode for MinDefaultMaxTime {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let times = MinDefaultMaxTime {
            minimum_time: u64::decode(reader)?,
            default_time: u64::decode(reader)?,
            maximum_time: u64::decode(reader)?,
        };
        if times.minimum_time > times.default_time || times.default_time > times.maximum_time {
            return Err(Error::Invalid {
                what: "MinDefaultMaxTime",
                why: "it does not satisfy minimum <= default <= maximum",
            });
        }
        Ok(times)
    }
}

/// How application messages are framed and followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AppMessagePolicy {
    /// How many epochs back messages are still accepted.
    pub epoch_tolerance: u8,
    /// To which multiple messages are padded, in octets.
    pub pad_to_size: u16,
    /// How far a secret tree ratchet is moved for one message.
    pub max_generations_skipahead: u32,
}

tls_struct!(AppMessagePolicy {
    epoch_tolerance,
    pad_to_size,
    max_generations_skipahead
});

/// How the room's MLS group is run; also the update, which replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationalParameters {
    /// What every client must be able to do.
    pub mandatory_capabilities: ExtendedCapabilities,
    /// What clients do by default.
    pub default_capabilities: ExtendedCapabilities,
    /// What no client does.
    pub forbidden_capabilities: ExtendedCapabilities,
    /// The wire formats of handshakes.
    pub handshake_formats: Vec<u16>,
    /// Proposals of those who are no members are taken.
    pub external_proposal_allowed: bool,
    /// Clients may join by themselves.
    pub external_commit_allowed: bool,
    /// When members commit.
    pub pending_proposal_policy: PendingProposalPolicy,
    /// How often clients renew their leaves.
    pub leaf_node_update_time: MinDefaultMaxTime,
    /// Application messages.
    pub app_message_policy: AppMessagePolicy,
    /// The longest lifetime of a KeyPackage.
    pub max_kp_lifetime: u64,
    /// The longest lifetime of a credential.
    pub max_credential_lifetime: u64,
    /// How long resumption secrets are kept.
    pub resumption_psk_lifetime: u64,
    /// How long keys of a sender are kept.
    pub sender_nonce_keypair_lifetime: MinDefaultMaxTime,
    /// How many of them.
    pub max_keypairs: u32,
    /// How long messages wait that came too early.
    pub buffer_incoming_message_time: MinDefaultMaxTime,
    /// How many of them.
    pub max_buffered_messages: u32,
}

tls_struct!(OperationalParameters {
    mandatory_capabilities,
    default_capabilities,
    forbidden_capabilities,
    handshake_formats,
    external_proposal_allowed,
    external_commit_allowed,
    pending_proposal_policy,
    leaf_node_update_time,
    app_message_policy,
    max_kp_lifetime,
    max_credential_lifetime,
    resumption_psk_lifetime,
    sender_nonce_keypair_lifetime,
    max_keypairs,
    buffer_incoming_message_time,
    max_buffered_messages,
});
