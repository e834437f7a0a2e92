//! The requests that a hosted room's actor takes, and its state with them.

use std::collections::BTreeMap;
use std::sync::Arc;

use mimi_hub_cluster::ShardReader;
use mimi_hub_proto::mls::{GroupInfo, ProposalMessage, ProposalRef, RatchetTree};
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use mimi_hub_proto::{
    AbuseReport, GroupInfoRequest, HandshakeBundle, KeyMaterialResponse, SubmitMessageRequest, SubmitMessageResponse,
    UpdateOutcome, UpdateRoomResponse, tls,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use super::commit::{CommitBundle, decide_commit, replay_commit};
use super::create::decide_create;
use super::event::RoomEvent;
use super::group_info::{GroupInfoDecision, GroupInfoParts, decide_group_info, ratchet_tree};
use super::handshake::{Hosting, UpdateRefusal, check_parent};
use super::join_codes::{self, JoinCodeRefusal, JoinCodeRequest};
use super::key_material::{decide_claimed, may_claim};
use super::message::decide_message;
use super::moderation::{self, ModerationRequest};
use super::proposals::{advance_proposals, decide_proposals, replay_proposals};
use super::records::JoinCode;
use super::report::{ReportRefusal, decide_report};
use super::state::{Checkpoint, RoomLimits, RoomState};
use super::view::RoomView;
use crate::actor::{Decision, Entity};
use crate::command::{Command, Event, Head, decode};
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::settings::Settings;
use crate::{keys, read};

/// What can be asked of a hosted room.
#[derive(Serialize, Deserialize)]
pub(crate) enum RoomRequest {
    /// Make it.
    Create {
        creator: UserUri,
        #[serde(with = "crate::octets")]
        group_info: GroupInfo,
        #[serde(with = "crate::octets")]
        ratchet_tree: RatchetTree,
    },
    /// A Commit or Proposals.
    Update { source: ProviderDomain, update: Update },
    /// An application message.
    Submit {
        source: ProviderDomain,
        #[serde(with = "crate::octets")]
        request: SubmitMessageRequest,
    },
    /// The GroupInfo, for a client that wants to join.
    GroupInfo {
        source: ProviderDomain,
        #[serde(with = "crate::octets")]
        request: GroupInfoRequest,
    },
    /// May `requester` fetch key material of `target` for this room?
    MayClaim { requester: UserUri, target: UserUri },
    /// Could a Commit add all these clients, by KeyPackageRef? Not with a KeyPackage that is used or has expired.
    AreAddable(Vec<ByteBuf>),
    /// Key material was fetched for this room from `provider`.
    Claimed {
        provider: ProviderDomain,
        #[serde(with = "crate::octets")]
        response: KeyMaterialResponse,
    },
    /// What the hub knows of it.
    View,
    /// Messages of it are reported.
    Report {
        source: ProviderDomain,
        #[serde(with = "crate::octets")]
        report: AbuseReport,
    },
    /// The moderators are done with the report that event `seq` brought.
    CloseReport { seq: u64 },
    /// Are all these users active participants?
    AreActive(Vec<UserUri>),
    /// Join codes.
    JoinCodes(JoinCodeRequest),
    /// What the provider does on its own behalf.
    Moderate(ModerationRequest),
    /// Who takes part and is not banned.
    Participants,
    /// To make or change a room that depends on a parent, with the parent's participants.
    Within {
        parent: Vec<UserUri>,
        request: Box<RoomRequest>,
    },
}

/// What is asked of a room's group, as far as it can be looked at without the room.
pub(crate) enum Update {
    Commit(Box<CommitBundle>),
    Proposals(Vec<ProposalMessage>),
}

impl From<HandshakeBundle> for Update {
    fn from(bundle: HandshakeBundle) -> Self {
        match bundle {
            HandshakeBundle::Commit {
                commit,
                welcome,
                group_info,
                ratchet_tree,
            } => Update::Commit(Box::new(CommitBundle::new(commit, welcome, group_info, ratchet_tree))),
            HandshakeBundle::Proposals {
                proposal,
                more_proposals,
            } => Update::Proposals(std::iter::once(proposal).chain(more_proposals).collect()),
        }
    }
}

impl Serialize for Update {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bundle = match self {
            Update::Commit(bundle) => HandshakeBundle::Commit {
                commit: bundle.commit.clone(),
                welcome: bundle.welcome.clone(),
                group_info: bundle.group_info.clone(),
                ratchet_tree: bundle.ratchet_tree.clone(),
            },
            Update::Proposals(proposals) => {
                let (proposal, more_proposals) = proposals
                    .split_first()
                    .ok_or_else(|| serde::ser::Error::custom("no proposals"))?;
                HandshakeBundle::Proposals {
                    proposal: proposal.clone(),
                    more_proposals: more_proposals.to_vec(),
                }
            }
        };
        crate::octets::serialize(&bundle, serializer)
    }
}

