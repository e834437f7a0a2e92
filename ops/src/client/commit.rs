//! Changing a room: Commits, proposals to leave, and what the hub says to them.

use mimi_hub_proto::components::{
    ComponentId, PARTICIPANT_LIST, ParticipantListUpdate, ROOM_METADATA, RoomMetaData, UserRolePair, UserindexRolePair,
};
use mimi_hub_proto::mls::{CommitMessage, GroupInfo, MlsMessage, ProposalMessage, Welcome};
use mimi_hub_proto::tls::{Encode, decode_exact, encode};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{
    GroupInfoOption, HandshakeBundle, PartialGroupInfo, RatchetTreeOption, UpdateOutcome, UpdateRequest,
    UpdateRoomResponse,
};
use openmls::group::{CommitMessageBundle, MlsGroup};
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{
    AppDataUpdateOperation, AppDataUpdateProposal, KeyPackage, LeafNodeIndex, MlsMessageOut, Proposal,
};
use openmls_traits::OpenMlsProvider as _;

use super::app_data;
use super::external_senders;
use super::keys::ClientKeys;
use super::requests;
use super::roles::ROLE_BANNED;
use super::room::{self, Membership, UnansweredUpdate, UpdateKind};
use super::state::{ClientState, TreeOption};
use super::transcript::digest;
use crate::OpsError;

/// A change of a room that one Commit makes. Proposals that wait are committed with it, whatever it is.
#[derive(Clone, Debug)]
pub enum RoomChange {
    /// Put a user on the participant list, and its clients into the group.
    AddUser {
        /// The user.
        user: UserUri,
        /// Its role.
        role_index: u32,
        /// The KeyMaterialResponse with its KeyPackages.
        key_material: Vec<u8>,
    },
    /// Take a user off the participant list, and its clients out of the group.
    RemoveUser(UserUri),
    /// Give a participant another role.
    ChangeRole {
        /// The participant.
        user: UserUri,
        /// The new role.
        role_index: u32,
    },
    /// Replace the room's metadata.
    Metadata(Box<RoomMetaData>),
    /// Make this client's provider an external sender of the room: its ExternalSender, as its local API gives it.
    ExternalSender(Vec<u8>),
    /// Only the proposals that wait, and fresh keys for this client.
    Pending,
}

/// What the hub said to an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateAnswer {
    /// It is part of the room now.
    Accepted,
    /// The hub is at another epoch: follow the stream up to it and build the update anew.
    WrongEpoch(u64),
    /// It is refused. Where the stream brings something new it may be worth building anew.
    Refused {
        /// The response code.
        code: String,
        /// The hub's description, which may be empty.
        description: String,
    },
}

impl ClientState {
    /// Builds the Commit for a change and gives the UpdateRequest to be sent.
    ///
    /// # Errors
    /// [`OpsError::Unanswered`] while another update has no answer, [`OpsError::Leaving`] when this client is about to be
    /// removed, [`OpsError::NotParticipant`], or what makes the change impossible.
    pub fn commit(&mut self, room: &RoomUri, change: &RoomChange) -> Result<Vec<u8>, OpsError> {
        let tree = self.tree;
        let ClientState { keys, rooms, .. } = self;
        let membership = rooms
            .get_mut(room)
            .ok_or_else(|| OpsError::NotMember { room: room.clone() })?;
        ready(membership)?;
        let user_uri = keys.identity.user().clone();
        let group = membership
            .group
            .as_mut()
            .ok_or_else(|| OpsError::NotMember { room: room.clone() })?;
        if removes_user(group, &user_uri)? {
            return Err(OpsError::Leaving { room: room.clone() });
        }
        let proposed = proposed(keys, room, group, change)?;
        let bundle = build(keys, group, proposed)?;
        let pending = group
            .pending_commit()
            .ok_or_else(|| OpsError::mls("build a Commit")("nothing is pending"))?;
        let ratchet_tree = match tree {
            TreeOption::DistributionService => RatchetTreeOption::DistributionService,
            TreeOption::Full => {
                let exported = pending
                    .export_ratchet_tree(keys.provider.crypto(), group.export_ratchet_tree())
                    .map_err(OpsError::mls("export the ratchet tree"))?
                    .ok_or_else(|| OpsError::mls("export the ratchet tree")("the group has none"))?;
                full_tree(&exported)?
            }
        };
        let (body, message) = commit_request(bundle, ratchet_tree)?;
        membership.update = Some(UnansweredUpdate {
            body: body.clone(),
            kind: UpdateKind::Commit { message },
        });
        Ok(body)
    }

