//! MIMI content: CBOR of an application message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mimi_hub_fuzz::bounded;
use mimi_hub_proto::content::{MessageId, MimiContent};

fuzz_target!(|octets: &[u8]| {
    if let Ok(content) = bounded(octets.len(), || MimiContent::decode(octets)) {
        assert_eq!(content.encode(), octets, "accepted in an encoding that is not its own");
        let sender = content.extensions.sender_uri().unwrap_or_default();
        let room = content.extensions.room_uri().unwrap_or_default();
        let _ = MessageId::of(octets, &content.salt, sender, room);
    }
});
