//! The admin API, with the same connections as the local one.

use reqwest::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::http::{GatewaySettings, Http};
use super::{Call, OpsError};

/// An operator's connection to a hub.
#[derive(Clone)]
pub struct Admin {
    http: Http,
}

impl Admin {
    /// Prepares connections to the admin listeners that `settings` names. Nothing is sent yet.
    ///
    /// # Errors
    /// A file cannot be read, or holds no usable certificate or key.
    pub fn new(settings: &GatewaySettings) -> Result<Self, OpsError> {
        let http = Http::new(settings, "/admin/v1/cluster")?;
        Ok(Self { http })
    }

    /// `GET /<what>`.
    ///
    /// # Errors
    /// The hub cannot be reached, or answers something else.
    pub async fn get<T: DeserializeOwned>(&self, what: &'static str) -> Result<T, OpsError> {
        let outcome = self
            .http
            .send(&Call::new(what, Method::GET, format!("/{what}")))
            .await?;
        serde_json::from_slice(&outcome.body).map_err(|error| OpsError::Answer {
            call: what,
            source: Box::new(error),
        })
    }

    /// `POST /<what>`.
    ///
    /// # Errors
    /// The hub cannot be reached, or refuses.
    pub async fn post<T: Serialize + Sync>(&self, what: &'static str, body: &T) -> Result<Vec<u8>, OpsError> {
        let call = Call::new(what, Method::POST, format!("/{what}")).json(body)?;
        Ok(self.http.send(&call).await?.body)
    }
}
