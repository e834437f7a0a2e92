//! The JSON bodies of the local API.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mimi_hub_proto::uri::{ClientUri, RoomUri, UserUri};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a client must know to create a room.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HubInfo {
    /// The domains that the provider serves.
    pub domains: Vec<String>,
    /// The hub's ExternalSender struct (RFC 9420, 12.1.8.1), encoded.
    #[serde(deserialize_with = "from_base64")]
    pub external_sender: Vec<u8>,
    /// The MLS cipher suites that the hub understands.
    pub ciphersuites: Vec<u16>,
}

/// How many KeyPackages a client has with its provider.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct KeyPackageStock {
    /// Stored by this call.
    pub stored: u64,
    /// Left to be claimed.
    pub available: u64,
}

/// Who may fetch a user's KeyPackages.
#[derive(Clone, Debug, Serialize)]
pub struct Consent {
    /// Whom the rule is about; anybody without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requester: Option<UserUri>,
    /// Which room it is about; any without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomUri>,
    /// Whether they may.
    pub allow: bool,
}

/// The hub's view of a room.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomView {
    /// The room.
    pub room: RoomUri,
    /// The MLS epoch of its group.
    pub epoch: u64,
    /// The room's own sequence number.
    pub seq: u64,
    /// `tree_hash` of the GroupContext.
    #[serde(deserialize_with = "from_base64")]
    pub tree_hash: Vec<u8>,
    /// `confirmed_transcript_hash` of the GroupContext.
    #[serde(deserialize_with = "from_base64")]
    pub confirmed_transcript_hash: Vec<u8>,
    /// The participant list, in its order.
    pub participants: Vec<ParticipantView>,
    /// The members of the group, by leaf.
    pub clients: Vec<MemberView>,
    /// Proposals that the next Commit must cover.
    pub pending_proposals: u64,
}

/// What a join code is good for.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinCodeTerms {
    /// The role of who joins by it.
    pub role: u32,
    /// How long it is valid, in seconds.
    pub expires_in_s: u64,
    /// How many users may join by it.
    pub uses_max: u32,
}

/// A join code. Times are in milliseconds since the UNIX epoch.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinCode {
    /// Its name.
    pub id: String,
    /// The code itself.
    pub code: String,
    /// The room's URI with the code as fragment.
    pub link: String,
    /// The role of who joins by it.
    pub role: u32,
    /// When it ends.
    pub expires_at: u64,
    /// How many users may join by it.
    pub uses_max: u32,
    /// How many have.
    pub uses: u32,
}

/// One entry of a participant list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ParticipantView {
    /// The user.
    pub user: UserUri,
    /// The index of its role.
    pub role: u32,
}

/// One member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    /// The client.
    pub client: ClientUri,
    /// Its user.
    pub user: UserUri,
    /// Its leaf in the ratchet tree.
    pub leaf_index: u32,
}

/// One step along a user's event stream.
#[derive(Clone, Debug, Deserialize)]
pub struct EventPage {
    /// In order within each room.
    pub events: Vec<RoomEvent>,
    /// Where to go on.
    pub cursor: String,
    /// Whether there is more already.
    pub more: bool,
}

/// One event of a room.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoomEvent {
    /// The room.
    pub room: RoomUri,
    /// Its place in the room's order, as this provider counts.
    pub seq: u64,
    /// One FanoutMessage struct.
    #[serde(deserialize_with = "from_base64")]
    pub fanout_message: Vec<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PublishKeyPackages<'a> {
    #[serde(serialize_with = "all_to_base64")]
    pub(super) key_packages: &'a [Vec<u8>],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateRoom<'a> {
    pub(super) room: &'a RoomUri,
    #[serde(serialize_with = "to_base64")]
    pub(super) group_info: &'a [u8],
    #[serde(serialize_with = "to_base64")]
    pub(super) ratchet_tree: &'a [u8],
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Created {
    pub(super) accepted_timestamp: u64,
}

#[derive(Deserialize)]
pub(super) struct Leader {
    pub(super) node: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EventQuery<'a> {
    cursor: Option<&'a str>,
    wait_ms: u64,
    limit: u16,
}

impl<'a> EventQuery<'a> {
    /// The longest that the API lets a call wait.
    pub(super) const WAIT_MAX: Duration = Duration::from_secs(30);

    pub(super) fn new(cursor: Option<&'a str>, wait: Duration, limit: u16) -> Self {
        Self {
            cursor,
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            limit: limit.clamp(1, 1000),
        }
    }
}

/// A problem document (RFC 9457), as far as it is shown to people.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// Which kind of problem.
    pub r#type: String,
    /// The kind in words.
    pub title: String,
    /// This occurrence in words.
    pub detail: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.title.as_str(), self.detail.as_str()) {
            ("", "") => f.write_str("no reason given"),
            (title, "") => f.write_str(title),
            ("", detail) => f.write_str(detail),
            (title, detail) => write!(f, "{title}: {detail}"),
        }
    }
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    BASE64_STANDARD.decode(text).map_err(serde::de::Error::custom)
}

fn to_base64<S: Serializer>(bytes: &&[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
}

fn all_to_base64<S: Serializer>(items: &&[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(items.iter().map(|bytes| BASE64_STANDARD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_documented_answers() {
        let hub: HubInfo =
            serde_json::from_str(r#"{"domains":["a.example"],"externalSender":"IA3/","ciphersuites":[1,2,3]}"#)
                .unwrap();
        assert_eq!(hub.external_sender, [0x20, 0x0d, 0xff]);
        let view: RoomView = serde_json::from_str(
            r#"{"room":"mimi://a.example/r/clubhouse","epoch":4,"seq":17,"treeHash":"AQ==",
                "confirmedTranscriptHash":"Ag==","participants":[{"user":"mimi://a.example/u/alice","role":4}],
                "clients":[{"client":"mimi://a.example/d/A1","user":"mimi://a.example/u/alice","leafIndex":0}],
                "pendingProposals":0}"#,
        )
        .unwrap();
        assert_eq!(view.tree_hash, [1]);
        assert_eq!(view.clients[0].leaf_index, 0);
        let page: EventPage = serde_json::from_str(
            r#"{"events":[{"room":"mimi://a.example/r/clubhouse","seq":12,"fanoutMessage":"AAAB"}],
                "cursor":"eyJ","more":false}"#,
        )
        .unwrap();
        assert_eq!(page.events[0].fanout_message, [0, 0, 1]);
    }

    #[test]
    fn writes_the_documented_requests() {
        let room: RoomUri = "mimi://a.example/r/clubhouse".parse().unwrap();
        let create = CreateRoom {
            room: &room,
            group_info: &[0, 1],
            ratchet_tree: &[2],
        };
        assert_eq!(
            serde_json::to_string(&create).unwrap(),
            r#"{"room":"mimi://a.example/r/clubhouse","groupInfo":"AAE=","ratchetTree":"Ag=="}"#
        );
        let query = EventQuery::new(None, Duration::from_secs(10), 5000);
        assert_eq!(
            serde_json::to_string(&query).unwrap(),
            r#"{"cursor":null,"waitMs":10000,"limit":1000}"#
        );
        let publish = PublishKeyPackages {
            key_packages: &[vec![0], vec![1]],
        };
        assert_eq!(
            serde_json::to_string(&publish).unwrap(),
            r#"{"keyPackages":["AA==","AQ=="]}"#
        );
    }
}
