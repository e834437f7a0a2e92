//! The clients: they talk, commit, add and remove each other, leave, and claim KeyPackages, until they are told to stop.
//!
//! Each room has four who stay: its host and a second client at the hub's provider, and one at each of the two others. Guests
//! come and go, and several rooms claim their KeyPackages at the same time. What fails at a node is sent again as it is, at
//! another one; what is an error here has failed for good.

use std::sync::Arc;
use std::time::Duration;

use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use mimi_hub_proto::{ClientKeyMaterialOutcome, KeyMaterialResponse};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::log::Log;
use crate::client::{Client, ClientState, Gateway, GatewaySettings, ROLE_MEMBER, RoomChange, TreeOption};
use crate::{OpsError, Rng};

/// How long a client may take to see that it was added or removed.
const SEEN_MAX: Duration = Duration::from_secs(30);
/// KeyPackages of a client that stays: it is added once.
const KEY_PACKAGES: usize = 2;
/// KeyPackages of a guest that wait to be claimed.
const GUEST_KEY_PACKAGES: usize = 20;
/// Once in so many turns a guest publishes more than it needs.
const GUEST_LOOK: u64 = 20;
const GUESTS: usize = 3;
/// Pauses between two messages of a client at the hub's provider, and of one elsewhere.
const PACE_NEAR: Duration = Duration::from_millis(40);
const PACE_FAR: Duration = Duration::from_millis(200);
/// One wait of a guest for news.
const GUEST_WAIT: Duration = Duration::from_millis(500);

/// A provider with users: how its gateway is reached.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) domain: ProviderDomain,
    pub(super) settings: GatewaySettings,
}

/// One client, and where it belongs.
pub(super) struct Member {
    pub(super) client: Client,
    pub(super) role: Role,
    /// KeyPackages that waited to be claimed when it last published some.
    stock: u64,
    rng: Rng,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Has made this room, and adds and removes guests.
    Host(usize),
    /// Is in this room, near the hub or elsewhere.
    Stays { room: usize, near: bool },
    /// Goes where it is added.
    Guest,
}

/// Rooms and clients, before they begin to talk.
pub(super) struct Cast {
    pub(super) rooms: Vec<RoomUri>,
    pub(super) members: Vec<Member>,
}

/// Makes clients, each with connections of its own.
struct Casting<'a> {
    sites: &'a [Site],
    prefix: &'a str,
    rng: Rng,
}

impl Casting<'_> {
    /// A client of the provider at this place, at home at its node at that place; in the circle, where there are fewer.
    async fn make(
        &mut self,
        (site, node): (usize, usize),
        name: &str,
        role: Role,
        key_packages: usize,
    ) -> Result<Member, OpsError> {
        let site = &self.sites[site % self.sites.len()];
        let mut urls: Vec<String> = std::iter::once(site.settings.url.clone())
            .chain(site.settings.more_urls.clone())
            .collect();
        let nodes = urls.len();
        urls.rotate_left(node % nodes);
        let gateway = Gateway::new(&GatewaySettings {
            url: urls.remove(0),
            more_urls: urls,
            ..site.settings.clone()
        })?;
        let uri = |kind: char| format!("mimi://{}/{kind}/{}-{name}", site.domain, self.prefix);
        let named = OpsError::mls("name a client");
        let user: UserUri = uri('u').parse().map_err(named)?;
        let client = uri('d').parse().map_err(OpsError::mls("name a client"))?;
        let mut client = Client::new(gateway, client, user, TreeOption::DistributionService)?;
        client.register(key_packages).await?;
        Ok(Member {
            client,
            role,
            stock: 0,
            rng: self.rng.fork(),
        })
    }
}

