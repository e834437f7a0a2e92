//! Rooms and messages, made before the clock starts.

use mimi_hub_proto::uri::{RoomUri, UserUri};

use crate::OpsError;
use crate::client::{Client, TreeOption};
use crate::providers::Provider;

/// A room and the client that made it.
pub(super) struct Room {
    pub(super) room: RoomUri,
    pub(super) user: UserUri,
    client: Client,
}

/// A SubmitMessageRequest, ready to be sent.
pub(super) struct Message {
    pub(super) user: UserUri,
    pub(super) room: RoomUri,
    pub(super) body: Vec<u8>,
}

/// Makes `count` rooms, each with a user and client of its own.
pub(super) async fn rooms(provider: &Provider, count: u32) -> Result<Vec<Room>, OpsError> {
    let mut rooms = Vec::new();
    for number in 0..count {
        let uri = |kind: char, name: &str| format!("mimi://{}/{kind}/{name}{number}", provider.domain);
        let room: RoomUri = uri('r', "load").parse().map_err(OpsError::mls("name a room"))?;
        let user: UserUri = uri('u', "load").parse().map_err(OpsError::mls("name a room"))?;
        let client = uri('d', "load").parse().map_err(OpsError::mls("name a room"))?;
        let mut client = Client::new(provider.gateway.clone(), client, user.clone(), TreeOption::default())?;
        client.register(0).await?;
        client.create_room(&room, "load").await?;
        rooms.push(Room { room, user, client });
    }
    Ok(rooms)
}

/// Encrypts `count` messages of `payload` bytes of text, evenly over the rooms, in an order that goes round the rooms.
pub(super) async fn messages(rooms: &mut Vec<Room>, count: usize, payload: u32) -> Result<Vec<Message>, OpsError> {
    let text = "x".repeat(payload as usize);
    let each = count.div_ceil(rooms.len().max(1));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = rooms.len().div_ceil(cores).max(1);
    // Encryption is work for all cores, and none for the threads that serve connections.
    let mut tasks = Vec::new();
    let mut left = std::mem::take(rooms);
    while !left.is_empty() {
        let rest = left.split_off(share.min(left.len()));
        let mut part = std::mem::replace(&mut left, rest);
        let text = text.clone();
        tasks.push(tokio::task::spawn_blocking(move || {
            let encrypted: Result<Vec<Vec<Message>>, OpsError> =
                part.iter_mut().map(|room| room.encrypt(&text, each)).collect();
            encrypted.map(|encrypted| (part, encrypted))
        }));
    }
    let mut queues = Vec::new();
    for task in tasks {
        let (part, encrypted) = task
            .await
            .map_err(|error| OpsError::Usage(format!("encryption failed: {error}")))??;
        rooms.extend(part);
        queues.extend(encrypted.into_iter().map(Vec::into_iter));
    }
    let mut messages = Vec::with_capacity(each * queues.len());
    for _ in 0..each {
        messages.extend(queues.iter_mut().filter_map(Iterator::next));
    }
    Ok(messages)
}

impl Room {
    fn encrypt(&mut self, text: &str, count: usize) -> Result<Vec<Message>, OpsError> {
        let (room, user) = (self.room.clone(), self.user.clone());
        let bodies = self.client.encrypt_ahead(&room, text, count)?;
        let message = |body| Message {
            user: user.clone(),
            room: room.clone(),
            body,
        };
        Ok(bodies.into_iter().map(message).collect())
    }
}