    /// Builds the proposals that take this client's user out of the room: a Remove for each of its clients and the change
    /// of the participant list. Somebody else has to commit them.
    ///
    /// # Errors
    /// As [`ClientState::commit`].
    pub fn leave(&mut self, room: &RoomUri) -> Result<Vec<u8>, OpsError> {
        let ClientState { keys, rooms, .. } = self;
        let membership = rooms
            .get_mut(room)
            .ok_or_else(|| OpsError::NotMember { room: room.clone() })?;
        ready(membership)?;
        let user = keys.identity.user().clone();
        let group = membership
            .group
            .as_mut()
            .ok_or_else(|| OpsError::NotMember { room: room.clone() })?;
        if removes_user(group, &user)? {
            return Err(OpsError::Leaving { room: room.clone() });
        }
        let update = ParticipantListUpdate {
            removed_indices: vec![participant_index(room, group, &user)?],
            ..ParticipantListUpdate::default()
        };
        let mut messages = Vec::new();
        let mut references = Vec::new();
        for leaf in room::leaves_of(group, &user)? {
            let (message, reference) = group
                .propose_remove_member(&keys.provider, &keys.signer, leaf)
                .map_err(OpsError::mls("propose to be removed"))?;
            messages.push(proposal_message(&message)?);
            references.push(reference);
        }
        let (message, reference) = group
            .propose_app_data_update(
                &keys.provider,
                &keys.signer,
                PARTICIPANT_LIST,
                AppDataUpdateOperation::Update(encode(&update).into()),
            )
            .map_err(OpsError::mls("propose to leave the participant list"))?;
        messages.push(proposal_message(&message)?);
        references.push(reference);
        let proposal = messages.remove(0);
        let body = encode(&UpdateRequest {
            bundle: HandshakeBundle::Proposals {
                proposal,
                more_proposals: messages,
            },
        });
        membership.update = Some(UnansweredUpdate {
            body: body.clone(),
            kind: UpdateKind::Proposals { references },
        });
        Ok(body)
    }

    /// The UpdateRequest of a room that has no answer yet, to be sent again as it is.
    #[must_use]
    pub fn unanswered_update(&self, room: &RoomUri) -> Option<&[u8]> {
        Some(&self.rooms.get(room)?.update.as_ref()?.body)
    }

    /// Takes in the UpdateRoomResponse to the last update of a room.
    ///
    /// # Errors
    /// [`OpsError::Answer`] when it is no UpdateRoomResponse (the update then still has no answer), or [`OpsError::Mls`].
    pub fn update_answered(&mut self, room: &RoomUri, response: &[u8]) -> Result<UpdateAnswer, OpsError> {
        let response: UpdateRoomResponse = decode_exact(response).map_err(OpsError::answer("UpdateRoomResponse"))?;
        let code = response.response_code();
        match response.outcome {
            UpdateOutcome::Success { .. } => {
                self.accept_update(room)?;
                Ok(UpdateAnswer::Accepted)
            }
            UpdateOutcome::WrongEpoch { current_epoch } => {
                self.drop_update(room)?;
                Ok(UpdateAnswer::WrongEpoch(current_epoch))
            }
            UpdateOutcome::NotAllowed | UpdateOutcome::InvalidProposal { .. } => {
                self.drop_update(room)?;
                Ok(UpdateAnswer::Refused {
                    code: format!("{code:?}"),
                    description: response.error_description,
                })
            }
        }
    }

