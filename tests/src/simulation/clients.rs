//! What the clients of a simulated hub do: one request at a time each, the same one again until it is answered.

use std::time::Duration;

use bytes::Bytes;
use mimi_hub::entity::EntityId;
use mimi_hub::simulation::Request;
use mimi_hub_proto::mls::{CipherSuite, RequiredCapabilities, SignaturePublicKey};
use mimi_hub_proto::uri::{ClientUri, ProviderDomain, RoomUri, UserUri};
use mimi_hub_proto::{ClientIdentity, KeyMaterialRequest, KeyMaterialRequestTbs, SubmitMessageRequest};
use rand::RngExt;
use rand::rngs::SmallRng;

use super::history::History;
use super::mls::{self, application_message};

/// KeyPackages that are published at a time.
const KEY_PACKAGES: usize = 2;

pub(super) struct Room {
    pub(super) uri: RoomUri,
    pub(super) id: EntityId,
    pub(super) first_epoch: u64,
    pub(super) created: bool,
    /// The latest event that anybody has seen or had acknowledged.
    pub(super) seen: u64,
}

pub(super) struct Client {
    part: Part,
    pub(super) call: Option<Call>,
    /// The last request that was accepted, and its reply.
    accepted: Option<(Request, Bytes)>,
}

/// What a client is there for.
enum Part {
    /// A member of a room: commits, and makes the room in the first place if it has the request for that.
    Member {
        room: usize,
        client: Box<mls::Client>,
        create: Option<Request>,
    },
    /// Sends application messages.
    Sender { room: usize, user: UserUri },
    /// Reads.
    Reader { room: usize },
    /// Publishes KeyPackages.
    Publisher { client: Box<mls::Client>, step: u32 },
    /// Claims them.
    Claimer { identity: ClientIdentity, target: UserUri },
}

/// A request until it is answered.
pub(super) struct Call {
    pub(super) number: u64,
    pub(super) request: Request,
    pub(super) kind: Kind,
    pub(super) room: Option<usize>,
    pub(super) begun: Duration,
    /// How often it was sent.
    pub(super) attempts: u64,
    /// What a read must show at least.
    pub(super) floor: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Create,
    Commit,
    Message,
    View,
    User,
    Publish,
    Claim,
    /// A request that was accepted before, with this reply.
    Again(Bytes),
}

pub(super) fn domain() -> ProviderDomain {
    "a.example".parse().unwrap()
}

pub(super) fn user(name: &str) -> UserUri {
    format!("mimi://a.example/u/{name}").parse().unwrap()
}

fn client_uri(name: &str) -> ClientUri {
    format!("mimi://a.example/d/{name}").parse().unwrap()
}

fn identity(name: &str) -> ClientIdentity {
    ClientIdentity::new(client_uri(name), user(name)).unwrap()
}

/// The rooms of a hub, and everybody in them.
pub(super) fn people(
    rng: &mut SmallRng,
    rooms: usize,
    users: usize,
    external_sender: &[u8],
) -> (Vec<Room>, Vec<Client>) {
    let (mut all_rooms, mut clients) = (Vec::new(), Vec::new());
    for room in 0..rooms {
        let uri: RoomUri = format!("mimi://a.example/r/{room}").parse().unwrap();
        let names = [format!("alice-{room}"), format!("bob-{room}")];
        let mut members = names.iter().map(|name| mls::Client::new(rng, identity(name)));
        let (mut alice, mut bob) = (members.next().unwrap(), [members.next().unwrap()]);
        let (group_info, tree) = alice.create(&uri, external_sender, &mut bob);
        let creator = alice.identity().user().clone();
        let create = Request::create_room(&uri, creator, group_info, tree).unwrap();
        all_rooms.push(Room {
            id: EntityId::Room(uri.clone()),
            uri,
            first_epoch: alice.epoch(),
            created: false,
            seen: 0,
        });
        for (client, create) in std::iter::once((alice, Some(create))).chain(bob.map(|bob| (bob, None))) {
            clients.push(Part::Sender {
                room,
                user: client.identity().user().clone(),
            });
            let client = Box::new(client);
            clients.push(Part::Member { room, client, create });
        }
        clients.push(Part::Reader { room });
    }
    for number in 0..users {
        let client = mls::Client::new(rng, identity(&format!("cathy-{number}")));
        let target = client.identity().user().clone();
        let client = Box::new(client);
        clients.push(Part::Publisher { client, step: 0 });
        for other in 0..2 {
            let identity = identity(&format!("dave-{number}-{other}"));
            let target = target.clone();
            clients.push(Part::Claimer { identity, target });
        }
    }
    let clients = clients.into_iter().map(|part| Client {
        part,
        call: None,
        accepted: None,
    });
    (all_rooms, clients.collect())
}

