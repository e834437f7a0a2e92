//! Follower providers among a group's external senders (draft-ietf-mimi-protocol, 7.4): a client has its own provider put in,
//! and takes out those whose last participant is gone.

use mimi_hub_proto::mls::ExternalSender;
use mimi_hub_proto::tls::decode_exact;
use mimi_hub_proto::uri::{ProviderDomain, UserUri};
use openmls::group::{GroupContext, MlsGroup};
use openmls::prelude::tls_codec::{Deserialize as _, Serialize as _};
use openmls::prelude::{self as mls, Extension, Extensions};

use super::room;
use crate::OpsError;

/// The group's extensions as a Commit has to leave them, if it has to change them: `joining` comes in, and whoever has no
/// participant once `gone` has left the room goes. The first entry is the hub's, and stays.
pub(super) fn changed(
    group: &MlsGroup,
    gone: Option<&UserUri>,
    joining: Option<&[u8]>,
) -> Result<Option<Extensions<GroupContext>>, OpsError> {
    let mut extensions = group.extensions().clone();
    let before: Vec<mls::ExternalSender> = match extensions.external_senders() {
        Some(senders) => senders.to_vec(),
        None => return Ok(None),
    };
    let policy = room::policy(group)?;
    let participants = || policy.participants().participants.iter().map(|entry| &entry.user);
    let participates = |provider: &ProviderDomain| {
        participants()
            .filter(|user| Some(*user) != gone)
            .any(|user| user.provider() == *provider)
    };
    let mut after = Vec::new();
    for (index, sender) in before.iter().enumerate() {
        if index == 0 || provider_of(sender)?.is_some_and(|provider| participates(&provider)) {
            after.push(sender.clone());
        }
    }
    if let Some(octets) = joining {
        let sender = mls::ExternalSender::tls_deserialize_exact(octets).map_err(OpsError::answer("ExternalSender"))?;
        after.push(sender);
    }
    if after == before {
        return Ok(None);
    }
    extensions
        .add_or_replace(Extension::ExternalSenders(after))
        .map_err(OpsError::mls("change the external senders"))?;
    Ok(Some(extensions))
}

/// The provider that an entry names; `None` when it names none.
fn provider_of(sender: &mls::ExternalSender) -> Result<Option<ProviderDomain>, OpsError> {
    let octets = sender
        .tls_serialize_detached()
        .map_err(OpsError::mls("encode an external sender"))?;
    let entry: ExternalSender = decode_exact(&octets).map_err(OpsError::answer("ExternalSender"))?;
    let uri = std::str::from_utf8(entry.credential.as_ref().content).ok();
    Ok(uri
        .and_then(|uri| uri.strip_prefix("mimi://"))
        .and_then(|domain| domain.parse().ok()))
}
