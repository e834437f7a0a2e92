//! From CBOR to a message.

use std::collections::BTreeMap;

use ciborium::Value;

use super::cbor::{self, Fields};
use super::{
    ContentExtensions, Disposition, Expiration, ExtensionKey, ExternalPart, MAX_PART_DEPTH, MessageId, MimiContent,
    NestedPart, Part, PartSemantics, encode,
};
use crate::Error;

/// The longest text key of an extension, in octets.
const MAX_KEY_LEN: usize = 255;

pub(super) fn content(octets: &[u8]) -> Result<MimiContent, Error> {
    let mut fields = Fields::of(cbor::read(octets)?, "MIMI content")?;
    let content = MimiContent {
        salt: fixed(fields.bytes("salt")?, "salt")?,
        replaces: message_id(fields.next("replaces")?, "replaces")?,
        topic_id: fields.bytes("topicId")?,
        expires: expiration(fields.next("expires")?)?,
        in_reply_to: message_id(fields.next("inReplyTo")?, "inReplyTo")?,
        extensions: extensions(fields.next("mimiExtensions")?)?,
        nested_part: nested_part(fields.next("nestedPart")?, 1)?,
    };
    fields.end("MIMI content")?;
    // The CBOR reader takes any encoding of a value. There is one deterministic one, and it is ours.
    if encode::content(&content) != octets {
        return Err(Error::NotDeterministic);
    }
    Ok(content)
}

fn fixed<const N: usize>(octets: Vec<u8>, what: &'static str) -> Result<[u8; N], Error> {
    octets.try_into().map_err(|_| Error::Invalid {
        what,
        why: "it is not of its fixed length",
    })
}

fn message_id(value: Value, what: &'static str) -> Result<Option<MessageId>, Error> {
    match value {
        Value::Null => Ok(None),
        Value::Bytes(octets) => fixed(octets, what).map(MessageId).map(Some),
        _ => Err(Error::Invalid {
            what,
            why: "it is not a message ID",
        }),
    }
}

fn expiration(value: Value) -> Result<Option<Expiration>, Error> {
    if value.is_null() {
        return Ok(None);
    }
    let mut fields = Fields::of(value, "expires")?;
    let relative = fields.next("expires")?.into_bool();
    let relative = relative.map_err(|_| Error::Invalid {
        what: "expires",
        why: "its first field is not a boolean",
    })?;
    let time = fields.uint("expires")?;
    fields.end("expires")?;
    Ok(Some(Expiration { relative, time }))
}

fn extensions(value: Value) -> Result<ContentExtensions, Error> {
    let invalid = |why| Error::Invalid {
        what: "mimiExtensions",
        why,
    };
    let entries = value.into_map().map_err(|_| invalid("it is not a map"))?;
    let mut extensions = BTreeMap::new();
    for (key, value) in entries {
        let key = match key {
            Value::Integer(integer) => match i64::try_from(integer) {
                Ok(integer) if integer.unsigned_abs() < 1 << 53 => ExtensionKey::Int(integer),
                _ => return Err(invalid("a key is too large")),
            },
            Value::Text(text) if (1..=MAX_KEY_LEN).contains(&text.len()) => ExtensionKey::Text(text),
            _ => return Err(invalid("a key is neither an integer nor a short text")),
        };
        if matches!(key, ExtensionKey::Int(1 | 2)) && !value.is_text() {
            return Err(invalid("senderUri or roomUri is not text"));
        }
        cbor::check_extension(&value)?;
        // A key that is there twice shows when the map is encoded again.
        extensions.insert(key, value);
    }
    Ok(ContentExtensions(extensions))
}

fn nested_part(value: Value, depth: usize) -> Result<NestedPart, Error> {
    if depth > MAX_PART_DEPTH {
        return Err(Error::Limit {
            what: "depth of parts",
            value: depth,
            limit: MAX_PART_DEPTH,
        });
    }
    let mut fields = Fields::of(value, "NestedPart")?;
    let disposition = Disposition(fields.uint("disposition")?);
    let language = fields.text("language")?;
    let part = match fields.uint::<u64>("cardinality")? {
        0 => Part::Null,
        1 => Part::Single {
            content_type: fields.text("contentType")?,
            content: fields.bytes("content")?,
        },
        2 => Part::External(Box::new(external_part(&mut fields)?)),
        3 => {
            let part_semantics = match fields.uint::<u64>("partSemantics")? {
                0 => PartSemantics::ChooseOne,
                1 => PartSemantics::SingleUnit,
                2 => PartSemantics::ProcessAll,
                value => {
                    return Err(Error::UnknownValue {
                        what: "partSemantics",
                        value,
                    });
                }
            };
            let parts = fields.array("parts")?;
            if parts.len() < 2 {
                return Err(Error::Invalid {
                    what: "parts",
                    why: "there are fewer than two",
                });
            }
            let parts: Result<_, _> = parts.into_iter().map(|part| nested_part(part, depth + 1)).collect();
            Part::Multi {
                part_semantics,
                parts: parts?,
            }
        }
        value => {
            return Err(Error::UnknownValue {
                what: "cardinality",
                value,
            });
        }
    };
    fields.end("NestedPart")?;
    Ok(NestedPart {
        disposition,
        language,
        part,
    })
}

fn external_part(fields: &mut Fields) -> Result<ExternalPart, Error> {
    Ok(ExternalPart {
        content_type: fields.text("contentType")?,
        url: fields.text("url")?,
        expires: fields.uint("expires")?,
        size: fields.uint("size")?,
        enc_alg: fields.uint("encAlg")?,
        key: fields.bytes("key")?,
        nonce: fields.bytes("nonce")?,
        aad: fields.bytes("aad")?,
        hash_alg: fields.uint("hashAlg")?,
        content_hash: fields.bytes("contentHash")?,
        description: fields.text("description")?,
        filename: fields.text("filename")?,
    })
}
