//! A client of a provider that is no server: its requests go to the hub as they are.

use mimi_hub_ops::client::{ClientState, MessageAnswer, TreeOption, UpdateAnswer};
use mimi_hub_proto::uri::{ClientUri, RoomUri, UserUri};

use crate::http::{Answer, Peer};

/// The client, and its provider's way to the hub.
/// It uploads everything whole, so that tests can change each part.
pub struct RemoteClient {
    /// The provider's requests.
    pub peer: Peer,
    /// The client without its network.
    pub state: ClientState,
}

impl RemoteClient {
    pub(crate) fn new(peer: Peer, client: ClientUri, user: UserUri) -> Self {
        let state = ClientState::new(client, user, TreeOption::Full).unwrap();
        Self { peer, state }
    }

    /// Joins a room, of which the user is a participant, by an external Commit.
    ///
    /// # Panics
    /// The hub refuses.
    pub async fn join(&mut self, room: &RoomUri) {
        let (query, request) = self.state.group_info_request(room, None).unwrap();
        let response = self.peer.post("groupInfo", room.as_str(), &request).await;
        assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
        let body = self.state.external_commit(room, &query, &response.body, None).unwrap();
        let answer = self.update(room, &body).await;
        assert_eq!(answer, UpdateAnswer::Accepted);
    }

    /// Sends an update of this client and takes in the answer.
    ///
    /// # Panics
    /// There is no UpdateRoomResponse.
    pub async fn update(&mut self, room: &RoomUri, body: &[u8]) -> UpdateAnswer {
        let response = self.peer.post("update", room.as_str(), body).await;
        assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
        self.state.update_answered(room, &response.body).unwrap()
    }

    /// Encrypts a text, ready to be sent.
    ///
    /// # Panics
    /// This client is not in the room.
    pub fn text(&mut self, room: &RoomUri, text: &str) -> Vec<u8> {
        let content = self.state.text(room, text).unwrap();
        self.state.encrypt(room, &content).unwrap()
    }

    /// Sends a text that the hub must accept.
    ///
    /// # Panics
    /// It does not.
    pub async fn send(&mut self, room: &RoomUri, text: &str) -> Answer {
        let body = self.text(room, text);
        let answer = self.peer.post("submitMessage", room.as_str(), &body).await;
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let taken = self.state.message_answered(room, &answer.body).unwrap();
        assert_eq!(taken, MessageAnswer::Accepted);
        answer
    }
}
