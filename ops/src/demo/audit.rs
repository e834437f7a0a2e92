//! What must hold after every step: all members and the hub see the same room, and every message is with everybody who was
//! there.

use std::collections::BTreeSet;
use std::time::Duration;

use mimi_hub_proto::uri::{ClientUri, RoomUri};

use super::report::Report;
use crate::OpsError;
use crate::client::{Client, ClientState, Gateway, RoomState, RoomView, TranscriptEntry};

/// How long the last client may take to see what the hub has accepted.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// A message that the hub has accepted, and who has to decrypt it.
struct Sent {
    salt: Vec<u8>,
    text: String,
    sender: ClientUri,
    /// Every other client that was a member: by place in the cast.
    expected: Vec<usize>,
}

/// All messages of a play.
#[derive(Default)]
pub(super) struct Ledger {
    sent: Vec<Sent>,
}

/// What a ledger comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) expected: usize,
    pub(super) decrypted: usize,
    pub(super) lost: usize,
    pub(super) duplicates: usize,
}

impl Ledger {
    /// Notes the last `count` messages of the sender itself, in its own transcript.
    pub(super) fn note_last(&mut self, sender: &Client, room: &RoomUri, count: usize, expected: &[usize]) {
        let own = sender.state().identity().client();
        let transcript = sender.state().transcript(room).iter().rev();
        let last: Vec<&TranscriptEntry> = transcript.filter(|entry| entry.client == *own).take(count).collect();
        for entry in last.into_iter().rev() {
            self.sent.push(Sent {
                salt: entry.salt.clone(),
                text: entry.text.clone(),
                sender: entry.client.clone(),
                expected: expected.to_vec(),
            });
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    /// Waits until everybody has what it should have, and says what is missing.
    pub(super) async fn settle(&self, cast: &mut [Client], room: &RoomUri) -> Result<Vec<String>, OpsError> {
        for (index, client) in cast.iter_mut().enumerate() {
            let due: Vec<&Sent> = self.sent.iter().filter(|sent| sent.expected.contains(&index)).collect();
            let complete = |state: &ClientState| due.iter().all(|sent| copies(state, room, sent) > 0);
            if !complete(client.state()) {
                client.sync_until("every message", SETTLE_MAX, complete).await?;
            }
        }
        let states: Vec<&ClientState> = cast.iter().map(Client::state).collect();
        let tally = self.tally(&states, room);
        if tally.lost > 0 || tally.duplicates > 0 {
            return Err(disagreement(&format!(
                "{} messages lost, {} duplicates",
                tally.lost, tally.duplicates
            )));
        }
        Ok(vec![format!(
            "{} messages sent, {} of {} decrypted",
            self.len(),
            tally.decrypted,
            tally.expected
        )])
    }

    /// Counts in the transcripts, as they are.
    pub(super) fn tally(&self, cast: &[&ClientState], room: &RoomUri) -> Tally {
        let mut tally = Tally::default();
        for sent in &self.sent {
            tally.expected += sent.expected.len();
            for index in &sent.expected {
                match cast.get(*index).map_or(0, |state| copies(state, room, sent)) {
                    0 => tally.lost += 1,
                    _ => tally.decrypted += 1,
                }
            }
        }
        for state in cast {
            let transcript = state.transcript(room);
            let different: BTreeSet<&[u8]> = transcript.iter().map(|entry| entry.salt.as_slice()).collect();
            tally.duplicates += transcript.len() - different.len();
        }
        tally
    }

    /// Counts into the report.
    pub(super) fn report(&self, cast: &[Client], room: &RoomUri, report: &mut Report) {
        let states: Vec<&ClientState> = cast.iter().map(Client::state).collect();
        let tally = self.tally(&states, room);
        report.messages_sent = self.len();
        report.messages_expected = tally.expected;
        report.messages_decrypted = tally.decrypted;
        report.lost = tally.lost;
        report.duplicates = tally.duplicates;
    }
}

/// How often a message stands in a transcript as it was sent.
fn copies(state: &ClientState, room: &RoomUri, sent: &Sent) -> usize {
    state
        .transcript(room)
        .iter()
        .filter(|entry| entry.salt == sent.salt && entry.text == sent.text && entry.client == sent.sender)
        .count()
}

/// Brings all members up to the hub's epoch and compares what they see with each other and with the hub's view.
pub(super) async fn agree(hub: &Gateway, cast: &mut [Client], room: &RoomUri) -> Result<Vec<String>, OpsError> {
    let view = hub
        .room(room)
        .await?
        .ok_or_else(|| disagreement("the hub does not know the room"))?;
    for client in cast.iter_mut() {
        let caught_up = |state: &ClientState| {
            !state.is_member(room) || state.room(room).is_ok_and(|known| is_as_far(&known, &view))
        };
        client
            .sync_until(&format!("epoch {}", view.epoch), SETTLE_MAX, caught_up)
            .await?;
        if let Some(failure) = client.state().failures(room).first() {
            return Err(disagreement(&format!(
                "{}: {failure}",
                client.state().identity().client()
            )));
        }
    }
    let mut members = Vec::new();
    for client in cast.iter().filter(|client| client.state().is_member(room)) {
        members.push((
            client.state().identity().client().to_string(),
            client.state().room(room)?,
        ));
    }
    compare(&view, &members)
}

/// The hub may have proposals that have not arrived: their number is part of being as far.
fn is_as_far(known: &RoomState, view: &RoomView) -> bool {
    let pending = usize::try_from(view.pending_proposals).unwrap_or(usize::MAX);
    known.epoch > view.epoch || (known.epoch == view.epoch && known.pending_proposals >= pending)
}

fn compare(view: &RoomView, members: &[(String, RoomState)]) -> Result<Vec<String>, OpsError> {
    let Some((_, first)) = members.first() else {
        return Err(disagreement("nobody is in the room"));
    };
    for (name, state) in members {
        let participants = state
            .participants
            .participants
            .iter()
            .map(|entry| (&entry.user, entry.role_index))
            .eq(view.participants.iter().map(|entry| (&entry.user, entry.role)));
        let clients = state
            .members
            .iter()
            .map(|(leaf, identity)| (*leaf, identity.client(), identity.user()))
            .eq(view
                .clients
                .iter()
                .map(|entry| (entry.leaf_index, &entry.client, &entry.user)));
        let pending = u64::try_from(state.pending_proposals).is_ok_and(|pending| pending == view.pending_proposals);
        let checks = [
            ("epoch", state.epoch == view.epoch),
            (
                "epoch authenticator",
                state.epoch_authenticator == first.epoch_authenticator,
            ),
            ("tree hash", state.tree_hash == view.tree_hash),
            (
                "confirmed transcript hash",
                state.confirmed_transcript_hash == view.confirmed_transcript_hash,
            ),
            ("participant list", participants),
            ("role table", state.roles == first.roles),
            ("clients", clients),
            ("pending proposals", pending),
        ];
        if let Some((what, _)) = checks.iter().find(|(_, holds)| !holds) {
            return Err(disagreement(&format!(
                "{name} sees another {what} at epoch {}",
                state.epoch
            )));
        }
    }
    let users: Vec<&str> = view.participants.iter().map(|entry| entry.user.id()).collect();
    Ok(vec![format!(
        "epoch {}: {} clients and the hub agree; participants {}{}",
        view.epoch,
        members.len(),
        users.join(", "),
        match view.pending_proposals {
            0 => String::new(),
            pending => format!("; {pending} proposals pending"),
        },
    )])
}

fn disagreement(what: &str) -> OpsError {
    OpsError::Disagreement(what.to_owned())
}

#[cfg(test)]
mod tests;
