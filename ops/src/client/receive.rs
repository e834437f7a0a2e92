//! What the hub delivers: FanoutMessages, in the order of the room.
//!
//! A stream may start before this client joined, repeat after a failover, and bring this client's own messages. The epoch
//! of a message and its digest tell what to do with it: what is behind the group is passed over, what is ahead of it means
//! that something was lost. A message that cannot be processed is noted and passed over, so that the others still arrive.

use mimi_hub_proto::content::MimiContent;
use mimi_hub_proto::mls::{ApplicationMessage, CommitMessage, ProposalMessage, Welcome};
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::RoomUri;
use mimi_hub_proto::{FanoutEvent, FanoutMessage, Frank, RatchetTreeOption};
use openmls::group::{StagedCommit, StagedWelcome, WelcomeError};
use openmls::prelude::tls_codec::Deserialize as _;
use openmls::prelude::{MlsMessageIn, ProcessedMessageContent, ProtocolMessage, RatchetTreeIn};
use openmls_traits::OpenMlsProvider as _;

use super::app_data;
use super::franking;
use super::message::{check_claims, external_part, shown_text};
use super::pseudonyms;
use super::room::{self, Membership, UpdateKind};
use super::state::ClientState;
use super::transcript::{TranscriptEntry, digest};
use crate::OpsError;

/// What became of one delivered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A Commit has moved the group to this epoch.
    Epoch(u64),
    /// This client has joined the group, at this epoch.
    Joined(u64),
    /// A Commit has removed this client.
    Removed,
    /// Proposals wait for the next Commit.
    Proposals,
    /// An application message, now in the transcript.
    Message,
    /// Nothing new: it came before, it is from before this client's time, or it is for other clients.
    Nothing,
    /// It could not be processed; the reason is in [`ClientState::failures`].
    Failed,
}

impl ClientState {
    /// Takes in one FanoutMessage struct of a room.
    ///
    /// # Errors
    /// None for what a hub sends: what is wrong with a message becomes [`Received::Failed`], so that the stream goes on.
    /// [`OpsError::Answer`] when the octets are not a FanoutMessage.
    pub fn receive(&mut self, room: &RoomUri, fanout_message: &[u8]) -> Result<Received, OpsError> {
        let fanout: FanoutMessage = decode_exact(fanout_message).map_err(|error| OpsError::Answer {
            call: "FanoutMessage",
            source: Box::new(error),
        })?;
        let outcome = self.dispatch(room, fanout);
        Ok(outcome.unwrap_or_else(|error| {
            self.membership_mut(room).fail(error.to_string());
            Received::Failed
        }))
    }

    fn dispatch(&mut self, room: &RoomUri, fanout: FanoutMessage) -> Result<Received, OpsError> {
        let accepted_ms = fanout.timestamp;
        match fanout.event {
            FanoutEvent::Application { message, frank } => self.receive_message(room, &message, frank, accepted_ms),
            FanoutEvent::Commit {
                commit,
                external_proposals,
            } => {
                let outcome = self.receive_commit(room, &commit)?;
                for proposal in &external_proposals {
                    self.receive_proposal(room, proposal)?;
                }
                Ok(outcome)
            }
            FanoutEvent::Proposals {
                proposal,
                more_proposals,
            } => {
                let mut outcome = Received::Nothing;
                for proposal in std::iter::once(&proposal).chain(&more_proposals) {
                    if self.receive_proposal(room, proposal)? {
                        outcome = Received::Proposals;
                    }
                }
                Ok(outcome)
            }
            FanoutEvent::Welcome { welcome, ratchet_tree } => self.receive_welcome(room, &welcome, ratchet_tree),
        }
    }

    /// A Welcome is for this client if it names one of its KeyPackages.
    fn receive_welcome(
        &mut self,
        room: &RoomUri,
        welcome: &Welcome,
        ratchet_tree: RatchetTreeOption,
    ) -> Result<Received, OpsError> {
        if self.membership_mut(room).group.is_some() {
            return Ok(Received::Nothing);
        }
        let octets = encode(welcome);
        let welcome =
            openmls::messages::Welcome::tls_deserialize_exact(octets).map_err(OpsError::mls("read the Welcome"))?;
        let config = room::join_config();
        let builder = match StagedWelcome::build_from_welcome(&self.keys.provider, &config, welcome) {
            Ok(builder) => builder,
            Err(WelcomeError::NoMatchingKeyPackage) => return Ok(Received::Nothing),
            Err(error) => return Err(OpsError::mls("open the Welcome")(error)),
        };
        let builder = match ratchet_tree {
            RatchetTreeOption::Full(tree) => builder.with_ratchet_tree(ratchet_tree_in(&encode(&tree))?),
            // Without a tree openmls reports what is missing.
            _ => builder,
        };
        let staged = builder.build().map_err(OpsError::mls("verify the Welcome"))?;
        let group = staged
            .into_group(&self.keys.provider)
            .map_err(OpsError::mls("join by Welcome"))?;
        if *group.group_id() != room::group_id(room) {
            return Err(OpsError::mls("join by Welcome")("the group is another room's"));
        }
        let epoch = group.epoch().as_u64();
        self.membership_mut(room).install(group);
        self.check_members(room)?;
        Ok(Received::Joined(epoch))
    }

