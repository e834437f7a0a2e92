//! The further policy components of a room (draft-ietf-mimi-room-policy, sections 4, 6 and 7): what its clients, its
//! providers and its hub hold themselves to beside roles. Each is replaced whole by its update, unless it says otherwise.
//!
//! Where the draft writes `mandatory` it means the value that it calls `required` where it defines [`Optionality`].

mod assets;
mod join_link;
mod messages;
mod operational;
mod preauth;

pub use assets::{
    AssetPolicy, AssetUploadLocation, DomainName, DownloadPrivacy, DownloadPrivacyType, MediaType, MediaTypeParameter,
    ProviderAssetUploadDomains,
};
pub use join_link::{JoinLink, JoinLinkPolicy, JoinLinksData, JoinLinksUpdate};
pub use messages::{
    Bot, BotPolicy, HistoryPolicy, HistorySharing, LinkPreviewPolicy, Logging, LoggingPolicy, MessageExpiration,
    MessageExpirationPolicy, StatusNotificationPolicy,
};
pub use operational::{
    AppMessagePolicy, ExtendedCapabilities, MinDefaultMaxTime, OperationalParameters, PendingProposalPolicy,
};
pub use preauth::{Claim, ClaimId, PreAuthData, PreAuthRoleEntry};

use crate::Error;
use crate::tls::{Decode, Encode, Reader, Writer, tls_enum};

tls_enum! {
    /// Whether something is left to clients, demanded or forbidden.
    pub enum Optionality: u8 {
        /// Clients decide.
        Optional = 0,
        /// It must be done.
        Required = 1,
        /// It must not be done.
        Forbidden = 2,
    }
}

/// Something that is forbidden, or optional or required with further rules.
///
/// On the wire: an [`Optionality`], and the rules unless it is `forbidden`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruled<T> {
    /// Nobody does it.
    Forbidden,
    /// Clients decide, by these rules.
    Optional(T),
    /// Everybody does it, by these rules.
    Required(T),
}

impl<T> Ruled<T> {
    /// The rules, unless it is forbidden.
    pub fn rules(&self) -> Option<&T> {
        match self {
            Ruled::Forbidden => None,
            Ruled::Optional(rules) | Ruled::Required(rules) => Some(rules),
        }
    }
}

impl<T: Encode> Encode for Ruled<T> {
    fn encode(&self, out: &mut Writer) {
        let optionality = match self {
            Ruled::Forbidden => Optionality::Forbidden,
            Ruled::Optional(_) => Optionality::Optional,
            Ruled::Required(_) => Optionality::Required,
        };
        optionality.encode(out);
        if let Some(rules) = self.rules() {
            rules.encode(out);
        }
    }
}

impl<T: Decode> Decode for Ruled<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(match Optionality::decode(reader)? {
            Optionality::Forbidden => Ruled::Forbidden,
            Optionality::Optional => Ruled::Optional(T::decode(reader)?),
            Optionality::Required => Ruled::Required(T::decode(reader)?),
        })
    }
}

#[cfg(test)]
mod tests;
