//! Answers that come late, twice, not at all, or say no.

use super::*;
use crate::OpsError;

#[test]
fn a_commit_counts_only_when_the_hub_says_so() {
    let (mut hub, mut all) = alice_and_bob();
    let update = all[0].commit(&room(), &RoomChange::Pending).unwrap();
    assert_eq!(epoch(&all[0]), 1);
    assert_eq!(all[0].unanswered_update(&room()), Some(update.as_slice()));
    assert!(matches!(
        all[0].commit(&room(), &RoomChange::Pending),
        Err(OpsError::Unanswered { .. })
    ));
    hub.update(&mut all, 0, &update);
    assert_eq!(epoch(&all[0]), 2);
    assert!(all[0].unanswered_update(&room()).is_none());
    assert_agreement(&all);
}

#[test]
fn an_own_commit_in_the_stream_is_as_good_as_its_answer() {
    let (mut hub, mut all) = alice_and_bob();
    let update = all[0].commit(&room(), &RoomChange::Pending).unwrap();
    let events = hub.fan_out(&update);
    assert_eq!(all[0].receive(&room(), &events[0]).unwrap(), Received::Epoch(2));
    assert!(all[0].unanswered_update(&room()).is_none());
    // The answer still comes: it changes nothing.
    assert_eq!(
        all[0].update_answered(&room(), &success()).unwrap(),
        UpdateAnswer::Accepted
    );
    assert_eq!(epoch(&all[0]), 2);
    deliver(&mut all, &events[0]);
    assert_agreement(&all);
}

#[test]
fn an_own_external_commit_in_the_stream_is_as_good_as_its_answer() {
    let (mut hub, mut all) = alice_and_bob();
    all.push(client("bob", "B3"));
    let (query, request) = all[3].group_info_request(&room(), None).unwrap();
    let update = all[3]
        .external_commit(&room(), &query, &hub.group_info_response(&request), None)
        .unwrap();
    let events = hub.fan_out(&update);
    assert_eq!(all[3].receive(&room(), &events[0]).unwrap(), Received::Epoch(2));
    deliver(&mut all, &events[0]);
    assert_agreement(&all);
}

#[test]
fn protocol_5_3_wrong_epoch_takes_the_commit_back_and_it_is_built_anew() {
    let (mut hub, mut all) = alice_and_bob();
    all.push(client("cathy", "C1"));
    let change = add_user(&all, "cathy");
    all[0].commit(&room(), &change).unwrap();
    // Bob was faster.
    let faster = all[1].commit(&room(), &RoomChange::Pending).unwrap();
    assert_eq!(
        all[0].update_answered(&room(), &wrong_epoch(2)).unwrap(),
        UpdateAnswer::WrongEpoch(2)
    );
    assert_eq!(epoch(&all[0]), 1);
    hub.update(&mut all, 1, &faster);
    assert_eq!(epoch(&all[0]), 2);
    hub.commit(&mut all, 0, &change);
    assert!(all[3].is_member(&room()));
    assert_agreement(&all);
}

#[test]
fn the_commit_of_another_overtakes_an_unanswered_one() {
    let (mut hub, mut all) = alice_and_bob();
    all[0].commit(&room(), &RoomChange::Pending).unwrap();
    let faster = all[1].commit(&room(), &RoomChange::Pending).unwrap();
    hub.update(&mut all, 1, &faster);
    assert_eq!(epoch(&all[0]), 2);
    assert!(all[0].unanswered_update(&room()).is_none());
    // The refusal comes after it, and finds nothing to take back.
    all[0].update_answered(&room(), &wrong_epoch(2)).unwrap();
    assert_agreement(&all);
    hub.commit(&mut all, 0, &RoomChange::Pending);
    assert_agreement(&all);
}

