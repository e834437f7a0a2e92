//! What must hold at the end, judged from what the clients themselves have decrypted. Pure.
//!
//! Who must have a message: every client that was in the message's epoch, as long as it stayed long enough. A hub accepts
//! messages of an epoch for a while after it is over ([`PAST_EPOCHS`]), and does not deliver to those who are out by then.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use mimi_hub_proto::FanoutEvent;
use mimi_hub_proto::FanoutMessage;
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::RoomUri;
use sha2::{Digest as _, Sha256};

use crate::OpsError;
use crate::client::{ClientState, RoomEvent};

/// Epochs after its own in which a message may still be accepted: `room.past_epochs_max` of a hub's configuration, as it is by
/// default.
const PAST_EPOCHS: u64 = 2;

/// What one client knows of a room.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness {
    pub(super) name: String,
    /// In the group at the end.
    pub(super) member: bool,
    /// The epochs it has been in, with their authenticators.
    pub(super) epochs: BTreeMap<u64, Vec<u8>>,
    /// Messages in its order: salt and epoch.
    pub(super) transcript: Vec<(Vec<u8>, u64)>,
    /// Own messages that were accepted and never came back.
    pub(super) undelivered: usize,
}

/// What is wrong. All zero is right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) lost: usize,
    pub(super) duplicates: usize,
    pub(super) order_violations: usize,
    pub(super) forked_epochs: usize,
    /// In words; the first few.
    pub(super) details: Vec<String>,
}

const DETAILS_MAX: usize = 20;

impl Witness {
    pub(super) fn of(state: &ClientState, room: &RoomUri) -> Self {
        Self {
            name: state.identity().client().to_string(),
            member: state.is_member(room),
            epochs: state.epochs(room).map(|(epoch, key)| (epoch, key.to_vec())).collect(),
            transcript: state
                .transcript(room)
                .iter()
                .map(|entry| (entry.salt.clone(), entry.epoch))
                .collect(),
            undelivered: state.undelivered(room),
        }
    }

    /// The first epoch of the unbroken time in the room that `epoch` belongs to.
    fn joined_before(&self, epoch: u64) -> u64 {
        let mut first = epoch;
        while first > 0 && self.epochs.contains_key(&(first - 1)) {
            first -= 1;
        }
        first
    }
}

impl Findings {
    pub(super) fn is_clean(&self) -> bool {
        self.lost + self.duplicates + self.order_violations + self.forked_epochs == 0
    }

    pub(super) fn add(&mut self, other: Findings) {
        self.lost += other.lost;
        self.duplicates += other.duplicates;
        self.order_violations += other.order_violations;
        self.forked_epochs += other.forked_epochs;
        for detail in other.details {
            self.say(detail);
        }
    }

    fn say(&mut self, detail: String) {
        if self.details.len() < DETAILS_MAX {
            self.details.push(detail);
        }
    }
}

/// Compares what the clients of one room know. The first has been in the room from its beginning to the end.
pub(super) fn examine(room: &str, witnesses: &[Witness]) -> Findings {
    let mut findings = Findings::default();
    let mut keys: BTreeMap<u64, BTreeSet<&[u8]>> = BTreeMap::new();
    for (epoch, key) in witnesses.iter().flat_map(|witness| &witness.epochs) {
        keys.entry(*epoch).or_default().insert(key);
    }
    for (epoch, keys) in keys.iter().filter(|(_, keys)| keys.len() > 1) {
        findings.forked_epochs += 1;
        findings.say(format!("{room}: epoch {epoch} has {} authenticators", keys.len()));
    }
    let Some(reference) = witnesses.first() else {
        return findings;
    };
    let places: HashMap<&[u8], usize> = reference
        .transcript
        .iter()
        .enumerate()
        .map(|(place, (salt, _))| (salt.as_slice(), place))
        .collect();
    let all: BTreeMap<&[u8], u64> = witnesses
        .iter()
        .flat_map(|witness| &witness.transcript)
        .map(|(salt, epoch)| (salt.as_slice(), *epoch))
        .collect();
    for witness in witnesses {
        let name = &witness.name;
        let own: HashSet<&[u8]> = witness.transcript.iter().map(|(salt, _)| salt.as_slice()).collect();
        if own.len() < witness.transcript.len() {
            findings.duplicates += witness.transcript.len() - own.len();
            findings.say(format!("{room}: {name} has messages twice"));
        }
        let order: Vec<usize> = witness
            .transcript
            .iter()
            .filter_map(|(salt, _)| places.get(salt.as_slice()).copied())
            .collect();
        let violations = order.windows(2).filter(|pair| pair[0] > pair[1]).count();
        if violations > 0 {
            findings.order_violations += violations;
            findings.say(format!("{room}: {name} has {violations} messages out of order"));
        }
        let mut lost = witness.undelivered;
        // The last place it has something at, by the time in the room.
        let mut last: HashMap<u64, usize> = HashMap::new();
        for (salt, epoch) in &witness.transcript {
            if let Some(place) = places.get(salt.as_slice()) {
                let last = last.entry(witness.joined_before(*epoch)).or_default();
                *last = (*last).max(*place);
            }
        }
        let final_stay = witness
            .epochs
            .last_key_value()
            .map(|(epoch, _)| witness.joined_before(*epoch));
        for (salt, epoch) in &all {
            if own.contains(salt) || !witness.epochs.contains_key(epoch) {
                continue;
            }
            let stay = witness.joined_before(*epoch);
            let to_the_end = witness.member && Some(stay) == final_stay;
            let long_enough = (1..=PAST_EPOCHS).all(|past| witness.epochs.contains_key(&(epoch + past)));
            let has_later = places
                .get(salt)
                .is_some_and(|place| last.get(&stay).is_some_and(|last| place < last));
            if to_the_end || long_enough || has_later {
                lost += 1;
            }
        }
        if lost > 0 {
            findings.lost += lost;
            findings.say(format!("{room}: {name} lacks {lost} messages"));
        }
    }
    findings
}

