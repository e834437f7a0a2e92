//! Where replicas and leaders should be. Pure.
//!
//! What it keeps, in this order: a shard has as many replicas as wanted, or one on every node when there are fewer; no two
//! of them in one zone while another zone has a node without one; nodes hold within one of the same number, as far as the
//! zones allow; nothing moves that need not. The first node of a shard should lead it; leaders are spread within one of even,
//! as far as the replicas allow.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::config::NodeId;

/// A node that may hold replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// What fails together. Nodes that name none share one.
    pub(crate) zone: String,
}

/// The places of every shard, from those it has now: the nodes of each, the one that should lead it first.
pub(crate) fn place(nodes: &BTreeMap<NodeId, Candidate>, replicas: usize, current: &[Vec<NodeId>]) -> Vec<Vec<NodeId>> {
    let mut plan = Plan::new(nodes, current);
    let wanted = replicas.min(nodes.len());
    for shard in 0..plan.shards.len() {
        while plan.shards[shard].len() > wanted {
            plan.take_one(shard);
        }
        while plan.shards[shard].len() < wanted {
            plan.add_one(shard);
        }
    }
    while plan.spread_zones() || plan.even_out() {}
    plan.choose_leaders()
}

struct Plan<'a> {
    nodes: &'a BTreeMap<NodeId, Candidate>,
    shards: Vec<Vec<NodeId>>,
    held: BTreeMap<NodeId, usize>,
}

impl<'a> Plan<'a> {
    fn new(nodes: &'a BTreeMap<NodeId, Candidate>, current: &[Vec<NodeId>]) -> Self {
        let mut held: BTreeMap<NodeId, usize> = nodes.keys().map(|node| (*node, 0)).collect();
        let mut shards = Vec::with_capacity(current.len());
        for places in current {
            let mut kept: Vec<NodeId> = Vec::with_capacity(places.len());
            for node in places {
                if nodes.contains_key(node) && !kept.contains(node) {
                    kept.push(*node);
                    *held.entry(*node).or_default() += 1;
                }
            }
            shards.push(kept);
        }
        Self { nodes, shards, held }
    }

    fn held(&self, node: NodeId) -> usize {
        self.held.get(&node).copied().unwrap_or_default()
    }

