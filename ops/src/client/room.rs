//! One room as one client sees it: the MLS group, what waits for the hub's answer, and the transcript.

use std::collections::{BTreeMap, VecDeque};

use mimi_hub_proto::components::{ParticipantListData, RoleData, RoomMetaData};
use mimi_hub_proto::policy::RoomPolicy;
use mimi_hub_proto::tls::decode_exact;
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{ClientIdentity, LeafCredential};
use openmls::ciphersuite::hash_ref::ProposalRef;
use openmls::group::{GroupId, MlsGroup, MlsGroupJoinConfig, PURE_PLAINTEXT_WIRE_FORMAT_POLICY};
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{Credential, LeafNodeIndex, SenderRatchetConfiguration};

use super::app_data;
use super::franking::Evidence;
use super::transcript::{MessageDigest, Seen, TranscriptEntry};
use crate::OpsError;

/// Past epochs whose application messages can still be read: one more than any hub of this project accepts, and the hub's
/// order decides, not this client's.
const PAST_EPOCHS_MAX: usize = 5;
/// Messages of one sender that may arrive out of order, and that may be missing in between.
const OUT_OF_ORDER_MAX: u32 = 32;
const MISSING_MAX: u32 = 2_000;

/// A room that this client is, was, or is about to be in.
pub(super) struct Membership {
    pub(super) room: RoomUri,
    /// The group; nothing before joining and after removal.
    pub(super) group: Option<MlsGroup>,
    /// The first epoch of this client: what was sent before cannot be read.
    pub(super) joined_epoch: u64,
    /// A handshake on its way to the hub.
    pub(super) update: Option<UnansweredUpdate>,
    /// An application message on its way to the hub.
    pub(super) message: Option<UnansweredMessage>,
    /// This client has proposed its own removal.
    pub(super) leaving: bool,
    /// A Commit has removed this client.
    pub(super) removed: bool,
    pub(super) seen: Seen,
    /// The epochs this client has been in, with their authenticators.
    pub(super) epochs: BTreeMap<u64, Vec<u8>>,
    /// The hub's order, and after it what of `undelivered` is.
    pub(super) transcript: Vec<TranscriptEntry>,
    /// Application messages of this client that the hub has accepted and the stream has yet to bring: in the order in which
    /// they stand last in `transcript`.
    pub(super) undelivered: VecDeque<MessageDigest>,
    /// Received messages that the hub has stamped.
    pub(super) evidence: VecDeque<Evidence>,
    pub(super) redelivered: u64,
    pub(super) failures: Vec<String>,
}

/// An update whose answer is awaited. It is sent again as it is until there is one: it may have been accepted.
pub(super) struct UnansweredUpdate {
    /// The UpdateRequest.
    pub(super) body: Vec<u8>,
    pub(super) kind: UpdateKind,
}

pub(super) enum UpdateKind {
    /// A Commit, pending in the group.
    Commit { message: MessageDigest },
    /// Proposals, waiting in the group's proposal store.
    Proposals { references: Vec<ProposalRef> },
    /// An external Commit. The group it makes is not the client's before the hub agrees.
    ExternalCommit {
        message: MessageDigest,
        group: Box<MlsGroup>,
    },
}

/// A message whose answer is awaited.
pub(super) struct UnansweredMessage {
    /// The SubmitMessageRequest.
    pub(super) body: Vec<u8>,
    pub(super) message: MessageDigest,
    /// Its place in the transcript, as soon as the hub says when.
    pub(super) entry: TranscriptEntry,
}

/// What a client knows of a room: the part that all members, and the hub, must agree on.
#[derive(Clone, Debug)]
pub struct RoomState {
    /// The MLS epoch.
    pub epoch: u64,
    /// RFC 9420, 8.7: equal for two members if and only if they share the epoch's secrets.
    pub epoch_authenticator: Vec<u8>,
    /// `tree_hash` of the GroupContext.
    pub tree_hash: Vec<u8>,
    /// `confirmed_transcript_hash` of the GroupContext.
    pub confirmed_transcript_hash: Vec<u8>,
    /// The participant list.
    pub participants: ParticipantListData,
    /// The role table.
    pub roles: RoleData,
    /// The metadata, where the room has any.
    pub metadata: Option<RoomMetaData>,
    /// The members of the group: leaf index and identity.
    pub members: Vec<(u32, ClientIdentity)>,
    /// Proposals that the next Commit must cover.
    pub pending_proposals: usize,
}

impl Membership {
    pub(super) fn new(room: RoomUri) -> Self {
        Self {
            room,
            group: None,
            joined_epoch: 0,
            update: None,
            message: None,
            leaving: false,
            removed: false,
            seen: Seen::default(),
            epochs: BTreeMap::new(),
            transcript: Vec::new(),
            undelivered: VecDeque::new(),
            evidence: VecDeque::new(),
            redelivered: 0,
            failures: Vec::new(),
        }
    }

    pub(super) fn group(&self) -> Result<&MlsGroup, OpsError> {
        self.group.as_ref().ok_or_else(|| OpsError::NotMember {
            room: self.room.clone(),
        })
    }

    /// Takes the group as this client's own from its current epoch on.
    pub(super) fn install(&mut self, group: MlsGroup) {
        self.joined_epoch = group.epoch().as_u64();
        self.group = Some(group);
        self.leaving = false;
        self.removed = false;
        self.note_epoch();
    }