/// Reads a room's record, as the hub gives it to the first member from the beginning: each message once, in the order of its
/// sequence numbers, and as many as that member has decrypted.
pub(super) fn examine_record(room: &RoomUri, events: &[RoomEvent], reference: &Witness) -> Result<Findings, OpsError> {
    let mut findings = Findings::default();
    let mut seen: HashSet<[u8; 32]> = HashSet::new();
    let mut last = 0;
    for event in events.iter().filter(|event| event.room == *room) {
        if event.seq < last {
            findings.order_violations += 1;
            findings.say(format!("{room}: the record goes back from {last} to {}", event.seq));
        }
        last = event.seq;
        let fanout: FanoutMessage = decode_exact(&event.fanout_message).map_err(OpsError::answer("FanoutMessage"))?;
        if let FanoutEvent::Application { message, .. } = fanout.event
            && !seen.insert(Sha256::digest(encode(&message)).into())
        {
            findings.duplicates += 1;
            findings.say(format!(
                "{room}: the record has a message twice, again at {}",
                event.seq
            ));
        }
    }
    let missing = reference.transcript.len().saturating_sub(seen.len());
    if missing > 0 {
        findings.lost += missing;
        findings.say(format!("{room}: the record lacks {missing} messages"));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Someone who was in these epochs and has these messages, each named by one octet.
    fn witness(member: bool, epochs: &[u64], transcript: &[(u8, u64)]) -> Witness {
        Witness {
            name: "C".to_owned(),
            member,
            epochs: epochs
                .iter()
                .map(|epoch| (*epoch, epoch.to_be_bytes().to_vec()))
                .collect(),
            transcript: transcript.iter().map(|(salt, epoch)| (vec![*salt], *epoch)).collect(),
            undelivered: 0,
        }
    }

    fn counts(witnesses: &[Witness]) -> [usize; 4] {
        let found = examine("room", witnesses);
        let counts = [
            found.lost,
            found.duplicates,
            found.order_violations,
            found.forked_epochs,
        ];
        assert_eq!(found.is_clean(), counts == [0; 4]);
        assert_eq!(found.is_clean(), found.details.is_empty());
        counts
    }

    #[test]
    fn members_that_have_the_same_are_right() {
        let all = [(1, 0), (2, 1), (3, 0), (4, 1)];
        // The late message of epoch 0 is nothing to whoever came with epoch 1.
        let whole = witness(true, &[0, 1], &all);
        let joined = witness(true, &[1], &[(2, 1), (4, 1)]);
        assert_eq!(counts(&[whole.clone(), whole, joined]), [0; 4]);
    }

    #[test]
    fn what_a_member_lacks_is_lost_also_at_the_first() {
        let whole = witness(true, &[0], &[(1, 0), (2, 0)]);
        let lacking = witness(true, &[0], &[(1, 0)]);
        assert_eq!(counts(&[whole.clone(), lacking.clone()]), [1, 0, 0, 0]);
        assert_eq!(counts(&[lacking, whole.clone()]), [1, 0, 0, 0]);
        let unconfirmed = Witness {
            undelivered: 1,
            ..whole.clone()
        };
        assert_eq!(counts(&[whole, unconfirmed]), [1, 0, 0, 0]);
    }

    #[test]
    fn who_was_removed_lacks_only_what_came_too_late_for_it() {
        let whole = witness(true, &[0, 1, 2, 3, 4], &[(1, 0), (2, 1), (3, 1), (4, 3)]);
        let removed = |transcript: &[(u8, u64)], epochs: &[u64]| witness(false, epochs, transcript);
        // The last of epoch 1 may have been accepted after the removal.
        assert_eq!(counts(&[whole.clone(), removed(&[(1, 0), (2, 1)], &[0, 1])]), [0; 4]);
        // But not one before another that it has, and not one of an epoch that was over long before.
        assert_eq!(
            counts(&[whole.clone(), removed(&[(2, 1), (3, 1)], &[0, 1])]),
            [1, 0, 0, 0]
        );
        assert_eq!(
            counts(&[whole.clone(), removed(&[(1, 0)], &[0, 1, 2, 3])]),
            [2, 0, 0, 0]
        );
        // Out at epoch 2 and back at epoch 3: what was accepted in between was not for it.
        let back = witness(true, &[0, 1, 3, 4], &[(1, 0), (2, 1), (4, 3)]);
        assert_eq!(counts(&[whole, back]), [0; 4]);
    }

    #[test]
    fn a_message_twice_and_another_order_are_found() {
        let whole = witness(true, &[0], &[(1, 0), (2, 0), (3, 0)]);
        let twice = witness(true, &[0], &[(1, 0), (2, 0), (2, 0), (3, 0)]);
        assert_eq!(counts(&[whole.clone(), twice]), [0, 1, 0, 0]);
        let other = witness(true, &[0], &[(2, 0), (1, 0), (3, 0)]);
        assert_eq!(counts(&[whole, other]), [0, 0, 1, 0]);
    }

    #[test]
    fn an_epoch_with_two_authenticators_is_a_fork() {
        let one = witness(true, &[0, 1], &[]);
        let mut other = one.clone();
        other.epochs.insert(1, b"other".to_vec());
        assert_eq!(counts(&[one, other]), [0, 0, 0, 1]);
    }
}
