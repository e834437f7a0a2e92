//! The extensions map (draft-ietf-mimi-content, section 4.3).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use ciborium::Value;

/// `senderUri`.
const SENDER_URI: ExtensionKey = ExtensionKey::Int(1);
/// `roomUri`.
const ROOM_URI: ExtensionKey = ExtensionKey::Int(2);

/// The key of an extension: registered if positive, private otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExtensionKey {
    /// An integer whose magnitude is less than 2^53.
    Int(i64),
    /// 1 to 255 octets of text.
    Text(String),
}

/// The order of the deterministic encoding (RFC 8949, section 4.2.1): that of the encoded keys.
impl Ord for ExtensionKey {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            // Non-negative integers come first, ascending; then negative ones, by ascending magnitude.
            (ExtensionKey::Int(a), ExtensionKey::Int(b)) => {
                (*a < 0).cmp(&(*b < 0)).then(a.unsigned_abs().cmp(&b.unsigned_abs()))
            }
            (ExtensionKey::Int(_), ExtensionKey::Text(_)) => Ordering::Less,
            (ExtensionKey::Text(_), ExtensionKey::Int(_)) => Ordering::Greater,
            (ExtensionKey::Text(a), ExtensionKey::Text(b)) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
        }
    }
}

impl PartialOrd for ExtensionKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Extensions by key, in the order in which they are encoded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContentExtensions(pub BTreeMap<ExtensionKey, Value>);

impl ContentExtensions {
    /// What draft-ietf-mimi-protocol, section 5.4.1, wants of a message that is to be franked.
    pub fn for_franking(sender_uri: &str, room_uri: &str) -> Self {
        let text = |uri: &str| Value::Text(uri.to_owned());
        ContentExtensions(BTreeMap::from([
            (SENDER_URI, text(sender_uri)),
            (ROOM_URI, text(room_uri)),
        ]))
    }

    /// The room that the sender claims to send to.
    pub fn room_uri(&self) -> Option<&str> {
        self.0.get(&ROOM_URI).and_then(Value::as_text)
    }

    /// Who the sender claims to be.
    pub fn sender_uri(&self) -> Option<&str> {
        self.0.get(&SENDER_URI).and_then(Value::as_text)
    }
}
