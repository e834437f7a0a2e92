//! A hub with its actors and a cluster of one node over stores in memory; it listens nowhere.

use std::sync::{Arc, Condvar, Mutex, OnceLock};

use actix::{Arbiter, ArbiterHandle, System};
use mimi_hub_cluster::{
    ApplyError, Cluster, ClusterConfig, EntryMeta, Leadership, NodeId, ShardId, ShardTxn, StateMachine,
};
use mimi_hub_storage::{ClusterId, MemoryLog, MemoryStore};

use crate::assets::Assets;
use crate::config::Config;
use crate::hub::Hub;
use crate::machine::Machine;
use crate::mls::hub_keys::HubKeys;
use crate::peer::PeerClient;
use crate::tls::testing::{Ca, tls};

/// The configuration of a.example.
pub(crate) fn config() -> Config {
    let text = r#"
        hub = { domains = ["a.example"], shards = 2 }
        federation = { listen = "127.0.0.1:0", certificate = "", private_key = "", peer_ca = "" }
        local = { listen = "127.0.0.1:0", certificate = "", private_key = "", client_ca = "" }
    "#;
    toml::from_str(text).unwrap()
}

/// A running hub and what a restart leaves of it.
pub(crate) struct TestHub {
    pub(crate) hub: Arc<Hub>,
    pub(crate) gate: Arc<Gate>,
    config: Config,
    log: Arc<MemoryLog>,
    store: Arc<MemoryStore>,
}

impl TestHub {
    pub(crate) async fn start(config: Config) -> Self {
        Self::open(config, Arc::default(), Arc::default()).await
    }

    async fn open(config: Config, log: Arc<MemoryLog>, store: Arc<MemoryStore>) -> Self {
        let gate = Arc::<Gate>::default();
        // Nobody is told what is applied: there are no event streams and no deliveries here.
        let (machine, _) = Machine::new();
        let machine = Gated {
            machine,
            gate: Arc::clone(&gate),
        };
        let mut cluster = ClusterConfig::single_node(ClusterId([7; 16]), NodeId(1), config.hub.shards.into());
        cluster.stop_grace = std::time::Duration::from_millis(200);
        let cluster = Cluster::start(cluster, log.clone(), store.clone(), Arc::new(machine))
            .await
            .unwrap();
        let keys = HubKeys::ephemeral(config.primary_domain()).unwrap();
        let assets = Assets::new(&config).unwrap();
        let hub = Hub::new(config.clone(), keys, cluster, None, peers(&config), assets, arbiters());
        TestHub {
            hub,
            gate,
            config,
            log,
            store,
        }
    }

    /// Stops the node and cuts the power.
    pub(crate) async fn restart(self) -> Self {
        self.gate.open();
        self.hub.cluster().stop().await;
        Self::open(
            self.config.clone(),
            Arc::new(self.log.crash()),
            Arc::new(self.store.crash()),
        )
        .await
    }
}

fn peers(config: &Config) -> PeerClient {
    let ca = Ca::new("federation");
    PeerClient::new(config, tls(&ca.issue(&["a.example"]), &ca)).unwrap()
}

/// The threads of all tests' actors.
fn arbiters() -> &'static [ArbiterHandle] {
    static ARBITERS: OnceLock<Vec<ArbiterHandle>> = OnceLock::new();
    ARBITERS.get_or_init(|| {
        let (made, making) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runner = System::new();
            made.send((0..2).map(|_| Arbiter::new().handle()).collect()).unwrap();
            runner.run().unwrap();
        });
        making.recv().unwrap()
    })
}

/// Holds back what is committed from being applied.
#[derive(Default)]
pub(crate) struct Gate {
    closed: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }

    pub(crate) fn open(&self) {
        *self.closed.lock().unwrap() = false;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let closed = self.closed.lock().unwrap();
        drop(self.changed.wait_while(closed, |closed| *closed).unwrap());
    }
}

impl Drop for TestHub {
    fn drop(&mut self) {
        // A test that failed must not leave the applier waiting.
        self.gate.open();
    }
}

struct Gated {
    machine: Machine,
    gate: Arc<Gate>,
}

impl StateMachine for Gated {
    fn apply(&self, txn: &mut ShardTxn<'_>, entry: EntryMeta, command: &[u8]) -> Result<Vec<u8>, ApplyError> {
        self.gate.pass();
        self.machine.apply(txn, entry, command)
    }

    fn applied(&self, shard: ShardId, up_to: u64) {
        self.machine.applied(shard, up_to);
    }

    fn leadership(&self, shard: ShardId, state: Leadership) {
        self.machine.leadership(shard, state);
    }
}
