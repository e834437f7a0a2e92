//! A client with its network.

use std::time::{Duration, Instant};

use mimi_hub_proto::content::MimiContent;
use mimi_hub_proto::uri::{ClientUri, RoomUri, UserUri};

use super::commit::{RoomChange, UpdateAnswer};
use super::gateway::Gateway;
use super::message::MessageAnswer;
use super::pseudonyms::{KnownClients, Pseudonym};
use super::receive::Received;
use super::roles::InitialState;
use super::state::{ClientState, TreeOption};
use crate::OpsError;

/// How often a request is built anew because the room has moved on.
const ATTEMPTS_MAX: u32 = 8;
/// How long the stream is followed for what an answer says is there.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);
/// How long after a refusal the stream may take to bring what explains it.
const REFUSED_WAIT: Duration = Duration::from_millis(500);
const PAGE_EVENTS_MAX: u16 = 500;
/// One wait of the provider for new events, while something is awaited.
const POLL: Duration = Duration::from_secs(2);

/// One MIMI client of a user of one provider.
pub struct Client {
    state: ClientState,
    gateway: Gateway,
    cursor: Option<String>,
}

impl Client {
    /// A new client, not yet known to its provider.
    ///
    /// # Errors
    /// As [`ClientState::new`].
    pub fn new(gateway: Gateway, client: ClientUri, user: UserUri, tree: TreeOption) -> Result<Self, OpsError> {
        Ok(Self {
            state: ClientState::new(client, user, tree)?,
            gateway,
            cursor: None,
        })
    }

    /// The client without its network.
    #[must_use]
    pub fn state(&self) -> &ClientState {
        &self.state
    }

    /// The provider's local API.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// This client under a pseudonym of its user ([`ClientState::under`]), not yet known to the provider.
    ///
    /// # Errors
    /// As [`ClientState::under`].
    pub fn under(&self, pseudonym: &Pseudonym) -> Result<Self, OpsError> {
        Ok(Self {
            state: self.state.under(pseudonym)?,
            gateway: self.gateway.clone(),
            cursor: None,
        })
    }

    fn user(&self) -> UserUri {
        self.state.identity().user().clone()
    }

    /// Makes user and client known to the provider and publishes KeyPackages.
    ///
    /// # Errors
    /// What the gateway reports.
    pub async fn register(&mut self, key_packages: usize) -> Result<(), OpsError> {
        let identity = self.state.identity();
        self.gateway.put_user(identity.user()).await?;
        self.gateway.put_client(identity.user(), identity.client()).await?;
        if key_packages > 0 {
            self.publish_key_packages(key_packages).await?;
        }
        Ok(())
    }

    /// Makes and publishes KeyPackages.
    ///
    /// # Errors
    /// What the gateway reports.
    pub async fn publish_key_packages(&mut self, count: usize) -> Result<(), OpsError> {
        let made = self.state.key_packages(count)?;
        let identity = self.state.identity();
        self.gateway
            .publish_key_packages(identity.user(), identity.client(), &made)
            .await?;
        Ok(())
    }

    /// Creates a room at this client's own provider, with its user as the only participant.
    ///
    /// # Errors
    /// What the gateway reports; the room then does not exist for this client either.
    pub async fn create_room(&mut self, room: &RoomUri, name: &str) -> Result<(), OpsError> {
        let initial = InitialState::new(room, self.user(), name)?;
        self.create_room_with(room, &initial).await
    }