impl Client {
    /// The next request, if there is anything to ask.
    pub(super) fn next(
        &mut self,
        rng: &mut SmallRng,
        rooms: &[Room],
        history: &mut History,
        number: u64,
    ) -> Option<(Request, Kind, Option<usize>)> {
        if let Some((request, reply)) = self.accepted.take_if(|_| rng.random_ratio(1, 4)) {
            return Some((request, Kind::Again(reply), None));
        }
        let room_number = match &self.part {
            Part::Member { room, .. } | Part::Sender { room, .. } | Part::Reader { room } => Some(*room),
            Part::Publisher { .. } | Part::Claimer { .. } => None,
        };
        let (request, kind) = match &mut self.part {
            Part::Member { room, client, create } => {
                let room = &rooms[*room];
                if !room.created {
                    return Some((create.clone()?, Kind::Create, room_number));
                }
                client.follow(&history.of(&room.id).commits, room.first_epoch);
                let bundle = client.commit(user(&format!("guest-{number}")));
                (Request::update(&room.uri, domain(), bundle), Kind::Commit)
            }
            Part::Sender { room, user } => {
                let room = Some(&rooms[*room]).filter(|room| room.created)?;
                let epoch = room.first_epoch + history.of(&room.id).commits.len() as u64;
                let request = SubmitMessageRequest {
                    app_message: application_message(&room.uri, epoch, rng.random()),
                    sending_uri: user.clone(),
                };
                (Request::submit(&room.uri, domain(), request), Kind::Message)
            }
            Part::Reader { room } => {
                let room = Some(&rooms[*room]).filter(|room| room.created)?;
                (Request::view(&room.uri), Kind::View)
            }
            Part::Publisher { client, step } => {
                *step += 1;
                let identity = client.identity();
                let (user, uri) = (identity.user(), identity.client().clone());
                match step {
                    1 => (Request::create_user(user), Kind::User),
                    2 => (Request::add_client(user, uri), Kind::User),
                    _ => {
                        let packages = (0..KEY_PACKAGES).map(|_| client.key_package()).collect();
                        (Request::publish(user, uri, packages), Kind::Publish)
                    }
                }
            }
            Part::Claimer { identity, target } => {
                let tbs = KeyMaterialRequestTbs {
                    requesting_user: identity.user().clone(),
                    target_user: target.clone(),
                    room_id: Some(rooms[0].uri.clone()),
                    acceptable_ciphersuites: vec![CipherSuite(1)],
                    required_capabilities: RequiredCapabilities::default(),
                    requester_signature_key: SignaturePublicKey::new(vec![1; 32]),
                    requester_credential: identity.to_credential(),
                };
                let key_material_request_signature = rng.random::<[u8; 32]>().to_vec();
                let request = KeyMaterialRequest {
                    tbs,
                    key_material_request_signature,
                };
                (Request::claim(request), Kind::Claim)
            }
        };
        Some((request.unwrap(), kind, room_number))
    }

    /// Its request was accepted.
    pub(super) fn accepted(&mut self, request: Request, reply: Bytes) {
        self.accepted = request.hash.is_some().then_some((request, reply));
    }

    /// How long it thinks before its next request.
    pub(super) fn think(&self, rng: &mut SmallRng) -> Duration {
        let millis = match &self.part {
            Part::Member { .. } => 50..400,
            Part::Sender { .. } => 1..60,
            Part::Reader { .. } => 1..40,
            Part::Publisher { .. } => 20..300,
            Part::Claimer { .. } => 50..400,
        };
        Duration::from_millis(rng.random_range(millis))
    }
}
