//! What each command does to the meta state.

use proptest::prelude::*;

use super::*;

fn founded(nodes: u64) -> MetaState {
    let mut state = MetaState::default();
    let nodes: BTreeMap<_, _> = (1..=nodes)
        .map(|id| (NodeId(id), format!("10.0.0.{id}:7400")))
        .collect();
    let places = vec![nodes.keys().copied().take(3).collect(); 4];
    state
        .apply(MetaCommand::Found {
            nodes,
            replicas: 3,
            places,
        })
        .unwrap();
    state
}

fn refused(state: &MetaState, command: MetaCommand) -> MetaError {
    let mut after = state.clone();
    let error = after.apply(command).unwrap_err();
    assert_eq!(after, *state, "a refused command changes nothing");
    error
}

#[test]
fn a_node_is_drained_and_removed_only_when_enough_remain_and_it_holds_nothing() {
    let three = founded(3);
    let drain = |id, force| MetaCommand::Drain {
        node: NodeId(id),
        force,
    };
    let remove = |id| MetaCommand::Remove { node: NodeId(id) };
    assert!(matches!(
        refused(&three, drain(1, false)),
        MetaError::TooFew { remaining: 2, .. }
    ));
    assert_eq!(refused(&three, remove(1)), MetaError::Active(NodeId(1)));
    assert_eq!(refused(&three, drain(9, true)), MetaError::Unknown(NodeId(9)));
    let mut four = founded(4);
    four.apply(drain(1, false)).unwrap();
    let holding = MetaError::Holding {
        node: NodeId(1),
        shards: 4,
    };
    assert_eq!(refused(&four, remove(1)), holding);
    let places = (0..4).map(|shard| (shard, [2, 3, 4].map(NodeId).to_vec())).collect();
    four.apply(MetaCommand::Place {
        against: four.version,
        places,
    })
    .unwrap();
    four.apply(remove(1)).unwrap();
    let join = MetaCommand::Join {
        node: NodeId(1),
        address: "10.0.0.1:7400".to_owned(),
        zone: String::new(),
    };
    assert_eq!(refused(&four, join), MetaError::Removed(NodeId(1)));
    let mut lone = founded(1);
    assert!(matches!(refused(&lone, drain(1, true)), MetaError::TooFew { .. }));
    lone.apply(MetaCommand::Undrain { node: NodeId(1) }).unwrap();
    let mut forced = founded(3);
    forced.apply(drain(1, true)).unwrap();
    forced.apply(MetaCommand::Undrain { node: NodeId(1) }).unwrap();
    assert_eq!(forced.nodes[&NodeId(1)].standing, Standing::Active);
}

#[test]
fn a_placement_decided_against_an_older_state_is_refused() {
    let mut state = founded(4);
    let against = state.version;
    let place = |ids: &[u64]| MetaCommand::Place {
        against,
        places: BTreeMap::from([(0, ids.iter().copied().map(NodeId).collect())]),
    };
    assert_eq!(refused(&state, place(&[1, 1, 2])), MetaError::Misplaced(NodeId(1)));
    assert_eq!(refused(&state, place(&[1, 2, 7])), MetaError::Misplaced(NodeId(7)));
    state.apply(place(&[2, 3, 4])).unwrap();
    assert_eq!(refused(&state, place(&[1, 2, 3])), MetaError::Stale);
    assert_eq!(state.place(ShardId(0)), [2, 3, 4].map(NodeId));
}

#[test]
fn a_format_is_raised_when_every_node_understands_it_and_older_nodes_are_refused_then() {
    let mut state = founded(3);
    let announce = |id, format| MetaCommand::Announce {
        node: NodeId(id),
        address: format!("10.0.0.{id}:7400"),
        zone: "z".to_owned(),
        format,
    };
    let raise = MetaCommand::Raise { format: 2 };
    for (id, format) in [(1, 2), (2, 2), (3, 1)] {
        state.apply(announce(id, format)).unwrap();
    }
    let not_yet = MetaError::NotYet {
        node: NodeId(3),
        format: 2,
    };
    assert_eq!(refused(&state, raise.clone()), not_yet);
    state.apply(announce(3, 2)).unwrap();
    state.apply(raise).unwrap();
    assert_eq!(state.format, 2);
    assert!(matches!(refused(&state, announce(3, 1)), MetaError::TooOld { .. }));
}

#[test]
fn keys_are_replaced_only_by_who_has_seen_the_last() {
    let mut state = founded(1);
    let keys = |against| MetaCommand::Keys { against, keys: vec![7] };
    state.apply(keys(0)).unwrap();
    assert_eq!(refused(&state, keys(0)), MetaError::Stale);
    state.apply(keys(1)).unwrap();
    assert_eq!(state.keys_version, 2);
}

#[test]
fn the_meta_group_has_few_voters_spread_over_zones_and_every_node_as_a_learner() {
    let mut state = founded(9);
    for id in 1..=9 {
        let zone = if id <= 6 { "a" } else { "b" };
        let announce = MetaCommand::Announce {
            node: NodeId(id),
            address: String::new(),
            zone: zone.to_owned(),
            format: 1,
        };
        state.apply(announce).unwrap();
    }
    let target = state.meta_target(&Members::default());
    assert_eq!(target.voters.len(), 5);
    assert_eq!(target.learners.len(), 4);
    let in_b = target.voters.iter().filter(|node| node.0 > 6).count();
    assert_eq!(in_b, 2);
    let members = Members {
        voters: target.voters.iter().copied().collect(),
        ..Members::default()
    };
    let again = state.meta_target(&members);
    assert_eq!(
        again.voters.iter().collect::<BTreeSet<_>>(),
        target.voters.iter().collect()
    );
}

fn any_command() -> impl Strategy<Value = MetaCommand> {
    let node = || (1_u64..7).prop_map(NodeId);
    prop_oneof![
        (node(), any::<bool>()).prop_map(|(node, force)| MetaCommand::Drain { node, force }),
        node().prop_map(|node| MetaCommand::Undrain { node }),
        node().prop_map(|node| MetaCommand::Remove { node }),
        node().prop_map(|node| MetaCommand::Away { node }),
        node().prop_map(|node| MetaCommand::Back { node }),
        (node(), 0_u16..4).prop_map(|(node, format)| MetaCommand::Announce {
            node,
            address: "x:1".to_owned(),
            zone: "z".to_owned(),
            format,
        }),
        node().prop_map(|node| MetaCommand::Join {
            node,
            address: "x:1".to_owned(),
            zone: "z".to_owned(),
        }),
        (0_u64..12, prop::collection::vec(node(), 0..4)).prop_map(|(against, place)| MetaCommand::Place {
            against,
            places: BTreeMap::from([(1, place)]),
        }),
        (0_u16..4).prop_map(|format| MetaCommand::Raise { format }),
    ]
}

proptest! {
    #[test]
    fn whatever_is_asked_places_name_present_nodes_once_and_the_last_active_node_stays(
        commands in prop::collection::vec(any_command(), 0..40),
    ) {
        let mut state = founded(4);
        for command in commands {
            let before = state.clone();
            let bytes = encode(&command).unwrap();
            prop_assert_eq!(&decode::<MetaCommand>(&bytes).unwrap(), &command);
            if state.apply(command).is_err() {
                prop_assert_eq!(&before, &state);
            }
            for place in &state.places {
                let distinct: BTreeSet<_> = place.iter().collect();
                prop_assert_eq!(distinct.len(), place.len());
                prop_assert!(place.iter().all(|node| state.nodes[node].standing != Standing::Removed));
            }
            prop_assert!(state.format >= before.format);
        }
    }
}