    /// The hub has accepted the update: its effect becomes this client's. Gives the epoch it led to, for a Commit. An
    /// update that the stream has confirmed before its answer came is no longer there, and that is fine.
    pub(super) fn accept_update(&mut self, room: &RoomUri) -> Result<Option<u64>, OpsError> {
        let ClientState { keys, rooms, .. } = self;
        let Some(membership) = rooms.get_mut(room) else {
            return Ok(None);
        };
        match membership.update.take().map(|update| update.kind) {
            None => Ok(None),
            Some(UpdateKind::Commit { .. }) => {
                let Some(group) = &mut membership.group else {
                    return Ok(None);
                };
                group
                    .merge_pending_commit(&keys.provider)
                    .map_err(OpsError::mls("merge the own Commit"))?;
                let epoch = group.epoch().as_u64();
                membership.note_epoch();
                Ok(Some(epoch))
            }
            Some(UpdateKind::Proposals { .. }) => {
                membership.leaving = true;
                Ok(None)
            }
            Some(UpdateKind::ExternalCommit { group, .. }) => {
                let epoch = group.epoch().as_u64();
                membership.install(*group);
                Ok(Some(epoch))
            }
        }
    }

    /// The hub has refused the update: everything is as it was before it was built.
    fn drop_update(&mut self, room: &RoomUri) -> Result<(), OpsError> {
        let ClientState { keys, rooms, .. } = self;
        let Some(membership) = rooms.get_mut(room) else {
            return Ok(());
        };
        let storage = keys.provider.storage();
        match (
            membership.update.take().map(|update| update.kind),
            &mut membership.group,
        ) {
            (Some(UpdateKind::Commit { .. }), Some(group)) => group
                .clear_pending_commit(storage)
                .map_err(OpsError::mls("drop the own Commit")),
            (Some(UpdateKind::Proposals { references }), Some(group)) => {
                for reference in references {
                    // The Commit that made the hub refuse may have emptied the store already.
                    if group
                        .pending_proposals()
                        .any(|known| *known.proposal_reference_ref() == reference)
                    {
                        group
                            .remove_pending_proposal(storage, &reference)
                            .map_err(OpsError::mls("drop the own proposals"))?;
                    }
                }
                Ok(())
            }
            (Some(UpdateKind::ExternalCommit { mut group, .. }), _) => group
                .delete(storage)
                .map_err(OpsError::mls("drop the group of an external Commit")),
            _ => Ok(()),
        }
    }
}

/// Nothing may be built while the fate of something built before is unknown.
fn ready(membership: &Membership) -> Result<(), OpsError> {
    let room = membership.room.clone();
    if membership.update.is_some() {
        return Err(OpsError::Unanswered { room });
    }
    if membership.leaving {
        return Err(OpsError::Leaving { room });
    }
    Ok(())
}

/// Whether a waiting proposal removes a client of `user`: such a client may not commit
/// (draft-ietf-mimi-protocol, 5.3).
fn removes_user(group: &MlsGroup, user: &UserUri) -> Result<bool, OpsError> {
    let own = room::leaves_of(group, user)?;
    Ok(pending_removals(group).any(|leaf| own.contains(&leaf)))
}

fn pending_removals(group: &MlsGroup) -> impl Iterator<Item = LeafNodeIndex> + '_ {
    group
        .pending_proposals()
        .filter_map(|pending| match pending.proposal() {
            Proposal::Remove(remove) => Some(remove.removed()),
            _ => None,
        })
}

