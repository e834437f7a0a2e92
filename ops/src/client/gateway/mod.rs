//! The provider's local API, typed: one method for each of its calls.
//!
//! Owns the connection of one gateway (mutual TLS, time limits, answer sizes) and sending again. A request that may have
//! been carried out is only ever repeated byte for byte, which the API answers as it did the first time; everything else
//! is reported at once.

mod admin;
mod assets;
mod http;
mod json;
mod people;
#[cfg(test)]
mod tests;

pub use admin::Admin;
pub use http::{GatewaySettings, Resent, RetryPolicy};
pub use json::{
    Consent, EventPage, HubInfo, JoinCode, JoinCodeTerms, KeyPackageStock, MemberView, ParticipantView, Problem,
    RoomEvent, RoomView,
};

pub use people::{
    ConsentAnswer, ConsentAsked, ConsentSent, ConsentTold, ConsentView, FrankingKeyInfo, ProfileEntry, Report,
    ReportPage, ReportedMessage,
};

use std::time::Duration;

use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::OpsError;
use http::{Body, Http, Outcome};
use json::{CreateRoom, Created, EventQuery, Leader, PublishKeyPackages};
use mimi_hub_proto::uri::{ClientUri, RoomUri, UserUri, path_segment};

/// A gateway's connection to the local API of its provider. Cheap to clone: clones share the connections.
#[derive(Clone)]
pub struct Gateway {
    http: Http,
}

impl Gateway {
    /// Reads the certificates and prepares the connection; nothing is sent yet.
    ///
    /// # Errors
    /// [`OpsError::File`] or [`OpsError::GatewaySetup`] when a file cannot be read or holds no usable certificate or key.
    pub fn new(settings: &GatewaySettings) -> Result<Self, OpsError> {
        Ok(Self {
            http: Http::new(settings, "/local/v1")?,
        })
    }

    /// The same connections with another way of sending again.
    #[must_use]
    pub fn with_retry(&self, retry: RetryPolicy) -> Self {
        Self {
            http: self.http.with_retry(retry),
        }
    }

    /// Goes back to the first node. Otherwise the one that answered last is asked.
    pub fn prefer_first(&self) {
        self.http.prefer_first();
    }

    /// How often this gateway's calls had to be sent again, over all clones.
    #[must_use]
    pub fn resent(&self) -> Resent {
        self.http.resent()
    }

    /// `GET /hub`: what a client must know to create a room.
    ///
    /// # Errors
    /// As every call: [`OpsError::Refused`] when the provider says no, [`OpsError::Unreachable`] when no answer came in
    /// time, [`OpsError::Answer`] when the answer cannot be understood.
    pub async fn hub(&self) -> Result<HubInfo, OpsError> {
        self.json(Call::new("hub", Method::GET, "/hub".to_owned())).await
    }

