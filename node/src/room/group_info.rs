//! GroupInfo: checking the one that a Commit brings, and giving it to those who may join (draft-ietf-mimi-protocol, 5.6).

use mimi_hub_proto::mls::{
    CipherSuite, CommitMessage, Extension, ExternalSender, GroupContextFields, GroupInfo, RatchetTree,
};
use mimi_hub_proto::policy::{Actor, Change, Denied, authorize};
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use mimi_hub_proto::{
    GroupInfoOption, GroupInfoRatchetTreeTbe, GroupInfoRequest, GroupInfoResponse, GroupInfoResponseTbs,
    PendingProposal, RatchetTreeOption, RatchetTreePresence, tls,
};
use openmls::group::StagedCommit;
use openmls::prelude::LeafNodeIndex;
use openmls_traits::types::SignatureScheme;
use serde::{Deserialize, Serialize};
use tls_codec::Serialize as TlsSerialize;

use super::commit::CommitBundle;
use super::event::RoomEvent;
use super::handshake::UpdateRefusal;
use super::join_codes;
use super::state::RoomState;
use crate::error::NodeError;
use crate::mls::crypto;
use crate::mls::hub_keys::HubKeys;

/// The new epoch's GroupInfo, whole: it describes exactly the group that the Commit makes, and the committer has signed
/// it, so that whoever joins by it joins the same group.
pub(super) fn check(
    state: &RoomState,
    staged: &StagedCommit,
    signer: u32,
    bundle: &CommitBundle,
) -> Result<Vec<u8>, UpdateRefusal> {
    let commit = &bundle.commit;
    let group_info = match &bundle.group_info {
        GroupInfoOption::Full(group_info) => group_info,
        GroupInfoOption::Partial(partial) => {
            // Neither this epoch's GroupInfo nor any before it has the tree: the hub takes none that has.
            if partial.ratchet_tree_presence() != RatchetTreePresence::NoRatchetTree {
                return Err(UpdateRefusal::not_allowed(
                    "ratchet_tree_presence is not no_ratchet_tree",
                ));
            }
            let extensions = bytes_of(staged.group_context().extensions())?;
            let extensions: Vec<Extension> = tls::decode_exact(&extensions).map_err(UpdateRefusal::not_allowed)?;
            let context = GroupContextFields {
                cipher_suite: CipherSuite(state.group.ciphersuite().into()),
                group_id: state.group.group_id().as_slice(),
                epoch: staged.group_context().epoch().as_u64(),
                tree_hash: staged.group_context().tree_hash(),
                confirmed_transcript_hash: staged.group_context().confirmed_transcript_hash(),
                extensions: &extensions,
            };
            let (added, signature) = (partial.group_info_extensions(), partial.signature());
            &GroupInfo::assemble(&context, added, commit.confirmation_tag(), signer, signature)
                .map_err(UpdateRefusal::not_allowed)?
        }
    };
    let wrong = |what: &str| {
        Err(UpdateRefusal::not_allowed(format!(
            "the GroupInfo is not that of the new epoch: {what}"
        )))
    };
    if group_info.has_ratchet_tree() {
        return wrong("it contains the ratchet tree, which goes beside it");
    }
    if group_info.signer() != signer {
        return wrong("another member has signed it");
    }
    if group_info.confirmation_tag() != commit.confirmation_tag() {
        return wrong("its confirmation tag differs");
    }
    if group_info.group_context().as_bytes() != bytes_of(staged.group_context())? {
        return wrong("its group context differs");
    }
    let key = match commit.commit().path_leaf() {
        Some(leaf) => leaf.signature_key(),
        None => {
            let leaf = state.group.leaf(LeafNodeIndex::new(signer));
            leaf.ok_or_else(|| UpdateRefusal::not_allowed("the committer's leaf is blank"))?
                .signature_key()
                .as_slice()
        }
    };
    // The group contexts are equal, and so are the cipher suites that both signatures were checked under.
    let scheme = state.group.ciphersuite().signature_algorithm();
    if bundle.signed_with.as_deref() == Some(key) || verify(scheme, key, group_info) {
        Ok(group_info.as_bytes().to_vec())
    } else {
        wrong("its signature is not the committer's")
    }
}

/// The key in the Commit's path, if it verifies a whole GroupInfo. A GroupInfo in part has no signed octets without the
/// room's state.
pub(super) fn signed_with(commit: &CommitMessage, option: &GroupInfoOption) -> Option<Vec<u8>> {
    let GroupInfoOption::Full(group_info) = option else {
        return None;
    };
    let key = commit.commit().path_leaf()?.signature_key();
    let scheme = crypto::supported(group_info.group_context().cipher_suite())?.signature_algorithm();
    verify(scheme, key, group_info).then(|| key.to_vec())
}

fn verify(scheme: SignatureScheme, key: &[u8], group_info: &GroupInfo) -> bool {
    let signed = (group_info.to_be_signed(), group_info.signature());
    crypto::verify_with_label(scheme, key, "GroupInfoTBS", signed.0, signed.1).is_ok()
}

fn bytes_of(value: &impl TlsSerialize) -> Result<Vec<u8>, UpdateRefusal> {
    value.tls_serialize_detached().map_err(UpdateRefusal::not_allowed)
}

/// What a joiner receives, before it is encrypted and signed (which needs no state, and happens outside the actor).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GroupInfoParts {
    pub(crate) room: RoomUri,
    #[serde(with = "crate::octets")]
    pub(crate) tbe: GroupInfoRatchetTreeTbe,
}

