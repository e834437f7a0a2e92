//! The core as a whole: of one node here, simulated clusters in `several`.

mod several;
mod sim;

use std::time::Duration;

use mimi_hub_storage::{ClusterId, MemoryLog, MemoryStore};
use raft::eraftpb::{Entry, EntryType, Message, MessageType};

use super::*;
use crate::config::ClusterConfig;
use crate::machine::Leadership;
use crate::recovery;

/// A core of one node with `shards` shards that nothing has been done with.
fn alone(shards: u32, change: impl FnOnce(&mut ClusterConfig)) -> Core {
    let mut config = ClusterConfig::single_node(ClusterId([1; 16]), NodeId(1), shards);
    change(&mut config);
    let groups = recovery::recover(&config, &MemoryLog::default(), &MemoryStore::default()).unwrap();
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    Core::new(CoreConfig::new(&config, logger), Duration::ZERO, groups).unwrap()
}

/// Steps until the core asks for nothing more; everything is applied at once. Returns what was applied, by shard and index.
fn settle(core: &mut Core, inputs: Vec<Input>) -> (Vec<(u32, u64)>, Vec<Outputs>) {
    let (mut applied, mut outputs) = (Vec::new(), Vec::new());
    let mut inputs = inputs;
    loop {
        let out = core.step(Duration::ZERO, std::mem::take(&mut inputs));
        inputs.extend(out.write.iter().map(|write| Input::Persisted { write: write.number }));
        for work in &out.apply {
            applied.extend(work.entries.iter().map(|entry| (work.shard.0, entry.index)));
            let index = work.entries.last().unwrap().index;
            inputs.push(Input::Applied {
                shard: work.shard,
                index,
            });
        }
        outputs.push(out);
        if inputs.is_empty() {
            return (applied, outputs);
        }
    }
}

fn propose(shard: u32, id: RequestId, command: &[u8]) -> Input {
    Input::Propose {
        shard: ShardId(shard),
        id,
        data: crate::entry::encode(command),
    }
}

#[test]
fn a_lone_node_leads_all_shards_after_one_write() {
    let mut core = alone(64, |_| {});
    let out = core.step(Duration::ZERO, []);
    let write = out.write.unwrap();
    assert_eq!(write.batch.groups().count(), 64);
    assert!(out.leadership.is_empty(), "nothing is durable yet");
    let (applied, outputs) = settle(&mut core, vec![Input::Persisted { write: write.number }]);
    assert_eq!(applied.len(), 64);
    assert!(outputs.iter().all(|out| out.write.is_none()));
    let led: Vec<_> = outputs.into_iter().flat_map(|out| out.leadership).collect();
    assert_eq!(led.len(), 64);
    assert!(
        led.iter()
            .all(|(_, state)| *state == Leadership::Leader { term: 2, since: 2 }),
        "{led:?}"
    );
}

#[test]
fn the_groups_of_a_lone_node_sleep_until_something_comes() {
    let mut core = alone(2, |_| {});
    settle(&mut core, Vec::new());
    let asleep = |core: &Core| core.status(ShardId(1)).unwrap().asleep;
    let mut now = Duration::ZERO;
    while !asleep(&core) {
        now += Duration::from_millis(50);
        assert!(now < Duration::from_secs(2), "it does not sleep");
        core.step(now, []);
    }
    let (applied, _) = settle(&mut core, vec![propose(1, 1, b"command")]);
    assert_eq!((applied, asleep(&core)), (vec![(1, 3)], false));
}

#[test]
fn nothing_is_applied_before_it_is_durable() {
    let mut core = alone(1, |_| {});
    settle(&mut core, Vec::new());
    let out = core.step(Duration::ZERO, [propose(0, 1, b"one"), propose(0, 2, b"two")]);
    assert!(out.apply.is_empty() && out.answers.is_empty());
    let write = out.write.unwrap();
    // While the write is under way, requests are taken in, but nothing comes out.
    let busy = core.step(Duration::ZERO, [propose(0, 3, b"three")]);
    assert!(busy.apply.is_empty() && busy.write.is_none());
    let out = core.step(Duration::ZERO, [Input::Persisted { write: write.number }]);
    let requests: Vec<_> = out
        .apply
        .iter()
        .flat_map(|work| &work.entries)
        .map(|entry| entry.request)
        .collect();
    assert_eq!(requests, [Some(1), Some(2)]);
    assert!(out.write.is_some(), "the third goes with the next write");
}

