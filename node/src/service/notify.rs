//! `POST /v1/notify/{roomId}` (draft-ietf-mimi-protocol, 5.5): as a follower provider, taking in a hub's events.

use std::sync::Arc;

use bytes::Bytes;
use mimi_hub_proto::uri::{ProviderDomain, RoomUri};

use crate::actor::Reply;
use crate::followed::entity::Notified;
use crate::followed::{FollowedAnswer, FollowedRequest};
use crate::front::problem::Problem;
use crate::hub::Hub;

/// Stores what is new. An answer of success means that it is stored durably; what was known before is passed over.
pub(crate) async fn notify(
    hub: &Arc<Hub>,
    source: &ProviderDomain,
    room: &RoomUri,
    body: Bytes,
) -> Result<(), Problem> {
    if room.provider() != *source {
        return Err(Problem::not_the_hub(source.as_str(), room.as_str()));
    }
    if hub.is_local(source) {
        return Err(Problem::malformed(&"a hub does not notify itself"));
    }
    let messages = mimi_hub_proto::decode_all(&body).map_err(|error| Problem::malformed(&error))?;
    let messages = messages.into_iter().map(Notified::new).collect();
    match hub.ask_followed(room, FollowedRequest::Notify(messages)).await? {
        Reply::Accepted(_) | Reply::Answer(FollowedAnswer::Unchanged) => Ok(()),
        Reply::Answer(other @ FollowedAnswer::AwaitsWelcome(_)) => Err(super::unexpected(&other)),
        Reply::Answer(FollowedAnswer::NoParticipants) => Err(Problem::no_participants(room.as_str())),
    }
}
