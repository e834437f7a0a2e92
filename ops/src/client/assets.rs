//! Attached files (draft-ietf-mimi-protocol, 5.10; draft-ietf-mimi-content, 4.5): encrypted before they are uploaded, named in
//! an ExternalPart, fetched by way of the provider, checked and decrypted.
//!
//! Invariant: what is given out as an asset has the hash that its sender has named, where one is named, and decrypts.

use std::io::Cursor;

use bhttp::{Message, Mode};
use mimi_hub_proto::OHTTP_KEY_PROBLEM;
use mimi_hub_proto::content::{ExternalPart, MimiContent, Part};
use mimi_hub_proto::uri::{ProviderDomain, RoomUri};
use ohttp::hpke::{Aead, Kdf};
use ohttp::{ClientRequest, KeyConfig, SymmetricSuite};
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_traits::types::AeadType;
use reqwest::Url;
use sha2::{Digest as _, Sha256};

use super::driver::Client;
use super::gateway::Problem;
use super::state::ClientState;
use crate::OpsError;

/// AEAD_AES_128_GCM, in IANA's registry of AEAD algorithms.
const AES_128_GCM: u16 = 1;
/// AEAD_AES_256_GCM, there.
const AES_256_GCM: u16 = 2;
/// sha-256, in IANA's registry of hash algorithms for named information.
const SHA_256: u8 = 1;

/// Octets of an AEAD's tag.
const TAG_LEN: usize = 16;

/// By which way an asset is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownloadBy {
    /// The hub's `proxyDownload` (5.10.2): the asset server does not learn who asks; the own provider and the hub learn for
    /// what.
    Proxy,
    /// Oblivious HTTP (5.10.3): the own provider does not learn for what is asked, the hub not who asks.
    Oblivious,
}

impl ClientState {
    /// Encrypts a file under a key of its own: what a message says of it, to be found at `url`, and what is to be uploaded there.
    ///
    /// # Errors
    /// [`OpsError::Mls`] when there is no randomness, or it cannot be encrypted.
    pub fn seal_asset(
        &self,
        url: &str,
        content_type: &str,
        filename: &str,
        file: &[u8],
    ) -> Result<(ExternalPart, Vec<u8>), OpsError> {
        let (key, nonce): ([u8; 16], [u8; 12]) = (self.keys.random()?, self.keys.random()?);
        let crypto = self.keys.provider.crypto();
        let sealed = crypto.aead_encrypt(AeadType::Aes128Gcm, &key, file, &nonce, &[]);
        let sealed = sealed.map_err(|error| OpsError::mls("encrypt a file")(format!("{error:?}")))?;
        let part = ExternalPart {
            content_type: content_type.to_owned(),
            url: url.to_owned(),
            size: u64::try_from(file.len()).unwrap_or(u64::MAX),
            enc_alg: AES_128_GCM,
            key: key.to_vec(),
            nonce: nonce.to_vec(),
            hash_alg: SHA_256,
            content_hash: Sha256::digest(&sealed).to_vec(),
            filename: filename.to_owned(),
            ..ExternalPart::default()
        };
        Ok((part, sealed))
    }

    /// The content of a new message that is a file which has been uploaded.
    ///
    /// # Errors
    /// As [`ClientState::text`].
    pub fn attachment(&self, room: &RoomUri, part: ExternalPart) -> Result<MimiContent, OpsError> {
        let mut content = self.text(room, "")?;
        content.nested_part.part = Part::External(Box::new(part));
        Ok(content)
    }

