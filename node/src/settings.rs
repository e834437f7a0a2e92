//! What decisions may depend on besides state, time and request: the configuration and the hub's keys. Fixed from start to
//! stop, and the same on every node of a hub.

use mimi_hub_proto::uri::ProviderDomain;

use crate::config::Config;
use crate::mls::hub_keys::HubKeys;

/// The configuration and the hub's keys.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) keys: HubKeys,
}

impl Settings {
    /// Is it one of the domains that this provider serves?
    pub(crate) fn is_local(&self, domain: &ProviderDomain) -> bool {
        self.config.hub.domains.contains(domain)
    }
}
