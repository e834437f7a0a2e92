//! Storage for openmls's `PublicGroup`.
//!
//! openmls writes the whole ratchet tree to its storage provider at every merged Commit (1.75 ms at 1,000 members). The
//! hub's durable copy is the event log, so the provider here drops what it is given, except when a checkpoint is due.

use std::sync::Mutex;

use openmls::group::{GroupId, PublicGroup};
use openmls_traits::public_storage::PublicStorageProvider;
use openmls_traits::storage::{CURRENT_VERSION, traits};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A `PublicGroup` without its pending proposals, as openmls serialises its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredGroup {
    group_id: Vec<u8>,
    tree: Vec<u8>,
    context: Vec<u8>,
    interim_transcript_hash: Vec<u8>,
    confirmation_tag: Vec<u8>,
}

impl StoredGroup {
    /// Rebuilds the group, without verifying it again: it was verified before it was stored.
    pub(crate) fn load(self) -> Result<PublicGroup, GroupStoreError> {
        let group_id = GroupId::from_slice(&self.group_id);
        let store = GroupStore {
            kept: Some(Mutex::new(self)),
        };
        PublicGroup::load(&store, &group_id)?.ok_or(GroupStoreError::Incomplete)
    }
}

/// A storage provider that forgets ([`GroupStore::forgetting`]) or keeps ([`GroupStore::keeping`]) what openmls writes.
pub(crate) struct GroupStore {
    kept: Option<Mutex<StoredGroup>>,
}

/// A stored group that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum GroupStoreError {
    /// A part does not decode.
    #[error("a stored MLS group does not decode: {0}")]
    Decode(#[from] bincode::error::DecodeError),
    /// A part does not encode.
    #[error("an MLS group does not encode: {0}")]
    Encode(#[from] bincode::error::EncodeError),
    /// A part is missing.
    #[error("a stored MLS group is incomplete")]
    Incomplete,
}

impl GroupStore {
    pub(crate) fn forgetting() -> Self {
        GroupStore { kept: None }
    }

    pub(crate) fn keeping(group_id: &[u8]) -> Self {
        GroupStore {
            kept: Some(Mutex::new(StoredGroup {
                group_id: group_id.to_vec(),
                ..StoredGroup::default()
            })),
        }
    }

    /// What openmls wrote, if it was kept.
    pub(crate) fn into_stored(self) -> Option<StoredGroup> {
        self.kept
            .map(|kept| kept.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn put<T: Serialize>(
        &self,
        value: &T,
        part: impl FnOnce(&mut StoredGroup) -> &mut Vec<u8>,
    ) -> Result<(), GroupStoreError> {
        if let Some(kept) = &self.kept {
            let bytes = bincode::serde::encode_to_vec(value, bincode::config::standard())?;
            *part(&mut kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)) = bytes;
        }
        Ok(())
    }

    fn get<T: DeserializeOwned>(
        &self,
        part: impl FnOnce(&StoredGroup) -> &Vec<u8>,
    ) -> Result<Option<T>, GroupStoreError> {
        let Some(kept) = &self.kept else { return Ok(None) };
        let kept = kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let bytes = part(&kept);
        if bytes.is_empty() {
            return Ok(None);
        }
        Ok(Some(
            bincode::serde::decode_from_slice(bytes, bincode::config::standard())?.0,
        ))
    }
}

impl PublicStorageProvider<CURRENT_VERSION> for GroupStore {
    type PublicError = GroupStoreError;

    fn write_tree<G: traits::GroupId<CURRENT_VERSION>, T: traits::TreeSync<CURRENT_VERSION>>(
        &self,
        _: &G,
        tree: &T,
    ) -> Result<(), GroupStoreError> {
        self.put(tree, |stored| &mut stored.tree)
    }

    fn write_interim_transcript_hash<
        G: traits::GroupId<CURRENT_VERSION>,
        H: traits::InterimTranscriptHash<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        hash: &H,
    ) -> Result<(), GroupStoreError> {
        self.put(hash, |stored| &mut stored.interim_transcript_hash)
    }

    fn write_context<G: traits::GroupId<CURRENT_VERSION>, C: traits::GroupContext<CURRENT_VERSION>>(
        &self,
        _: &G,
        context: &C,
    ) -> Result<(), GroupStoreError> {
        self.put(context, |stored| &mut stored.context)
    }

    fn write_confirmation_tag<G: traits::GroupId<CURRENT_VERSION>, T: traits::ConfirmationTag<CURRENT_VERSION>>(
        &self,
        _: &G,
        tag: &T,
    ) -> Result<(), GroupStoreError> {
        self.put(tag, |stored| &mut stored.confirmation_tag)
    }

    // Pending proposals are kept by the room as the messages they came in, and are processed again at a rebuild.
    fn queue_proposal<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        P: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        _: &R,
        _: &P,
    ) -> Result<(), GroupStoreError> {
        Ok(())
    }

    fn queued_proposals<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        P: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Result<Vec<(R, P)>, GroupStoreError> {
        Ok(Vec::new())
    }

    fn tree<G: traits::GroupId<CURRENT_VERSION>, T: traits::TreeSync<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<Option<T>, GroupStoreError> {
        self.get(|stored| &stored.tree)
    }

    fn group_context<G: traits::GroupId<CURRENT_VERSION>, C: traits::GroupContext<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<Option<C>, GroupStoreError> {
        self.get(|stored| &stored.context)
    }

    fn interim_transcript_hash<
        G: traits::GroupId<CURRENT_VERSION>,
        H: traits::InterimTranscriptHash<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Result<Option<H>, GroupStoreError> {
        self.get(|stored| &stored.interim_transcript_hash)
    }

    fn confirmation_tag<G: traits::GroupId<CURRENT_VERSION>, T: traits::ConfirmationTag<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<Option<T>, GroupStoreError> {
        self.get(|stored| &stored.confirmation_tag)
    }

    fn delete_tree<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Result<(), GroupStoreError> {
        Ok(())
    }

    fn delete_confirmation_tag<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Result<(), GroupStoreError> {
        Ok(())
    }

    fn delete_context<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Result<(), GroupStoreError> {
        Ok(())
    }

    fn delete_interim_transcript_hash<G: traits::GroupId<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<(), GroupStoreError> {
        Ok(())
    }

    fn remove_proposal<G: traits::GroupId<CURRENT_VERSION>, R: traits::ProposalRef<CURRENT_VERSION>>(
        &self,
        _: &G,
        _: &R,
    ) -> Result<(), GroupStoreError> {
        Ok(())
    }

    fn clear_proposal_queue<G: traits::GroupId<CURRENT_VERSION>, R: traits::ProposalRef<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<(), GroupStoreError> {
        Ok(())
    }
}
