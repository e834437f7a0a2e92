//! Rooms hosted here: making one, and looking at one.

use std::sync::Arc;

use bytes::Bytes;
use mimi_hub_proto::mls::{GroupInfo, RatchetTree};
use mimi_hub_proto::tls;
use mimi_hub_proto::uri::{RoomUri, UserUri};

use super::{must_be_hosted_here, reply, unexpected};
use crate::actor::Reply;
use crate::command::{RequestHash, request_hash};
use crate::entity::EntityId;
use crate::front::problem::Problem;
use crate::hub::Hub;
use crate::room::view::RoomView;
use crate::room::{RoomAnswer, RoomRequest};

/// Makes a room from its first group.
pub(crate) async fn create(
    hub: &Arc<Hub>,
    creator: &UserUri,
    room: &RoomUri,
    group_info: Vec<u8>,
    ratchet_tree: Vec<u8>,
) -> Result<Bytes, Problem> {
    must_be_hosted_here(hub, room)?;
    let group_info: GroupInfo = tls::decode_exact(&group_info).map_err(|error| Problem::malformed(&error))?;
    let tree: RatchetTree = tls::decode_exact(&ratchet_tree).map_err(|error| Problem::malformed(&error))?;
    let asked = [creator.as_str().as_bytes(), group_info.as_bytes(), tree.as_bytes()].concat();
    let hash = request_hash(&creator.provider(), "rooms", room.as_str(), &asked.into());
    let request = || RoomRequest::Create {
        creator: creator.clone(),
        group_info: group_info.clone(),
        ratchet_tree: tree.clone(),
    };
    let answer = ask_within(hub, room, hash, request).await?;
    reply(answer, |answer| match answer {
        RoomAnswer::Exists => Err(Problem::room_exists(room.as_str())),
        RoomAnswer::CreateRefused(reason) => Err(Problem::bad_room(&reason)),
        other => Err(unexpected(&other)),
    })
}

/// Asks a room to be made or changed; where that depends on the participants of a parent, with those. They may have changed
/// when the room decides: the parent's order and the room's are two.
pub(super) async fn ask_within(
    hub: &Arc<Hub>,
    room: &RoomUri,
    hash: RequestHash,
    request: impl Fn() -> RoomRequest,
) -> Result<Reply<RoomAnswer>, Problem> {
    let answer = hub.ask_room(room, Some(hash), request()).await?;
    let Reply::Answer(RoomAnswer::NeedsParent(parent)) = answer else {
        return Ok(answer);
    };
    let parent = match hub.ask_room(&parent, None, RoomRequest::Participants).await? {
        Reply::Answer(RoomAnswer::Participants(participants)) => participants,
        Reply::Answer(RoomAnswer::NoSuchRoom) => Vec::new(),
        other => return Err(unexpected(&other)),
    };
    let request = Box::new(request());
    Ok(hub
        .ask_room(room, Some(hash), RoomRequest::Within { parent, request })
        .await?)
}

/// What the hub knows of a room.
pub(crate) async fn view(hub: &Arc<Hub>, room: &RoomUri) -> Result<RoomView, Problem> {
    must_be_hosted_here(hub, room)?;
    match hub.ask_room(room, None, RoomRequest::View).await? {
        Reply::Answer(RoomAnswer::View(view)) => Ok(view),
        Reply::Answer(RoomAnswer::NoSuchRoom) => Err(Problem::no_such_room(room.as_str())),
        other => Err(unexpected(&other)),
    }
}

/// The number of the node that leads the room's shard, whether there is such a room or not.
pub(crate) async fn leader(hub: &Arc<Hub>, room: &RoomUri) -> Result<u64, Problem> {
    must_be_hosted_here(hub, room)?;
    Ok(hub.leader_of(&EntityId::Room(room.clone())).await?.0)
}
