//! How snapshots travel and are installed in the simulation.

use std::time::Duration;

use mimi_hub_storage::StateStore;
use raft::eraftpb::Message;

use super::{Event, Sim};
use crate::config::NodeId;
use crate::core::Input;
use crate::shard::ShardId;
use crate::snapshot::{Chunk, SnapshotId, collect, replacement};

#[derive(Debug)]
pub(super) enum Happening {
    /// The sender takes the state.
    Collect { shard: ShardId, message: Message },
    /// The sender learns, or believes, what became of it.
    Sent {
        shard: ShardId,
        to: NodeId,
        delivered: bool,
    },
    /// It has arrived.
    Received {
        shard: ShardId,
        message: Message,
        chunks: Vec<Chunk>,
    },
    /// The state store takes it.
    Write(SnapshotId),
    /// And makes it durable.
    Flush(SnapshotId),
}

impl Sim {
    pub(super) fn perform_snapshots(
        &mut self,
        node: NodeId,
        snapshots: Vec<(ShardId, Message)>,
        installs: &[SnapshotId],
        discards: &[SnapshotId],
    ) {
        for (shard, message) in snapshots {
            let late = self.one_in(3);
            let delay = self.millis(if late { 20..800 } else { 1..20 });
            self.schedule(delay, node, Event::Snapshot(Happening::Collect { shard, message }));
        }
        for id in installs {
            // After everything handed over to be applied, which takes 2 ms.
            let delay = self.millis(3..30);
            self.schedule(delay, node, Event::Snapshot(Happening::Write(*id)));
        }
        for id in discards {
            let up = self.nodes.get_mut(&node).unwrap().as_mut().unwrap();
            up.staged.take_if(|(staged, _)| staged == id);
        }
    }

    pub(super) fn snapshot_happens(&mut self, node: NodeId, happening: Happening) {
        let seed = self.world.seed;
        match happening {
            Happening::Collect { shard, message } => self.send_snapshot(node, shard, message),
            Happening::Sent { shard, to, delivered } => self.input(node, Input::SnapshotSent { shard, to, delivered }),
            Happening::Received { shard, message, chunks } => {
                let up = self.nodes.get_mut(&node).unwrap().as_mut().unwrap();
                // One at a time, as in the real one.
                if up.staged.is_none() {
                    let metadata = message.get_snapshot().get_metadata();
                    let (index, term) = (metadata.index, metadata.term);
                    up.staged = Some((SnapshotId { shard, index, term }, chunks));
                    self.input(node, Input::Snapshot { shard, message });
                }
            }
            Happening::Write(id) => {
                let up = self.nodes.get_mut(&node).unwrap().as_mut().unwrap();
                let (staged, chunks) = up.staged.take().unwrap();
                assert_eq!(
                    staged, id,
                    "seed {seed}: another snapshot is installed than has arrived"
                );
                up.state.write(replacement(&up.state, id, &chunks).unwrap()).unwrap();
                let delay = self.millis(1..300);
                self.schedule(delay, node, Event::Snapshot(Happening::Flush(id)));
            }
            Happening::Flush(id) => {
                self.nodes[&node].as_ref().unwrap().state.flush().unwrap();
                self.installed += 1;
                self.input(node, Input::Installed(id));
            }
        }
    }

    fn send_snapshot(&mut self, node: NodeId, shard: ShardId, mut message: Message) {
        let up = self.nodes[&node].as_ref().unwrap();
        let to = NodeId(message.to);
        let Ok(collected) = collect(&up.state, shard, u64::MAX) else {
            // It was removed meanwhile, and has nothing any more.
            return self.input(
                node,
                Input::SnapshotSent {
                    shard,
                    to,
                    delivered: false,
                },
            );
        };
        let metadata = message.get_snapshot().get_metadata();
        assert!(
            collected.id.index >= metadata.index,
            "seed {}: an older state than promised",
            self.world.seed
        );
        collected.correct(&mut message);
        let chunks = collected.chunks;
        let lost = self.one_in(4) || self.cut.contains(&(node, to)) || !self.is_up(to);
        let taken = self.millis(5..400);
        if !lost {
            let received = Happening::Received { shard, message, chunks };
            self.schedule(taken, to, Event::Snapshot(received));
        }
        // The sender may take one for delivered that is not, and the other way round.
        let delivered = if self.one_in(10) { lost } else { !lost };
        let told = taken + Duration::from_millis(10);
        self.schedule(told, node, Event::Snapshot(Happening::Sent { shard, to, delivered }));
    }
}
