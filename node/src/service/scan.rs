//! Reading what stands in a shard across its entities: the reports that wait, and the users that can be found. Each shard is
//! read at the node that leads it; what concerns the whole provider is asked of all shards at once.

use std::sync::Arc;

use mimi_hub_cluster::{ShardId, ShardReader};
use mimi_hub_proto::uri::{ProviderDomain, UserUri};
use mimi_hub_proto::{IdentifierRequest, QueryElement, UserProfile};
use mimi_hub_storage::{Direction, KeyRange};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tokio::task::JoinSet;

use crate::actor::AskError;
use crate::command::{FormatError, decode, encode};
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::hub::Hub;
use crate::keys;
use crate::room::report::ReportRecord;
use crate::user::discovery::{self, Entry};

/// How many records are read at once.
const PAGE: usize = 512;

/// What is read of a shard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Scan {
    /// Where the reports are that come after a key: a list of [`ReportPlace`].
    Reports {
        shard: u32,
        after: Option<ByteBuf>,
        limit: usize,
    },
    /// One report, if it is there: an optional [`ReportRecord`].
    Report { shard: u32, room: EntityId, seq: u64 },
    /// Users of a domain that match a query: [`Found`].
    Users {
        shard: u32,
        domain: ProviderDomain,
        #[serde(with = "crate::octets")]
        query: IdentifierRequest,
        /// Users to name.
        limit: usize,
        /// Profiles to look at.
        profiles_max: usize,
    },
}

impl Scan {
    pub(crate) fn shard(&self) -> ShardId {
        let (Scan::Reports { shard, .. } | Scan::Report { shard, .. } | Scan::Users { shard, .. }) = self;
        ShardId(*shard)
    }
}

/// Where a report is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReportPlace {
    /// Its place in the order of time.
    pub(crate) key: ByteBuf,
    pub(crate) room: EntityId,
    pub(crate) seq: u64,
}

/// Users that match.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Found {
    /// At most as many as were asked for.
    pub(crate) profiles: Vec<FoundProfile>,
    /// There are more, or not all were looked at.
    pub(crate) more: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FoundProfile(#[serde(with = "crate::octets")] pub(crate) UserProfile);

/// Asks all shards at once. `scan` must be of the kind whose answer is a `T`.
pub(crate) async fn everywhere<T: DeserializeOwned + Send + 'static>(
    hub: &Arc<Hub>,
    scan: impl Fn(ShardId) -> Scan,
) -> Result<Vec<T>, AskError> {
    let mut asked = JoinSet::new();
    for shard in 0..u32::from(hub.config().hub.shards) {
        let (hub, scan) = (Arc::clone(hub), scan(ShardId(shard)));
        asked.spawn(async move { hub.scan::<T>(&scan).await });
    }
    let mut answers = Vec::new();
    while let Some(answer) = asked.join_next().await {
        answers.push(answer.map_err(|error| AskError::Internal(error.to_string()))??);
    }
    Ok(answers)
}

/// Reads at the node that leads the shard, after making sure that it does. Gives the encoded answer.
pub(crate) async fn answer(hub: &Arc<Hub>, scan: &Scan) -> Result<Vec<u8>, FormatError> {
    if hub.cluster().read_barrier(scan.shard()).await.is_err() {
        return encode(&Err::<(), _>(AskError::Unavailable));
    }
    // It may look at many records: not on a thread that serves requests.
    let (hub, scan) = (Arc::clone(hub), scan.clone());
    let read = tokio::task::spawn_blocking(move || read(&hub, &scan));
    read.await
        .unwrap_or_else(|error| encode(&Err::<(), _>(AskError::Internal(error.to_string()))))
}

fn read(hub: &Hub, scan: &Scan) -> Result<Vec<u8>, FormatError> {
    let reader = hub.cluster().reader(scan.shard());
    match scan {
        Scan::Reports { after, limit, .. } => encode(&logged(
            scan,
            reports(&reader, after.as_ref().map(|key| key.as_slice()), *limit),
        )),
        Scan::Report { room, seq, .. } => encode(&logged(scan, report(&reader, room, *seq))),
        Scan::Users {
            domain,
            query,
            limit,
            profiles_max,
            ..
        } => encode(&logged(scan, users(&reader, domain, query, *limit, *profiles_max))),
    }
}