    /// `PUT /users/{user}`: true when the user is new.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn put_user(&self, user: &UserUri) -> Result<bool, OpsError> {
        let call = Call::new(
            "put user",
            Method::PUT,
            format!("/users/{}", path_segment(user.as_str())),
        );
        Ok(self.accepted(call).await?.status == 201)
    }

    /// `DELETE /users/{user}`.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn delete_user(&self, user: &UserUri) -> Result<(), OpsError> {
        let path = format!("/users/{}", path_segment(user.as_str()));
        self.accepted(Call::new("delete user", Method::DELETE, path))
            .await
            .map(drop)
    }

    /// `PUT /users/{user}/clients/{client}`: true when the client is new.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn put_client(&self, user: &UserUri, client: &ClientUri) -> Result<bool, OpsError> {
        let call = Call::new("put client", Method::PUT, client_path(user, client));
        Ok(self.accepted(call).await?.status == 201)
    }

    /// `DELETE /users/{user}/clients/{client}`.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn delete_client(&self, user: &UserUri, client: &ClientUri) -> Result<(), OpsError> {
        let call = Call::new("delete client", Method::DELETE, client_path(user, client));
        self.accepted(call).await.map(drop)
    }

    /// `POST /users/{user}/clients/{client}/keyPackages`: each item is one KeyPackage struct (RFC 9420, 10). All are
    /// stored, or none.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn publish_key_packages(
        &self,
        user: &UserUri,
        client: &ClientUri,
        key_packages: &[Vec<u8>],
    ) -> Result<KeyPackageStock, OpsError> {
        let path = format!("{}/keyPackages", client_path(user, client));
        let body = PublishKeyPackages { key_packages };
        self.json(Call::new("publish KeyPackages", Method::POST, path).json(&body)?)
            .await
    }

    /// `PUT /users/{user}/consent`.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn put_consent(&self, user: &UserUri, consent: &Consent) -> Result<(), OpsError> {
        let path = format!("/users/{}/consent", path_segment(user.as_str()));
        let call = Call::new("put consent", Method::PUT, path).json(consent)?;
        self.accepted(call).await.map(drop)
    }

    /// `POST /rooms`: the acceptance time in milliseconds since the UNIX epoch. `group_info` is a GroupInfo struct,
    /// `ratchet_tree` the content of a `ratchet_tree` extension.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn create_room(
        &self,
        user: &UserUri,
        room: &RoomUri,
        group_info: &[u8],
        ratchet_tree: &[u8],
    ) -> Result<u64, OpsError> {
        let body = CreateRoom {
            room,
            group_info,
            ratchet_tree,
        };
        let call = Call::new("create room", Method::POST, "/rooms".to_owned()).json(&body)?;
        let created: Created = self.json(call.speaking_for(user)).await?;
        Ok(created.accepted_timestamp)
    }

    /// `GET /rooms/{room}`: the hub's view, or nothing when this provider does not host the room.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn room(&self, room: &RoomUri) -> Result<Option<RoomView>, OpsError> {
        let path = format!("/rooms/{}", path_segment(room.as_str()));
        match self.json(Call::new("room", Method::GET, path)).await {
            Ok(view) => Ok(Some(view)),
            Err(OpsError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `PUT /rooms/{room}/joinCodes/{id}`: makes a join code for a role, valid for `expires_in_s` seconds and `uses_max` users.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn put_join_code(
        &self,
        user: &UserUri,
        room: &RoomUri,
        id: &str,
        terms: &JoinCodeTerms,
    ) -> Result<JoinCode, OpsError> {
        let path = format!("/rooms/{}/joinCodes/{}", path_segment(room.as_str()), path_segment(id));
        let call = Call::new("put join code", Method::PUT, path).json(terms)?;
        self.json(call.speaking_for(user)).await
    }

    /// `GET /rooms/{room}/joinCodes`.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn join_codes(&self, user: &UserUri, room: &RoomUri) -> Result<Vec<JoinCode>, OpsError> {
        let path = format!("/rooms/{}/joinCodes", path_segment(room.as_str()));
        self.json(Call::new("join codes", Method::GET, path).speaking_for(user))
            .await
    }

    /// `DELETE /rooms/{room}/joinCodes/{id}`.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn delete_join_code(&self, user: &UserUri, room: &RoomUri, id: &str) -> Result<(), OpsError> {
        let path = format!("/rooms/{}/joinCodes/{}", path_segment(room.as_str()), path_segment(id));
        let call = Call::new("delete join code", Method::DELETE, path).speaking_for(user);
        self.accepted(call).await.map(drop)
    }

    /// `PUT /rooms/{room}/bans/{user}`: true when the user was not kept out before.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn put_ban(&self, room: &RoomUri, user: &UserUri) -> Result<bool, OpsError> {
        let call = Call::new("put ban", Method::PUT, ban_path(room, user));
        Ok(self.accepted(call).await?.status == 201)
    }

    /// `DELETE /rooms/{room}/bans/{user}`.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn delete_ban(&self, room: &RoomUri, user: &UserUri) -> Result<(), OpsError> {
        let call = Call::new("delete ban", Method::DELETE, ban_path(room, user));
        self.accepted(call).await.map(drop)
    }

    /// `GET /rooms/{room}/leader`: the number of the node that leads the room's shard at the moment.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn leader(&self, room: &RoomUri) -> Result<u64, OpsError> {
        let path = format!("/rooms/{}/leader", path_segment(room.as_str()));
        let leader: Leader = self.json(Call::new("leader", Method::GET, path)).await?;
        Ok(leader.node)
    }

    /// `POST /keyMaterial/{target}`: a KeyMaterialRequest in, a KeyMaterialResponse out.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn key_material(&self, user: &UserUri, target: &UserUri, body: Vec<u8>) -> Result<Vec<u8>, OpsError> {
        self.relay("keyMaterial", target.as_str(), user, body).await
    }

    /// `POST /update/{room}`: an UpdateRequest in, an UpdateRoomResponse out.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn update(&self, user: &UserUri, room: &RoomUri, body: Vec<u8>) -> Result<Vec<u8>, OpsError> {
        self.relay("update", room.as_str(), user, body).await
    }

    /// `POST /submitMessage/{room}`: a SubmitMessageRequest in, a SubmitMessageResponse out.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn submit_message(&self, user: &UserUri, room: &RoomUri, body: Vec<u8>) -> Result<Vec<u8>, OpsError> {
        self.relay("submitMessage", room.as_str(), user, body).await
    }

    /// `POST /groupInfo/{room}`: a GroupInfoRequest in, a GroupInfoResponse out.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn group_info(&self, user: &UserUri, room: &RoomUri, body: Vec<u8>) -> Result<Vec<u8>, OpsError> {
        self.relay("groupInfo", room.as_str(), user, body).await
    }

    /// `POST /users/{user}/events`: what came after `cursor` (from the start without one), waiting up to `wait` for the
    /// first.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn events(
        &self,
        user: &UserUri,
        cursor: Option<&str>,
        wait: Duration,
        limit: u16,
    ) -> Result<EventPage, OpsError> {
        let path = format!("/users/{}/events", path_segment(user.as_str()));
        let wait = wait.min(EventQuery::WAIT_MAX);
        let body = EventQuery::new(cursor, wait, limit);
        let call = Call::new("events", Method::POST, path).json(&body)?;
        self.json(call.waiting(wait)).await
    }

    /// `DELETE /users/{user}/rooms/{room}`: takes a room that the user has left out of its stream.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn forget_room(&self, user: &UserUri, room: &RoomUri) -> Result<(), OpsError> {
        let path = format!(
            "/users/{}/rooms/{}",
            path_segment(user.as_str()),
            path_segment(room.as_str())
        );
        self.accepted(Call::new("forget room", Method::DELETE, path))
            .await
            .map(drop)
    }

    async fn relay(
        &self,
        name: &'static str,
        parameter: &str,
        user: &UserUri,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, OpsError> {
        let path = format!("/{name}/{}", path_segment(parameter));
        let mut call = Call::new(name, Method::POST, path).speaking_for(user);
        call.body = Some(Body::mimi(body));
        Ok(self.accepted(call).await?.body)
    }

    async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, OpsError> {
        let name = call.name;
        let outcome = self.accepted(call).await?;
        serde_json::from_slice(&outcome.body).map_err(|error| OpsError::Answer {
            call: name,
            source: Box::new(error),
        })
    }

    async fn accepted(&self, call: Call) -> Result<Outcome, OpsError> {
        self.http.send(&call).await
    }
}

