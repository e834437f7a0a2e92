//! What can be asked of a simulated node, as it passes between nodes.

use bytes::Bytes;
use mimi_hub_proto::mls::{GroupInfo, KeyPackage, RatchetTree};
use mimi_hub_proto::uri::{ClientUri, ProviderDomain, RoomUri, UserUri};
use mimi_hub_proto::{HandshakeBundle, KeyMaterialRequest, SubmitMessageRequest};
use serde::Serialize;

use crate::command::{RequestHash, encode, request_hash};
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::room::RoomRequest;
use crate::room::entity::Update;
use crate::user::UserRequest;

/// A request as one node passes it to another.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whom it is for.
    pub id: EntityId,
    /// Set where the same bytes must get the same answer.
    pub hash: Option<RequestHash>,
    pub(super) body: Vec<u8>,
}

impl Request {
    fn new(id: EntityId, endpoint: Option<&str>, request: &impl Serialize) -> Result<Self, NodeError> {
        let body = encode(request)?;
        let source: ProviderDomain = "a.example".parse()?;
        let hash = endpoint.map(|endpoint| request_hash(&source, endpoint, id.name(), &Bytes::copy_from_slice(&body)));
        Ok(Request { id, hash, body })
    }

    /// Makes a room.
    ///
    /// # Errors
    /// It cannot be laid out; so for all of them.
    pub fn create_room(
        room: &RoomUri,
        creator: UserUri,
        group_info: GroupInfo,
        ratchet_tree: RatchetTree,
    ) -> Result<Self, NodeError> {
        let request = RoomRequest::Create {
            creator,
            group_info,
            ratchet_tree,
        };
        Self::new(EntityId::Room(room.clone()), Some("create"), &request)
    }

    /// A Commit or Proposals.
    ///
    /// # Errors
    /// See [`Request::create_room`].
    pub fn update(room: &RoomUri, source: ProviderDomain, bundle: HandshakeBundle) -> Result<Self, NodeError> {
        let update = Update::from(bundle);
        let request = RoomRequest::Update { source, update };
        Self::new(EntityId::Room(room.clone()), Some("update"), &request)
    }

    /// An application message.
    ///
    /// # Errors
    /// See [`Request::create_room`].
    pub fn submit(room: &RoomUri, source: ProviderDomain, request: SubmitMessageRequest) -> Result<Self, NodeError> {
        let request = RoomRequest::Submit { source, request };
        Self::new(EntityId::Room(room.clone()), Some("submitMessage"), &request)
    }

    /// The hub's view of a room: a read.
    ///
    /// # Errors
    /// See [`Request::create_room`].
    pub fn view(room: &RoomUri) -> Result<Self, NodeError> {
        Self::new(EntityId::Room(room.clone()), None, &RoomRequest::View)
    }

    /// Makes a user known.
    ///
    /// # Errors
    /// See [`Request::create_room`].
    pub fn create_user(user: &UserUri) -> Result<Self, NodeError> {
        Self::new(EntityId::User(user.clone()), None, &UserRequest::Create)
    }

    /// Registers a client.
    ///
    /// # Errors
    /// See [`Request::create_room`].
    pub fn add_client(user: &UserUri, client: ClientUri) -> Result<Self, NodeError> {
        Self::new(EntityId::User(user.clone()), None, &UserRequest::AddClient(client))
    }

    /// Publishes KeyPackages.
    ///
    /// # Errors
    /// See [`Request::create_room`].
    pub fn publish(user: &UserUri, client: ClientUri, key_packages: Vec<KeyPackage>) -> Result<Self, NodeError> {
        let request = UserRequest::StoreKeyPackages { client, key_packages };
        Self::new(EntityId::User(user.clone()), Some("keyPackages"), &request)
    }

    /// Claims KeyPackages. Its signature is not looked at here: that is done before an entity is asked.
    ///
    /// # Errors
    /// See [`Request::create_room`].
    pub fn claim(request: KeyMaterialRequest) -> Result<Self, NodeError> {
        let id = EntityId::User(request.tbs.target_user.clone());
        Self::new(
            id,
            Some("keyMaterial"),
            &UserRequest::Claim {
                request,
                shares_room: false,
            },
        )
    }
}
