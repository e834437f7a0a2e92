//! The steps about attached files: draft-ietf-mimi-protocol, section 5.10.

use mimi_hub_proto::content::ExternalPart;
use mimi_hub_proto::uri::ProviderDomain;

use super::{CLIENT_B1, CLIENT_B2, CLIENT_C1, Outcome, Play, SEEN_MAX, parse};
use crate::OpsError;
use crate::client::DownloadBy;

/// The hub of the room.
const HUB: &str = "a.example";

/// What the hub sends to an asset server; nothing of it is anybody's.
const FIELDS: [&str; 3] = ["accept", "accept-encoding", "host"];

impl Play {
    /// Cathy attaches a picture; both of Bob's clients fetch it by way of the hub, which asks the asset server once.
    pub(super) async fn asset_by_proxy(&mut self) -> Outcome {
        let picture: Vec<u8> = (0..300_000_u32).flat_map(u32::to_be_bytes).collect();
        for index in [CLIENT_B1, CLIENT_B2] {
            self.attach_and_fetch("cat.png", &picture, index, DownloadBy::Proxy)
                .await?;
        }
        self.asked_once("cat.png")?;
        let (hub, part) = (parse(HUB)?, self.attached(CLIENT_B1, "cat.png")?);
        let elsewhere = ExternalPart {
            url: "https://www.c.example/cat.png".to_owned(),
            ..part
        };
        self.is_refused(&hub, &elsewhere, DownloadBy::Proxy).await?;
        Ok(vec![
            format!(
                "{} bytes, fetched twice, asked for once at assets.c.example",
                picture.len()
            ),
            "a URL elsewhere is refused by the hub".to_owned(),
        ])
    }

    /// Cathy attaches another one; Bob's provider carries what it cannot read to the hub.
    pub(super) async fn asset_by_ohttp(&mut self) -> Outcome {
        let picture: Vec<u8> = (0..200_000_u32).rev().flat_map(u32::to_be_bytes).collect();
        for index in [CLIENT_B1, CLIENT_B2] {
            self.attach_and_fetch("dog.png", &picture, index, DownloadBy::Oblivious)
                .await?;
        }
        self.asked_once("dog.png")?;
        let (hub, part) = (parse(HUB)?, self.attached(CLIENT_B1, "dog.png")?);
        let elsewhere = ExternalPart {
            url: "https://www.c.example/dog.png".to_owned(),
            ..part
        };
        self.is_refused(&hub, &elsewhere, DownloadBy::Oblivious).await?;
        Ok(vec![
            format!(
                "{} bytes; b.example passed on what only the hub can open, the hub does not know for whom",
                picture.len()
            ),
            "a URL elsewhere is refused by the hub, in the encapsulated response".to_owned(),
        ])
    }

    /// Sends the file, if it has not been sent, and fetches it as one of the receivers.
    async fn attach_and_fetch(
        &mut self,
        name: &str,
        file: &[u8],
        index: usize,
        by: DownloadBy,
    ) -> Result<(), OpsError> {
        let url = self.assets.url(name);
        if self.attached(CLIENT_C1, name).is_err() {
            let (part, sealed) = self.cast[CLIENT_C1].state().seal_asset(&url, "image/png", name, file)?;
            self.assets.upload(name, sealed);
            let content = self.cast[CLIENT_C1].state().attachment(&self.room, part)?;
            let expected = self.others(CLIENT_C1);
            self.cast[CLIENT_C1].send(&self.room, &content).await?;
            self.ledger.note_last(&self.cast[CLIENT_C1], &self.room, 1, &expected);
        }
        let room = self.room.clone();
        self.cast[index]
            .sync_until("the attachment", SEEN_MAX, |state| {
                let mut attached = state
                    .transcript(&room)
                    .iter()
                    .filter_map(|entry| entry.external.as_ref());
                attached.any(|part| part.url == url)
            })
            .await?;
        let part = self.attached(index, name)?;
        let hub: ProviderDomain = parse(HUB)?;
        let fetched = self.cast[index].download(&hub, &part, by).await?;
        if fetched != file {
            return Err(OpsError::Disagreement(format!("{name} is not what Cathy has sent")));
        }
        Ok(())
    }

    /// What a client has received of this name.
    fn attached(&self, index: usize, name: &str) -> Result<ExternalPart, OpsError> {
        let transcript = self.cast[index].state().transcript(&self.room);
        let mut parts = transcript.iter().rev().filter_map(|entry| entry.external.as_deref());
        let part = parts.find(|part| part.filename == name).cloned();
        part.ok_or_else(|| OpsError::Disagreement(format!("nobody has sent {name}")))
    }

    /// The hub has kept the asset, and has told its server nothing of anybody.
    fn asked_once(&self, name: &str) -> Result<(), OpsError> {
        let asked = self.assets.asked(name);
        let told = |field: &String| !FIELDS.contains(&field.as_str());
        match asked.as_slice() {
            [once] if !once.fields.iter().any(told) => Ok(()),
            other => Err(OpsError::Disagreement(format!("the asset server was asked {other:?}"))),
        }
    }

    async fn is_refused(&self, hub: &ProviderDomain, part: &ExternalPart, by: DownloadBy) -> Result<(), OpsError> {
        match self.cast[CLIENT_B1].download(hub, part, by).await {
            Err(OpsError::Refused { .. }) => Ok(()),
            other => Err(OpsError::Disagreement(format!(
                "{} is fetched, or otherwise refused: {:?}",
                part.url,
                other.map(|file| file.len())
            ))),
        }
    }
}
