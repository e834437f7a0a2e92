//! Reading a shard's records from the store.

use mimi_hub_cluster::ShardReader;
use mimi_hub_storage::{Direction, KeyRange, KeyValue};

use crate::command::{Accepted, Command, decode};
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::keys;

/// How many records are read at once when all of a prefix are wanted.
const PAGE: usize = 1_024;

/// All records whose keys begin with `prefix`, in order.
///
/// # Errors
/// The store cannot be read.
pub(crate) fn prefix(reader: &ShardReader, prefix: &[u8]) -> Result<Vec<KeyValue>, NodeError> {
    let mut records = Vec::new();
    let mut from = prefix.to_vec();
    loop {
        let page = reader.scan(&KeyRange::from(from.as_slice()), PAGE, Direction::Forward)?;
        let whole = page.len() == PAGE;
        let before = records.len();
        records.extend(page.into_iter().take_while(|(key, _)| key.starts_with(prefix)));
        match records.last() {
            Some((key, _)) if whole && records.len() == before + PAGE => {
                from.clone_from(key);
                from.push(0);
            }
            _ => return Ok(records),
        }
    }
}

/// The events after `seq`, in order, at most `limit`.
///
/// # Errors
/// The store cannot be read, or a record is damaged.
pub(crate) fn events_after(
    reader: &ShardReader,
    id: &EntityId,
    seq: u64,
    limit: usize,
) -> Result<Vec<Accepted>, NodeError> {
    let prefix = keys::events(id);
    let from = keys::event(id, seq.saturating_add(1));
    let mut events = Vec::new();
    for (key, value) in reader.scan(&KeyRange::from(from.as_slice()), limit, Direction::Forward)? {
        if !key.starts_with(&prefix) {
            break;
        }
        if let Command::Accepted(accepted) = decode(&value)? {
            events.push(accepted);
        }
    }
    Ok(events)
}
