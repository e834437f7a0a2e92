//! The calls about users among each other: consent, profiles, finding users, abuse reports.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri, path_segment};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::{Body, Call, Gateway};
use crate::OpsError;

/// What a user sets, and has told.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsentAnswer {
    /// Whom it is about.
    pub requester: UserUri,
    /// Which room it is about; any without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomUri>,
    /// Yes or no.
    pub allow: bool,
    /// Is the requester's provider told?
    pub notify: bool,
    /// Does the grant bring KeyPackages?
    pub key_packages: bool,
}

#[derive(Serialize)]
struct ConsentRequest<'a> {
    target: &'a UserUri,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a RoomUri>,
    cancel: bool,
}

/// What a user is shown of consent.
#[derive(Clone, Debug, Deserialize)]
pub struct ConsentView {
    /// Requests of others that wait.
    pub requests: Vec<ConsentAsked>,
    /// The user's own requests.
    pub sent: Vec<ConsentSent>,
    /// What others have told of their consent.
    pub updates: Vec<ConsentTold>,
}

/// A request of another user.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ConsentAsked {
    /// Who asks.
    pub requester: UserUri,
    /// For which room; any without.
    pub room: Option<RoomUri>,
}

/// A request of the user's own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ConsentSent {
    /// Whom it asks.
    pub target: UserUri,
    /// For which room; any without.
    pub room: Option<RoomUri>,
    /// It has not arrived, and will not.
    pub undeliverable: bool,
}

/// What another user has told.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsentTold {
    /// Who has told.
    pub target: UserUri,
    /// For which room; any without.
    pub room: Option<RoomUri>,
    /// Yes or no.
    pub granted: bool,
    /// KeyPackage structs that came with it, base64.
    pub key_packages: Vec<String>,
}

impl ConsentTold {
    /// The KeyPackages' octets.
    ///
    /// # Errors
    /// [`OpsError::Answer`] when they are not base64.
    pub fn decoded(&self) -> Result<Vec<Vec<u8>>, OpsError> {
        let decode = |text: &String| BASE64_STANDARD.decode(text).map_err(OpsError::answer("keyPackages"));
        self.key_packages.iter().map(decode).collect()
    }
}

/// A field of a profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileEntry {
    /// `oidc` or `vcard`.
    pub source: String,
    /// The claim or property.
    pub name: String,
    /// Its value.
    pub value: String,
    /// `never`, `exact` or `partial`.
    pub search: String,
    /// Is it told of a user that was found?
    pub shown: bool,
}

impl ProfileEntry {
    /// A field that is shown.
    #[must_use]
    pub fn new(source: &str, name: &str, value: &str, search: &str) -> Self {
        ProfileEntry {
            source: source.to_owned(),
            name: name.to_owned(),
            value: value.to_owned(),
            search: search.to_owned(),
            shown: true,
        }
    }
}

#[derive(Serialize)]
struct Profile<'a> {
    fields: &'a [ProfileEntry],
}

/// A page of abuse reports.
#[derive(Clone, Debug, Deserialize)]
pub struct ReportPage {
    /// The oldest first.
    pub reports: Vec<Report>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// An abuse report as moderators see it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The room.
    pub room: RoomUri,
    /// The report's number in it.
    pub report: u64,
    /// Who reports.
    pub reporting_user: Option<UserUri>,
    /// Who is said to have sent the messages.
    pub alleged_abuser: UserUri,
    /// For people.
    pub note: String,
    /// The messages.
    pub messages: Vec<ReportedMessage>,
}

/// A reported message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ReportedMessage {
    /// Its text, if it is one.
    pub text: Option<String>,
    /// `proven` or `not proven`.
    pub verdict: String,
    /// Why not.
    pub why: Option<String>,
}

/// The franking keys of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct FrankingKeyInfo {
    /// The number of the key that stamps.
    pub newest: u64,
    /// How many are kept.
    pub kept: usize,
}

impl Gateway {
    /// `POST /users/{user}/consentRequests`: asks, or with `cancel` does no more. True when that is new.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn request_consent(
        &self,
        user: &UserUri,
        target: &UserUri,
        room: Option<&RoomUri>,
        cancel: bool,
    ) -> Result<bool, OpsError> {
        let path = format!("/users/{}/consentRequests", path_segment(user.as_str()));
        let body = ConsentRequest { target, room, cancel };
        let call = Call::new("request consent", Method::POST, path).json(&body)?;
        Ok(self.accepted(call).await?.status == 201)
    }

    /// `PUT /users/{user}/consent` with `notify`.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn answer_consent(&self, user: &UserUri, answer: &ConsentAnswer) -> Result<(), OpsError> {
        let path = format!("/users/{}/consent", path_segment(user.as_str()));
        let call = Call::new("answer consent", Method::PUT, path).json(answer)?;
        self.accepted(call).await.map(drop)
    }

    /// `GET /users/{user}/consent`.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn consent(&self, user: &UserUri) -> Result<ConsentView, OpsError> {
        let path = format!("/users/{}/consent", path_segment(user.as_str()));
        self.json(Call::new("consent", Method::GET, path)).await
    }

    /// `PUT /users/{user}/profile`.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn put_profile(&self, user: &UserUri, fields: &[ProfileEntry]) -> Result<(), OpsError> {
        let path = format!("/users/{}/profile", path_segment(user.as_str()));
        let call = Call::new("put profile", Method::PUT, path).json(&Profile { fields })?;
        self.accepted(call).await.map(drop)
    }

    /// `POST /identifierQuery/{domain}`: an IdentifierRequest in, an IdentifierResponse out.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn identifier_query(
        &self,
        user: &UserUri,
        domain: &ProviderDomain,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, OpsError> {
        self.relay("identifierQuery", domain.as_str(), user, body).await
    }

    /// `POST /reportAbuse/{room}`: an AbuseReport in.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn report_abuse(&self, user: &UserUri, room: &RoomUri, body: Vec<u8>) -> Result<(), OpsError> {
        let path = format!("/reportAbuse/{}", path_segment(room.as_str()));
        let mut call = Call::new("reportAbuse", Method::POST, path).speaking_for(user);
        call.body = Some(Body::mimi(body));
        self.accepted(call).await.map(drop)
    }

    /// `GET /abuseReports`: the reports that wait, for the provider's moderators.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn abuse_reports(&self, after: Option<&str>, limit: u16) -> Result<ReportPage, OpsError> {
        let after = after.map_or(String::new(), |after| format!("&after={after}"));
        let path = format!("/abuseReports?limit={limit}{after}");
        self.json(Call::new("abuse reports", Method::GET, path)).await
    }

    /// `DELETE /abuseReports/{room}/{report}`: the moderators are done with it.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn close_report(&self, room: &RoomUri, report: u64) -> Result<(), OpsError> {
        let path = format!("/abuseReports/{}/{report}", path_segment(room.as_str()));
        let call = Call::new("close report", Method::DELETE, path);
        self.accepted(call).await.map(drop)
    }

    /// `GET /hub/frankingKey`: which key stamps messages.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn franking_key(&self) -> Result<FrankingKeyInfo, OpsError> {
        let path = "/hub/frankingKey".to_owned();
        self.json(Call::new("franking key", Method::GET, path)).await
    }

    /// `POST /hub/frankingKey`: replaces the key that stamps messages.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn rotate_franking_key(&self) -> Result<FrankingKeyInfo, OpsError> {
        let path = "/hub/frankingKey".to_owned();
        self.json(Call::new("rotate franking key", Method::POST, path)).await
    }
}