    /// Creates a room at this client's own provider.
    ///
    /// # Errors
    /// As [`Client::create_room`].
    pub async fn create_room_with(&mut self, room: &RoomUri, initial: &InitialState) -> Result<(), OpsError> {
        let hub = self.gateway.hub().await?;
        let new = self.state.create_room(room, &hub.external_sender, initial)?;
        match self
            .gateway
            .create_room(&self.user(), room, &new.group_info, &new.ratchet_tree)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => {
                self.state.abandon_room(room)?;
                Err(error)
            }
        }
    }

    /// Puts a user on the participant list and its clients into the group.
    ///
    /// # Errors
    /// [`OpsError::NoKeyMaterial`] when its provider gives no KeyPackages; otherwise as [`Client::change`].
    pub async fn add_user(&mut self, room: &RoomUri, user: &UserUri, role_index: u32) -> Result<(), OpsError> {
        let request = self.state.key_material_request(room, user)?;
        let key_material = self.gateway.key_material(&self.user(), user, request).await?;
        let change = RoomChange::AddUser {
            user: user.clone(),
            role_index,
            key_material,
        };
        self.change(room, &change).await
    }

    /// Puts a user on the participant list of a minimal metadata room, and its clients into the group, by the pseudonym that it
    /// has handed over; then sends the members each other's keys. All its clients must be `expected`'s.
    ///
    /// # Errors
    /// [`OpsError::Unlinked`] when they are somebody else's, or it cannot be told whose; otherwise as [`Client::add_user`] and
    /// [`Client::send`].
    pub async fn add_pseudonym(
        &mut self,
        room: &RoomUri,
        pseudonym: &Pseudonym,
        expected: &UserUri,
        known: &KnownClients,
        role_index: u32,
    ) -> Result<(), OpsError> {
        let user = pseudonym.user();
        let request = self.state.key_material_request(room, user)?;
        let key_material = self.gateway.key_material(&self.user(), user, request).await?;
        self.state.introduced(pseudonym);
        for client in self.state.introduced_clients(user, &key_material, known)? {
            if client.user() != expected {
                return Err(OpsError::Unlinked {
                    client: client.client().clone(),
                    why: "it is not of the user that was expected",
                });
            }
        }
        let change = RoomChange::AddUser {
            user: user.clone(),
            role_index,
            key_material,
        };
        self.change(room, &change).await?;
        self.send_link_keys(room).await
    }

    /// Sends the members of a minimal metadata room the keys that this client knows: its own, after it has joined by itself,
    /// and those of others.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn send_link_keys(&mut self, room: &RoomUri) -> Result<(), OpsError> {
        let content = self.state.link_keys_message(room)?;
        self.send(room, &content).await
    }

    /// Changes a room with a Commit. Where the room has moved on, the Commit is built anew upon what the stream brings.
    ///
    /// # Errors
    /// [`OpsError::Denied`] when the hub refuses, [`OpsError::Overtaken`] when the room does not stand still long enough,
    /// [`OpsError::Unreachable`] when there is no answer (the Commit then stays unanswered, see [`Client::resume`]), or
    /// what makes the change impossible.
    pub async fn change(&mut self, room: &RoomUri, change: &RoomChange) -> Result<(), OpsError> {
        self.resume(room).await?;
        self.update(room, "Commit", |state| state.commit(room, change)).await
    }

    /// Commits the proposals that wait, and renews this client's keys.
    ///
    /// # Errors
    /// As [`Client::change`].
    pub async fn commit_pending(&mut self, room: &RoomUri) -> Result<(), OpsError> {
        self.change(room, &RoomChange::Pending).await
    }

    /// Proposes to take this client's user, with all its clients, out of the room. It is out with the next Commit.
    ///
    /// # Errors
    /// As [`Client::change`].
    pub async fn leave(&mut self, room: &RoomUri) -> Result<(), OpsError> {
        self.resume(room).await?;
        self.update(room, "proposal to leave", |state| state.leave(room)).await
    }

    /// Joins a room, in which this client's user is a participant, by an external Commit.
    ///
    /// # Errors
    /// [`OpsError::NoGroupInfo`] when the hub refuses; otherwise as [`Client::change`].
    pub async fn join(&mut self, room: &RoomUri) -> Result<(), OpsError> {
        self.join_with(room, None).await
    }

    /// Joins a room, in which this client's user is no participant, by a join code for this role.
    ///
    /// # Errors
    /// As [`Client::join`].
    pub async fn join_by_code(&mut self, room: &RoomUri, code: &str, role_index: u32) -> Result<(), OpsError> {
        self.join_with(room, Some((code, role_index))).await
    }

    async fn join_with(&mut self, room: &RoomUri, code: Option<(&str, u32)>) -> Result<(), OpsError> {
        self.resume(room).await?;
        for _ in 0..ATTEMPTS_MAX {
            if self.state.is_member(room) {
                return Ok(());
            }
            let (query, request) = self.state.group_info_request(room, code.map(|(code, _)| code))?;
            let response = self.gateway.group_info(&self.user(), room, request).await?;
            let role_index = code.map(|(_, role_index)| role_index);
            let body = self.state.external_commit(room, &query, &response, role_index)?;
            match self.send_update(room, body).await? {
                UpdateAnswer::Accepted => return Ok(()),
                UpdateAnswer::WrongEpoch(_) => {}
                UpdateAnswer::Refused { code, description } => {
                    return Err(denied("external Commit", code, description));
                }
            }
        }
        Err(OpsError::Overtaken {
            what: "external Commit",
            room: room.clone(),
            attempts: ATTEMPTS_MAX,
        })
    }

    /// Sends a text message.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn send_text(&mut self, room: &RoomUri, text: &str) -> Result<(), OpsError> {
        let content = self.state.text(room, text)?;
        self.send(room, &content).await
    }

    /// See [`ClientState::encrypt_ahead`].
    ///
    /// # Errors
    /// As there.
    pub fn encrypt_ahead(&mut self, room: &RoomUri, text: &str, count: usize) -> Result<Vec<Vec<u8>>, OpsError> {
        self.state.encrypt_ahead(room, text, count)
    }

    /// Sends a message. Where the room has moved on too far, it is encrypted anew in the epoch that the stream brings. Proposals
    /// that wait are committed first: with them pending, nothing but handshakes may be sent (RFC 9420, 12.4).
    ///
    /// # Errors
    /// As [`Client::change`].
    pub async fn send(&mut self, room: &RoomUri, content: &MimiContent) -> Result<(), OpsError> {
        self.resume(room).await?;
        for _ in 0..ATTEMPTS_MAX {
            if self.state.has_pending_proposals(room) {
                let body = self.state.commit(room, &RoomChange::Pending)?;
                // Accepted or overtaken by another's Commit, the proposals are gone.
                self.try_update(room, "Commit", body).await?;
                continue;
            }
            let body = self.state.encrypt(room, content)?;
            match self.send_message(room, body).await? {
                MessageAnswer::Accepted => return Ok(()),
                MessageAnswer::EpochTooOld(epoch) => self.catch_up(room, epoch).await?,
                MessageAnswer::NotAllowed => return Err(denied("message", "NotAllowed".to_owned(), String::new())),
            }
        }
        Err(OpsError::Overtaken {
            what: "message",
            room: room.clone(),
            attempts: ATTEMPTS_MAX,
        })
    }

    /// Sends again, as it is, what was left without an answer. After this, nothing of the room is unanswered.
    ///
    /// # Errors
    /// [`OpsError::Unreachable`] when there is still no answer. A refusal is none: whoever wanted the update has been told
    /// of the failure already.
    pub async fn resume(&mut self, room: &RoomUri) -> Result<(), OpsError> {
        if let Some(body) = self.state.unanswered_update(room) {
            let body = body.to_vec();
            if let UpdateAnswer::WrongEpoch(epoch) = self.send_update(room, body).await? {
                self.catch_up(room, epoch).await?;
            }
        }
        if let Some(body) = self.state.unanswered_message(room) {
            let body = body.to_vec();
            if let MessageAnswer::EpochTooOld(epoch) = self.send_message(room, body).await? {
                self.catch_up(room, epoch).await?;
            }
        }
        Ok(())
    }

    /// Takes in what the stream holds, waiting up to `wait` for the first event. Says how many events came.
    ///
    /// # Errors
    /// What the gateway reports; [`OpsError::Answer`] when an event is no FanoutMessage.
    pub async fn sync(&mut self, wait: Duration) -> Result<usize, OpsError> {
        let user = self.user();
        let mut wait = wait;
        let mut count = 0;
        loop {
            let page = self
                .gateway
                .events(&user, self.cursor.as_deref(), wait, PAGE_EVENTS_MAX)
                .await?;
            for event in &page.events {
                // What became of it stands in the state: in the transcript, the epoch or the failures.
                let _: Received = self.state.receive(&event.room, &event.fanout_message)?;
            }
            count += page.events.len();
            self.cursor = Some(page.cursor);
            if !page.more {
                return Ok(count);
            }
            wait = Duration::ZERO;
        }
    }

    /// Follows the stream until `done`.
    ///
    /// # Errors
    /// [`OpsError::TimedOut`] naming `what` when that takes longer than `limit`; otherwise as [`Client::sync`].
    pub async fn sync_until(
        &mut self,
        what: &str,
        limit: Duration,
        done: impl Fn(&ClientState) -> bool,
    ) -> Result<(), OpsError> {
        let started = Instant::now();
        loop {
            self.sync(Duration::ZERO).await?;
            if done(&self.state) {
                return Ok(());
            }
            let left = limit.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(OpsError::TimedOut {
                    what: format!("{}: {what}", self.state.identity().client()),
                    seconds: limit.as_secs(),
                });
            }
            self.sync(left.min(POLL)).await?;
        }
    }

    /// Builds and sends an update until the hub accepts it.
    async fn update(
        &mut self,
        room: &RoomUri,
        what: &'static str,
        build: impl Fn(&mut ClientState) -> Result<Vec<u8>, OpsError>,
    ) -> Result<(), OpsError> {
        for _ in 0..ATTEMPTS_MAX {
            let body = build(&mut self.state)?;
            if self.try_update(room, what, body).await? {
                return Ok(());
            }
        }
        Err(OpsError::Overtaken {
            what,
            room: room.clone(),
            attempts: ATTEMPTS_MAX,
        })
    }

    /// Sends an update. False when the room has moved on: the stream has been followed, and it can be built anew.
    async fn try_update(&mut self, room: &RoomUri, what: &'static str, body: Vec<u8>) -> Result<bool, OpsError> {
        match self.send_update(room, body).await? {
            UpdateAnswer::Accepted => Ok(true),
            UpdateAnswer::WrongEpoch(epoch) => {
                self.catch_up(room, epoch).await?;
                Ok(false)
            }
            UpdateAnswer::Refused { code, description } => {
                // The hub may know proposals that this client has yet to hear of; a Commit without them is refused.
                if self.sync(REFUSED_WAIT).await? == 0 {
                    return Err(denied(what, code, description));
                }
                Ok(false)
            }
        }
    }

    async fn send_update(&mut self, room: &RoomUri, body: Vec<u8>) -> Result<UpdateAnswer, OpsError> {
        let response = self.gateway.update(&self.user(), room, body).await?;
        self.state.update_answered(room, &response)
    }

    async fn send_message(&mut self, room: &RoomUri, body: Vec<u8>) -> Result<MessageAnswer, OpsError> {
        let response = self.gateway.submit_message(&self.user(), room, body).await?;
        self.state.message_answered(room, &response)
    }

    /// Follows the stream until this client is at `epoch`, or no longer in the group.
    async fn catch_up(&mut self, room: &RoomUri, epoch: u64) -> Result<(), OpsError> {
        self.sync_until("the room's epoch", CATCH_UP_MAX, |state| {
            !state.is_member(room) || state.room(room).is_ok_and(|known| known.epoch >= epoch)
        })
        .await
    }
}

fn denied(what: &'static str, status: String, description: String) -> OpsError {
    OpsError::Denied {
        what,
        status,
        description,
    }
}
