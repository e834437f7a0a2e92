//! What the hub has acknowledged.

use std::collections::HashSet;
use std::sync::Mutex;

use mimi_hub_ops::OpsError;
use mimi_hub_ops::client::Gateway;
use mimi_hub_proto::tls::decode_exact;
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{ClientKeyMaterialOutcome, KeyMaterialResponse};

/// A request of the local API, as it went over the wire.
#[derive(Clone)]
pub(crate) enum Call {
    Submit(RoomUri),
    Update(RoomUri),
    KeyMaterial(UserUri),
}

/// A request that was answered.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) call: Call,
    pub(crate) user: UserUri,
    pub(crate) body: Vec<u8>,
    pub(crate) answer: Vec<u8>,
    /// Whether the answer must be the same again: not where it holds KeyPackages that have been used since.
    pub(crate) repeats: bool,
    /// For what is in the room's stream now: the MLSMessage, and the acceptance time.
    pub(crate) event: Option<(Vec<u8>, u64)>,
}

impl Record {
    /// Sends the same bytes again.
    pub(crate) async fn send(&self, gateway: &Gateway) -> Result<Vec<u8>, OpsError> {
        send(gateway, &self.call, &self.user, self.body.clone()).await
    }
}

/// Sends until there is an answer.
pub(crate) async fn send(gateway: &Gateway, call: &Call, user: &UserUri, body: Vec<u8>) -> Result<Vec<u8>, OpsError> {
    match call {
        Call::Submit(room) => gateway.submit_message(user, room, body).await,
        Call::Update(room) => gateway.update(user, room, body).await,
        Call::KeyMaterial(target) => gateway.key_material(user, target, body).await,
    }
}

#[derive(Default)]
pub(crate) struct Ledger {
    records: Mutex<Vec<Record>>,
    key_packages: Mutex<HashSet<Vec<u8>>>,
}

impl Ledger {
    /// Enters an answer, and makes sure that no KeyPackage in it was in another one.
    pub(crate) fn enter(&self, record: Record) {
        if let Call::KeyMaterial(_) = record.call {
            let response: KeyMaterialResponse = decode_exact(&record.answer).unwrap();
            for client in response.into_clients() {
                if let ClientKeyMaterialOutcome::Success(key_package) = client.outcome {
                    let fresh = self
                        .key_packages
                        .lock()
                        .unwrap()
                        .insert(key_package.as_bytes().to_vec());
                    assert!(fresh, "a KeyPackage of {} was given out twice", client.client_uri);
                }
            }
        }
        self.records.lock().unwrap().push(record);
    }

    /// All records so far, in the order of their answers.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.records.lock().unwrap().clone()
    }

    /// Answered requests, and KeyPackages given out.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (
            self.records.lock().unwrap().len(),
            self.key_packages.lock().unwrap().len(),
        )
    }
}