impl Cast {
    /// Registers the clients and makes the rooms; the first site is that of the rooms' hub.
    pub(super) async fn assemble(sites: &[Site], prefix: &str, rooms: usize, seed: u64) -> Result<Self, OpsError> {
        let mut casting = Casting {
            sites,
            prefix,
            rng: Rng::new(!seed),
        };
        let mut cast = Self {
            rooms: Vec::new(),
            members: Vec::new(),
        };
        for number in 0..rooms {
            let uri = format!("mimi://{}/r/{prefix}-{number}", sites[0].domain);
            let room: RoomUri = uri.parse().map_err(OpsError::mls("name a room"))?;
            let name = |who: &str| format!("{who}-{number}");
            // No minority of neighbours holds both.
            let (node, opposite) = (number, number + sites[0].settings.more_urls.len() / 2);
            let mut host = casting.make((0, node), &name("host"), Role::Host(number), 0).await?;
            host.client.create_room(&room, "chaos").await?;
            let near = Role::Stays {
                room: number,
                near: true,
            };
            let far = Role::Stays {
                room: number,
                near: false,
            };
            for (site, who, role) in [
                ((0, opposite), "second", near),
                ((1, 0), "third", far),
                ((2, 0), "fourth", far),
            ] {
                let mut member = casting.make(site, &name(who), role, KEY_PACKAGES).await?;
                let user = member.client.state().identity().user().clone();
                host.client.add_user(&room, &user, ROLE_MEMBER).await?;
                let joined = |state: &ClientState| state.is_member(&room);
                member.client.sync_until("the Welcome", SEEN_MAX, joined).await?;
                cast.members.push(member);
            }
            cast.members.push(host);
            cast.rooms.push(room);
        }
        for number in 0..GUESTS {
            let name = format!("guest-{number}");
            let guest = casting
                .make((number, number), &name, Role::Guest, GUEST_KEY_PACKAGES)
                .await?;
            cast.members.push(guest);
        }
        Ok(cast)
    }

    /// Has everybody begin. The members come back when `stop` says so, and each has ended what it was doing.
    pub(super) fn begin(&mut self, log: &Arc<Log>, stop: &watch::Receiver<bool>) -> JoinSet<Member> {
        let guests: Vec<UserUri> = self
            .members
            .iter()
            .filter(|member| member.role == Role::Guest)
            .map(|member| member.client.state().identity().user().clone())
            .collect();
        let scene = Arc::new(Scene {
            rooms: self.rooms.clone(),
            guests,
            log: Arc::clone(log),
            stop: stop.clone(),
        });
        let mut running = JoinSet::new();
        for member in self.members.drain(..) {
            running.spawn(Box::pin(member.live(Arc::clone(&scene))));
        }
        running
    }
}

/// What all clients know.
struct Scene {
    rooms: Vec<RoomUri>,
    guests: Vec<UserUri>,
    log: Arc<Log>,
    stop: watch::Receiver<bool>,
}

impl Scene {
    /// Waits; true when it is time to stop.
    async fn pause(&self, pause: Duration) -> bool {
        let mut stop = self.stop.clone();
        tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await.is_ok()
    }
}

impl Member {
    async fn live(mut self, scene: Arc<Scene>) -> Self {
        let mut turn = 0;
        loop {
            let outcome = match self.role {
                Role::Host(room) => self.host(&scene, room, turn).await,
                Role::Stays { room, .. } => self.stay(&scene, room, turn).await,
                Role::Guest => self.visit(&scene).await,
            };
            if let Err(error) = outcome {
                scene
                    .log
                    .failed(format!("{}: {error}", self.client.state().identity().client()));
            }
            turn += 1;
            let pace = match self.role {
                Role::Host(_) | Role::Stays { near: true, .. } => PACE_NEAR,
                Role::Stays { near: false, .. } => PACE_FAR,
                Role::Guest => Duration::ZERO,
            };
            // Between half of it and one and a half.
            let millis = u64::try_from(pace.as_millis()).unwrap_or_default();
            let pause = millis / 2 + self.rng.below(millis + 1);
            if scene.pause(Duration::from_millis(pause)).await {
                return self;
            }
        }
    }

    async fn say(&mut self, scene: &Scene, room: usize, turn: u64) -> Result<(), OpsError> {
        let name = self.client.state().identity().client().id().to_owned();
        self.client
            .send_text(&scene.rooms[room], &format!("{name}, {turn}"))
            .await?;
        scene.log.acked(room);
        Ok(())
    }

    async fn stay(&mut self, scene: &Scene, room: usize, turn: u64) -> Result<(), OpsError> {
        self.say(scene, room, turn).await?;
        if turn.is_multiple_of(4) {
            self.client.sync(Duration::ZERO).await?;
        }
        if self.rng.below(100) == 0 {
            self.client.commit_pending(&scene.rooms[room]).await?;
            scene.log.committed();
        }
        Ok(())
    }

