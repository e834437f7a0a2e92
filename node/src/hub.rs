//! What all parts of a running node share: configuration, keys, the cluster, the actors, other providers.
//!
//! A [`Hub`] is made once, complete, by [`crate::server`]. It holds no state of rooms or users itself.

use std::sync::Arc;

use actix::ArbiterHandle;
use mimi_hub_cluster::{Cluster, ClusterNetwork, ShardId, shard_of};
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use tokio::runtime::Handle;

use crate::actor::{AskError, Registry, Reply};
use crate::assets::Assets;
use crate::command::RequestHash;
use crate::config::Config;
use crate::delivery::Delivery;
use crate::entity::EntityId;
use crate::followed::event::AwaitedKeyPackage;
use crate::followed::{FollowedAnswer, FollowedRequest, FollowedRoom};
use crate::forward::LeadersElsewhere;
use crate::mls::hub_keys::HubKeys;
use crate::peer::PeerClient;
use crate::room::entity::HostedRoom;
use crate::room::{RoomAnswer, RoomRequest};
use crate::settings::Settings;
use crate::user::state::UserState;
use crate::user::{UserAnswer, UserRequest};
use crate::wakers::Wakers;

/// A running node.
pub(crate) struct Hub {
    settings: Arc<Settings>,
    cluster: Cluster,
    /// The way to the other nodes, if there are any.
    network: Option<Arc<ClusterNetwork>>,
    peers: PeerClient,
    assets: Assets,
    runtime: Handle,
    rooms: Registry<HostedRoom>,
    followed: Registry<FollowedRoom>,
    users: Registry<UserState>,
    delivery: Delivery,
    wakers: Wakers,
    leaders_elsewhere: LeadersElsewhere,
}

impl Hub {
    pub(crate) fn new(
        config: Config,
        keys: HubKeys,
        cluster: Cluster,
        network: Option<Arc<ClusterNetwork>>,
        peers: PeerClient,
        assets: Assets,
        arbiters: &[ArbiterHandle],
    ) -> Arc<Self> {
        Arc::new(Hub {
            settings: Arc::new(Settings { config, keys }),
            cluster,
            network,
            peers,
            assets,
            runtime: Handle::current(),
            rooms: Registry::new(arbiters.to_vec()),
            followed: Registry::new(arbiters.to_vec()),
            users: Registry::new(arbiters.to_vec()),
            delivery: Delivery::new(arbiters.to_vec()),
            wakers: Wakers::default(),
            leaders_elsewhere: LeadersElsewhere::default(),
        })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.settings.config
    }

    pub(crate) fn keys(&self) -> &HubKeys {
        &self.settings.keys
    }

    pub(crate) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(crate) fn network(&self) -> Option<&ClusterNetwork> {
        self.network.as_deref()
    }

    pub(crate) fn rooms(&self) -> &Registry<HostedRoom> {
        &self.rooms
    }

    pub(crate) fn followed(&self) -> &Registry<FollowedRoom> {
        &self.followed
    }

    pub(crate) fn users(&self) -> &Registry<UserState> {
        &self.users
    }

    pub(crate) fn peers(&self) -> &PeerClient {
        &self.peers
    }

    pub(crate) fn assets(&self) -> &Assets {
        &self.assets
    }

    /// The runtime on which requests are served; actors have threads of their own.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(crate) fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    pub(crate) fn wakers(&self) -> &Wakers {
        &self.wakers
    }

    pub(crate) fn leaders_elsewhere(&self) -> &LeadersElsewhere {
        &self.leaders_elsewhere
    }

    /// Is it one of the domains that this provider serves?
    pub(crate) fn is_local(&self, domain: &ProviderDomain) -> bool {
        self.settings.is_local(domain)
    }

    /// Where an entity's events and state are.
    pub(crate) fn shard_of(&self, id: &EntityId) -> ShardId {
        shard_of(&id.shard_key(), self.cluster.shards())
    }

    /// Asks a hosted room's actor.
    pub(crate) async fn ask_room(
        self: &Arc<Self>,
        room: &RoomUri,
        hash: Option<RequestHash>,
        request: RoomRequest,
    ) -> Result<Reply<RoomAnswer>, AskError> {
        self.ask(&self.rooms, EntityId::Room(room.clone()), hash, request).await
    }

    /// Asks a followed room's actor.
    pub(crate) async fn ask_followed(
        self: &Arc<Self>,
        room: &RoomUri,
        request: FollowedRequest,
    ) -> Result<Reply<FollowedAnswer>, AskError> {
        self.ask(&self.followed, EntityId::Followed(room.clone()), None, request)
            .await
    }

    /// KeyPackages of a local user were given out for a room that is hosted elsewhere.
    pub(crate) async fn await_welcomes(
        self: &Arc<Self>,
        room: &RoomUri,
        user: UserUri,
        packages: Vec<AwaitedKeyPackage>,
    ) -> Result<(), AskError> {
        // A node without a network is alone: it writes what it understands, and does not announce it to anybody.
        let format = self.network().map(|_| self.cluster().meta().unwrap_or_default().format);
        let request = FollowedRequest::awaiting(format, user, packages);
        self.ask_followed(room, request).await.map(drop)
    }

    /// Asks a user's actor.
    pub(crate) async fn ask_user(
        self: &Arc<Self>,
        user: &UserUri,
        hash: Option<RequestHash>,
        request: UserRequest,
    ) -> Result<Reply<UserAnswer>, AskError> {
        self.ask(&self.users, EntityId::User(user.clone()), hash, request).await
    }

    /// Stops the actors of a shard that another node leads now.
    pub(crate) fn resign(&self, shard: ShardId) {
        self.rooms.resign(self, shard);
        self.followed.resign(self, shard);
        self.users.resign(self, shard);
        self.delivery.hand_over(shard);
    }

    /// How many rooms (hosted, followed) and users are active in memory.
    pub(crate) fn active_actors(&self) -> [usize; 3] {
        [self.rooms.active(), self.followed.active(), self.users.active()]
    }
}
