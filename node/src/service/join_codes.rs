//! Join codes of rooms hosted here: making, listing and revoking them for participants of this provider.

use std::sync::Arc;

use mimi_hub_proto::uri::{RoomUri, UserUri};
use serde::Serialize;

use super::{must_be_hosted_here, unexpected};
use crate::actor::Reply;
use crate::command::request_hash;
use crate::front::problem::Problem;
use crate::hub::Hub;
use crate::room::join_codes::{self, JoinCodeRefusal, JoinCodeRequest, JoinCodeTerms};
use crate::room::records::JoinCode;
use crate::room::{RoomAnswer, RoomRequest};

/// A code as gateways see it. Times are in milliseconds since the UNIX epoch.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JoinCodeView {
    id: String,
    code: String,
    link: String,
    role: u32,
    created_at: u64,
    expires_at: u64,
    uses_max: u32,
    uses: u32,
    created_by: UserUri,
}

/// Makes a code, and shows it. The same wish again shows it again.
pub(crate) async fn create(
    hub: &Arc<Hub>,
    by: &UserUri,
    room: &RoomUri,
    id: &str,
    terms: JoinCodeTerms,
) -> Result<JoinCodeView, Problem> {
    let asked = format!("{by}\0{id}\0{terms:?}");
    let hash = request_hash(&by.provider(), "joinCodes", room.as_str(), &asked.into());
    let request = JoinCodeRequest::Create {
        by: by.clone(),
        id: id.to_owned(),
        terms,
    };
    must_be_hosted_here(hub, room)?;
    match hub.ask_room(room, Some(hash), RoomRequest::JoinCodes(request)).await? {
        Reply::Accepted(_) => {}
        Reply::Answer(answer) => return Err(refusal(room, id, &answer)),
    }
    let made = list(hub, by, room).await?.into_iter().find(|code| code.id == id);
    made.ok_or_else(|| Problem::no_such_join_code(id))
}

/// All codes of a room.
pub(crate) async fn list(hub: &Arc<Hub>, by: &UserUri, room: &RoomUri) -> Result<Vec<JoinCodeView>, Problem> {
    must_be_hosted_here(hub, room)?;
    let request = JoinCodeRequest::List { by: by.clone() };
    match hub.ask_room(room, None, RoomRequest::JoinCodes(request)).await? {
        Reply::Answer(RoomAnswer::JoinCodes(codes)) => {
            codes.into_iter().map(|(id, code)| view(hub, room, id, code)).collect()
        }
        Reply::Answer(answer) => Err(refusal(room, "", &answer)),
        other @ Reply::Accepted(_) => Err(unexpected(&other)),
    }
}

/// Takes a code back.
pub(crate) async fn revoke(hub: &Arc<Hub>, by: &UserUri, room: &RoomUri, id: &str) -> Result<(), Problem> {
    must_be_hosted_here(hub, room)?;
    let request = JoinCodeRequest::Revoke {
        by: by.clone(),
        id: id.to_owned(),
    };
    match hub.ask_room(room, None, RoomRequest::JoinCodes(request)).await? {
        Reply::Accepted(_) => Ok(()),
        Reply::Answer(answer) => Err(refusal(room, id, &answer)),
    }
}

fn view(hub: &Hub, room: &RoomUri, id: String, code: JoinCode) -> Result<JoinCodeView, Problem> {
    let text = join_codes::derive(hub.keys(), room, &id, code.created_at_ms).map_err(|error| {
        tracing::error!(%room, %error, "a join code cannot be computed");
        Problem::internal()
    })?;
    Ok(JoinCodeView {
        link: join_codes::link(room, &text),
        code: text,
        id,
        role: code.role,
        created_at: code.created_at_ms,
        expires_at: code.expires_at_ms,
        uses_max: code.uses_max,
        uses: code.uses,
        created_by: code.created_by,
    })
}

fn refusal(room: &RoomUri, id: &str, answer: &RoomAnswer) -> Problem {
    match answer {
        RoomAnswer::JoinCodeRefused(JoinCodeRefusal::Denied(reason)) => Problem::forbidden_by_policy(reason),
        RoomAnswer::JoinCodeRefused(JoinCodeRefusal::Exists) => Problem::join_code_exists(id),
        RoomAnswer::JoinCodeRefused(JoinCodeRefusal::Unknown) => Problem::no_such_join_code(id),
        RoomAnswer::JoinCodeRefused(JoinCodeRefusal::Terms(reason)) => Problem::bad_join_code(reason),
        RoomAnswer::NoSuchRoom => Problem::no_such_room(room.as_str()),
        other => unexpected(other),
    }
}
