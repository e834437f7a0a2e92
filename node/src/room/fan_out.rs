//! What each destination receives of an event: the draft's FanoutMessages.

use mimi_hub_proto::mls::MlsMessage;
use mimi_hub_proto::uri::{ProviderDomain, UserUri};
use mimi_hub_proto::{Error, FanoutEvent, FanoutMessage, RatchetTreeOption, tls};

use super::event::{CommitAccepted, RoomEvent, WelcomeAccepted};
use crate::command::{Accepted, Event};

/// For a follower provider.
///
/// # Errors
/// A stored message does not decode.
pub(crate) fn to_provider(accepted: &Accepted, provider: &ProviderDomain) -> Result<Vec<FanoutMessage>, Error> {
    let Event::Room(event) = &accepted.event else {
        return Ok(Vec::new());
    };
    render(
        accepted.at_ms,
        event,
        |fan_out| fan_out.contains(provider),
        |welcome| welcome.fan_out.contains(provider),
    )
}

/// For a local user.
///
/// # Errors
/// A stored message does not decode.
pub(crate) fn to_user(accepted: &Accepted, user: &UserUri) -> Result<Vec<FanoutMessage>, Error> {
    let Event::Room(event) = &accepted.event else {
        return Ok(Vec::new());
    };
    // draft-ietf-mimi-room-policy, 8.3: the hub "can also withhold fanout of application messages to clients of a user".
    if matches!(event, RoomEvent::Message { withheld, .. } if withheld.contains(user)) {
        return Ok(Vec::new());
    }
    render(accepted.at_ms, event, |_| true, |welcome| welcome.users.contains(user))
}

/// The Commit goes before the Welcome: a client that is in the group already follows it, a new one does not know the group
/// yet and passes over it.
fn render(
    timestamp: u64,
    event: &RoomEvent,
    is_for: impl Fn(&[ProviderDomain]) -> bool,
    is_welcomed: impl Fn(&WelcomeAccepted) -> bool,
) -> Result<Vec<FanoutMessage>, Error> {
    let mut messages = Vec::new();
    match event {
        RoomEvent::Commit(CommitAccepted {
            message,
            welcome,
            fan_out,
            external_proposals,
            ..
        }) => {
            if is_for(fan_out) {
                let external_proposals = external_proposals.iter().map(|proposal| tls::decode_exact(proposal));
                messages.push(FanoutEvent::Commit {
                    commit: tls::decode_exact(message)?,
                    external_proposals: external_proposals.collect::<Result<_, _>>()?,
                });
            }
            if let Some(welcome) = welcome.as_ref().filter(|welcome| is_welcomed(welcome))
                && let MlsMessage::Welcome(message) = tls::decode_exact(&welcome.message)?
            {
                let ratchet_tree = RatchetTreeOption::Full(tls::decode_exact(&welcome.ratchet_tree)?);
                messages.push(FanoutEvent::Welcome {
                    welcome: message,
                    ratchet_tree,
                });
            }
        }
        RoomEvent::Proposals {
            messages: proposals,
            fan_out,
        }
        | RoomEvent::Barred {
            messages: proposals,
            fan_out,
            ..
        } if is_for(fan_out) => {
            let mut proposals = proposals.iter().map(|proposal| tls::decode_exact(proposal));
            if let Some(proposal) = proposals.next() {
                let more_proposals = proposals.collect::<Result<_, _>>()?;
                messages.push(FanoutEvent::Proposals {
                    proposal: proposal?,
                    more_proposals,
                });
            }
        }
        RoomEvent::Message {
            message,
            frank,
            fan_out,
            ..
        } if is_for(fan_out) => {
            let frank = frank.as_ref().map(Into::into);
            messages.push(FanoutEvent::Application {
                message: tls::decode_exact(message)?,
                frank,
            });
        }
        _ => {}
    }
    Ok(messages
        .into_iter()
        .map(|event| FanoutMessage { timestamp, event })
        .collect())
}