fn participant_index(room: &RoomUri, group: &MlsGroup, user: &UserUri) -> Result<u32, OpsError> {
    let policy = room::policy(group)?;
    let index = policy
        .participants()
        .participants
        .iter()
        .position(|entry| entry.user == *user);
    index
        .and_then(|index| u32::try_from(index).ok())
        .ok_or_else(|| OpsError::NotParticipant {
            room: room.clone(),
            user: user.clone(),
        })
}

/// What a Commit has to do by itself, beside the proposals that wait.
#[derive(Default)]
struct Proposed {
    added: Vec<KeyPackage>,
    removed: Vec<LeafNodeIndex>,
    updated: Vec<Proposal>,
    /// The user who is no participant any more, if this is what the Commit is for.
    gone: Option<UserUri>,
    /// An ExternalSender that comes in.
    joining: Option<Vec<u8>>,
}

impl Proposed {
    fn participants(mut self, update: &ParticipantListUpdate) -> Self {
        self.updated.push(app_data_update(PARTICIPANT_LIST, update));
        self
    }
}

fn proposed(keys: &ClientKeys, room: &RoomUri, group: &MlsGroup, change: &RoomChange) -> Result<Proposed, OpsError> {
    match change {
        RoomChange::AddUser {
            user,
            role_index,
            key_material,
        } => {
            let update = ParticipantListUpdate {
                added_participants: vec![UserRolePair {
                    user: user.clone(),
                    role_index: *role_index,
                }],
                ..ParticipantListUpdate::default()
            };
            let added = requests::key_packages(keys, user, key_material)?;
            Ok(Proposed {
                added,
                ..Proposed::default()
            }
            .participants(&update))
        }
        RoomChange::RemoveUser(user) => {
            if removes_user(group, user)? {
                // It is leaving already: committing its own proposals is the removal.
                return Ok(Proposed::default());
            }
            let update = ParticipantListUpdate {
                removed_indices: vec![participant_index(room, group, user)?],
                ..ParticipantListUpdate::default()
            };
            let removed = room::leaves_of(group, user)?;
            Ok(Proposed {
                removed,
                gone: Some(user.clone()),
                ..Proposed::default()
            }
            .participants(&update))
        }
        RoomChange::ChangeRole { user, role_index } => {
            let update = ParticipantListUpdate {
                changed_role_participants: vec![UserindexRolePair {
                    user_index: participant_index(room, group, user)?,
                    role_index: *role_index,
                }],
                ..ParticipantListUpdate::default()
            };
            // Who is banned keeps no clients (draft-ietf-mimi-room-policy, 7.1.3).
            let banned = *role_index == ROLE_BANNED;
            let removed = if banned {
                room::leaves_of(group, user)?
            } else {
                Vec::new()
            };
            Ok(Proposed {
                removed,
                gone: banned.then(|| user.clone()),
                ..Proposed::default()
            }
            .participants(&update))
        }
        RoomChange::Metadata(metadata) => Ok(Proposed {
            updated: vec![app_data_update(ROOM_METADATA, metadata.as_ref())],
            ..Proposed::default()
        }),
        RoomChange::ExternalSender(sender) => Ok(Proposed {
            joining: Some(sender.clone()),
            ..Proposed::default()
        }),
        RoomChange::Pending => Ok(Proposed::default()),
    }
}

fn app_data_update<T: Encode>(component: ComponentId, update: &T) -> Proposal {
    Proposal::AppDataUpdate(Box::new(AppDataUpdateProposal::update(component, encode(update))))
}

