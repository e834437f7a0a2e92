//! Reading a user's event stream.

use std::time::{Duration, Instant};

use mimi_hub_ops::client::{Gateway, RoomEvent};
use mimi_hub_proto::mls::MlsMessage;
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{FanoutEvent, FanoutMessage};

/// All events of a user, from the start.
///
/// # Panics
/// The local API refuses.
pub async fn all(gateway: &Gateway, user: &UserUri) -> Vec<RoomEvent> {
    let mut events = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = gateway
            .events(user, cursor.as_deref(), Duration::ZERO, 1000)
            .await
            .unwrap();
        events.extend(page.events);
        if !page.more {
            return events;
        }
        cursor = Some(page.cursor);
    }
}

/// The FanoutMessages of one room, from the start.
pub async fn room(gateway: &Gateway, user: &UserUri, room: &RoomUri) -> Vec<FanoutMessage> {
    let events = all(gateway, user).await;
    let here = events.iter().filter(|event| event.room == *room);
    here.map(|event| decode_exact(&event.fanout_message).unwrap()).collect()
}

/// The application messages of one room as they were sent (MLSMessage structs), from the start.
pub async fn messages(gateway: &Gateway, user: &UserUri, about: &RoomUri) -> Vec<Vec<u8>> {
    application(&room(gateway, user, about).await)
}

/// Waits until a user's stream has `count` application messages of a room, and gives them.
///
/// # Panics
/// It does not within half a minute.
pub async fn await_messages(gateway: &Gateway, user: &UserUri, about: &RoomUri, count: usize) -> Vec<Vec<u8>> {
    let started = Instant::now();
    loop {
        let found = messages(gateway, user, about).await;
        if found.len() >= count {
            return found;
        }
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{} of {count} messages",
            found.len()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The application messages among FanoutMessages, as they were sent.
#[must_use]
pub fn application(fanned_out: &[FanoutMessage]) -> Vec<Vec<u8>> {
    let messages = fanned_out.iter().filter_map(|fanout| match &fanout.event {
        FanoutEvent::Application { message, .. } => Some(encode(&MlsMessage::from(message.clone()))),
        _ => None,
    });
    messages.collect()
}
