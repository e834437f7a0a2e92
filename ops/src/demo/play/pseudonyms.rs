//! The step about a minimal metadata room: draft-ietf-mimi-protocol, section 6.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mimi_hub_proto::ClientIdentity;
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::RoomUri;

use super::{CLIENT_A1, CLIENT_C1, Outcome, Play, SEEN_MAX, parse};
use crate::OpsError;
use crate::client::{Client, InitialState, KnownClients, Pseudonym, ROLE_MEMBER};

const MASQUERADE: &str = "mimi://a.example/r/masquerade";
const EVENTS_MAX: u16 = 500;
/// A client of Cathy's that is in the clubhouse beside her first one.
const CLIENT_C2: usize = CLIENT_C1 + 1;

fn failed(what: String) -> OpsError {
    OpsError::Disagreement(what)
}

/// Who the members are to this one, by their real clients.
fn seen(member: &Client, room: &RoomUri, known: &KnownClients) -> Result<BTreeSet<String>, OpsError> {
    let members = member.state().real_identities(room, known)?;
    members
        .into_iter()
        .map(|member| Ok(member.real?.client().to_string()))
        .collect()
}

impl Play {
    /// Cathy hands Alice her pseudonym in the clubhouse, where the hub reads nothing. Alice adds her to a room of pseudonyms;
    /// they talk, and know each other, and the hub does not.
    pub(super) async fn pseudonymous_room(&mut self) -> Outcome {
        let room: RoomUri = parse(MASQUERADE)?;
        let pseudonym = self.cast[CLIENT_C1].state().draw_pseudonym()?;
        let mut cathys = Vec::new();
        for index in [CLIENT_C1, CLIENT_C2] {
            let mut client = self.cast[index].under(&pseudonym)?;
            client.register(1).await?;
            cathys.push(client);
        }
        let introduction = self.hand_over(&pseudonym).await?;
        let alice = &self.cast[CLIENT_A1];
        let mut masked = alice.under(&alice.state().draw_pseudonym()?)?;
        masked.register(0).await?;
        let masked_user = masked.state().identity().user().clone();
        let initial = InitialState::minimal_metadata(&room, masked_user)?;
        masked.create_room_with(&room, &initial).await?;
        let known = alice.state().known_clients()?;
        let cathy = self.user(CLIENT_C1);
        masked
            .add_pseudonym(&room, &introduction, &cathy, &known, ROLE_MEMBER)
            .await?;

        let mut members = vec![masked];
        members.append(&mut cathys);
        let indexes = [CLIENT_A1, CLIENT_C1, CLIENT_C2];
        let real: Vec<ClientIdentity> = indexes
            .iter()
            .map(|index| self.cast[*index].state().identity().clone())
            .collect();
        // One message of keys has come; then everybody says something that everybody else reads.
        for (index, member) in members.iter_mut().enumerate() {
            member
                .sync_until("the keys", SEEN_MAX, |state| !state.transcript(&room).is_empty())
                .await?;
            member.send_text(&room, &format!("mask {index} can be heard")).await?;
        }
        let count = members.len() + 1;
        for (member, index) in members.iter_mut().zip(indexes) {
            member
                .sync_until("all messages", SEEN_MAX, |state| state.transcript(&room).len() == count)
                .await?;
            if let Some(failure) = member.state().failures(&room).first() {
                return Err(failed(failure.clone()));
            }
            let known = self.cast[index].state().known_clients()?;
            let (seen, expected) = (
                seen(member, &room, &known)?,
                real.iter().map(|real| real.client().to_string()),
            );
            if seen != expected.clone().collect() {
                return Err(failed(format!(
                    "{seen:?} is seen where {:?} is",
                    expected.collect::<Vec<_>>()
                )));
            }
        }
        let octets = self.tells_nobody(&room, &members, &real).await?;
        Ok(vec![
            format!(
                "{count} messages, and all {} members know who the others are",
                members.len()
            ),
            format!("{octets} octets that the hubs have handed out name no real user or client"),
        ])
    }

    /// By a message in the clubhouse.
    async fn hand_over(&mut self, pseudonym: &Pseudonym) -> Result<Pseudonym, OpsError> {
        let text = STANDARD.encode(encode(pseudonym));
        self.say(CLIENT_C1, &text).await?;
        let clubhouse = self.room.clone();
        let alice = &mut self.cast[CLIENT_A1];
        let came = |entry: &crate::client::TranscriptEntry| entry.text == text;
        alice
            .sync_until("Cathy's pseudonym", SEEN_MAX, |state| {
                state.transcript(&clubhouse).iter().any(came)
            })
            .await?;
        let octets = STANDARD.decode(&text).map_err(OpsError::answer("pseudonym"))?;
        decode_exact(&octets).map_err(OpsError::answer("pseudonym"))
    }

    /// Looks for real names in the hub's view of the room and in all that both providers have delivered of it; says how much
    /// that was.
    async fn tells_nobody(
        &self,
        room: &RoomUri,
        members: &[Client],
        real: &[ClientIdentity],
    ) -> Result<usize, OpsError> {
        let hub = &self.providers[0].gateway;
        let view = hub.room(room).await?;
        let view = view.ok_or_else(|| failed(format!("{room} is not there")))?;
        let mut told = format!("{view:?}").into_bytes();
        for member in members {
            let user = member.state().identity().user();
            let page = member.gateway().events(user, None, Duration::ZERO, EVENTS_MAX).await?;
            for event in &page.events {
                told.extend_from_slice(&event.fanout_message);
            }
        }
        let holds = |text: &str| told.windows(text.len()).any(|window| window == text.as_bytes());
        for identity in real {
            for name in [identity.user().as_str(), identity.client().as_str()] {
                if holds(name) {
                    return Err(failed(format!("{name} is named in {room}")));
                }
            }
        }
        for member in members {
            // What is looked for would be found.
            let pseudonyms = member.state().identity();
            for name in [pseudonyms.user().as_str(), pseudonyms.client().as_str()] {
                if !holds(name) {
                    return Err(failed(format!("{name} is not named in {room}")));
                }
            }
        }
        Ok(told.len())
    }
}
