//! `decide` for an abuse report (draft-ietf-mimi-protocol, 5.9): who may report, and what its messages prove.

use mimi_hub_proto::AbuseReport;
use mimi_hub_proto::policy::{Actor, Change, authorize};
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::event::{FrankRecord, RoomEvent};
use super::franking::{Verdict, verdict};
use super::state::RoomState;
use crate::error::NodeError;
use crate::mls::hub_keys::HubKeys;

/// How many reports of one room may wait for the moderators.
pub(crate) const OPEN_REPORTS_MAX: usize = 256;

/// A report as it is kept for the moderators.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportRecord {
    /// The room.
    pub(crate) room: RoomUri,
    /// Which provider sent it.
    pub(crate) source: ProviderDomain,
    /// Who reports, unless it stays anonymous.
    pub(crate) reporter: Option<UserUri>,
    /// Who is said to have sent the messages.
    pub(crate) alleged_abuser: UserUri,
    /// The draft's `reasonCode`.
    pub(crate) reason_code: u8,
    /// For people.
    pub(crate) note: String,
    /// The messages, each with its verdict.
    pub(crate) messages: Vec<ReportedMessage>,
    /// When the report was accepted, in milliseconds since the UNIX epoch.
    pub(crate) at_ms: u64,
}

/// A reported message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReportedMessage {
    pub(crate) content: ByteBuf,
    pub(crate) accepted_timestamp: u64,
    pub(crate) frank: FrankRecord,
    pub(crate) verdict: Verdict,
}

/// Why a report is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ReportRefusal {
    /// The reporting user is of another provider than the one that sends.
    WrongSource,
    /// The room's policy lets neither the user nor, where none is named, anybody of the provider report.
    NotAllowed,
    /// Enough reports of this room wait.
    TooMany,
}

/// Decides a report. What it says may be false: that is what the verdicts are for.
pub(crate) fn decide_report(
    state: &RoomState,
    keys: &HubKeys,
    open: usize,
    at_ms: u64,
    source: &ProviderDomain,
    report: &AbuseReport,
) -> Result<Result<RoomEvent, ReportRefusal>, NodeError> {
    let may = |user: &UserUri| authorize(&state.policy, Actor::Participant(user), &[Change::ReportAbuse]).is_ok();
    let allowed = match &report.reporting_user {
        Some(user) if user.provider() != *source => return Ok(Err(ReportRefusal::WrongSource)),
        Some(user) => may(user),
        None => {
            let participants = &state.policy.participants().participants;
            participants
                .iter()
                .any(|participant| participant.user.provider() == *source && may(&participant.user))
        }
    };
    if !allowed {
        return Ok(Err(ReportRefusal::NotAllowed));
    }
    if open >= OPEN_REPORTS_MAX {
        return Ok(Err(ReportRefusal::TooMany));
    }
    let mut messages = Vec::new();
    for reported in &report.messages {
        messages.push(ReportedMessage {
            verdict: verdict(keys, &state.room, &report.alleged_abuser, reported)?,
            content: ByteBuf::from(reported.message_content.clone()),
            accepted_timestamp: reported.accepted_timestamp,
            frank: (&reported.frank).into(),
        });
    }
    Ok(Ok(RoomEvent::AbuseReported(Box::new(ReportRecord {
        room: state.room.clone(),
        source: source.clone(),
        reporter: report.reporting_user.clone(),
        alleged_abuser: report.alleged_abuser.clone(),
        reason_code: report.reason_code.0,
        note: report.note.clone(),
        messages,
        at_ms,
    }))))
}
