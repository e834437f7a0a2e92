//! A client that keeps a room busy, and enters every answer in the ledger.

use std::sync::Arc;
use std::time::Duration;

use mimi_hub_ops::client::{
    ClientState, Gateway, InitialState, MessageAnswer, ROLE_ADMIN, RoomChange, TreeOption, UpdateAnswer,
};
use mimi_hub_proto::components::UserRolePair;
use mimi_hub_proto::mls::{CipherSuite, ExtensionType, MlsMessage};
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{
    HandshakeBundle, SubmitMessageRequest, SubmitMessageResponse, UpdateOutcome, UpdateRequest, UpdateRoomResponse,
};
use mimi_hub_tests::{Forger, client, user};

use crate::ledger::{Call, Ledger, Record, send};
use mimi_hub_ops::Rng;

/// Pause between two requests of one worker: the load should leave time for the kills.
const PAUSE_MS_MAX: u64 = 20;

pub(crate) struct Worker {
    state: ClientState,
    room: RoomUri,
    gateway: Gateway,
    ledger: Arc<Ledger>,
    rng: Rng,
    cursor: Option<String>,
    sent: u64,
    /// Signs requests for key material in this client's name.
    requester: Forger,
    /// Requests for key material so far.
    claims: u16,
    /// The client whose KeyPackages are published and claimed: its user is in no room.
    stock: ClientState,
}

impl Worker {
    pub(crate) async fn new(name: &str, room: &RoomUri, gateway: &Gateway, ledger: &Arc<Ledger>, rng: Rng) -> Self {
        let make = |name: &str| {
            let (client, user) = (client("a.example", name), user("a.example", name));
            ClientState::new(client, user, TreeOption::DistributionService).unwrap()
        };
        let (state, stock) = (make(name), make(&format!("{name}-stock")));
        for made in [&state, &stock] {
            gateway.put_user(made.identity().user()).await.unwrap();
            gateway
                .put_client(made.identity().user(), made.identity().client())
                .await
                .unwrap();
        }
        let identity = state.identity();
        let requester = Forger::new(identity.user().clone(), identity.client().clone());
        Self {
            state,
            requester,
            claims: 0,
            room: room.clone(),
            gateway: gateway.clone(),
            ledger: Arc::clone(ledger),
            rng,
            cursor: None,
            sent: 0,
            stock,
        }
    }

    pub(crate) fn room(&self) -> RoomUri {
        self.room.clone()
    }

    pub(crate) fn user(&self) -> UserUri {
        self.state.identity().user().clone()
    }

    pub(crate) async fn create_room(&mut self, others: &[UserUri]) {
        let mut initial = InitialState::new(&self.room, self.user(), "under load").unwrap();
        for user in others {
            initial.participants.participants.push(UserRolePair {
                user: user.clone(),
                role_index: ROLE_ADMIN,
            });
        }
        let hub = self.gateway.hub().await.unwrap();
        let new = self
            .state
            .create_room(&self.room, &hub.external_sender, &initial)
            .unwrap();
        self.gateway
            .create_room(&self.user(), &self.room, &new.group_info, &new.ratchet_tree)
            .await
            .unwrap();
    }

    pub(crate) async fn join(&mut self) {
        let (query, request) = self.state.group_info_request(&self.room, None).unwrap();
        let response = self
            .gateway
            .group_info(&self.user(), &self.room, request)
            .await
            .unwrap();
        let body = self.state.external_commit(&self.room, &query, &response, None).unwrap();
        assert_eq!(self.update(body).await, UpdateAnswer::Accepted);
    }

    pub(crate) async fn add(&mut self, user: &UserUri) {
        let key_material = self.claim(user, false).await;
        let change = RoomChange::AddUser {
            user: user.clone(),
            role_index: ROLE_ADMIN,
            key_material,
        };
        self.change_until_accepted(&change).await;
    }

    pub(crate) async fn change_until_accepted(&mut self, change: &RoomChange) {
        loop {
            let body = self.state.commit(&self.room, change).unwrap();
            match self.update(body).await {
                UpdateAnswer::Accepted => return,
                UpdateAnswer::WrongEpoch(_) => self.follow().await,
                UpdateAnswer::Refused { code, description } => panic!("{code}: {description}"),
            }
        }
    }

