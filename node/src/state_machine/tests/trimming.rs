use super::*;

/// `count` messages, each with a request hash, from `first` on.
fn fill(replica: &Replica, first: u64, count: u64) {
    for seq in first..first + count {
        let mut event = accepted(&room(), seq, message(&[]));
        event.request = Some(request(seq));
        replica.accept(event);
    }
}

fn request(seq: u64) -> [u8; 32] {
    let mut hash = [0xee; 32];
    hash[..8].copy_from_slice(&seq.to_be_bytes());
    hash
}

#[test]
fn what_is_trimmed_goes_with_its_request_hash() {
    let replica = Replica::new();
    fill(&replica, 1, 10);
    replica.trim(&room(), 7);
    assert_eq!(replica.seqs(&room()), [7, 8, 9, 10]);
    let head = replica.head(&room());
    assert_eq!((head.first_seq, head.last_seq), (7, 10));
    for seq in 1..=10 {
        assert_eq!(
            replica.has(&keys::request(&room(), &request(seq))),
            seq >= 7,
            "number {seq}"
        );
    }
    fill(&replica, 11, 1);
    assert_eq!(replica.head(&room()).last_seq, 11, "numbers go on");
}

#[test]
fn a_followed_rooms_message_hashes_go_with_the_event() {
    let replica = Replica::new();
    replica.accept(accepted(&followed(), 1, samples::notified(&[1, 2], &[], &[])));
    replica.accept(accepted(&followed(), 2, samples::notified(&[3], &[], &[])));
    replica.trim(&followed(), 2);
    let known = |number| replica.has(&keys::request(&followed(), &hash(number)));
    assert_eq!([known(1), known(2), known(3)], [false, false, true]);
}

#[test]
fn a_trim_leaves_the_last_event_and_never_goes_back() {
    let replica = Replica::new();
    replica.trim(&room(), 5);
    assert_eq!(replica.everything(), [], "of nothing, nothing is trimmed");
    fill(&replica, 1, 4);
    replica.trim(&room(), 3);
    let before = replica.everything();
    for first_seq in [0, 1, 2, 3] {
        replica.trim(&room(), first_seq);
        assert_eq!(replica.everything(), before);
    }
    replica.trim(&room(), u64::MAX);
    assert_eq!(replica.seqs(&room()), [4]);
    assert_eq!(replica.head(&room()).first_seq, 4);
}

#[test]
fn one_trim_is_bounded() {
    let replica = Replica::new();
    let last = TRIM_EVENTS_MAX + 100;
    fill(&replica, 1, last);
    assert_eq!(
        replica.seqs(&room()),
        (1..=last).collect::<Vec<_>>(),
        "more than one page of them"
    );
    replica.trim(&room(), u64::MAX);
    assert_eq!(replica.seqs(&room()), (TRIM_EVENTS_MAX + 1..=last).collect::<Vec<_>>());
    replica.trim(&room(), u64::MAX);
    assert_eq!(replica.seqs(&room()), [last]);
}

#[test]
fn what_a_rebuild_needs_outlives_a_trim() {
    let replica = Replica::new();
    replica.accept(accepted(&room(), 1, commit(&[], &[], &[])));
    replica.accept(accepted(&room(), 2, samples::checkpoint()));
    let mut second = accepted(&room(), 3, commit(&[], &[], &[]));
    second.request = Some(hash(3));
    replica.accept(second);
    fill(&replica, 4, 5);
    replica.trim(&room(), 8);
    assert_eq!(replica.seqs(&room()), [3, 8], "the Commit after the checkpoint stays");
    let marks = read::prefix(&replica.reader(), &keys::state_marks(&room())).unwrap();
    let marks: Vec<u64> = marks.iter().map(|(key, _)| keys::trailing_seq(key)).collect();
    assert_eq!(marks, [3]);
    assert!(
        !replica.has(&keys::request(&room(), &hash(3))),
        "a retry is beyond the limit all the same"
    );
}

#[test]
fn what_the_checkpoint_covers_is_trimmed() {
    let replica = Replica::new();
    for seq in 1..=3 {
        replica.accept(accepted(&room(), seq, commit(&[], &[], &[])));
    }
    replica.accept(accepted(&room(), 4, samples::checkpoint()));
    fill(&replica, 5, 2);
    replica.trim(&room(), 6);
    assert_eq!(replica.seqs(&room()), [6]);
    assert_eq!(
        read::prefix(&replica.reader(), &keys::state_marks(&room())).unwrap(),
        []
    );
    assert!(replica.has(&keys::checkpoint(&room())));
}

#[test]
fn what_a_trim_spared_goes_with_the_next_checkpoint() {
    let replica = Replica::new();
    replica.accept(accepted(&room(), 1, commit(&[], &[], &[])));
    fill(&replica, 2, 3);
    replica.accept(accepted(&room(), 5, commit(&[], &[], &[])));
    fill(&replica, 6, 2);
    replica.trim(&room(), 4);
    replica.trim(&room(), 7);
    assert_eq!(replica.seqs(&room()), [1, 5, 7], "no checkpoint covers the Commits yet");
    replica.accept(accepted(&room(), 8, samples::checkpoint()));
    assert_eq!(replica.seqs(&room()), [7, 8]);
    let marks = read::prefix(&replica.reader(), &keys::state_marks(&room())).unwrap();
    assert_eq!(marks, []);
    assert!(!replica.has(&keys::spared(&room())));
}
