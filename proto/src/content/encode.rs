//! From a message to CBOR.

use ciborium::Value;

use super::{ExtensionKey, MessageId, MimiContent, NestedPart, Part, cbor};

pub(super) fn content(content: &MimiContent) -> Vec<u8> {
    let extensions = content.extensions.0.iter().map(|(key, value)| {
        let key = match key {
            ExtensionKey::Int(integer) => (*integer).into(),
            ExtensionKey::Text(text) => Value::Text(text.clone()),
        };
        (key, value.clone())
    });
    let expires = content
        .expires
        .map(|expires| Value::Array(vec![expires.relative.into(), expires.time.into()]));
    cbor::write(&Value::Array(vec![
        bytes(&content.salt),
        message_id(content.replaces),
        bytes(&content.topic_id),
        expires.unwrap_or(Value::Null),
        message_id(content.in_reply_to),
        Value::Map(extensions.collect()),
        nested_part(&content.nested_part),
    ]))
}

fn nested_part(nested: &NestedPart) -> Value {
    let mut fields = vec![nested.disposition.0.into(), text(&nested.language)];
    match &nested.part {
        Part::Null => fields.push(0.into()),
        Part::Single { content_type, content } => {
            fields.extend([1.into(), text(content_type), bytes(content)]);
        }
        Part::External(part) => fields.extend([
            2.into(),
            text(&part.content_type),
            text(&part.url),
            part.expires.into(),
            part.size.into(),
            part.enc_alg.into(),
            bytes(&part.key),
            bytes(&part.nonce),
            bytes(&part.aad),
            part.hash_alg.into(),
            bytes(&part.content_hash),
            text(&part.description),
            text(&part.filename),
        ]),
        Part::Multi { part_semantics, parts } => fields.extend([
            3.into(),
            (*part_semantics as u8).into(),
            Value::Array(parts.iter().map(nested_part).collect()),
        ]),
    }
    Value::Array(fields)
}

fn message_id(id: Option<MessageId>) -> Value {
    id.map_or(Value::Null, |id| bytes(&id.0))
}

fn bytes(octets: &[u8]) -> Value {
    Value::Bytes(octets.to_vec())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}