/// One call, ready to be sent any number of times.
struct Call {
    name: &'static str,
    method: Method,
    /// Below the API's base path.
    path: String,
    /// The user spoken for.
    user: Option<String>,
    body: Option<Body>,
    /// How long the provider itself is asked to wait.
    wait: Duration,
}

impl Call {
    fn new(name: &'static str, method: Method, path: String) -> Self {
        Self {
            name,
            method,
            path,
            user: None,
            body: None,
            wait: Duration::ZERO,
        }
    }

    fn json<T: Serialize>(mut self, value: &T) -> Result<Self, OpsError> {
        let bytes = serde_json::to_vec(value).map_err(|error| OpsError::Request {
            call: self.name,
            source: Box::new(error),
        })?;
        self.body = Some(Body::json(bytes));
        Ok(self)
    }

    fn speaking_for(mut self, user: &UserUri) -> Self {
        self.user = Some(user.as_str().to_owned());
        self
    }

    fn waiting(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

fn ban_path(room: &RoomUri, user: &UserUri) -> String {
    let (room, user) = (path_segment(room.as_str()), path_segment(user.as_str()));
    format!("/rooms/{room}/bans/{user}")
}

fn client_path(user: &UserUri, client: &ClientUri) -> String {
    format!(
        "/users/{}/clients/{}",
        path_segment(user.as_str()),
        path_segment(client.as_str())
    )
}
