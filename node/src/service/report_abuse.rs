//! `POST /v1/reportAbuse/{roomId}` (draft-ietf-mimi-protocol, 5.9), and what the provider's moderators see of it.

use std::sync::Arc;

use bytes::Bytes;
use mimi_hub_cluster::ShardId;
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use mimi_hub_proto::{AbuseReport, tls};
use serde_bytes::ByteBuf;

use super::scan::{self, ReportPlace, Scan};
use super::{acknowledged, must_be_hosted_here, unexpected};
use crate::actor::Reply;
use crate::command::request_hash;
use crate::front::problem::Problem;
use crate::hub::Hub;
use crate::peer::Endpoint;
use crate::room::report::{ReportRecord, ReportRefusal};
use crate::room::{RoomAnswer, RoomRequest};

/// How many reports one page may hold.
pub(crate) const LIMIT_MAX: usize = 100;

/// A page ends with the report that makes it longer than this many bytes of reported content.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// As the hub of the room.
pub(crate) async fn at_hub(
    hub: &Arc<Hub>,
    source: &ProviderDomain,
    room: &RoomUri,
    body: Bytes,
) -> Result<(), Problem> {
    must_be_hosted_here(hub, room)?;
    let report: AbuseReport = tls::decode_exact(&body).map_err(|error| Problem::malformed(&error))?;
    let hash = request_hash(source, "reportAbuse", room.as_str(), &body);
    let request = RoomRequest::Report {
        source: source.clone(),
        report,
    };
    match hub.ask_room(room, Some(hash), request).await? {
        Reply::Accepted(_) => Ok(()),
        Reply::Answer(RoomAnswer::NoSuchRoom) => Err(Problem::no_such_room(room.as_str())),
        Reply::Answer(RoomAnswer::ReportRefused(refusal)) => Err(match refusal {
            ReportRefusal::WrongSource => Problem::wrong_source(source.as_str(), "reportingUser"),
            ReportRefusal::NotAllowed => Problem::may_not_report(room.as_str()),
            ReportRefusal::TooMany => Problem::too_many("reports of one room that wait for its moderators"),
        }),
        Reply::Answer(other) => Err(unexpected(&other)),
    }
}

/// For a local user: at the room's hub, wherever that is.
pub(crate) async fn for_user(hub: &Arc<Hub>, user: &UserUri, room: &RoomUri, body: Bytes) -> Result<(), Problem> {
    let report: AbuseReport = tls::decode_exact(&body).map_err(|error| Problem::malformed(&error))?;
    if report.reporting_user.as_ref().is_some_and(|reporter| reporter != user) {
        return Err(Problem::wrong_user(user.as_str(), "reportingUser"));
    }
    let (ours, host) = (user.provider(), room.provider());
    if hub.is_local(&host) {
        return at_hub(hub, &ours, room, body).await;
    }
    let time = hub.config().limits.request_timeout();
    let answer = hub
        .peers()
        .post(&ours, &host, Endpoint::ReportAbuse, room.as_str(), body, time)
        .await;
    acknowledged(&host, answer)
}

/// Reports that wait for the moderators, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Each with its event's number, which names it together with its room.
    pub(crate) reports: Vec<(u64, ReportRecord)>,
    /// Where the next page begins; `None` at the end.
    pub(crate) next: Option<ByteBuf>,
}

/// The reports of all rooms after `after`.
pub(crate) async fn list(hub: &Arc<Hub>, after: Option<ByteBuf>, limit: usize) -> Result<Page, Problem> {
    let mut places: Vec<ReportPlace> = scan::everywhere::<Vec<ReportPlace>>(hub, |shard: ShardId| Scan::Reports {
        shard: shard.0,
        after: after.clone(),
        limit: limit + 1,
    })
    .await?
    .into_iter()
    .flatten()
    .collect();
    places.sort_by(|one, other| one.key.cmp(&other.key));
    let mut page = Page::default();
    let mut bytes = 0;
    let mut last = None;
    for place in places {
        if page.reports.len() >= limit || bytes > PAGE_BYTES_MAX {
            page.next = last;
            break;
        }
        let scan = Scan::Report {
            shard: hub.shard_of(&place.room).0,
            room: place.room.clone(),
            seq: place.seq,
        };
        last = Some(place.key);
        // One that was closed meanwhile is passed over.
        if let Some(record) = hub.scan::<Option<ReportRecord>>(&scan).await? {
            bytes += record
                .messages
                .iter()
                .map(|message| message.content.len())
                .sum::<usize>();
            page.reports.push((place.seq, record));
        }
    }
    Ok(page)
}

/// The moderators are done with a report.
pub(crate) async fn close(hub: &Arc<Hub>, room: &RoomUri, seq: u64) -> Result<(), Problem> {
    must_be_hosted_here(hub, room)?;
    match hub.ask_room(room, None, RoomRequest::CloseReport { seq }).await? {
        Reply::Accepted(_) => Ok(()),
        Reply::Answer(RoomAnswer::NoSuchReport | RoomAnswer::NoSuchRoom) => Err(Problem::no_such_report()),
        Reply::Answer(other) => Err(unexpected(&other)),
    }
}