    async fn host(&mut self, scene: &Scene, room: usize, turn: u64) -> Result<(), OpsError> {
        self.stay(scene, room, turn).await?;
        if self.rng.below(40) > 0 {
            return Ok(());
        }
        let guest = usize::try_from(self.rng.below(scene.guests.len() as u64)).unwrap_or_default();
        let (guest, room) = (&scene.guests[guest], &scene.rooms[room]);
        self.client.sync(Duration::ZERO).await?;
        if self.client.state().room(room)?.role_of(guest).is_none() {
            return self.invite(scene, room, guest).await;
        }
        match self.client.change(room, &RoomChange::RemoveUser(guest.clone())).await {
            // It has left in the meantime.
            Err(OpsError::NotParticipant { .. }) => Ok(()),
            Ok(()) => {
                scene.log.committed();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn invite(&mut self, scene: &Scene, room: &RoomUri, guest: &UserUri) -> Result<(), OpsError> {
        let own = self.client.state().identity().user().clone();
        let request = self.client.state().key_material_request(room, guest)?;
        let key_material = self.client.gateway().key_material(&own, guest, request.clone()).await?;
        let key_packages = key_packages(&key_material)?;
        if key_packages.is_empty() {
            // All are claimed, and new ones not yet there.
            return Ok(());
        }
        scene.log.claimed(&request, &key_packages);
        let change = RoomChange::AddUser {
            user: guest.clone(),
            role_index: ROLE_MEMBER,
            key_material,
        };
        self.client.change(room, &change).await?;
        scene.log.used(&key_packages);
        scene.log.committed();
        Ok(())
    }

    /// A guest follows its stream, publishes KeyPackages, says something here and there, and now and then leaves.
    async fn visit(&mut self, scene: &Scene) -> Result<(), OpsError> {
        self.client.sync(GUEST_WAIT).await?;
        // What is there is only told to whoever publishes.
        if self.stock < GUEST_KEY_PACKAGES as u64 || self.rng.below(GUEST_LOOK) == 0 {
            let made = self.client.state().key_packages(2)?;
            let identity = self.client.state().identity();
            let gateway = self.client.gateway();
            let stock = gateway.publish_key_packages(identity.user(), identity.client(), &made);
            self.stock = stock.await?.available;
        }
        for room in 0..scene.rooms.len() {
            let uri = &scene.rooms[room];
            if !self.client.state().is_member(uri) {
                continue;
            }
            let epoch = self.client.state().room(uri)?.epoch;
            let outcome = if self.rng.below(20) == 0 {
                self.client.leave(uri).await
            } else {
                self.say(scene, room, 0).await
            };
            match outcome {
                Ok(()) => {}
                // It is on its way out, by its own wish or by the host's.
                Err(OpsError::Leaving { .. } | OpsError::NotMember { .. } | OpsError::NotParticipant { .. }) => {}
                Err(OpsError::Denied { .. }) if self.was_out(uri, epoch).await? => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the stream says that this client has been removed since `epoch`, though it may be back.
    async fn was_out(&mut self, room: &RoomUri, epoch: u64) -> Result<bool, OpsError> {
        let was_out = |state: &ClientState| {
            let since = state
                .epochs(room)
                .map(|(epoch, _)| epoch)
                .filter(|known| *known >= epoch);
            let unbroken = since.clone().zip(epoch..).all(|(known, next)| known == next);
            !state.is_member(room) || !unbroken
        };
        match self.client.sync_until("the removal", SEEN_MAX, was_out).await {
            Ok(()) => Ok(true),
            Err(OpsError::TimedOut { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The KeyPackages of a KeyMaterialResponse.
fn key_packages(response: &[u8]) -> Result<Vec<Vec<u8>>, OpsError> {
    let response: KeyMaterialResponse = decode_exact(response).map_err(OpsError::answer("KeyMaterialResponse"))?;
    let clients = response.clients().iter();
    Ok(clients
        .filter_map(|client| match &client.outcome {
            ClientKeyMaterialOutcome::Success(key_package) => Some(encode(key_package)),
            _ => None,
        })
        .collect())
}