    fn zone(&self, node: NodeId) -> &'a str {
        self.nodes.get(&node).map_or("", |candidate| candidate.zone.as_str())
    }

    /// How many of the shard's replicas, `but` not counted, share the zone of `node`.
    fn crowd(&self, shard: usize, node: NodeId, but: Option<NodeId>) -> usize {
        let zone = self.zone(node);
        let places = self.shards[shard].iter();
        places
            .filter(|other| Some(**other) != but && **other != node && self.zone(**other) == zone)
            .count()
    }

    fn add_one(&mut self, shard: usize) {
        let free = self.nodes.keys().filter(|node| !self.shards[shard].contains(node));
        let best = free.min_by_key(|node| (self.crowd(shard, **node, None), self.held(**node), **node));
        if let Some(node) = best.copied() {
            self.shards[shard].push(node);
            *self.held.entry(node).or_default() += 1;
        }
    }

    fn take_one(&mut self, shard: usize) {
        let places = self.shards[shard].iter();
        let worst = places.max_by_key(|node| (self.crowd(shard, **node, None), self.held(**node), **node));
        if let Some(node) = worst.copied() {
            self.shards[shard].retain(|other| *other != node);
            *self.held.entry(node).or_default() -= 1;
        }
    }

    fn swap(&mut self, shard: usize, from: NodeId, to: NodeId) {
        for place in &mut self.shards[shard] {
            if *place == from {
                *place = to;
            }
        }
        *self.held.entry(from).or_default() -= 1;
        *self.held.entry(to).or_default() += 1;
    }

    /// Moves one replica that shares its zone to a zone with fewer of the shard's. Returns whether there was one.
    fn spread_zones(&mut self) -> bool {
        for shard in 0..self.shards.len() {
            let places = self.shards[shard].clone();
            let crowded = places
                .iter()
                .max_by_key(|node| (self.crowd(shard, **node, None), self.held(**node)));
            let Some(from) = crowded.copied() else { continue };
            let crowd = self.crowd(shard, from, None);
            let free = self.nodes.keys().filter(|node| !places.contains(node));
            let best = free.min_by_key(|node| (self.crowd(shard, **node, Some(from)), self.held(**node), **node));
            if let Some(to) = best.copied().filter(|to| self.crowd(shard, *to, Some(from)) < crowd) {
                self.swap(shard, from, to);
                return true;
            }
        }
        false
    }

    /// Moves one replica from a node that holds more to one that holds at least two fewer, no zone the worse for it: directly,
    /// or the one between them, where a third node lies on the way. Returns whether there was one.
    fn even_out(&mut self) -> bool {
        let mut most: Vec<NodeId> = self.held.keys().copied().collect();
        most.sort_by_key(|node| (std::cmp::Reverse(self.held(*node)), *node));
        for from in &most {
            for to in most.iter().rev() {
                if self.held(*from) < self.held(*to) + 2 {
                    break;
                }
                if let Some(shard) = self.movable(*from, *to) {
                    self.swap(shard, *from, *to);
                    return true;
                }
                let between = most.iter().filter(|middle| *middle != from && *middle != to);
                let chain = between.copied().find_map(|middle| {
                    let first = self.movable(*from, middle)?;
                    let second = self.movable(middle, *to)?;
                    (first != second).then_some((middle, first, second))
                });
                if let Some((middle, first, second)) = chain {
                    self.swap(second, middle, *to);
                    self.swap(first, *from, middle);
                    return true;
                }
            }
        }
        false
    }

    /// A shard whose replica may move between two nodes.
    fn movable(&self, from: NodeId, to: NodeId) -> Option<usize> {
        (0..self.shards.len()).find(|shard| {
            let places = &self.shards[*shard];
            places.contains(&from)
                && !places.contains(&to)
                && self.crowd(*shard, to, Some(from)) <= self.crowd(*shard, from, None)
        })
    }

    /// Puts the node that should lead each shard first. Those that stand first now stay, as far as that is even.
    fn choose_leaders(mut self) -> Vec<Vec<NodeId>> {
        let mut led: BTreeMap<NodeId, usize> = self.nodes.keys().map(|node| (*node, 0)).collect();
        for places in self.shards.iter().filter(|places| !places.is_empty()) {
            *led.entry(places[0]).or_default() += 1;
        }
        while let Some(path) = self.relief(&led) {
            let (first, last) = (path[0].1, path[path.len() - 1].2);
            for (shard, _, to) in path {
                let places = &mut self.shards[shard];
                if let Some(at) = places.iter().position(|node| *node == to) {
                    places.swap(0, at);
                }
            }
            *led.entry(first).or_default() -= 1;
            *led.entry(last).or_default() += 1;
        }
        self.shards
    }

    /// The shortest chain of leaderships, each passed on by its holder, from a node that leads more to one that leads at least
    /// two fewer: (shard, from, to) each.
    fn relief(&self, led: &BTreeMap<NodeId, usize>) -> Option<Vec<(usize, NodeId, NodeId)>> {
        let mut heavy: Vec<NodeId> = led.keys().copied().collect();
        heavy.sort_by_key(|node| (std::cmp::Reverse(led[node]), *node));
        for start in heavy {
            let mut came: BTreeMap<NodeId, (usize, NodeId)> = BTreeMap::new();
            let mut seen = BTreeSet::from([start]);
            let mut queue = VecDeque::from([start]);
            while let Some(node) = queue.pop_front() {
                if led[&node] + 2 <= led[&start] {
                    let mut path = Vec::new();
                    let mut to = node;
                    while let Some((shard, from)) = came.get(&to) {
                        path.push((*shard, *from, to));
                        to = *from;
                    }
                    path.reverse();
                    return Some(path);
                }
                for (shard, places) in self.shards.iter().enumerate() {
                    if places.first() == Some(&node) {
                        for to in &places[1..] {
                            if seen.insert(*to) {
                                came.insert(*to, (shard, node));
                                queue.push_back(*to);
                            }
                        }
                    }
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nodes(zones: &[&str]) -> BTreeMap<NodeId, Candidate> {
        let numbered = zones.iter().zip(1..);
        numbered
            .map(|(zone, id)| {
                let zone = (*zone).to_owned();
                (NodeId(id), Candidate { zone })
            })
            .collect()
    }

    fn counts(nodes: &BTreeMap<NodeId, Candidate>, of: impl Iterator<Item = NodeId>) -> Vec<usize> {
        let mut counts: BTreeMap<NodeId, usize> = nodes.keys().map(|node| (*node, 0)).collect();
        for node in of {
            *counts.get_mut(&node).unwrap() += 1;
        }
        counts.into_values().collect()
    }

    fn within_one(counts: &[usize]) -> bool {
        counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1
    }

    fn moved(before: &[Vec<NodeId>], after: &[Vec<NodeId>]) -> usize {
        let pairs = before.iter().zip(after);
        pairs
            .map(|(before, after)| after.iter().filter(|node| !before.contains(node)).count())
            .sum()
    }

    #[test]
    fn three_nodes_become_five_and_three_again_with_as_few_moves_as_possible() {
        let three = nodes(&["", "", ""]);
        let five = nodes(&["", "", "", "", ""]);
        let first = place(&three, 3, &vec![Vec::new(); 64]);
        assert_eq!(counts(&three, first.iter().flatten().copied()), [64, 64, 64]);
        assert!(within_one(&counts(&three, first.iter().map(|places| places[0]))));
        let grown = place(&five, 3, &first);
        let held = counts(&five, grown.iter().flatten().copied());
        assert!(within_one(&held), "{held:?}");
        assert!(within_one(&counts(&five, grown.iter().map(|places| places[0]))));
        assert_eq!(moved(&first, &grown), held[3] + held[4], "only onto the new nodes");
        let shrunk = place(&three, 3, &grown);
        assert_eq!(moved(&grown, &shrunk), held[3] + held[4], "only off the ones that left");
    }

    #[test]
    fn no_two_replicas_share_a_zone_while_another_has_room() {
        let zoned = nodes(&["a", "a", "b", "b", "c"]);
        let places = place(&zoned, 3, &vec![Vec::new(); 12]);
        for shard in &places {
            let zones: BTreeSet<_> = shard.iter().map(|node| &zoned[node].zone).collect();
            assert_eq!(zones.len(), 3, "{shard:?}");
        }
    }

    fn any_cluster() -> impl Strategy<Value = (BTreeMap<NodeId, Candidate>, usize, Vec<Vec<NodeId>>)> {
        let zones = prop::collection::vec(prop::sample::select(vec!["", "a", "b", "c"]), 1..9);
        let current = prop::collection::vec(prop::collection::vec(1_u64..12, 0..6), 1..40);
        (zones, 1_usize..6, current).prop_map(|(zones, replicas, current)| {
            let current = current
                .into_iter()
                .map(|ids| ids.into_iter().map(NodeId).collect())
                .collect();
            (nodes(&zones), replicas, current)
        })
    }

    proptest! {
        #[test]
        fn any_placement_is_whole_zone_aware_and_final((nodes, replicas, current) in any_cluster()) {
            let places = place(&nodes, replicas, &current);
            prop_assert_eq!(places.len(), current.len());
            for shard in &places {
                let distinct: BTreeSet<_> = shard.iter().collect();
                prop_assert_eq!(distinct.len(), replicas.min(nodes.len()));
                prop_assert!(shard.iter().all(|node| nodes.contains_key(node)));
                let zones = |nodes: &mut dyn Iterator<Item = &NodeId>, of: &BTreeMap<NodeId, Candidate>| {
                    nodes.map(|node| of[node].zone.clone()).collect::<BTreeSet<_>>().len()
                };
                let all = zones(&mut nodes.keys(), &nodes);
                prop_assert_eq!(zones(&mut shard.iter(), &nodes), all.min(shard.len()));
            }
            prop_assert_eq!(place(&nodes, replicas, &places), places, "a placement that stands is left alone");
        }

        #[test]
        fn without_zones_replicas_and_leaders_are_within_one_of_even(
            (nodes, replicas, current) in any_cluster(),
        ) {
            let nodes: BTreeMap<_, _> = nodes.into_keys().map(|node| (node, Candidate { zone: String::new() })).collect();
            let places = place(&nodes, replicas, &current);
            prop_assert!(within_one(&counts(&nodes, places.iter().flatten().copied())));
            prop_assert!(within_one(&counts(&nodes, places.iter().map(|places| places[0]))));
        }

        #[test]
        fn a_node_that_comes_or_goes_moves_no_more_than_its_share((nodes, replicas, current) in any_cluster(), gone in 1_u64..9) {
            let nodes: BTreeMap<_, _> = nodes.into_keys().map(|node| (node, Candidate { zone: String::new() })).collect();
            prop_assume!(nodes.len() > replicas && nodes.contains_key(&NodeId(gone)));
            let before = place(&nodes, replicas, &current);
            let mut fewer = nodes.clone();
            fewer.remove(&NodeId(gone));
            let after = place(&fewer, replicas, &before);
            let held = before.iter().flatten().filter(|node| **node == NodeId(gone)).count();
            // Each of the others may be one above another before and has to be even after.
            prop_assert!(moved(&before, &after) <= held + nodes.len());
            let back = place(&nodes, replicas, &after);
            let share = (replicas * before.len()).div_ceil(nodes.len());
            prop_assert!(moved(&after, &back) <= share + nodes.len());
        }
    }
}
