//! The components that concern messages: status notifications, link previews, logging, history, bots and expiration
//! (draft-ietf-mimi-room-policy, sections 6.1, 6.3 and 6.5 to 6.8). Clients hold themselves to them; a hub sees no
//! content, and only checks that the components are consistent.

use super::{Optionality, Ruled};
use crate::Error;
use crate::tls::{Decode, Encode, Reader, Writer, tls_struct};
use crate::uri::IdentifierUri;

/// Section 6.1: delivery and read notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusNotificationPolicy {
    /// That a message has arrived.
    pub delivery_notifications: Optionality,
    /// That it has been read.
    pub read_receipts: Optionality,
}

tls_struct!(StatusNotificationPolicy {
    delivery_notifications,
    read_receipts
});

/// Section 6.3: links in the text of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPreviewPolicy {
    /// What looks like a link becomes one; never `required`.
    pub autodetect_hyperlinks_in_text: Optionality,
    /// Senders attach previews.
    pub send_link_previews: Optionality,
    /// Receivers make previews.
    pub automatic_link_previews: Optionality,
    /// Previews are made by these proxies, at least one.
    pub link_preview_proxy: Ruled<Vec<IdentifierUri>>,
}

impl Encode for LinkPreviewPolicy {
    fn encode(&self, out: &mut Writer) {
        self.autodetect_hyperlinks_in_text.encode(out);
        self.send_link_previews.encode(out);
        self.automatic_link_previews.encode(out);
        self.link_preview_proxy.encode(out);
    }
}

impl Decode for LinkPreviewPolicy {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let policy = LinkPreviewPolicy {
            autodetect_hyperlinks_in_text: Optionality::decode(reader)?,
            send_link_previews: Optionality::decode(reader)?,
            automatic_link_previews: Optionality::decode(reader)?,
            link_preview_proxy: Ruled::decode(reader)?,
        };
        if policy.autodetect_hyperlinks_in_text == Optionality::Required {
            return Err(Error::Invalid {
                what: "autodetect_hyperlinks_in_text",
                why: "it is mandatory",
            });
        }
        let proxies = policy.link_preview_proxy.rules();
        if proxies.is_some_and(|proxies| proxies.is_empty() || proxies.iter().any(IdentifierUri::is_empty)) {
            return Err(Error::Invalid {
                what: "link_preview_proxy",
                why: "there is none",
            });
        }
        Ok(policy)
    }
}

/// Section 6.5, when logging is not forbidden.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logging {
    /// Clients that log, at most one a provider.
    pub logging_clients: Vec<IdentifierUri>,
    /// The owning provider's policy for machines; may be empty.
    pub machine_readable_policy: IdentifierUri,
    /// The owning provider's policy for people; may be empty.
    pub human_readable_policy: IdentifierUri,
}

tls_struct!(Logging {
    logging_clients,
    machine_readable_policy,
    human_readable_policy
});

/// Section 6.5: whether messages are logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggingPolicy {
    /// By whom.
    pub logging: Ruled<Logging>,
}

impl LoggingPolicy {
    /// Whether logging is active: it is required, or optional and there is somebody who does.
    pub fn is_active(&self) -> bool {
        self.logging
            .rules()
            .is_some_and(|logging| !logging.logging_clients.is_empty())
    }
}

impl Encode for LoggingPolicy {
    fn encode(&self, out: &mut Writer) {
        self.logging.encode(out);
    }
}

impl Decode for LoggingPolicy {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let policy = LoggingPolicy {
            logging: Ruled::decode(reader)?,
        };
        if matches!(&policy.logging, Ruled::Required(logging) if logging.logging_clients.is_empty()) {
            return Err(Error::Invalid {
                what: "logging_clients",
                why: "there is none, and logging is required",
            });
        }
        Ok(policy)
    }
}

