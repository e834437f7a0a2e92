//! This node among the others: the keys that they share, what it says of itself, and changes of the cluster on their way to
//! the meta group's leader.

use std::sync::Arc;
use std::time::Duration;

use mimi_hub_cluster::{Cluster, FORMAT, MetaCommand, MetaError, MetaState};
use mimi_hub_proto::uri::ProviderDomain;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::actor::AskError;
use crate::config::NodeConfig;
use crate::error::NodeError;
use crate::forward::Asked;
use crate::hub::Hub;
use crate::mls::hub_keys::{HubKeys, HubKeysError, Rotation};
use crate::mls::seal::{SealError, SealKey};

/// Between two looks at the meta state.
const POLL: Duration = Duration::from_millis(50);
/// How often a node looks whether what the cluster knows of it is true.
const ANNOUNCE: Duration = Duration::from_secs(1);
/// How long a change of the cluster may take.
const CHANGE_MAX: Duration = Duration::from_secs(10);

/// The hub's keys, as the meta group has them. Whoever leads it makes them when there are none. Waits until a majority of
/// the nodes runs, when this one does not know them from before.
pub(crate) async fn shared_keys(
    cluster: &Cluster,
    seal: &SealKey,
    domain: &ProviderDomain,
) -> Result<HubKeys, NodeError> {
    let mut said = Instant::now();
    loop {
        let state = cluster.meta().unwrap_or_default();
        if state.keys_version > 0 {
            return Ok(HubKeys::from_bytes(&seal.open(&state.keys)?, domain)?);
        }
        if state.is_founded() && cluster.leads_meta() {
            let keys = seal.seal(&HubKeys::ephemeral(domain)?.to_bytes()?)?;
            let made = cluster.change_meta(&MetaCommand::Keys { against: 0, keys }).await;
            if matches!(made, Ok(Ok(()))) {
                info!("the hub's keys were made");
            }
        }
        if said.elapsed() > Duration::from_secs(5) {
            info!("waiting for the other nodes: the hub's keys are not known here yet");
            said = Instant::now();
        }
        sleep(POLL).await;
    }
}

/// Takes over the keys that are replaced from time to time whenever the nodes have agreed on new ones. Where there is none yet
/// for the gateway of Oblivious HTTP, because the hub is older than it, has them agree on a first one.
pub(crate) async fn follow_keys(hub: Arc<Hub>, seal: SealKey) {
    let mut seen = None;
    loop {
        let changed = |state: &Arc<MetaState>| Some(state.keys_version) != seen;
        let Ok(state) = hub.cluster().meta_when(changed).await else {
            return;
        };
        seen = Some(state.keys_version);
        let opened = seal.open(&state.keys).map_err(NodeError::from);
        let keys = opened.and_then(|bytes| Ok(HubKeys::from_bytes(&bytes, hub.config().primary_domain())?));
        match keys {
            Ok(keys) => hub.keys().take_rotating(&keys),
            Err(error) => warn!(%error, "the keys that the nodes have agreed on cannot be used here"),
        }
        if hub.keys().ohttp().is_empty() {
            match rotated_by_all(&hub, &seal, Rotation::Ohttp).await {
                Ok(_) => info!("a first key for Oblivious HTTP was made"),
                // Another node was first: what it has made is seen next.
                Err(RotateError::Refused(_)) => {}
                Err(error) => {
                    warn!(%error, "there is no key for Oblivious HTTP yet");
                    sleep(ANNOUNCE).await;
                    seen = None;
                }
            }
        }
    }
}

/// Makes a new key for all nodes, which is used from now on. Gives its number.
pub(crate) async fn rotate(hub: &Arc<Hub>, which: Rotation) -> Result<u64, RotateError> {
    let Some(config) = &hub.config().cluster else {
        let there = Arc::clone(hub);
        let rotated = tokio::task::spawn_blocking(move || there.keys().rotate(which));
        return Ok(rotated
            .await
            .map_err(|error| RotateError::Broken(error.to_string()))??);
    };
    let seal = SealKey::read(&config.seal_key)?;
    let newest = rotated_by_all(hub, &seal, which).await?;
    // From here on every node takes it over; this one has to have it before it says so.
    let until = Instant::now() + CHANGE_MAX;
    while hub.keys().newest_id(which) != newest && Instant::now() < until {
        sleep(POLL).await;
    }
    Ok(newest)
}

/// Has the nodes agree on a new key.
async fn rotated_by_all(hub: &Arc<Hub>, seal: &SealKey, which: Rotation) -> Result<u64, RotateError> {
    let state = hub.cluster().meta().unwrap_or_default();
    let against = state.keys_version;
    // Of what the nodes have agreed on, not of what this one has taken over so far: no other new key gets lost.
    let agreed = HubKeys::from_bytes(&seal.open(&state.keys)?, hub.config().primary_domain())?;
    let (bytes, newest) = agreed.rotated_bytes(which)?;
    let keys = seal.seal(&bytes)?;
    hub.change_cluster(MetaCommand::Keys { against, keys }).await??;
    Ok(newest)
}

/// Why a key is not replaced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RotateError {
    /// The keys, or their file.
    #[error(transparent)]
    Keys(#[from] HubKeysError),
    /// The key under which the nodes keep them.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The nodes do not agree on it.
    #[error(transparent)]
    Refused(#[from] MetaError),
    /// Nobody leads the meta group.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// It has stopped half way.
    #[error("the rotation has stopped: {0}")]
    Broken(String),
}

/// Says what this node is, whenever the cluster knows it differently.
pub(crate) async fn announce(hub: Arc<Hub>, config: NodeConfig) {
    let node = hub.cluster().node();
    let mut last = None;
    loop {
        if let Some(state) = hub.cluster().meta().filter(|state| state.is_founded()) {
            let address = config.own_address().unwrap_or_default().to_owned();
            let zone = config.zone.clone();
            let known = state.nodes.get(&node);
            let true_already =
                known.is_some_and(|known| (&known.address, &known.zone, known.format) == (&address, &zone, FORMAT));
            if !true_already {
                let announcement = MetaCommand::Announce {
                    node,
                    address,
                    zone,
                    format: FORMAT,
                };
                let said = hub.change_cluster(announcement).await;
                if let Ok(Err(error)) = &said
                    && last.as_ref() != Some(error)
                {
                    warn!(%error, "the cluster does not take this node as it is");
                    last = Some(error.clone());
                }
            }
        }
        sleep(ANNOUNCE).await;
    }
}

impl Hub {
    /// Changes the meta state, whoever leads the meta group.
    ///
    /// # Errors
    /// It is led by nobody, or the outcome is unknown; inside, why the command changed nothing.
    pub(crate) async fn change_cluster(
        self: &Arc<Self>,
        command: MetaCommand,
    ) -> Result<Result<(), MetaError>, AskError> {
        let until = Instant::now() + CHANGE_MAX;
        loop {
            let answer = self
                .at_leader(self.cluster().meta_shard(), &Asked::Meta(command.clone()))
                .await;
            match answer {
                Err(AskError::Unavailable) if Instant::now() < until => sleep(POLL).await,
                answer => return answer,
            }
        }
    }

    /// Changes the meta state, which this node leads.
    pub(crate) async fn change_meta(&self, command: &MetaCommand) -> Result<Result<(), MetaError>, AskError> {
        let outcome = self.cluster().change_meta(command).await;
        outcome.map_err(|_| AskError::Unavailable)
    }
}