impl<'de> Deserialize<'de> for Update {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::octets::deserialize::<HandshakeBundle, D>(deserializer).map(Update::from)
    }
}

/// What a hosted room answers when nothing is accepted.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum RoomAnswer {
    AreAddable(bool),
    BadKeyMaterial(String),
    CreateRefused(String),
    Exists,
    GroupInfo(Box<GroupInfoParts>),
    MayClaim(bool),
    NoSuchRoom,
    NotAuthorized(String),
    Submit(#[serde(with = "crate::octets")] SubmitMessageResponse),
    Update(#[serde(with = "crate::octets")] UpdateRoomResponse),
    View(RoomView),
    ReportRefused(ReportRefusal),
    NoSuchReport,
    AreActive(bool),
    JoinCodes(BTreeMap<String, JoinCode>),
    JoinCodeRefused(JoinCodeRefusal),
    Participants(Vec<UserUri>),
    /// Asked again with the participants of this room, it will be decided.
    NeedsParent(RoomUri),
    /// It is so already.
    Unchanged,
    /// The provider's wish breaks the room's rules.
    ModerationRefused(String),
}

/// A hosted room in its actor.
pub(crate) struct HostedRoom {
    settings: Arc<Settings>,
    room: RoomUri,
    /// `None` until the room is made.
    state: Option<RoomState>,
    /// Reports that wait for the moderators: the event's number, and its time.
    reports: BTreeMap<u64, u64>,
}

impl HostedRoom {
    fn limits(settings: &Settings) -> RoomLimits {
        let room = &settings.config.room;
        RoomLimits {
            past_epochs_max: room.past_epochs_max,
            pending_proposals_max: room.pending_proposals_max,
            members_max: room.members_max,
            checkpoint_handshake_bytes: room.checkpoint_handshake_bytes,
        }
    }

    fn create(
        &mut self,
        at_ms: u64,
        creator: &UserUri,
        group_info: &GroupInfo,
        tree: &RatchetTree,
        parent: Option<&[UserUri]>,
    ) -> Decision<RoomAnswer> {
        if self.state.is_some() {
            return Decision::Answer(RoomAnswer::Exists);
        }
        let settings = &self.settings;
        let is_local = |domain: &ProviderDomain| settings.is_local(domain);
        match decide_create(
            &self.room,
            creator,
            &Self::limits(settings),
            &settings.keys,
            &is_local,
            group_info,
            tree,
        ) {
            Ok((event, state)) => {
                let hosting = Hosting {
                    at_ms,
                    is_local: &is_local,
                    keys: &settings.keys,
                    parent,
                };
                match check_parent(&state.policy, &hosting) {
                    Ok(()) => {}
                    Err(UpdateRefusal::NeedsParent(parent)) => {
                        return Decision::Answer(RoomAnswer::NeedsParent(parent));
                    }
                    Err(refusal) => return Decision::Answer(RoomAnswer::CreateRefused(refusal.to_string())),
                }
                self.state = Some(state);
                let reply = format!("{{\"acceptedTimestamp\":{at_ms}}}").into_bytes();
                Decision::Accept {
                    event: Event::Room(event),
                    reply,
                }
            }
            Err(refusal) => Decision::Answer(RoomAnswer::CreateRefused(refusal.to_string())),
        }
    }
}

impl Entity for HostedRoom {
    type Request = RoomRequest;
    type Answer = RoomAnswer;

    fn load(settings: &Arc<Settings>, reader: &ShardReader, id: &EntityId, head: &Head) -> Result<Self, NodeError> {
        let EntityId::Room(room) = id else {
            return Err(NodeError::WrongEntity(id.to_string()));
        };
        let state = match reader.get(&keys::checkpoint(id))? {
            Some(bytes) => {
                let checkpoint: Checkpoint = decode(&bytes)?;
                let mut state = RoomState::from_checkpoint(room.clone(), Self::limits(settings), checkpoint)?;
                replay(&mut state, reader, id, head.checkpoint_seq)?;
                Some(state)
            }
            None => None,
        };
        let mut reports = BTreeMap::new();
        for (key, value) in read::prefix(reader, &keys::open_reports(id))? {
            reports.insert(keys::trailing_seq(&key), decode(&value)?);
        }
        Ok(HostedRoom {
            settings: Arc::clone(settings),
            room: room.clone(),
            state,
            reports,
        })
    }

    fn decide(&mut self, seq: u64, at_ms: u64, request: RoomRequest) -> Result<Decision<RoomAnswer>, NodeError> {
        let (parent, request) = match request {
            RoomRequest::Within { parent, request } => (Some(parent), *request),
            request => (None, request),
        };
        let parent = parent.as_deref();
        if let RoomRequest::Create {
            creator,
            group_info,
            ratchet_tree,
        } = &request
        {
            return Ok(self.create(at_ms, creator, group_info, ratchet_tree, parent));
        }
        let settings = Arc::clone(&self.settings);
        let is_local = |domain: &ProviderDomain| settings.is_local(domain);
        let Some(state) = self.state.as_mut().filter(|state| !state.records.destroyed) else {
            return Ok(Decision::Answer(RoomAnswer::NoSuchRoom));
        };
        let hosting = Hosting {
            at_ms,
            is_local: &is_local,
            keys: &settings.keys,
            parent,
        };
        Ok(match request {
            RoomRequest::Create { .. } | RoomRequest::Within { .. } => Decision::Answer(RoomAnswer::Exists),
            RoomRequest::Update { source, update: asked } => match update(state, &hosting, &source, &asked)? {
                Ok(event) => {
                    let outcome = UpdateOutcome::Success {
                        accepted_timestamp: at_ms,
                    };
                    let response = UpdateRoomResponse {
                        error_description: String::new(),
                        outcome,
                    };
                    Decision::Accept {
                        event: Event::Room(event),
                        reply: tls::encode(&response),
                    }
                }
                Err(UpdateRefusal::NeedsParent(parent)) => Decision::Answer(RoomAnswer::NeedsParent(parent)),
                Err(refusal) => Decision::Answer(RoomAnswer::Update(refusal.into())),
            },
            RoomRequest::Submit { source, request } => {
                match decide_message(state, &self.settings.keys, at_ms, &source, &is_local, &request)? {
                    Ok(event) => {
                        let frank = match &event {
                            RoomEvent::Message { frank, .. } => frank.as_ref().map(Into::into),
                            _ => None,
                        };
                        let response = SubmitMessageResponse::Accepted {
                            accepted_timestamp: at_ms,
                            frank,
                        };
                        Decision::Accept {
                            event: Event::Room(event),
                            reply: tls::encode(&response),
                        }
                    }
                    Err(response) => Decision::Answer(RoomAnswer::Submit(response)),
                }
            }
            RoomRequest::GroupInfo { source, request } => match decide_group_info(state, at_ms, &source, &request) {
                Ok(GroupInfoDecision::Give(parts)) => Decision::Answer(RoomAnswer::GroupInfo(parts)),
                Ok(GroupInfoDecision::Admit(event)) => record(state, *event),
                Err(denied) => Decision::Answer(RoomAnswer::NotAuthorized(denied.to_string())),
            },
            RoomRequest::MayClaim { requester, target } => {
                Decision::Answer(RoomAnswer::MayClaim(may_claim(state, &requester, &target)))
            }
            RoomRequest::AreAddable(references) => {
                let addable = |reference: &ByteBuf| {
                    let route = state.key_packages.get(reference.as_slice());
                    route.is_some_and(|route| route.not_after_s.saturating_mul(1_000) > at_ms)
                };
                Decision::Answer(RoomAnswer::AreAddable(references.iter().all(addable)))
            }
            RoomRequest::Claimed { provider, response } => match decide_claimed(state, at_ms, &provider, &response) {
                Ok(event) => {
                    state.forget_expired_key_packages(at_ms);
                    if let RoomEvent::KeyPackagesClaimed {
                        provider,
                        user,
                        packages,
                    } = &event
                    {
                        packages
                            .iter()
                            .for_each(|package| state.remember_key_package(provider, user, package));
                    }
                    Decision::Accept {
                        event: Event::Room(event),
                        reply: tls::encode(&response),
                    }
                }
                Err(bad) => Decision::Answer(RoomAnswer::BadKeyMaterial(bad.to_string())),
            },
            RoomRequest::View => Decision::Answer(RoomAnswer::View(RoomView::of(state, seq - 1))),
            RoomRequest::Report { source, report } => {
                match decide_report(state, &self.settings.keys, self.reports.len(), at_ms, &source, &report)? {
                    Ok(event) => {
                        self.reports.insert(seq, at_ms);
                        accept(event)
                    }
                    Err(refusal) => Decision::Answer(RoomAnswer::ReportRefused(refusal)),
                }
            }
            RoomRequest::CloseReport { seq } => match self.reports.remove(&seq) {
                Some(at_ms) => accept(RoomEvent::AbuseReportClosed { seq, at_ms }),
                None => Decision::Answer(RoomAnswer::NoSuchReport),
            },
            RoomRequest::AreActive(users) => {
                Decision::Answer(RoomAnswer::AreActive(users.iter().all(|user| state.is_active(user))))
            }
            RoomRequest::Participants => {
                let participants = state.policy.unbanned_users().cloned();
                Decision::Answer(RoomAnswer::Participants(participants.collect()))
            }
            RoomRequest::JoinCodes(request) => join_code(state, &hosting, &request),
            RoomRequest::Moderate(request) => moderate(state, &hosting, &request)?,
        })
    }

    fn follow_up(&mut self) -> Option<Event> {
        let checkpoint = self.state.as_mut()?.take_due_checkpoint()?;
        Some(Event::Room(RoomEvent::Checkpoint(checkpoint)))
    }

    fn events_max(settings: &Settings) -> u64 {
        settings.config.retention.events_max_per_room
    }
}

/// Accepted, with an answer that has no body.
fn accept(event: RoomEvent) -> Decision<RoomAnswer> {
    Decision::Accept {
        event: Event::Room(event),
        reply: Vec::new(),
    }
}

/// Accepts an event that changes only what the hub keeps beside the group.
fn record(state: &mut RoomState, event: RoomEvent) -> Decision<RoomAnswer> {
    state.advance_records(&event);
    Decision::Accept {
        event: Event::Room(event),
        reply: Vec::new(),
    }
}

fn join_code(state: &mut RoomState, hosting: &Hosting<'_>, request: &JoinCodeRequest) -> Decision<RoomAnswer> {
    let decided = match request {
        JoinCodeRequest::List { by } => match join_codes::list(state, by) {
            Ok(codes) => return Decision::Answer(RoomAnswer::JoinCodes(codes)),
            Err(refusal) => Err(refusal),
        },
        JoinCodeRequest::Create { by, id, terms } => {
            join_codes::decide_create(state, hosting.at_ms, hosting.keys, by, id, terms)
        }
        JoinCodeRequest::Revoke { by, id } => join_codes::decide_revoke(state, by, id),
    };
    match decided {
        Ok(event) => record(state, event),
        Err(refusal) => Decision::Answer(RoomAnswer::JoinCodeRefused(refusal)),
    }
}

fn moderate(
    state: &mut RoomState,
    hosting: &Hosting<'_>,
    request: &ModerationRequest,
) -> Result<Decision<RoomAnswer>, NodeError> {
    let refused = |refusal: UpdateRefusal| Decision::Answer(RoomAnswer::ModerationRefused(refusal.to_string()));
    let unchanged = Decision::Answer(RoomAnswer::Unchanged);
    let (event, removal) = match request {
        ModerationRequest::Remove { user, client } => {
            match moderation::decide_removal(state, hosting, user, client.as_ref()) {
                Ok(None) => return Ok(unchanged),
                Ok(Some(removal)) => (removal.event.clone(), Some(removal)),
                Err(refusal) => return Ok(refused(refusal)),
            }
        }
        ModerationRequest::Bar(user) if state.records.barred.contains(user) => return Ok(unchanged),
        ModerationRequest::Bar(user) => moderation::decide_bar(state, hosting, user),
        ModerationRequest::Unbar(user) if !state.records.barred.contains(user) => return Ok(unchanged),
        ModerationRequest::Unbar(user) => (RoomEvent::Unbarred { user: user.clone() }, None),
        ModerationRequest::Destroy { by } => match moderation::decide_destroy(state, by) {
            Ok(event) => (event, None),
            Err(refusal) => return Ok(refused(refusal)),
        },
    };
    if let Some(removal) = removal {
        advance_proposals(state, removal)?;
    }
    Ok(record(state, event))
}

/// Decides an update and advances the state.
fn update(
    state: &mut RoomState,
    hosting: &Hosting<'_>,
    source: &ProviderDomain,
    asked: &Update,
) -> Result<Result<RoomEvent, UpdateRefusal>, NodeError> {
    match asked {
        Update::Commit(bundle) => {
            let mut decision = match decide_commit(state, hosting, source, bundle) {
                Ok(decision) => decision,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let accepted = &decision.accepted;
            state.advance_commit(
                decision.staged,
                decision.changes,
                decision.after,
                hosting.at_ms,
                accepted,
            )?;
            if let Some(welcome) = &mut decision.accepted.welcome {
                // The hub has the tree itself: what the committer sends of it need not be trusted.
                welcome.ratchet_tree = ByteBuf::from(tls::encode(&ratchet_tree(state)?));
            }
            Ok(Ok(RoomEvent::Commit(decision.accepted)))
        }
        Update::Proposals(proposals) => {
            let decision = match decide_proposals(state, hosting, source, proposals) {
                Ok(decision) => decision,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let event = decision.event.clone();
            advance_proposals(state, decision)?;
            Ok(Ok(event))
        }
    }
}

/// Carries out again what happened after the checkpoint.
fn replay(state: &mut RoomState, reader: &ShardReader, id: &EntityId, checkpoint_seq: u64) -> Result<(), NodeError> {
    for (mark, _) in read::prefix(reader, &keys::state_marks(id))? {
        let seq = keys::trailing_seq(&mark);
        if seq <= checkpoint_seq {
            continue;
        }
        let Some(record) = reader.get(&keys::event(id, seq))? else {
            return Err(NodeError::Replay(format!("event {seq} of {id} is missing")));
        };
        let Command::Accepted(accepted) = decode(&record)? else {
            continue;
        };
        match &accepted.event {
            Event::Room(RoomEvent::Commit(commit)) => replay_commit(state, accepted.at_ms, commit)?,
            Event::Room(RoomEvent::Proposals { messages, .. }) => replay_proposals(state, accepted.at_ms, messages)?,
            Event::Room(RoomEvent::KeyPackagesClaimed {
                provider,
                user,
                packages,
            }) => {
                packages
                    .iter()
                    .for_each(|package| state.remember_key_package(provider, user, package));
            }
            Event::Room(event) => {
                if let RoomEvent::Barred { messages, .. } = event {
                    replay_proposals(state, accepted.at_ms, messages)?;
                }
                state.advance_records(event);
            }
            _ => {}
        }
    }
    // What a replay would have as due was proposed when it happened.
    drop(state.take_due_checkpoint());
    Ok(())
}

impl From<UpdateRefusal> for UpdateRoomResponse {
    fn from(refusal: UpdateRefusal) -> Self {
        let error_description = refusal.to_string();
        let outcome = match refusal {
            UpdateRefusal::WrongEpoch { current } => UpdateOutcome::WrongEpoch { current_epoch: current },
            UpdateRefusal::NotAllowed(_) | UpdateRefusal::NeedsParent(_) | UpdateRefusal::Credential(_) => {
                UpdateOutcome::NotAllowed
            }
            UpdateRefusal::InvalidProposal { proposals, .. } => UpdateOutcome::InvalidProposal {
                invalid_proposals: proposals.into_iter().map(ProposalRef::new).collect(),
            },
        };
        UpdateRoomResponse {
            error_description,
            outcome,
        }
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod checks;
#[cfg(test)]
mod tests;
