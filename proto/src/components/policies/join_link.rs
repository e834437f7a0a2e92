//! The `join_link_policy` and `join_links` components (draft-ietf-mimi-room-policy, section 6.2).

use crate::Error;
use crate::tls::tls_struct;
use crate::uri::IdentifierUri;

/// How new join links behave; also the update, which replaces it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JoinLinkPolicy {
    /// At most one link is there at a time.
    pub on_request: bool,
    /// Where a client can ask for a link; may be empty. The draft's text calls it `link_requests`.
    pub join_link: IdentifierUri,
    /// One link may bring in several users.
    pub multiuser: bool,
    /// The longest time that a new link may be valid, in seconds.
    pub expiration: u32,
}

tls_struct!(JoinLinkPolicy {
    on_request,
    join_link,
    multiuser,
    expiration
});

/// A link. The draft gives the field no length; it is a vector, as everywhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinLink {
    /// The link.
    pub join_link: Vec<u8>,
}

tls_struct!(JoinLink { join_link });

/// The links that are active.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JoinLinksData {
    /// In the order in which updates refer to them.
    pub links: Vec<JoinLink>,
}

tls_struct!(JoinLinksData { links });

/// The `update` of an AppDataUpdate for the links.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JoinLinksUpdate {
    /// Which go, by position.
    pub removed_indices: Vec<u32>,
    /// Which are appended.
    pub added_links: Vec<JoinLink>,
}

tls_struct!(JoinLinksUpdate {
    removed_indices,
    added_links
});

/// The most links that a room may have.
const MAX_JOIN_LINKS: usize = 10_000;

impl JoinLinksData {
    /// The links after an update: the removed are dropped, the added appended.
    ///
    /// # Errors
    /// An index that is none, or is there twice; a link that is active already; too many links; more than one where
    /// the policy has `on_request`.
    pub fn apply(&self, policy: Option<&JoinLinkPolicy>, update: &JoinLinksUpdate) -> Result<JoinLinksData, Error> {
        let mut keep = vec![true; self.links.len()];
        for index in &update.removed_indices {
            let kept = usize::try_from(*index).ok().and_then(|index| keep.get_mut(index));
            match kept {
                Some(kept @ true) => *kept = false,
                _ => {
                    return Err(Error::UnknownValue {
                        what: "removedIndices of join_links",
                        value: (*index).into(),
                    });
                }
            }
        }
        let kept = self.links.iter().zip(&keep).filter(|(_, keep)| **keep);
        let mut links: Vec<JoinLink> = kept.map(|(link, _)| link.clone()).collect();
        links.extend(update.added_links.iter().cloned());
        let limit = if policy.is_some_and(|policy| policy.on_request) {
            1
        } else {
            MAX_JOIN_LINKS
        };
        if links.len() > limit {
            return Err(Error::Limit {
                what: "join_links",
                value: links.len(),
                limit,
            });
        }
        let mut sorted: Vec<&[u8]> = links.iter().map(|link| link.join_link.as_slice()).collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::Invalid {
                what: "join_links",
                why: "a link is there twice",
            });
        }
        Ok(JoinLinksData { links })
    }
}
