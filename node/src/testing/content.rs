//! MIMI content for the tests' clients.

use mimi_hub_proto::content::{ContentExtensions, Disposition, MimiContent, NestedPart, Part};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use openmls_traits::random::OpenMlsRand as _;

/// A text message that names its sender and its room.
pub(crate) fn content_of(sender: &UserUri, room: &RoomUri, text: &str) -> MimiContent {
    MimiContent {
        salt: crate::mls::crypto::provider().random_array().unwrap(),
        replaces: None,
        topic_id: Vec::new(),
        expires: None,
        in_reply_to: None,
        extensions: ContentExtensions::for_franking(sender.as_str(), room.as_str()),
        nested_part: NestedPart {
            disposition: Disposition::RENDER,
            language: String::new(),
            part: Part::Single {
                content_type: "text/plain;charset=utf-8".to_owned(),
                content: text.as_bytes().to_vec(),
            },
        },
    }
}