/// Section 6.6, when history may be shared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistorySharing {
    /// Roles whose holders may share; not 0, not 1, none that has no active participants.
    pub roles_that_can_share: Vec<u32>,
    /// Clients do so by themselves.
    pub automatically_share: bool,
    /// How far back, in seconds.
    pub max_time_period: u32,
}

tls_struct!(HistorySharing {
    roles_that_can_share,
    automatically_share,
    max_time_period
});

/// Section 6.6: whether new joiners see what was said before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPolicy {
    /// By whom, and how much.
    pub history_sharing: Ruled<HistorySharing>,
}

impl Encode for HistoryPolicy {
    fn encode(&self, out: &mut Writer) {
        self.history_sharing.encode(out);
    }
}

impl Decode for HistoryPolicy {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let policy = HistoryPolicy {
            history_sharing: Ruled::decode(reader)?,
        };
        let shared = policy.history_sharing.rules();
        if shared.is_some_and(|shared| shared.roles_that_can_share.iter().any(|role| *role <= 1)) {
            return Err(Error::Invalid {
                what: "roles_that_can_share",
                why: "role 0 or 1 is among them",
            });
        }
        Ok(policy)
    }
}

/// Section 6.7: a chat bot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bot {
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
    /// For people.
    pub homepage: IdentifierUri,
    /// It has access only through another client, and is no participant.
    pub local_client_bot: bool,
    /// Its role; 0 if it is no active participant.
    pub bot_role_index: u32,
    /// It may address single members.
    pub can_target_message_in_group: bool,
    /// It may send different content to each member.
    pub per_user_content: bool,
}

impl Encode for Bot {
    fn encode(&self, out: &mut Writer) {
        self.name.encode(out);
        self.description.encode(out);
        self.homepage.encode(out);
        self.local_client_bot.encode(out);
        self.bot_role_index.encode(out);
        self.can_target_message_in_group.encode(out);
        self.per_user_content.encode(out);
    }
}

impl Decode for Bot {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let bot = Bot {
            name: String::decode(reader)?,
            description: String::decode(reader)?,
            homepage: IdentifierUri::decode(reader)?,
            local_client_bot: bool::decode(reader)?,
            bot_role_index: u32::decode(reader)?,
            can_target_message_in_group: bool::decode(reader)?,
            per_user_content: bool::decode(reader)?,
        };
        if bot.local_client_bot && bot.bot_role_index != 0 {
            return Err(Error::Invalid {
                what: "bot_role_index",
                why: "a local client bot has a role",
            });
        }
        Ok(bot)
    }
}

/// Section 6.7: the bots that are allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BotPolicy {
    /// Each of them.
    pub allowed_bots: Vec<Bot>,
}

tls_struct!(BotPolicy { allowed_bots });

/// Section 6.8, when messages may expire. All durations are in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageExpiration {
    /// The shortest.
    pub min_expiration_duration: u32,
    /// The longest.
    pub max_expiration_duration: u32,
    /// The preferred one.
    pub default_expiration_duration: Option<u32>,
}

tls_struct!(MessageExpiration {
    min_expiration_duration,
    max_expiration_duration,
    default_expiration_duration
});

/// Section 6.8: whether messages expire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageExpirationPolicy {
    /// After how long.
    pub expiring_messages: Ruled<MessageExpiration>,
}

impl Encode for MessageExpirationPolicy {
    fn encode(&self, out: &mut Writer) {
        self.expiring_messages.encode(out);
    }
}

impl Decode for MessageExpirationPolicy {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let policy = MessageExpirationPolicy {
            expiring_messages: Ruled::decode(reader)?,
        };
        let bounds = policy.expiring_messages.rules().copied().unwrap_or_default();
        let (min, max) = (bounds.min_expiration_duration, bounds.max_expiration_duration);
        let preferred = bounds.default_expiration_duration.unwrap_or(min);
        if min > max || !(min..=max).contains(&preferred) {
            return Err(Error::Invalid {
                what: "expiration durations",
                why: "they do not satisfy min <= default <= max",
            });
        }
        Ok(policy)
    }
}
