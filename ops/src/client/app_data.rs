//! The room's components in the group's `app_data_dictionary`: reading them, and what the AppDataUpdates of a Commit do to
//! them. The rules are `proto`'s, the same that the hub applies.

use std::collections::BTreeSet;

use mimi_hub_proto::components::{AppDataDictionary, AppDataUpdate, AppDataUpdateOperation, ComponentId};
use mimi_hub_proto::policy::RoomPolicy;
use mimi_hub_proto::tls::decode_exact;
use openmls::component::ComponentData;
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{
    AppDataDictionaryUpdater, AppDataUpdateOperation as Operation, AppDataUpdateProposal, Extensions, GroupContext,
};

use crate::OpsError;

/// The policy components that a group agrees on.
pub(super) fn room_policy(extensions: &Extensions<GroupContext>) -> Result<RoomPolicy, OpsError> {
    RoomPolicy::from_dictionary(&dictionary(extensions)?).map_err(OpsError::mls("read the room's components"))
}

/// Tells openmls what the AppDataUpdates of one Commit, in its order, make of the components.
///
/// # Errors
/// The components do not read, or the rules do not allow the updates.
pub fn resolve<'a>(
    extensions: &Extensions<GroupContext>,
    proposals: impl Iterator<Item = &'a AppDataUpdateProposal>,
    updater: &mut AppDataDictionaryUpdater<'_>,
) -> Result<(), OpsError> {
    resolve_in(&dictionary(extensions)?, proposals, updater)
}

/// The same, where the components are known otherwise.
pub(super) fn resolve_in<'a>(
    before: &AppDataDictionary,
    proposals: impl Iterator<Item = &'a AppDataUpdateProposal>,
    updater: &mut AppDataDictionaryUpdater<'_>,
) -> Result<(), OpsError> {
    let updates: Vec<AppDataUpdate> = proposals
        .map(|proposal| AppDataUpdate {
            component_id: proposal.component_id(),
            op: match proposal.operation() {
                Operation::Update(data) => AppDataUpdateOperation::Update(data.as_slice().to_vec()),
                Operation::Remove => AppDataUpdateOperation::Remove,
            },
        })
        .collect();
    if updates.is_empty() {
        return Ok(());
    }
    let applied = RoomPolicy::from_dictionary(before)
        .map_err(OpsError::mls("read the room's components"))?
        .apply(before, &updates)
        .map_err(OpsError::mls("apply the changes of the room's components"))?;
    let touched: BTreeSet<ComponentId> = updates.iter().map(|update| update.component_id).collect();
    for id in touched {
        match applied.dictionary.get(id) {
            Some(data) => updater.set(ComponentData::from_parts(id, data.into())),
            None => updater.remove(&id),
        }
    }
    Ok(())
}

pub(super) fn dictionary(extensions: &Extensions<GroupContext>) -> Result<AppDataDictionary, OpsError> {
    let Some(extension) = extensions.app_data_dictionary() else {
        return Ok(AppDataDictionary::new());
    };
    let octets = extension
        .dictionary()
        .tls_serialize_detached()
        .map_err(OpsError::mls("encode the room's components"))?;
    decode_exact(&octets).map_err(OpsError::mls("read the room's components"))
}