#[test]
fn one_write_serves_all_shards_and_keeps_the_order_of_each() {
    let mut core = alone(3, |_| {});
    settle(&mut core, Vec::new());
    let inputs = (0..30).map(|id| propose((id % 3) as u32, id, b"command")).collect();
    let (applied, outputs) = settle(&mut core, inputs);
    assert_eq!(outputs.iter().filter(|out| out.write.is_some()).count(), 1);
    for shard in 0..3 {
        let indices: Vec<u64> = applied
            .iter()
            .filter(|(of, _)| *of == shard)
            .map(|(_, index)| *index)
            .collect();
        assert_eq!(indices, (3..13).collect::<Vec<_>>());
        let entries = outputs
            .iter()
            .flat_map(|out| &out.apply)
            .filter(|work| work.shard.0 == shard);
        let requests: Vec<_> = entries
            .flat_map(|work| &work.entries)
            .filter_map(|entry| entry.request)
            .collect();
        assert!(requests.is_sorted() && requests.len() == 10, "{requests:?}");
    }
}

#[test]
fn a_read_waits_for_a_commit_of_the_term_and_for_what_is_acknowledged() {
    let mut core = alone(1, |_| {});
    let shard = ShardId(0);
    // Asked before the leader has committed anything.
    let out = core.step(Duration::ZERO, [Input::Read { shard, id: 7 }]);
    assert!(out.answers.is_empty());
    let out = core.step(
        Duration::ZERO,
        [Input::Persisted {
            write: out.write.unwrap().number,
        }],
    );
    assert!(out.answers.is_empty() && out.apply.len() == 1);
    let out = core.step(Duration::ZERO, [Input::Applied { shard, index: 2 }]);
    assert_eq!(out.answers, [(7, Ok(()))]);
    // Committed, but not applied.
    let out = core.step(Duration::ZERO, [propose(0, 8, b"command")]);
    core.step(
        Duration::ZERO,
        [Input::Persisted {
            write: out.write.unwrap().number,
        }],
    );
    assert!(
        core.step(Duration::ZERO, [Input::Read { shard, id: 9 }])
            .answers
            .is_empty()
    );
    assert_eq!(
        core.step(Duration::ZERO, [Input::Applied { shard, index: 3 }]).answers,
        [(9, Ok(()))]
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut core = alone(1, |config| {
        config.max_unapplied_bytes = 1000;
        config.max_queued = 1;
    });
    settle(&mut core, Vec::new());
    let out = core.step(Duration::ZERO, [propose(0, 1, &[0; 2000])]);
    let out = core.step(
        Duration::ZERO,
        [Input::Persisted {
            write: out.write.unwrap().number,
        }],
    );
    assert_eq!((out.apply.len(), core.unapplied_bytes()), (1, 2001));
    let shard = ShardId(0);
    let reads = [Input::Read { shard, id: 3 }, Input::Read { shard, id: 4 }];
    let out = core.step(
        Duration::ZERO,
        [propose(0, 2, b"x"), propose(9, 5, b"x")].into_iter().chain(reads),
    );
    let refused = [
        (2, Err(ProposeError::Overloaded)),
        (5, Err(ProposeError::NoSuchShard(ShardId(9)))),
        (4, Err(ProposeError::Overloaded)),
    ];
    assert_eq!(out.answers, refused);
    let out = core.step(Duration::ZERO, [Input::Applied { shard, index: 3 }]);
    assert_eq!((core.unapplied_bytes(), out.answers), (0, vec![(3, Ok(()))]));
    assert!(core.step(Duration::ZERO, [propose(0, 6, b"x")]).write.is_some());
}

#[test]
fn uncommitted_entries_are_bounded() {
    let mut core = alone(1, |config| config.max_uncommitted_bytes = 1 << 20);
    settle(&mut core, Vec::new());
    let out = core.step(Duration::ZERO, (1..=20).map(|id| propose(0, id, &[0; 100 << 10])));
    let overloaded = out
        .answers
        .iter()
        .filter(|(_, answer)| *answer == Err(ProposeError::Overloaded))
        .count();
    assert!((8..=12).contains(&overloaded), "{overloaded} of 20 refused");
}

#[test]
fn the_log_is_compacted_behind_the_flushed_state_with_a_margin() {
    let mut core = alone(1, |config| config.keep_entries = 10);
    let shard = ShardId(0);
    settle(&mut core, (1..=100).map(|id| propose(0, id, b"command")).collect());
    let last = core.status(shard).unwrap().last_index;
    settle(&mut core, vec![Input::Flushed { shard, index: 15 }]);
    assert_eq!(core.status(shard).unwrap().first_index, 2, "too little to be worth it");
    // Beyond what is applied counts no more than that.
    let (_, outputs) = settle(
        &mut core,
        vec![Input::Flushed {
            shard,
            index: last + 50,
        }],
    );
    assert!(
        outputs.iter().all(|out| out.write.is_none()),
        "goes with the next write"
    );
    assert_eq!(core.status(shard).unwrap().first_index, last - 9);
    let (_, outputs) = settle(&mut core, vec![propose(0, 200, b"command")]);
    let write = outputs.iter().find_map(|out| out.write.as_ref()).unwrap();
    let compacted: Vec<_> = write.batch.groups().map(|(_, group)| group.compact_to).collect();
    assert_eq!(compacted, [Some(last - 10)]);
}

#[test]
fn a_broken_group_breaks_the_core_and_is_named() {
    let mut core = alone(2, |_| {});
    settle(&mut core, Vec::new());
    // An applied index beyond what is committed breaks an invariant of raft-rs, which panics.
    let out = core.step(
        Duration::ZERO,
        [Input::Applied {
            shard: ShardId(1),
            index: 99,
        }],
    );
    let fatal = out.fatal.unwrap();
    assert_eq!(fatal.shard, Some(ShardId(1)));
    assert!(fatal.cause.contains("applied(99)"), "{}", fatal.cause);
    let out = core.step(Duration::from_secs(9), [propose(0, 1, b"command")]);
    assert!(out.write.is_none() && out.frames.is_empty() && out.apply.is_empty());
}

#[test]
fn an_entry_that_is_not_understood_stops_the_node() {
    let mut config = ClusterConfig::single_node(ClusterId([1; 16]), NodeId(1), 1);
    config.nodes = vec![NodeId(1), NodeId(2)];
    let groups = recovery::recover(&config, &MemoryLog::default(), &MemoryStore::default()).unwrap();
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    let mut core = Core::new(CoreConfig::new(&config, logger), Duration::ZERO, groups).unwrap();
    let mut entry = Entry {
        index: 2,
        term: 5,
        ..Entry::default()
    };
    entry.set_entry_type(EntryType::EntryConfChange);
    let mut message = Message {
        from: 2,
        to: 1,
        term: 5,
        log_term: 1,
        index: 1,
        commit: 2,
        ..Message::default()
    };
    message.set_msg_type(MessageType::MsgAppend);
    message.set_entries(vec![entry].into());
    let frame = Frame {
        from: NodeId(2),
        to: NodeId(1),
        messages: vec![(ShardId(0), message)],
    };
    let out = core.step(Duration::ZERO, [Input::Frame(frame)]);
    let out = core.step(
        Duration::ZERO,
        [Input::Persisted {
            write: out.write.unwrap().number,
        }],
    );
    assert!(out.fatal.unwrap().cause.contains("changes the members"));
}

#[test]
fn a_message_that_is_not_from_its_sender_is_dropped() {
    let mut core = alone(1, |_| {});
    settle(&mut core, Vec::new());
    let mut message = Message {
        from: 3,
        to: 1,
        term: 99,
        ..Message::default()
    };
    message.set_msg_type(MessageType::MsgHeartbeat);
    let term = core.status(ShardId(0)).unwrap().term;
    let frame = |message| {
        Input::Frame(Frame {
            from: NodeId(2),
            to: NodeId(1),
            messages: vec![(ShardId(0), message)],
        })
    };
    settle(
        &mut core,
        vec![
            frame(message.clone()),
            frame(Message {
                from: 2,
                to: 4,
                ..message
            }),
        ],
    );
    assert_eq!(core.status(ShardId(0)).unwrap().term, term);
}

#[test]
fn what_waits_for_the_next_write_is_in_the_parting_write_once() {
    let mut core = alone(1, |_| {});
    settle(&mut core, vec![propose(0, 1, b"command")]);
    let parting = core.parting_write();
    let commits: Vec<_> = parting
        .groups()
        .map(|(_, group)| group.hard_state.as_ref().map(|state| state.commit))
        .collect();
    assert_eq!(commits, [Some(3)]);
    assert!(core.parting_write().is_empty());
}