/// Why a GroupInfo is not given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotAuthorized(pub(crate) String);

/// What comes of a request for the GroupInfo.
pub(crate) enum GroupInfoDecision {
    /// It is given.
    Give(Box<GroupInfoParts>),
    /// The requester has shown a join code: when that is in the log, it may ask again.
    Admit(Box<RoomEvent>),
}

/// Who may have the GroupInfo: a client, asking through its own provider, that may join by itself, as its user is a
/// participant or may become one by the room's policy or a join code.
pub(crate) fn decide_group_info(
    state: &RoomState,
    at_ms: u64,
    source: &ProviderDomain,
    request: &GroupInfoRequest,
) -> Result<GroupInfoDecision, NotAuthorized> {
    let denied = |reason: &dyn std::fmt::Display| NotAuthorized(reason.to_string());
    let identity = state
        .naming
        .admit(
            &state.policy,
            request.tbs.requesting_credential.as_ref(),
            request.tbs.requesting_signature_key.as_bytes(),
        )
        .map_err(|e| denied(&e))?;
    if identity.user().provider() != *source {
        return Err(denied(&format!("{} is not a user of {source}", identity.user())));
    }
    let suite =
        crypto::supported(request.tbs.cipher_suite).ok_or_else(|| denied(&"the cipher suite is not supported"))?;
    crypto::verify_with_label(
        suite.signature_algorithm(),
        request.tbs.requesting_signature_key.as_bytes(),
        "GroupInfoRequestTBS",
        &tls::encode(&request.tbs),
        &request.signature,
    )
    .map_err(|_| denied(&"the request's signature is not valid"))?;
    let user = identity.user();
    if state.is_silenced(user) {
        return Err(denied(&"this user is leaving the room or barred from it"));
    }
    if let Some(code) = &request.tbs.joining_code
        && let Some(event) = join_codes::decide_admission(state, at_ms, user, code)
    {
        return Ok(GroupInfoDecision::Admit(Box::new(event)));
    }
    may_join(state, at_ms, user).map_err(|e| denied(&e))?;
    let parts = parts(state).map_err(|error| denied(&error))?;
    Ok(GroupInfoDecision::Give(Box::new(parts)))
}

/// May the user bring in a client by an external Commit, along with itself in some role where it is not on the list?
fn may_join(state: &RoomState, at_ms: u64, user: &UserUri) -> Result<(), Denied> {
    let may = |actor, changes: &[Change]| authorize(&state.policy, actor, changes);
    let client = may(Actor::NewMember(user), &[Change::AddOwnClient]);
    if client.is_ok() || state.policy.role_of(user).is_some() {
        return client;
    }
    let actor = match state.records.admission(user, at_ms) {
        Some((_, code)) => Actor::JoinCode { user, role: code.role },
        None => Actor::NewMember(user),
    };
    let mut roles = state.policy.roles().roles.iter().map(|role| role.role_index);
    let joins = |role| {
        let user = user.clone();
        may(actor, &[Change::AddOwnClient, Change::AddParticipant { user, role }]).is_ok()
    };
    if roles.any(joins) { Ok(()) } else { client }
}

fn parts(state: &RoomState) -> Result<GroupInfoParts, NodeError> {
    let pending_proposals = state
        .pending
        .iter()
        .map(|pending| {
            Ok(PendingProposal {
                proposal: tls::decode_exact(&pending.message)?,
                hub_accepted_time: pending.at_ms,
            })
        })
        .collect::<Result<_, mimi_hub_proto::Error>>()?;
    let tbe = GroupInfoRatchetTreeTbe {
        group_info: tls::decode_exact(&state.group_info)?,
        ratchet_tree: RatchetTreeOption::Full(ratchet_tree(state)?),
        pending_proposals,
    };
    Ok(GroupInfoParts {
        room: state.room.clone(),
        tbe,
    })
}

/// The current epoch's ratchet tree.
pub(crate) fn ratchet_tree(state: &RoomState) -> Result<RatchetTree, NodeError> {
    let octets = state
        .group
        .export_ratchet_tree()
        .tls_serialize_detached()
        .map_err(|e| NodeError::Mls(e.to_string()))?;
    Ok(tls::decode_exact(&octets)?)
}

/// Encrypts to the requester and signs as the hub.
pub(crate) fn seal(
    keys: &HubKeys,
    request: &GroupInfoRequest,
    parts: &GroupInfoParts,
) -> Result<GroupInfoResponse, NodeError> {
    let suite = crypto::supported(request.tbs.cipher_suite)
        .ok_or_else(|| NodeError::Mls("the cipher suite is not supported".to_owned()))?;
    let scheme = suite.signature_algorithm();
    let hub_sender: ExternalSender = tls::decode_exact(&keys.external_sender(scheme)?)?;
    let encrypted_groupinfo_and_tree = crypto::encrypt_with_label(
        suite,
        request.tbs.group_info_public_key.as_bytes(),
        "GroupInfo and ratchet_tree encryption",
        parts.room.as_str().as_bytes(),
        &tls::encode(&parts.tbe),
    )
    .map_err(|error| NodeError::Mls(format!("{error:?}")))?;
    let tbs = GroupInfoResponseTbs {
        room_id: parts.room.clone(),
        cipher_suite: request.tbs.cipher_suite,
        hub_sender,
        encrypted_groupinfo_and_tree,
    };
    let signature = keys.sign(scheme, "GroupInfoResponseTBS", &tls::encode(&tbs))?;
    Ok(GroupInfoResponse::Success { tbs, signature })
}