    /// Checks what was downloaded against what its message says, and decrypts it.
    ///
    /// # Errors
    /// [`OpsError::Asset`]: it is something else, or was encrypted in a way that this client does not know.
    pub fn open_asset(&self, part: &ExternalPart, downloaded: Vec<u8>) -> Result<Vec<u8>, OpsError> {
        let refuse = |problem: &str| OpsError::Asset {
            url: part.url.clone(),
            problem: problem.to_owned(),
        };
        match part.hash_alg {
            0 => {}
            SHA_256 if Sha256::digest(&downloaded).as_slice() == part.content_hash => {}
            SHA_256 => return Err(refuse("its hash is another")),
            _ => return Err(refuse("its hash is of an unknown algorithm")),
        }
        let (algorithm, key_len) = match part.enc_alg {
            0 => return Ok(downloaded),
            AES_128_GCM => (AeadType::Aes128Gcm, 16),
            AES_256_GCM => (AeadType::Aes256Gcm, 32),
            _ => return Err(refuse("it is encrypted with an unknown algorithm")),
        };
        if part.key.len() != key_len || part.nonce.len() != 12 || downloaded.len() < TAG_LEN {
            return Err(refuse("key, nonce or ciphertext is too short or too long"));
        }
        let crypto = self.keys.provider.crypto();
        crypto
            .aead_decrypt(algorithm, &part.key, &downloaded, &part.nonce, &part.aad)
            .map_err(|_| refuse("it does not decrypt"))
    }
}

impl Client {
    /// Fetches an attached file by way of the hub, this client's provider between them; checks and decrypts it.
    ///
    /// # Errors
    /// What the gateway reports; [`OpsError::Refused`] with what the hub says of the asset, [`OpsError::Oblivious`] when the
    /// encapsulation fails, and [`OpsError::Asset`] when it is not what its message says.
    pub async fn download(
        &self,
        hub: &ProviderDomain,
        part: &ExternalPart,
        by: DownloadBy,
    ) -> Result<Vec<u8>, OpsError> {
        let downloaded = match by {
            DownloadBy::Proxy => self.gateway().proxy_download(hub, &part.url).await?,
            DownloadBy::Oblivious => self.download_oblivious(hub, &part.url).await?,
        };
        self.state().open_asset(part, downloaded)
    }

    async fn download_oblivious(&self, hub: &ProviderDomain, url: &str) -> Result<Vec<u8>, OpsError> {
        let request = target_request(url)?;
        let answer = self.ask_oblivious(hub, &request).await;
        let binary = match answer {
            // The key was replaced in between: the next one is there already (RFC 9458, section 5.3).
            Err(OpsError::Refused { problem, .. }) if problem.r#type == OHTTP_KEY_PROBLEM => {
                self.ask_oblivious(hub, &request).await?
            }
            answer => answer?,
        };
        let message =
            Message::read_bhttp(&mut Cursor::new(&binary)).map_err(OpsError::answer("binary HTTP response"))?;
        match message.control().status().map(bhttp::StatusCode::code) {
            Some(200) => Ok(message.content().to_vec()),
            Some(status) => Err(OpsError::Refused {
                call: "GET by Oblivious HTTP",
                status,
                problem: serde_json::from_slice::<Problem>(message.content()).unwrap_or_default(),
            }),
            None => Err(OpsError::answer("binary HTTP response")("it is a request")),
        }
    }

    async fn ask_oblivious(&self, hub: &ProviderDomain, request: &[u8]) -> Result<Vec<u8>, OpsError> {
        let keys = self.gateway().ohttp_keys(hub).await?;
        let (encapsulated, response) = client_request(&keys)?
            .encapsulate(request)
            .map_err(OpsError::Oblivious)?;
        let answer = self.gateway().ohttp(hub, encapsulated).await?;
        response.decapsulate(&answer).map_err(OpsError::Oblivious)
    }
}

/// A request to the first gateway of a list of key configurations with which this client can do something.
fn client_request(list: &[u8]) -> Result<ClientRequest, OpsError> {
    let known = [Aead::Aes128Gcm, Aead::ChaCha20Poly1305].map(|aead| SymmetricSuite::new(Kdf::HkdfSha256, aead));
    let configs = KeyConfig::decode_list(list).map_err(OpsError::Oblivious)?;
    let mut usable = configs
        .into_iter()
        .filter(|config| known.iter().any(|suite| config.select(*suite).is_ok()));
    let mut config = usable.next().ok_or(OpsError::Oblivious(ohttp::Error::Unsupported))?;
    ClientRequest::from_config(&mut config).map_err(OpsError::Oblivious)
}