/// Builds the Commit over all waiting proposals and these, always with a path: every Commit renews the committer's keys.
fn build(keys: &ClientKeys, group: &mut MlsGroup, proposed: Proposed) -> Result<CommitMessageBundle, OpsError> {
    let provider = &keys.provider;
    let extensions = group.extensions().clone();
    // A waiting AppDataUpdate comes before whatever this Commit adds, and openmls wants GroupContextExtensions before it:
    // then they are left to the next Commit.
    let waits = group
        .pending_proposals()
        .any(|waiting| matches!(waiting.proposal(), Proposal::AppDataUpdate(_)));
    let changed = if waits {
        None
    } else {
        external_senders::changed(group, proposed.gone.as_ref(), proposed.joining.as_deref())?
    };
    let mut builder = group.commit_builder();
    if let Some(changed) = changed {
        builder = builder
            .propose_group_context_extensions(changed)
            .map_err(OpsError::mls("change the external senders"))?;
    }
    let mut stage = builder
        .consume_proposal_store(true)
        .force_self_update(true)
        .propose_adds(proposed.added)
        .propose_removals(proposed.removed)
        .add_proposals(proposed.updated)
        .load_psks(provider.storage())
        .map_err(OpsError::mls("build a Commit"))?
        .create_group_info(true);
    let mut updater = stage.app_data_dictionary_updater();
    app_data::resolve(&extensions, stage.app_data_update_proposals(), &mut updater)?;
    let changes = updater.changes();
    stage.with_app_data_dictionary_updates(changes);
    stage
        .build(provider.rand(), provider.crypto(), &keys.signer, |_| true)
        .map_err(OpsError::mls("build a Commit"))?
        .stage_commit(provider)
        .map_err(OpsError::mls("stage the own Commit"))
}

/// The UpdateRequest around a Commit, and the digest of the Commit itself.
pub(super) fn commit_request(
    bundle: CommitMessageBundle,
    ratchet_tree: RatchetTreeOption,
) -> Result<(Vec<u8>, super::transcript::MessageDigest), OpsError> {
    let (commit, welcome, group_info) = bundle.into_contents();
    let commit = commit
        .tls_serialize_detached()
        .map_err(OpsError::mls("encode the Commit"))?;
    let message = digest(&commit);
    let commit: CommitMessage = decode_exact(&commit).map_err(OpsError::mls("frame the Commit"))?;
    let welcome: Option<Welcome> = welcome
        .map(|welcome| {
            let octets = welcome
                .tls_serialize_detached()
                .map_err(OpsError::mls("encode the Welcome"))?;
            decode_exact(&octets).map_err(OpsError::mls("frame the Welcome"))
        })
        .transpose()?;
    let group_info = group_info
        .ok_or_else(|| OpsError::mls("build a Commit")("it came without a GroupInfo"))?
        .tls_serialize_detached()
        .map_err(OpsError::mls("encode the GroupInfo"))?;
    let group_info: GroupInfo = decode_exact(&group_info).map_err(OpsError::mls("frame the GroupInfo"))?;
    // Who leaves the tree to the hub leaves it all that it can rebuild.
    let group_info = match &ratchet_tree {
        RatchetTreeOption::DistributionService => {
            let partial = PartialGroupInfo::of(&group_info).map_err(OpsError::mls("shorten the GroupInfo"))?;
            GroupInfoOption::Partial(partial)
        }
        _ => GroupInfoOption::Full(group_info),
    };
    let bundle = HandshakeBundle::Commit {
        commit,
        welcome,
        group_info,
        ratchet_tree,
    };
    Ok((encode(&UpdateRequest { bundle }), message))
}

pub(super) fn full_tree(tree: &openmls::treesync::RatchetTree) -> Result<RatchetTreeOption, OpsError> {
    let octets = tree
        .tls_serialize_detached()
        .map_err(OpsError::mls("encode the ratchet tree"))?;
    Ok(RatchetTreeOption::Full(
        decode_exact(&octets).map_err(OpsError::mls("frame the ratchet tree"))?,
    ))
}

fn proposal_message(message: &MlsMessageOut) -> Result<ProposalMessage, OpsError> {
    let octets = message
        .tls_serialize_detached()
        .map_err(OpsError::mls("encode a Proposal"))?;
    let message: MlsMessage = decode_exact(&octets).map_err(OpsError::mls("frame a Proposal"))?;
    message.try_into().map_err(OpsError::mls("frame a Proposal"))
}