    /// Notes the epoch that the group has come to.
    pub(super) fn note_epoch(&mut self) {
        if let Some(group) = &self.group {
            let authenticator = group.epoch_authenticator().as_slice().to_vec();
            self.epochs.insert(group.epoch().as_u64(), authenticator);
        }
    }

    /// The hub has accepted the message that was on its way. Where the room's order has it, the stream will say.
    pub(super) fn accept_message(&mut self, accepted_ms: u64) {
        if let Some(unanswered) = self.message.take() {
            self.undelivered.push_back(unanswered.message);
            self.transcript.push(TranscriptEntry {
                accepted_ms,
                ..unanswered.entry
            });
        }
    }

    /// The stream has brought a message of another client.
    pub(super) fn deliver(&mut self, entry: TranscriptEntry) {
        self.transcript.insert(self.delivered(), entry);
    }

    /// The stream has brought a message of this client's own, if it is one that waits for that.
    pub(super) fn deliver_own(&mut self, message: &MessageDigest) -> bool {
        let Some(place) = self.undelivered.iter().position(|waiting| waiting == message) else {
            return false;
        };
        let delivered = self.delivered();
        self.undelivered.remove(place);
        self.transcript[delivered..=delivered + place].rotate_right(1);
        true
    }

    /// How much of the transcript the stream has brought.
    fn delivered(&self) -> usize {
        self.transcript.len() - self.undelivered.len()
    }

    pub(super) fn fail(&mut self, failure: String) {
        self.failures.push(failure);
    }
}

pub(super) fn group_id(room: &RoomUri) -> GroupId {
    GroupId::from_slice(room.group_uri().as_str().as_bytes())
}

/// How this client takes part in a group: handshakes in the clear, for the hub to read.
pub(super) fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .max_past_epochs(PAST_EPOCHS_MAX)
        .use_ratchet_tree_extension(false)
        .sender_ratchet_configuration(SenderRatchetConfiguration::new(OUT_OF_ORDER_MAX, MISSING_MAX))
        .build()
}

/// The policy components that the group agrees on.
pub(super) fn policy(group: &MlsGroup) -> Result<RoomPolicy, OpsError> {
    app_data::room_policy(group.extensions())
}

/// A credential as the wire has it.
pub(super) fn wire_credential(credential: &Credential) -> Result<mimi_hub_proto::mls::Credential, OpsError> {
    let octets = credential
        .tls_serialize_detached()
        .map_err(OpsError::mls("encode a credential"))?;
    decode_exact(&octets).map_err(OpsError::mls("read a credential"))
}

pub(super) fn leaf_credential(credential: &Credential) -> Result<LeafCredential, OpsError> {
    LeafCredential::from_credential(wire_credential(credential)?.as_ref())
        .map_err(OpsError::mls("read a member's credential"))
}

pub(super) fn identity(credential: &Credential) -> Result<ClientIdentity, OpsError> {
    leaf_credential(credential).map(LeafCredential::into_identity)
}

/// The members of the group, by leaf. All go by real names, or all by pseudonyms (draft-ietf-mimi-protocol, 6.1).
pub(super) fn members(group: &MlsGroup) -> Result<Vec<(LeafNodeIndex, ClientIdentity)>, OpsError> {
    let mut members = Vec::new();
    let mut pseudonymous = None;
    for member in group.members() {
        let credential = leaf_credential(&member.credential)?;
        if !credential.is_bound_to(&member.signature_key) {
            return Err(OpsError::mls("read a member's credential")(
                "it is for another signature key",
            ));
        }
        if *pseudonymous.get_or_insert(credential.is_pseudonymous()) != credential.is_pseudonymous() {
            return Err(OpsError::mls("read a member's credential")(
                "some members go by real names, some by pseudonyms",
            ));
        }
        members.push((member.index, credential.into_identity()));
    }
    Ok(members)
}

/// The leaves of all clients of a user.
pub(super) fn leaves_of(group: &MlsGroup, user: &UserUri) -> Result<Vec<LeafNodeIndex>, OpsError> {
    let all = members(group)?;
    Ok(all
        .into_iter()
        .filter(|(_, member)| member.user() == user)
        .map(|(leaf, _)| leaf)
        .collect())
}

impl RoomState {
    pub(super) fn of(group: &MlsGroup) -> Result<Self, OpsError> {
        let policy = policy(group)?;
        let context = group.public_group().group_context();
        Ok(Self {
            epoch: group.epoch().as_u64(),
            epoch_authenticator: group.epoch_authenticator().as_slice().to_vec(),
            tree_hash: context.tree_hash().to_vec(),
            confirmed_transcript_hash: context.confirmed_transcript_hash().to_vec(),
            participants: policy.participants().clone(),
            roles: policy.roles().clone(),
            metadata: policy.metadata().cloned(),
            members: members(group)?
                .into_iter()
                .map(|(leaf, member)| (leaf.u32(), member))
                .collect(),
            pending_proposals: group.pending_proposals().count(),
        })
    }

    /// The user's role, if it is on the participant list.
    #[must_use]
    pub fn role_of(&self, user: &UserUri) -> Option<u32> {
        let entry = self
            .participants
            .participants
            .iter()
            .find(|entry| entry.user == *user)?;
        Some(entry.role_index)
    }
}