/// `GET` of an asset as a binary HTTP message (RFC 9292), with nothing in it that tells of this client.
fn target_request(url: &str) -> Result<Vec<u8>, OpsError> {
    let refuse = |problem: String| OpsError::Asset {
        url: url.to_owned(),
        problem,
    };
    let parsed = Url::parse(url).map_err(|error| refuse(error.to_string()))?;
    let authority = match (parsed.host_str(), parsed.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => return Err(refuse("it has no host".to_owned())),
    };
    let path = match parsed.query() {
        Some(query) => format!("{}?{query}", parsed.path()),
        None => parsed.path().to_owned(),
    };
    let message = Message::request(b"GET".to_vec(), parsed.scheme().into(), authority.into(), path.into());
    let mut binary = Vec::new();
    message
        .write_bhttp(Mode::KnownLength, &mut binary)
        .map_err(|error| refuse(error.to_string()))?;
    Ok(binary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::TreeOption;

    const URL: &str = "https://assets.c.example/cat?a=b";

    fn state() -> ClientState {
        let client = "mimi://a.example/d/ClientA1".parse().unwrap();
        ClientState::new(client, "mimi://a.example/u/alice".parse().unwrap(), TreeOption::Full).unwrap()
    }

    #[test]
    fn mimi_content_4_5_an_asset_opens_with_its_part_only_and_unchanged_only() {
        let state = state();
        let (part, sealed) = state.seal_asset(URL, "image/x", "cat.x", b"a cat").unwrap();
        assert_eq!(
            (part.size, part.content_type.as_str(), sealed.len()),
            (5, "image/x", 21)
        );
        assert_eq!(state.open_asset(&part, sealed.clone()).unwrap(), b"a cat");
        let problem = |part: &ExternalPart, octets: &[u8]| match state.open_asset(part, octets.to_vec()) {
            Err(OpsError::Asset { problem, .. }) => problem,
            other => panic!("{other:?}"),
        };
        assert_eq!(problem(&part, b"another"), "its hash is another");
        let unhashed = ExternalPart {
            hash_alg: 0,
            ..part.clone()
        };
        let mut changed = sealed.clone();
        changed[0] ^= 1;
        assert_eq!(problem(&unhashed, &changed), "it does not decrypt");
        assert!(problem(&unhashed, b"short").contains("too short"));
        for (enc_alg, hash_alg) in [(99, 0), (AES_128_GCM, 99)] {
            let unknown = ExternalPart {
                enc_alg,
                hash_alg,
                ..part.clone()
            };
            assert!(problem(&unknown, &sealed).contains("unknown"));
        }
        let other_key = ExternalPart {
            key: vec![1; 15],
            ..part.clone()
        };
        assert!(problem(&other_key, &sealed).contains("too short"));
        let plain = ExternalPart {
            enc_alg: 0,
            hash_alg: 0,
            ..part
        };
        assert_eq!(state.open_asset(&plain, b"a cat".to_vec()).unwrap(), b"a cat");
    }

    #[test]
    fn rfc_9292_3_the_request_is_the_url_and_nothing_else() {
        let binary = target_request(URL).unwrap();
        let message = Message::read_bhttp(&mut Cursor::new(&binary)).unwrap();
        let control = message.control();
        assert_eq!(control.method(), Some(&b"GET"[..]));
        assert_eq!(control.scheme(), Some(&b"https"[..]));
        assert_eq!(control.authority(), Some(&b"assets.c.example"[..]));
        assert_eq!(control.path(), Some(&b"/cat?a=b"[..]));
        assert!(message.header().is_empty() && message.content().is_empty());
        assert!(target_request("no url").is_err());
    }

    /// A list whose configurations have no algorithms that this client knows must not be used.
    #[test]
    fn rfc_9458_3_2_a_list_without_a_usable_configuration_is_refused() {
        let mut list = vec![0, 41, 1, 0, 0x20];
        list.extend([9; 32]);
        // HKDF-SHA384 with AES-256-GCM
        list.extend([0, 4, 0, 2, 0, 2]);
        for list in [&list[..], &[], &[0, 9, 1], &[0]] {
            assert!(matches!(client_request(list), Err(OpsError::Oblivious(_))));
        }
    }
}