    /// One request, and what its answer makes necessary.
    pub(crate) async fn step(&mut self) {
        match self.rng.below(20) {
            0..14 => self.message().await,
            14..17 => {
                // Who commits without listening outruns the epochs whose messages it can still read.
                self.follow().await;
                let body = self.state.commit(&self.room, &RoomChange::Pending).unwrap();
                match self.update(body).await {
                    UpdateAnswer::Accepted => {}
                    UpdateAnswer::WrongEpoch(_) => self.follow().await,
                    UpdateAnswer::Refused { code, description } => panic!("{code}: {description}"),
                }
            }
            17..19 => self.claim_from_stock().await,
            _ => {
                // From another provider, through the hub.
                self.claim(&user("b.example", "bob"), true).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(self.rng.below(PAUSE_MS_MAX))).await;
    }

    async fn message(&mut self) {
        self.sent += 1;
        let text = format!("{} {}", self.user(), self.sent);
        let content = self.state.text(&self.room, &text).unwrap();
        let body = self.state.encrypt(&self.room, &content).unwrap();
        let request: SubmitMessageRequest = decode_exact(&body).unwrap();
        let call = Call::Submit(self.room.clone());
        let answer = send(&self.gateway, &call, &self.user(), body.clone()).await.unwrap();
        if let SubmitMessageResponse::Accepted { accepted_timestamp, .. } = decode_exact(&answer).unwrap() {
            let message = encode(&MlsMessage::from(request.app_message));
            self.enter(call, body, &answer, Some((message, accepted_timestamp)), true);
        }
        match self.state.message_answered(&self.room, &answer).unwrap() {
            MessageAnswer::Accepted => {}
            MessageAnswer::EpochTooOld(_) => self.follow().await,
            MessageAnswer::NotAllowed => panic!("a message was refused"),
        }
    }

    async fn update(&mut self, body: Vec<u8>) -> UpdateAnswer {
        let call = Call::Update(self.room.clone());
        let answer = send(&self.gateway, &call, &self.user(), body.clone()).await.unwrap();
        let response: UpdateRoomResponse = decode_exact(&answer).unwrap();
        if let UpdateOutcome::Success { accepted_timestamp } = response.outcome {
            let HandshakeBundle::Commit { commit, .. } = decode_exact::<UpdateRequest>(&body).unwrap().bundle else {
                panic!("an update that is no Commit");
            };
            self.enter(call, body, &answer, Some((encode(&commit), accepted_timestamp)), true);
        }
        self.state.update_answered(&self.room, &answer).unwrap()
    }

    async fn claim_from_stock(&mut self) {
        let fresh = self.stock.key_packages(1).unwrap();
        let identity = self.stock.identity();
        let (user, client) = (identity.user().clone(), identity.client().clone());
        let stock = self.gateway.publish_key_packages(&user, &client, &fresh).await.unwrap();
        assert_eq!(stock.stored, 1);
        self.claim(&user, true).await;
    }

    async fn claim(&mut self, target: &UserUri, repeats: bool) -> Vec<u8> {
        // Two requests for the same user are the same bytes, and then one: a further suite that nobody has tells them apart.
        self.claims += 1;
        let suite = CipherSuite(0xf000 + self.claims);
        let request = self.requester.key_material_request(Some(&self.room), target, |tbs| {
            tbs.acceptable_ciphersuites.push(suite);
            tbs.required_capabilities
                .extension_types
                .push(ExtensionType::APP_DATA_DICTIONARY);
        });
        let body = encode(&request);
        let call = Call::KeyMaterial(target.clone());
        let answer = send(&self.gateway, &call, &self.user(), body.clone()).await.unwrap();
        self.enter(call, body, &answer, None, repeats);
        answer
    }

    fn enter(&self, call: Call, body: Vec<u8>, answer: &[u8], event: Option<(Vec<u8>, u64)>, repeats: bool) {
        self.ledger.enter(Record {
            call,
            user: self.user(),
            body,
            answer: answer.to_vec(),
            repeats,
            event,
        });
    }

    /// Takes in what the stream has.
    pub(crate) async fn follow(&mut self) {
        loop {
            let page = self
                .gateway
                .events(&self.user(), self.cursor.as_deref(), Duration::ZERO, 500)
                .await
                .unwrap();
            for event in &page.events {
                self.state.receive(&event.room, &event.fanout_message).unwrap();
            }
            self.cursor = Some(page.cursor);
            if !page.more {
                return;
            }
        }
    }

    /// Two clients that share the epoch's secrets share everything before it.
    pub(crate) fn agrees_with(&self, other: &ClientState) {
        let failures = self.state.failures(&self.room);
        assert!(failures.is_empty(), "{}: {failures:?}", self.user());
        let (own, other) = (self.state.room(&self.room).unwrap(), other.room(&self.room).unwrap());
        assert_eq!(own.epoch, other.epoch);
        assert_eq!(own.epoch_authenticator, other.epoch_authenticator);
    }
}
