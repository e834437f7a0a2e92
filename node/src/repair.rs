//! Replicas that differ: found by checksums at the same place of a shard's log, and rebuilt.
//!
//! Whoever leads a shard has all its replicas compute a checksum now and then, and compares. One that differs from the
//! majority is told; its node notes that in the data folder and stops, as it would after any damage. At its next start it
//! sets the state store aside and gets all shards from the others. Its log, and with it its votes, stay.
//!
//! Without a majority that agrees, nobody is told anything: a person has to look.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mimi_hub_cluster::{Checksum, Leadership, NodeId, ProposeError, ShardId};
use mimi_hub_storage::{SledConfig, SledStore, StorageError};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tracing::{error, info};

use crate::actor::AskError;
use crate::error::NodeError;
use crate::forward::Asked;
use crate::hub::Hub;
use crate::tls::now_s;

/// How long a replica may take for its checksum.
const CHECKSUM_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);
/// Beside the state store: that it differs.
const MARK: &str = "differs";

/// What a comparison came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    shard: u32,
    /// The entry of the log that the checksums are of.
    index: u64,
    /// Whether all replicas agree, and all of them answered.
    agree: bool,
    /// By node, in hexadecimal; nothing from one that did not answer.
    checksums: BTreeMap<NodeId, Option<String>>,
    /// The nodes that set their state aside.
    set_aside: Vec<NodeId>,
}

/// The replicas that differ from what the majority of all of them agrees on. Pure.
fn differing(checksums: &BTreeMap<NodeId, Option<Checksum>>) -> Vec<NodeId> {
    let mut votes: BTreeMap<Checksum, usize> = BTreeMap::new();
    for checksum in checksums.values().flatten() {
        *votes.entry(*checksum).or_default() += 1;
    }
    let agreed = votes.into_iter().find(|(_, votes)| 2 * votes > checksums.len());
    let Some((agreed, _)) = agreed else { return Vec::new() };
    let differs = |checksum: &Option<Checksum>| checksum.is_some_and(|checksum| checksum != agreed);
    checksums
        .iter()
        .filter(|(_, checksum)| differs(checksum))
        .map(|(id, _)| *id)
        .collect()
}

/// Compares the replicas of a shard that this node leads.
pub(crate) async fn compare(hub: &Arc<Hub>, shard: ShardId) -> Result<Comparison, AskError> {
    let me = hub.cluster().node();
    let status = hub
        .cluster()
        .status()
        .shards
        .into_iter()
        .find(|status| status.shard == shard);
    let members = status.ok_or(AskError::Unavailable)?.members;
    let (index, own) = hub.cluster().check(shard).await.map_err(|error| match error {
        ProposeError::HeldBack { .. } => AskError::Internal(error.to_string()),
        _ => AskError::Unavailable,
    })?;
    let others = members.voters.iter().copied().filter(|id| *id != me);
    let asks = others.map(|id| async move { (id, checksum_of(hub, id, shard, index).await) });
    let mut checksums: BTreeMap<NodeId, Option<Checksum>> = futures::future::join_all(asks).await.into_iter().collect();
    checksums.insert(me, Some(own));
    let mut set_aside = differing(&checksums);
    // This node last: it stops.
    set_aside.sort_by_key(|id| *id == me);
    let first = checksums.values().next().copied().flatten();
    let comparison = Comparison {
        shard: shard.0,
        index,
        agree: first.is_some() && checksums.values().all(|checksum| *checksum == first),
        set_aside: set_aside.clone(),
        checksums: checksums
            .into_iter()
            .map(|(id, checksum)| (id, checksum.map(|bytes| hexadecimal(&bytes))))
            .collect(),
    };
    if !comparison.agree {
        error!(?comparison, "the replicas of a shard differ, or did not all answer");
    }
    for id in set_aside {
        if id == me {
            let hub = Arc::clone(hub);
            // After the answer to whoever asked for the comparison.
            tokio::spawn(async move {
                sleep(Duration::from_secs(1)).await;
                give_up(&hub, shard);
            });
        } else if let Err(error) = hub.ask_node::<()>(id, &Asked::Differs(shard.0), CHECKSUM_MAX).await {
            error!(node = %id, %error, "a replica that differs could not be told so");
        }
    }
    Ok(comparison)
}

