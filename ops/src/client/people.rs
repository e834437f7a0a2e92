//! What a client does about other users: ask for their consent, find them, report them.

use std::time::{Duration, Instant};

use mimi_hub_proto::components::AppDataDictionary;
use mimi_hub_proto::mls::KeyPackage;
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use mimi_hub_proto::{
    AbusiveMessage, ClientIdentity, ClientKeyMaterial, ClientKeyMaterialOutcome, IdentifierRequest, IdentifierResponse,
    KeyMaterialResponse, QueryElement,
};
use tokio::time::sleep;

use super::commit::RoomChange;
use super::driver::Client;
use super::gateway::{ConsentTold, ConsentView};
use crate::OpsError;

/// Between two looks at what others have sent.
const POLL: Duration = Duration::from_millis(50);

impl Client {
    /// Asks a user for consent.
    ///
    /// # Errors
    /// What the gateway reports.
    pub async fn request_consent(&self, target: &UserUri, room: Option<&RoomUri>) -> Result<(), OpsError> {
        let user = self.state().identity().user();
        self.gateway()
            .request_consent(user, target, room, false)
            .await
            .map(drop)
    }

    /// Looks at the user's consent until `done`.
    ///
    /// # Errors
    /// [`OpsError::TimedOut`] naming `what` when that takes longer than `limit`; otherwise what the gateway reports.
    pub async fn consent_until(
        &self,
        what: &str,
        limit: Duration,
        done: impl Fn(&ConsentView) -> bool,
    ) -> Result<ConsentView, OpsError> {
        let started = Instant::now();
        let user = self.state().identity().user();
        loop {
            let view = self.gateway().consent(user).await?;
            if done(&view) {
                return Ok(view);
            }
            if started.elapsed() >= limit {
                return Err(OpsError::TimedOut {
                    what: format!("{user}: {what}"),
                    seconds: limit.as_secs(),
                });
            }
            sleep(POLL).await;
        }
    }

    /// Finds users of a provider that meet all conditions.
    ///
    /// # Errors
    /// What the gateway reports; [`OpsError::Answer`] when the answer is no IdentifierResponse.
    pub async fn find(
        &self,
        domain: &ProviderDomain,
        query_elements: Vec<QueryElement>,
    ) -> Result<IdentifierResponse, OpsError> {
        let request = IdentifierRequest {
            query_elements,
            id_request_extensions: AppDataDictionary::new(),
        };
        let user = self.state().identity().user();
        let answer = self.gateway().identifier_query(user, domain, encode(&request)).await?;
        decode_exact(&answer).map_err(OpsError::answer("IdentifierResponse"))
    }

    /// Reports messages of one sender to the hub of their room.
    ///
    /// # Errors
    /// What the gateway reports.
    pub async fn report_abuse(
        &self,
        room: &RoomUri,
        alleged_abuser: &UserUri,
        note: &str,
        messages: Vec<AbusiveMessage>,
    ) -> Result<(), OpsError> {
        let body = self.state().abuse_report(alleged_abuser, note, messages);
        let user = self.state().identity().user();
        self.gateway().report_abuse(user, room, body).await
    }
}

impl Client {
    /// Puts a user on the participant list and its clients into the group, with the KeyPackages that came with its consent.
    ///
    /// # Errors
    /// [`OpsError::Answer`] when they are not its KeyPackages; otherwise as [`Client::change`].
    pub async fn add_granted(&mut self, room: &RoomUri, told: &ConsentTold, role_index: u32) -> Result<(), OpsError> {
        let mut clients = Vec::new();
        for octets in told.decoded()? {
            let key_package: KeyPackage = decode_exact(&octets).map_err(OpsError::answer("KeyPackage"))?;
            let leaf = key_package.leaf_node();
            let identity = ClientIdentity::of_leaf(leaf.credential(), leaf.signature_key())
                .map_err(OpsError::answer("KeyPackage"))?;
            clients.push(ClientKeyMaterial {
                client_uri: identity.client().clone(),
                outcome: ClientKeyMaterialOutcome::Success(key_package),
            });
        }
        let key_material = KeyMaterialResponse::from_clients(told.target.clone(), clients)
            .map_err(OpsError::answer("KeyPackages of a grant"))?;
        let change = RoomChange::AddUser {
            user: told.target.clone(),
            role_index,
            key_material: encode(&key_material),
        };
        self.change(room, &change).await
    }
}