    fn receive_commit(&mut self, room: &RoomUri, commit: &CommitMessage) -> Result<Received, OpsError> {
        let octets = encode(commit);
        let message = digest(&octets);
        let ClientState { keys, rooms, .. } = self;
        let membership = rooms
            .entry(room.clone())
            .or_insert_with(|| Membership::new(room.clone()));

        // The hub's answer was lost or is still on its way, but here is its word: this client's own update was accepted.
        match membership.update.as_ref().map(|update| &update.kind) {
            Some(UpdateKind::Commit { message: own } | UpdateKind::ExternalCommit { message: own, .. })
                if *own == message =>
            {
                let epoch = self.accept_update(room)?;
                return Ok(epoch.map_or(Received::Nothing, Received::Epoch));
            }
            _ => {}
        }
        let Some(group) = &mut membership.group else {
            return Ok(Received::Nothing);
        };
        let (epoch, own_epoch) = (commit.epoch(), group.epoch().as_u64());
        if epoch < own_epoch {
            return Ok(Received::Nothing);
        }
        if epoch > own_epoch {
            return Err(gap(epoch, own_epoch));
        }
        let processed = group
            .process_message(&keys.provider, protocol_message(&octets)?)
            .map_err(OpsError::mls("process a Commit"))?;
        let staged: StagedCommit = match processed.into_content() {
            ProcessedMessageContent::StagedCommitMessage(staged) => *staged,
            ProcessedMessageContent::UnresolvedAppDataCommit(unresolved) => {
                let mut updater = group.app_data_dictionary_updater();
                app_data::resolve(group.extensions(), unresolved.app_data_update_proposals(), &mut updater)?;
                let changes = updater.changes();
                group
                    .stage_app_data_commit(&keys.provider, *unresolved, changes)
                    .map_err(OpsError::mls("stage a Commit"))?
            }
            _ => return Err(OpsError::mls("process a Commit")("it is something else")),
        };
        let removed = staged.self_removed();
        group
            .merge_staged_commit(&keys.provider, staged)
            .map_err(OpsError::mls("merge a Commit"))?;
        // Whatever this client had on its way was for the epoch that is over; the hub has refused it or will.
        membership.update = None;
        membership.leaving = false;
        if removed {
            if let Some(mut group) = membership.group.take() {
                group
                    .delete(keys.provider.storage())
                    .map_err(OpsError::mls("forget the group"))?;
            }
            membership.removed = true;
            return Ok(Received::Removed);
        }
        let epoch = group.epoch().as_u64();
        membership.note_epoch();
        self.check_members(room)?;
        Ok(Received::Epoch(epoch))
    }

    /// True when the proposal is new.
    fn receive_proposal(&mut self, room: &RoomUri, proposal: &ProposalMessage) -> Result<bool, OpsError> {
        let ClientState { keys, rooms, .. } = self;
        let Some(membership) = rooms.get_mut(room) else {
            return Ok(false);
        };
        let Some(group) = &mut membership.group else {
            return Ok(false);
        };
        let (epoch, own_epoch) = (proposal.epoch(), group.epoch().as_u64());
        if epoch < own_epoch {
            return Ok(false);
        }
        if epoch > own_epoch {
            return Err(gap(epoch, own_epoch));
        }
        let processed = group
            .process_message(&keys.provider, protocol_message(&encode(proposal))?)
            .map_err(OpsError::mls("process a Proposal"))?;
        let (ProcessedMessageContent::ProposalMessage(proposal)
        | ProcessedMessageContent::ExternalJoinProposalMessage(proposal)) = processed.into_content()
        else {
            return Err(OpsError::mls("process a Proposal")("it is something else"));
        };
        let reference = proposal.proposal_reference_ref();
        if group
            .pending_proposals()
            .any(|known| known.proposal_reference_ref() == reference)
        {
            return Ok(false);
        }
        group
            .store_pending_proposal(keys.provider.storage(), *proposal)
            .map_err(OpsError::mls("store a Proposal"))?;
        Ok(true)
    }

