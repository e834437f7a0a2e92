//! The directory of a provider's endpoints (draft-ietf-mimi-protocol, section 5.1).

use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Error;
use crate::uri::path_segment;

/// The path of the directory document on the provider's own host.
pub const WELL_KNOWN_DIRECTORY: &str = "/.well-known/mimi-protocol-directory";

/// The longest template accepted, in octets.
const MAX_TEMPLATE_LEN: usize = 2048;

/// The URLs of a provider's endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Directory {
    /// Claims KeyPackages of a user.
    pub key_material: UrlTemplate,
    /// Changes a room that the provider hosts.
    pub update: UrlTemplate,
    /// Takes in events of a room hosted elsewhere.
    pub notify: UrlTemplate,
    /// Sends a message to a room that the provider hosts.
    pub submit_message: UrlTemplate,
    /// Gives a joiner the GroupInfo.
    pub group_info: UrlTemplate,
    /// Asks for consent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_consent: Option<UrlTemplate>,
    /// Tells of consent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_consent: Option<UrlTemplate>,
    /// Finds users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identifier_query: Option<UrlTemplate>,
    /// Reports abuse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_abuse: Option<UrlTemplate>,
    /// Fetches assets by way of the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_download: Option<UrlTemplate>,
}

/// An `https` URL with one variable, the last thing in it: `https://mimi.example.com/v1/notify/{roomId}`. The
/// variable's name is not checked, as the draft itself uses two for the same endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlTemplate {
    text: String,
    variable: usize,
}

impl UrlTemplate {
    /// The template.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URL for `value`, which becomes one percent-encoded path segment.
    pub fn expand(&self, value: &str) -> String {
        let base = &self.text[..self.variable];
        // The draft's own example forgets the slash in `update{roomId}`.
        let slash = if base.ends_with('/') { "" } else { "/" };
        format!("{base}{slash}{}", path_segment(value))
    }
}

impl FromStr for UrlTemplate {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = |why| Error::Invalid {
            what: "URL template",
            why,
        };
        if text.len() > MAX_TEMPLATE_LEN {
            return Err(Error::Limit {
                what: "URL template",
                value: text.len(),
                limit: MAX_TEMPLATE_LEN,
            });
        }
        let rest = text
            .strip_prefix("https://")
            .ok_or(invalid("its scheme is not https"))?;
        if rest
            .bytes()
            .any(|octet| !octet.is_ascii_graphic() || b"?#\\\"<>".contains(&octet))
        {
            return Err(invalid("it contains what a path does not"));
        }
        let variable = text.find('{').ok_or(invalid("it has no variable"))?;
        let name = text[variable + 1..]
            .strip_suffix('}')
            .ok_or(invalid("its variable is not at the end"))?;
        if name.is_empty() || !name.bytes().all(|octet| octet.is_ascii_alphanumeric()) {
            return Err(invalid("its variable has no name, or there are several"));
        }
        let base = &text["https://".len()..variable];
        match base.split_once('/') {
            Some((authority, path)) if !authority.is_empty() && !path.contains('}') => {}
            _ => return Err(invalid("it has no host, or the variable is in it")),
        }
        Ok(UrlTemplate {
            text: text.to_owned(),
            variable,
        })
    }
}

impl Serialize for UrlTemplate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for UrlTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAFT: &str = r#"{
        "keyMaterial": "https://mimi.example.com/v1/keyMaterial/{targetUser}",
        "update": "https://mimi.example.com/v1/update{roomId}",
        "notify": "https://mimi.example.com/v1/notify/{roomId}",
        "submitMessage": "https://mimi.example.com/v1/submitMessage/{roomId}",
        "groupInfo": "https://mimi.example.com/v1/groupInfo/{roomId}",
        "requestConsent": "https://mimi.example.com/v1/requestConsent/{targetUser}",
        "updateConsent": "https://mimi.example.com/v1/updateConsent/{requesterUser}",
        "identifierQuery": "https://mimi.example.com/v1/identifierQuery/{domain}",
        "reportAbuse": "https://mimi.example.com/v1/reportAbuse/{roomId}",
        "proxyDownload": "https://mimi.example.com/v1/proxyDownload/{downloadUrl}"
    }"#;

    #[test]
    fn protocol_5_1_example_expands() {
        let directory: Directory = serde_json::from_str(DRAFT).unwrap();
        assert_eq!(
            directory.notify.expand("mimi://a.example/r/clubhouse"),
            "https://mimi.example.com/v1/notify/mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse"
        );
        assert_eq!(
            directory.update.expand("mimi://a.example/r/clubhouse"),
            "https://mimi.example.com/v1/update/mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse"
        );
        assert_eq!(
            directory
                .proxy_download
                .as_ref()
                .unwrap()
                .expand("https://x.example/?a=b"),
            "https://mimi.example.com/v1/proxyDownload/https%3A%2F%2Fx.example%2F%3Fa%3Db"
        );
    }

    #[test]
    fn a_directory_survives_json() {
        let directory: Directory = serde_json::from_str(DRAFT).unwrap();
        let json = serde_json::to_value(&directory).unwrap();
        assert_eq!(json, serde_json::from_str::<serde_json::Value>(DRAFT).unwrap());
    }

    #[test]
    fn later_endpoints_are_optional_and_unknown_ones_ignored() {
        let mut json: serde_json::Value = serde_json::from_str(DRAFT).unwrap();
        let object = json.as_object_mut().unwrap();
        for name in [
            "requestConsent",
            "updateConsent",
            "identifierQuery",
            "reportAbuse",
            "proxyDownload",
        ] {
            object.remove(name);
        }
        object.insert("brandNew".into(), "anything".into());
        let directory: Directory = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(directory.report_abuse, None);
        assert_eq!(serde_json::to_value(&directory).unwrap().as_object().unwrap().len(), 5);
        json.as_object_mut().unwrap().remove("notify");
        assert!(serde_json::from_value::<Directory>(json).is_err());
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in [
            "http://a.example/{x}",
            "https://a.example/x",
            "https://a.example/{x}/y",
            "https://a.example/{x",
            "https://a.example/{}",
            "https://a.example/{x}{y}",
            "https://a.example/x}/{y}",
            "https:///{x}",
            "https://{x}",
            "https://a.example/?q={x}",
            "https://a.example/ /{x}",
            "https://a.example/#{x}",
        ] {
            assert!(text.parse::<UrlTemplate>().is_err(), "{text}");
        }
        let long = format!("https://a.example/{}/{{x}}", "y".repeat(MAX_TEMPLATE_LEN));
        assert!(matches!(long.parse::<UrlTemplate>(), Err(Error::Limit { .. })));
    }
}
