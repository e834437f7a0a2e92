//! What this provider does in the rooms it hosts on its own behalf: removing clients, keeping users out, and ending a room.

use std::sync::Arc;

use mimi_hub_proto::uri::{ClientUri, RoomUri, UserUri};

use super::users::Changed;
use super::{must_be_hosted_here, unexpected};
use crate::actor::Reply;
use crate::front::problem::Problem;
use crate::hub::Hub;
use crate::room::moderation::ModerationRequest;
use crate::room::{RoomAnswer, RoomRequest};
use crate::user::{UserAnswer, UserRequest};

/// Proposes to remove a user's clients from a room, or one of them.
pub(crate) async fn remove(
    hub: &Arc<Hub>,
    room: &RoomUri,
    user: &UserUri,
    client: Option<ClientUri>,
) -> Result<Changed, Problem> {
    let user = user.clone();
    ask(hub, room, ModerationRequest::Remove { user, client }).await
}

/// Keeps a user out of a room.
pub(crate) async fn bar(hub: &Arc<Hub>, room: &RoomUri, user: &UserUri) -> Result<Changed, Problem> {
    ask(hub, room, ModerationRequest::Bar(user.clone())).await
}

/// Keeps it out no longer.
pub(crate) async fn unbar(hub: &Arc<Hub>, room: &RoomUri, user: &UserUri) -> Result<Changed, Problem> {
    ask(hub, room, ModerationRequest::Unbar(user.clone())).await
}

/// Ends a room, for a participant that may.
pub(crate) async fn destroy(hub: &Arc<Hub>, room: &RoomUri, by: &UserUri) -> Result<Changed, Problem> {
    ask(hub, room, ModerationRequest::Destroy { by: by.clone() }).await
}

/// Proposes to remove a local user's clients, or one of them, from all rooms hosted here: the user or the client is about to
/// be deleted. What a room's rules forbid is left as it is. Done once more, it does only what is still to be done.
pub(crate) async fn remove_everywhere(
    hub: &Arc<Hub>,
    user: &UserUri,
    client: Option<&ClientUri>,
) -> Result<(), Problem> {
    let Reply::Answer(UserAnswer::Rooms(rooms)) = hub.ask_user(user, None, UserRequest::Rooms).await? else {
        return Ok(());
    };
    for room in rooms.iter().filter(|room| hub.is_local(&room.provider())) {
        let request = ModerationRequest::Remove {
            user: user.clone(),
            client: client.cloned(),
        };
        match hub.ask_room(room, None, RoomRequest::Moderate(request)).await? {
            Reply::Answer(RoomAnswer::ModerationRefused(reason)) => {
                tracing::warn!(%room, %user, reason, "the clients of a deleted user stay in a room");
            }
            Reply::Accepted(_) | Reply::Answer(_) => {}
        }
    }
    Ok(())
}

async fn ask(hub: &Arc<Hub>, room: &RoomUri, request: ModerationRequest) -> Result<Changed, Problem> {
    must_be_hosted_here(hub, room)?;
    match hub.ask_room(room, None, RoomRequest::Moderate(request)).await? {
        Reply::Accepted(_) => Ok(Changed::Yes),
        Reply::Answer(RoomAnswer::Unchanged) => Ok(Changed::No),
        Reply::Answer(RoomAnswer::ModerationRefused(reason)) => Err(Problem::forbidden_by_policy(&reason)),
        Reply::Answer(RoomAnswer::NoSuchRoom) => Err(Problem::no_such_room(room.as_str())),
        Reply::Answer(other) => Err(unexpected(&other)),
    }
}
