//! The calls by which attached files are downloaded.

use std::time::Duration;

use mimi_hub_proto::OHTTP_REQ;
use mimi_hub_proto::uri::{ProviderDomain, path_segment};
use reqwest::Method;

use super::{Body, Call, Gateway};
use crate::OpsError;

/// How long a provider may take beyond what other calls take: an asset comes from two servers further on.
const DOWNLOAD_WAIT: Duration = Duration::from_secs(60);

impl Gateway {
    /// `GET /proxyDownload/{hub}/{downloadUrl}`: an asset, as its server has it, fetched by the hub.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn proxy_download(&self, hub: &ProviderDomain, url: &str) -> Result<Vec<u8>, OpsError> {
        let path = format!("/proxyDownload/{hub}/{}", path_segment(url));
        let call = Call::new("proxyDownload", Method::GET, path).waiting(DOWNLOAD_WAIT);
        Ok(self.accepted(call).await?.body)
    }

    /// `GET /ohttpKeys/{hub}`: the key configurations of the hub's Oblivious Gateway Resource.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn ohttp_keys(&self, hub: &ProviderDomain) -> Result<Vec<u8>, OpsError> {
        let call = Call::new("ohttpKeys", Method::GET, format!("/ohttpKeys/{hub}"));
        Ok(self.accepted(call).await?.body)
    }

    /// `POST /ohttp/{hub}`: an encapsulated request in, an encapsulated response out.
    ///
    /// # Errors
    /// See [`Gateway::hub`].
    pub async fn ohttp(&self, hub: &ProviderDomain, encapsulated: Vec<u8>) -> Result<Vec<u8>, OpsError> {
        let mut call = Call::new("ohttp", Method::POST, format!("/ohttp/{hub}")).waiting(DOWNLOAD_WAIT);
        call.body = Some(Body::new(OHTTP_REQ, encapsulated));
        Ok(self.accepted(call).await?.body)
    }
}
