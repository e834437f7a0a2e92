//! Frames on their way, and the links that are cut.

use std::time::Duration;

use super::{Event, Simulation};
use crate::config::NodeId;
use crate::core::{Frame, Input};
use crate::transport;

impl<E> Simulation<E> {
    /// Cuts or mends the links between `node` and all others.
    pub fn isolate(&mut self, node: NodeId, cut: bool) {
        for other in self.ids() {
            self.cut_one_way(node, other, cut);
            self.cut_one_way(other, node, cut);
        }
    }

    /// Cuts or mends one direction of a link.
    pub fn cut_one_way(&mut self, from: NodeId, to: NodeId, cut: bool) {
        if cut {
            self.cut.insert((from, to));
        } else {
            self.cut.remove(&(from, to));
        }
    }

    /// Mends every link.
    pub fn mend_links(&mut self) {
        self.cut.clear();
    }

    /// Whether the link carries anything.
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cut.contains(&(from, to))
    }

    /// How long something takes over a link; `None` when it is lost.
    pub fn transit(&mut self, from: NodeId, to: NodeId) -> Option<Duration> {
        if self.one_in(self.weather.drop_one_in) {
            self.count("dropped");
            return None;
        }
        if self.is_cut(from, to) {
            self.count("cut off");
            return None;
        }
        let late = self.one_in(self.weather.late_one_in);
        if late {
            self.count("delayed");
        }
        Some(self.millis(if late { 1..400 } else { 1..15 }))
    }

    pub(super) fn send(&mut self, frame: &Frame) {
        for (shard, message) in &frame.messages {
            use raft::eraftpb::MessageType::{MsgAppend, MsgHeartbeat};
            // Only a leader says these.
            if matches!(message.get_msg_type(), MsgAppend | MsgHeartbeat) {
                self.leads_in(*shard, message.term, frame.from);
            }
        }
        let (from, to) = (frame.from, frame.to);
        let encoded = match transport::encode(frame) {
            Ok(encoded) => encoded,
            Err(error) => return self.violate(format!("a frame cannot be laid out: {error}")),
        };
        for bytes in encoded {
            self.note(&bytes);
            let twice = self.one_in(self.weather.duplicate_one_in);
            if twice {
                self.count("duplicated");
            }
            for _ in 0..=usize::from(twice) {
                let Some(delay) = self.transit(from, to) else { continue };
                let arrival = self.now + delay;
                let last = self.arrivals.entry((from, to)).or_default();
                let overtakes = arrival < *last;
                *last = arrival.max(*last);
                if overtakes {
                    self.count("reordered");
                }
                let bytes = bytes.clone();
                self.push(delay, Event::Frame { from, to, bytes });
            }
        }
    }

    /// A frame may outlive the life of the node it was sent to.
    pub(super) fn arrive(&mut self, from: NodeId, to: NodeId, bytes: &[u8]) {
        if !self.is_up(to) {
            return;
        }
        match transport::decode(from, to, bytes) {
            Ok(frame) => self.input(to, Input::Frame(frame)),
            Err(error) => self.violate(format!("a frame does not read: {error}")),
        }
    }
}