    fn receive_message(
        &mut self,
        room: &RoomUri,
        message: &ApplicationMessage,
        frank: Option<Frank>,
        accepted_ms: u64,
    ) -> Result<Received, OpsError> {
        let octets = encode(message);
        let message_digest = digest(&octets);
        let ClientState {
            keys, rooms, link_keys, ..
        } = self;
        let Some(membership) = rooms.get_mut(room) else {
            return Ok(Received::Nothing);
        };
        let Some(group) = &membership.group else {
            return Ok(Received::Nothing);
        };
        let (epoch, own_epoch) = (message.epoch(), group.epoch().as_u64());
        if epoch < membership.joined_epoch {
            return Ok(Received::Nothing);
        }
        if epoch > own_epoch {
            return Err(gap(epoch, own_epoch));
        }
        if !membership.seen.insert(message_digest) {
            membership.redelivered += 1;
            return Ok(Received::Nothing);
        }
        if membership
            .message
            .as_ref()
            .is_some_and(|unanswered| unanswered.message == message_digest)
        {
            membership.accept_message(accepted_ms);
            membership.deliver_own(&message_digest);
            return Ok(Received::Message);
        }
        if membership.deliver_own(&message_digest) {
            return Ok(Received::Nothing);
        }
        let Some(group) = &mut membership.group else {
            return Ok(Received::Nothing);
        };
        let processed = group
            .process_message(&keys.provider, protocol_message(&octets)?)
            .map_err(OpsError::mls("decrypt a message"))?;
        let sender = room::identity(processed.credential())?;
        let ProcessedMessageContent::ApplicationMessage(application) = processed.into_content() else {
            return Err(OpsError::mls("decrypt a message")(
                "it is not an application message of another client",
            ));
        };
        let octets = application.into_bytes();
        let content = MimiContent::decode(&octets).map_err(OpsError::mls("read the MIMI content"))?;
        check_claims(&content, &sender, room)?;
        let receipt = franking::Receipt {
            room,
            sender: sender.user(),
            octets: &octets,
            content: &content,
            accepted_ms,
        };
        match franking::verify(keys, group, message, frank, &receipt) {
            Ok(evidence) => franking::keep(&mut membership.evidence, evidence),
            // What the sender has sent is sound; that it cannot be proven is somebody else's doing.
            Err(error @ OpsError::Signature { what: "frank" }) => membership.failures.push(error.to_string()),
            Err(error) => return Err(error),
        }
        pseudonyms::learn(keys, link_keys, group, &content)?;
        membership.deliver(TranscriptEntry {
            user: sender.user().clone(),
            client: sender.client().clone(),
            text: shown_text(&content).to_owned(),
            external: external_part(&content),
            salt: content.salt.to_vec(),
            epoch,
            accepted_ms,
        });
        Ok(Received::Message)
    }

    /// draft-ietf-mimi-protocol, 1: a client is in the group only if its user is a participant of the room.
    fn check_members(&mut self, room: &RoomUri) -> Result<(), OpsError> {
        let state = self.room(room)?;
        match state
            .members
            .iter()
            .find(|(_, member)| state.role_of(member.user()).is_none())
        {
            None => Ok(()),
            Some((_, stranger)) => Err(OpsError::NotParticipant {
                room: room.clone(),
                user: stranger.user().clone(),
            }),
        }
    }
}

/// An MLSMessage for openmls.
pub(super) fn protocol_message(octets: &[u8]) -> Result<ProtocolMessage, OpsError> {
    MlsMessageIn::tls_deserialize_exact(octets)
        .map_err(OpsError::mls("read an MLSMessage"))?
        .try_into_protocol_message()
        .map_err(OpsError::mls("read an MLSMessage"))
}

/// The content of a `ratchet_tree` extension for openmls.
pub(super) fn ratchet_tree_in(octets: &[u8]) -> Result<RatchetTreeIn, OpsError> {
    RatchetTreeIn::tls_deserialize_exact(octets).map_err(OpsError::mls("read the ratchet tree"))
}

fn gap(epoch: u64, own_epoch: u64) -> OpsError {
    OpsError::mls("follow the room")(format!("a message of epoch {epoch} while the group is at {own_epoch}"))
}