#[test]
fn a_refused_commit_leaves_waiting_proposals_where_they_are() {
    let (mut hub, mut all) = alice_and_bob();
    let leave = all[1].leave(&room()).unwrap();
    hub.update(&mut all, 1, &leave);
    all[0].commit(&room(), &RoomChange::Pending).unwrap();
    let refused = all[0]
        .update_answered(&room(), &response(UpdateOutcome::NotAllowed))
        .unwrap();
    assert!(matches!(refused, UpdateAnswer::Refused { code, .. } if code == "NotAllowed"));
    assert_eq!(all[0].room(&room()).unwrap().pending_proposals, 3);
    hub.commit(&mut all, 0, &RoomChange::Pending);
    assert!(all[1].is_removed(&room()));
}

#[test]
fn refused_proposals_are_taken_back() {
    let (mut hub, mut all) = alice_and_bob();
    all[1].leave(&room()).unwrap();
    assert_eq!(all[1].room(&room()).unwrap().pending_proposals, 3);
    all[1].update_answered(&room(), &wrong_epoch(2)).unwrap();
    assert_eq!(all[1].room(&room()).unwrap().pending_proposals, 0);
    hub.commit(&mut all, 1, &RoomChange::Pending);
    let leave = all[1].leave(&room()).unwrap();
    hub.update(&mut all, 1, &leave);
    hub.commit(&mut all, 0, &RoomChange::Pending);
    assert!(all[1].is_removed(&room()));
}

#[test]
fn a_refused_external_commit_can_be_tried_again() {
    let (mut hub, mut all) = alice_and_bob();
    all.push(client("bob", "B3"));
    let (query, request) = all[3].group_info_request(&room(), None).unwrap();
    let old = hub.group_info_response(&request);
    hub.commit(&mut all, 0, &RoomChange::Pending);
    all[3].external_commit(&room(), &query, &old, None).unwrap();
    assert_eq!(
        all[3].update_answered(&room(), &wrong_epoch(2)).unwrap(),
        UpdateAnswer::WrongEpoch(2)
    );
    let (query, request) = all[3].group_info_request(&room(), None).unwrap();
    let update = all[3]
        .external_commit(&room(), &query, &hub.group_info_response(&request), None)
        .unwrap();
    hub.update(&mut all, 3, &update);
    assert_agreement(&all);
}

#[test]
fn protocol_5_4_a_message_too_old_is_encrypted_anew() {
    let (hub, mut all) = alice_and_bob();
    let content = all[0].text(&room(), "hello").unwrap();
    let first = all[0].encrypt(&room(), &content).unwrap();
    assert_eq!(all[0].unanswered_message(&room()), Some(first.as_slice()));
    assert!(matches!(
        all[0].encrypt(&room(), &content),
        Err(OpsError::Unanswered { .. })
    ));
    let too_old = encode(&SubmitMessageResponse::EpochTooOld { current_epoch: 9 });
    assert_eq!(
        all[0].message_answered(&room(), &too_old).unwrap(),
        MessageAnswer::EpochTooOld(9)
    );
    assert_eq!(texts(&all[0]), Vec::<&str>::new());
    let second = all[0].encrypt(&room(), &content).unwrap();
    assert_ne!(first, second);
    all[0].message_answered(&room(), &accepted()).unwrap();
    deliver(&mut all, &message_event(&second));
    assert!(all.iter().all(|client| texts(client) == ["hello"]));
    hub.say(&mut all, 1, "still in step");
}

#[test]
fn octets_that_are_no_answer_leave_everything_unanswered() {
    let (_, mut all) = alice_and_bob();
    let content = all[0].text(&room(), "hello").unwrap();
    all[0].encrypt(&room(), &content).unwrap();
    all[0].commit(&room(), &RoomChange::Pending).unwrap();
    assert!(matches!(
        all[0].update_answered(&room(), b"<html>"),
        Err(OpsError::Answer { .. })
    ));
    assert!(matches!(
        all[0].message_answered(&room(), b"<html>"),
        Err(OpsError::Answer { .. })
    ));
    assert!(all[0].unanswered_update(&room()).is_some());
    assert!(all[0].unanswered_message(&room()).is_some());
}
