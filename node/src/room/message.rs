//! `decide` for an application message (draft-ietf-mimi-protocol, 5.4).

use mimi_hub_proto::mls::{CipherSuite, MlsMessage};
use mimi_hub_proto::policy::{Actor, Change, authorize};
use mimi_hub_proto::uri::ProviderDomain;
use mimi_hub_proto::{ServerFrankingContext, SubmitMessageRequest, SubmitMessageResponse, tls};
use serde_bytes::ByteBuf;

use super::event::RoomEvent;
use super::franking::{self, Tag};
use super::state::RoomState;
use crate::error::NodeError;
use crate::mls::hub_keys::HubKeys;

/// Decides a message: it is for this room's group; its sender is an active participant, not about to leave, of the
/// provider that submits it, and may send (draft-ietf-mimi-room-policy, 8.3); it goes to those who may
/// receive; its epoch is the current one or one of the few before it. It is franked if it asks
/// for that and this hub is the room's franking agent.
///
/// # Errors
/// A frank cannot be made. The draft's refusals are the response that carries them.
pub fn decide_message(
    state: &RoomState,
    keys: &HubKeys,
    at_ms: u64,
    source: &ProviderDomain,
    is_local: &dyn Fn(&ProviderDomain) -> bool,
    request: &SubmitMessageRequest,
) -> Result<Result<RoomEvent, SubmitMessageResponse>, NodeError> {
    let message = &request.app_message;
    let sender = &request.sending_uri;
    let known = message.group_id() == state.group.group_id().as_slice()
        && sender.domain() == source.as_str()
        && state.is_active(sender)
        && !state.is_silenced(sender);
    if !known || authorize(&state.policy, Actor::Participant(sender), &[Change::SendMessage]).is_err() {
        return Ok(Err(SubmitMessageResponse::NotAllowed));
    }
    let current_epoch = state.epoch();
    // "nonsensical inputs such as an MLS epoch more recent than the hub's"
    if message.epoch() > current_epoch {
        return Ok(Err(SubmitMessageResponse::NotAllowed));
    }
    if current_epoch - message.epoch() > state.limits.past_epochs_max {
        return Ok(Err(SubmitMessageResponse::EpochTooOld { current_epoch }));
    }
    let suite = CipherSuite(state.group.ciphersuite().into());
    let frank = match franking::tag_of(&state.dictionary, message) {
        Tag::Malformed => return Ok(Err(SubmitMessageResponse::NotAllowed)),
        Tag::Some(tag) if franking::has_agent(&state.dictionary, keys, suite, &state.room)? => {
            let context = ServerFrankingContext {
                sender_uri: sender.clone(),
                room_uri: state.room.clone(),
                accepted_timestamp: at_ms,
            };
            Some(franking::frank(keys, suite, &tag, context)?)
        }
        Tag::Some(_) | Tag::None => None,
    };
    Ok(Ok(RoomEvent::Message {
        message: ByteBuf::from(tls::encode(&MlsMessage::from(message.clone()))),
        frank,
        fan_out: state
            .reach
            .providers
            .iter()
            .filter(|domain| !is_local(domain))
            .cloned()
            .collect(),
        withheld: state
            .reach
            .withheld
            .iter()
            .filter(|user| is_local(&user.provider()))
            .cloned()
            .collect(),
    }))
}