async fn checksum_of(hub: &Hub, node: NodeId, shard: ShardId, index: u64) -> Option<Checksum> {
    let until = Instant::now() + CHECKSUM_MAX;
    while Instant::now() < until {
        let answer = hub
            .ask_node::<Option<(u64, Checksum)>>(node, &Asked::Checksum(shard.0), CHECKSUM_MAX)
            .await;
        match answer {
            Ok(Some((of, checksum))) if of == index => return Some(checksum),
            // A later comparison has overtaken this one.
            Ok(Some((of, _))) if of > index => return None,
            Ok(_) | Err(_) => sleep(POLL).await,
        }
    }
    None
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// This node's replica of a shard differs from the others': its state store is set aside at the next start.
pub(crate) fn give_up(hub: &Hub, shard: ShardId) {
    let state = hub.config().hub.data_dir.join("state");
    error!(%shard, "this node's state of the shard differs from that of the majority: it is set aside, and rebuilt at the next start");
    if let Err(error) = fs::write(state.with_extension(MARK), b"") {
        error!(%error, "cannot note that the state store differs");
        return;
    }
    std::process::abort();
}

/// Opens the state store. One of several nodes sets a store aside that does not open, or differs from the others', and gets
/// its shards from them.
pub(crate) fn open_state(path: &Path, others: bool) -> Result<SledStore, NodeError> {
    let mark = path.with_extension(MARK);
    if others && mark.exists() {
        set_aside(path, "the state store differs from those of the other nodes")?;
        fs::remove_file(&mark).map_err(|source| NodeError::SetAside { path: mark, source })?;
    }
    match SledStore::open(path, &SledConfig::default()) {
        Err(error @ StorageError::Corrupt { .. }) if others => {
            set_aside(path, &error.to_string())?;
            Ok(SledStore::open(path, &SledConfig::default())?)
        }
        opened => Ok(opened?),
    }
}

fn set_aside(path: &Path, why: &str) -> Result<(), NodeError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| NodeError::SetAside { path, source }
    };
    let aside: PathBuf = path.with_extension(format!("damaged-{}", now_s()));
    error!(why, aside = %aside.display(), "the state store is set aside, and rebuilt from the other nodes");
    if path.exists() {
        fs::rename(path, &aside).map_err(failed(path))?;
    }
    Ok(())
}

/// Compares the replicas of every shard that this node leads, one after the other, again and again.
pub(crate) async fn watch(hub: Arc<Hub>, interval: Duration) {
    loop {
        sleep(interval).await;
        for shard in (0..hub.cluster().shards()).map(ShardId) {
            if !matches!(hub.cluster().leadership(shard), Leadership::Leader { .. }) {
                continue;
            }
            match compare(&hub, shard).await {
                Ok(comparison) if comparison.agree => {}
                Ok(_) => {}
                Err(error) => info!(%shard, %error, "the replicas of a shard were not compared"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_replica_that_differs_from_a_majority_of_all_is_told() {
        let of = |sums: &[Option<u8>]| {
            let all = (1..).map(NodeId).zip(sums.iter().map(|sum| sum.map(|byte| [byte; 32])));
            differing(&all.collect()).into_iter().map(|id| id.0).collect::<Vec<_>>()
        };
        assert_eq!(of(&[Some(1), Some(1), Some(1)]), [0; 0]);
        assert_eq!(of(&[Some(1), Some(2), Some(1)]), [2]);
        assert_eq!(of(&[Some(2), Some(1), Some(1), Some(3), Some(1)]), [1, 4]);
        assert_eq!(of(&[Some(1), Some(2)]), [0; 0], "nobody knows who is right");
        assert_eq!(of(&[Some(1), Some(2), None]), [0; 0], "two of three have to agree");
        assert_eq!(of(&[Some(1), None, Some(1)]), [0; 0]);
    }

    #[test]
    fn a_store_that_is_marked_is_set_aside_once_and_a_lone_nodes_never() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let count = || fs::read_dir(folder.path()).unwrap().count();
        drop(open_state(&path, true).unwrap());
        assert_eq!(count(), 1);
        fs::write(path.with_extension(MARK), b"").unwrap();
        drop(open_state(&path, false).unwrap());
        assert_eq!(count(), 2, "a lone node has nobody to get it from");
        drop(open_state(&path, true).unwrap());
        assert_eq!(count(), 2, "the store, and the one before");
        assert!(!path.with_extension(MARK).exists());
        drop(open_state(&path, true).unwrap());
        assert_eq!(count(), 2);
    }
}
