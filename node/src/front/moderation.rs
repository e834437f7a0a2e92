//! The local listener's routes about abuse: reporting it, what the moderators see, and the key that proves it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::response::IntoResponse;
use axum::routing::{delete, get, post};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::StatusCode;
use mimi_hub_proto::content::{MimiContent, Part};
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::local::{Answer, mimi_body, speaking_for, uri};
use super::problem::Problem;
use crate::hub::Hub;
use crate::members::{self, RotateError};
use crate::mls::hub_keys::Rotation;
use crate::room::franking::Verdict;
use crate::room::report::{ReportRecord, ReportedMessage};
use crate::service::report_abuse::{self, LIMIT_MAX};

pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/reportAbuse/{room}", post(report))
        .route("/abuseReports", get(list))
        .route("/abuseReports/{room}/{report}", delete(close))
        .route("/hub/frankingKey", get(franking_key).post(rotate_franking_key))
}

async fn report(State(hub): State<Arc<Hub>>, Path(room): Path<String>, request: Request) -> Answer {
    let (user, room) = (speaking_for(&hub, request.headers())?, uri::<RoomUri>(&room)?);
    let body = mimi_body(&hub, request).await?;
    report_abuse::for_user(&hub, &user, &room, body).await?;
    Ok(StatusCode::CREATED.into_response())
}

/// How many reports a call brings that does not say.
const LIMIT_DEFAULT: usize = 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListReports {
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Reports {
    reports: Vec<Report>,
    /// `after` of the next page; null at the end.
    next: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    room: RoomUri,
    report: u64,
    timestamp: u64,
    source: ProviderDomain,
    reporting_user: Option<UserUri>,
    alleged_abuser: UserUri,
    reason_code: u8,
    note: String,
    messages: Vec<Message>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    /// The content, base64.
    content: String,
    /// Its text, if it is one.
    text: Option<String>,
    accepted_timestamp: u64,
    verdict: &'static str,
    why: Option<String>,
}

impl From<&ReportedMessage> for Message {
    fn from(message: &ReportedMessage) -> Self {
        let (verdict, why) = match message.verdict {
            Verdict::Proven => ("proven", None),
            Verdict::NotProven(why) => ("not proven", Some(why.to_string())),
        };
        let text = MimiContent::decode(&message.content)
            .ok()
            .and_then(|content| match content.nested_part.part {
                Part::Single { content_type, content } if content_type.starts_with("text/") => {
                    String::from_utf8(content).ok()
                }
                _ => None,
            });
        Message {
            content: STANDARD.encode(&message.content),
            text,
            accepted_timestamp: message.accepted_timestamp,
            verdict,
            why,
        }
    }
}

impl From<(u64, ReportRecord)> for Report {
    fn from((report, record): (u64, ReportRecord)) -> Self {
        Report {
            report,
            messages: record.messages.iter().map(Message::from).collect(),
            room: record.room,
            timestamp: record.at_ms,
            source: record.source,
            reporting_user: record.reporter,
            alleged_abuser: record.alleged_abuser,
            reason_code: record.reason_code,
            note: record.note,
        }
    }
}

async fn list(State(hub): State<Arc<Hub>>, Query(query): Query<ListReports>) -> Answer {
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if limit == 0 || limit > LIMIT_MAX {
        return Err(Problem::malformed(&format!("limit is from 1 to {LIMIT_MAX}")));
    }
    let after = query
        .after
        .map(|text| URL_SAFE_NO_PAD.decode(text))
        .transpose()
        .map_err(|error| Problem::malformed(&format!("after: {error}")))?;
    let page = report_abuse::list(&hub, after.map(ByteBuf::from), limit).await?;
    let answer = Reports {
        reports: page.reports.into_iter().map(Report::from).collect(),
        next: page.next.map(|key| URL_SAFE_NO_PAD.encode(key)),
    };
    Ok(axum::Json(answer).into_response())
}

async fn close(State(hub): State<Arc<Hub>>, Path((room, report)): Path<(String, u64)>) -> Answer {
    report_abuse::close(&hub, &uri::<RoomUri>(&room)?, report).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Serialize)]
struct FrankingKey {
    /// The number of the key that stamps.
    newest: u64,
    /// How many keys franks are verified with.
    kept: usize,
}

async fn franking_key(State(hub): State<Arc<Hub>>) -> Answer {
    let keys = hub.keys().franking();
    Ok(axum::Json(FrankingKey {
        newest: keys.newest_id(),
        kept: keys.len(),
    })
    .into_response())
}

async fn rotate_franking_key(State(hub): State<Arc<Hub>>) -> Answer {
    rotate(&hub, Rotation::Franking).await?;
    franking_key(State(hub)).await
}

/// Replaces a key of the hub, for all nodes.
pub(super) async fn rotate(hub: &Arc<Hub>, which: Rotation) -> Result<(), Problem> {
    let newest = members::rotate(hub, which).await.map_err(|error| {
        tracing::warn!(%error, ?which, "the key is not rotated");
        match error {
            RotateError::Ask(error) => error.into(),
            RotateError::Broken(_) => Problem::internal(),
            error => Problem::cannot_rotate(&error),
        }
    })?;
    tracing::info!(newest, ?which, "a new key is used from now on");
    Ok(())
}
