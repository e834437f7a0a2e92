//! `decide` for an application message (draft-ietf-mimi-protocol, 5.4).

use mimi_hub_proto::mls::MlsMessage;
use mimi_hub_proto::policy::{Actor, Change, authorize};
use mimi_hub_proto::uri::ProviderDomain;
use mimi_hub_proto::{SubmitMessageRequest, SubmitMessageResponse, tls};
use serde_bytes::ByteBuf;

use super::event::RoomEvent;
use super::state::RoomState;

/// Decides a message: it is for this room's group; its sender is an active participant, not about to leave, of the
/// provider that submits it, and may send (draft-ietf-mimi-room-policy, 8.3); it goes to those who may receive; its epoch is the current one or one of the few before it.
///
/// # Errors
/// The draft's refusals, as the response that carries them.
pub fn decide_message(
    state: &RoomState,
    source: &ProviderDomain,
    is_local: &dyn Fn(&ProviderDomain) -> bool,
    request: &SubmitMessageRequest,
) -> Result<RoomEvent, SubmitMessageResponse> {
    let message = &request.app_message;
    let sender = &request.sending_uri;
    let known = message.group_id() == state.group.group_id().as_slice()
        && sender.domain() == source.as_str()
        && state.is_active(sender)
        && !state.is_silenced(sender);
    if !known || authorize(&state.policy, Actor::Participant(sender), &[Change::SendMessage]).is_err() {
        return Err(SubmitMessageResponse::NotAllowed);
    }
    let current_epoch = state.epoch();
    // "nonsensical inputs such as an MLS epoch more recent than the hub's"
    if message.epoch() > current_epoch {
        return Err(SubmitMessageResponse::NotAllowed);
    }
    if current_epoch - message.epoch() > state.limits.past_epochs_max {
        return Err(SubmitMessageResponse::EpochTooOld { current_epoch });
    }
    Ok(RoomEvent::Message {
        message: ByteBuf::from(tls::encode(&MlsMessage::from(message.clone()))),
        frank: None,
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
    })
}