fn logged<T>(scan: &Scan, read: Result<T, NodeError>) -> Result<T, AskError> {
    read.map_err(|error| {
        tracing::error!(shard = scan.shard().0, %error, "a shard cannot be read");
        AskError::Internal(error.to_string())
    })
}

fn reports(reader: &ShardReader, after: Option<&[u8]>, limit: usize) -> Result<Vec<ReportPlace>, NodeError> {
    let mut from = after.unwrap_or(keys::REPORTS).to_vec();
    if after.is_some() {
        from.push(0);
    }
    let mut places = Vec::new();
    for (key, value) in reader.scan(&KeyRange::from(from.as_slice()), limit, Direction::Forward)? {
        if !key.starts_with(keys::REPORTS) {
            break;
        }
        let (room, seq) = decode(&value)?;
        places.push(ReportPlace {
            key: ByteBuf::from(key),
            room,
            seq,
        });
    }
    Ok(places)
}

fn report(reader: &ShardReader, room: &EntityId, seq: u64) -> Result<Option<ReportRecord>, NodeError> {
    match reader.get(&keys::report(room, seq))? {
        Some(bytes) => Ok(Some(decode(&bytes)?)),
        None => Ok(None),
    }
}

fn users(
    reader: &ShardReader,
    domain: &ProviderDomain,
    query: &IdentifierRequest,
    limit: usize,
    profiles_max: usize,
) -> Result<Found, NodeError> {
    let mut found = Found::default();
    let elements = &query.query_elements;
    match elements.iter().find_map(discovery::term_of) {
        Some(term) => {
            let prefix = keys::found_by(&term, "");
            let looked_at_all = each(reader, &prefix, profiles_max, |key, _| {
                let user = std::str::from_utf8(&key[prefix.len()..]).unwrap_or_default();
                match reader.get(&keys::findable(user))? {
                    Some(entries) => consider(&mut found, domain, elements, user, &entries, limit),
                    None => Ok(true),
                }
            })?;
            found.more |= !looked_at_all;
        }
        None => {
            let looked_at_all = each(reader, keys::FINDABLE, profiles_max, |key, entries| {
                let user = std::str::from_utf8(&key[keys::FINDABLE.len()..]).unwrap_or_default();
                consider(&mut found, domain, elements, user, entries, limit)
            })?;
            found.more |= !looked_at_all;
        }
    }
    Ok(found)
}

/// Takes the user in if it matches. Says whether to go on.
fn consider(
    found: &mut Found,
    domain: &ProviderDomain,
    elements: &[QueryElement],
    user: &str,
    entries: &[u8],
    limit: usize,
) -> Result<bool, NodeError> {
    let user: UserUri = user.parse()?;
    let entries: Vec<Entry> = decode(entries)?;
    if user.provider() == *domain && discovery::matches(&entries, elements) {
        if found.profiles.len() >= limit {
            found.more = true;
            return Ok(false);
        }
        found.profiles.push(FoundProfile(discovery::shown(&user, &entries)));
    }
    Ok(true)
}

/// Goes through the records whose keys begin with `prefix`, at most `max`, until `step` wants no more. Says whether there was
/// none left out for `max`.
fn each(
    reader: &ShardReader,
    prefix: &[u8],
    max: usize,
    mut step: impl FnMut(&[u8], &[u8]) -> Result<bool, NodeError>,
) -> Result<bool, NodeError> {
    let mut from = prefix.to_vec();
    let mut seen = 0;
    loop {
        let page = reader.scan(&KeyRange::from(from.as_slice()), PAGE, Direction::Forward)?;
        let whole = page.len() == PAGE;
        for (key, value) in page {
            if !key.starts_with(prefix) {
                return Ok(true);
            }
            if seen == max {
                return Ok(false);
            }
            seen += 1;
            if !step(&key, &value)? {
                return Ok(true);
            }
            from = key.to_vec();
            from.push(0);
        }
        if !whole {
            return Ok(true);
        }
    }
}
