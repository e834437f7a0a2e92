//! CBOR values: the rules of draft-ietf-mimi-content, section 6, for whatever an extension may hold.

use ciborium::Value;

use super::MAX_CONTENT_LEN;
use crate::Error;

/// How deep the CBOR reader goes. Four levels of parts take nine, four of extensions fewer.
const RECURSION_LIMIT: usize = 16;
/// How deep tags, maps and arrays may be nested in extensions, the extensions map counted.
const MAX_EXTENSION_DEPTH: usize = 4;
/// Keys are limited to what a double float represents without loss.
const MAX_SAFE_INTEGER: i128 = (1 << 53) - 1;

/// Reads one value and nothing else.
pub(super) fn read(octets: &[u8]) -> Result<Value, Error> {
    if octets.len() > MAX_CONTENT_LEN {
        return Err(Error::Limit {
            what: "MIMI content",
            value: octets.len(),
            limit: MAX_CONTENT_LEN,
        });
    }
    let mut rest = octets;
    let value =
        ciborium::de::from_reader_with_recursion_limit(&mut rest, RECURSION_LIMIT).map_err(|_| Error::Invalid {
            what: "MIMI content",
            why: "it is not CBOR, or too deep",
        })?;
    match rest.len() {
        0 => Ok(value),
        octets => Err(Error::Trailing { octets }),
    }
}

/// The encoding of a value, in the shortest forms; maps are written in the order they are in.
#[expect(clippy::expect_used, reason = "what is written is ours")]
pub(super) fn write(value: &Value) -> Vec<u8> {
    let mut octets = Vec::new();
    ciborium::into_writer(value, &mut octets).expect("writing a value to memory fails only when it cannot grow");
    octets
}

/// Checks the value of an extension, which is at depth 2.
pub(super) fn check_extension(value: &Value) -> Result<(), Error> {
    check(value, 2)
}

fn check(value: &Value, depth: usize) -> Result<(), Error> {
    let is_container = matches!(value, Value::Array(_) | Value::Map(_) | Value::Tag(..));
    if is_container && depth > MAX_EXTENSION_DEPTH {
        return Err(Error::Limit {
            what: "depth of extensions",
            value: depth,
            limit: MAX_EXTENSION_DEPTH,
        });
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| check(item, depth + 1)),
        Value::Map(entries) => {
            let mut previous: Option<Vec<u8>> = None;
            for (key, value) in entries {
                check_key(key)?;
                let encoded = write(key);
                if previous.is_some_and(|previous| previous >= encoded) {
                    return Err(Error::NotDeterministic);
                }
                previous = Some(encoded);
                check(value, depth + 1)?;
            }
            Ok(())
        }
        Value::Tag(_, inner) => check(inner, depth + 1),
        Value::Float(float) if float.is_nan() && float.to_bits() != f64::NAN.to_bits() => Err(Error::Invalid {
            what: "extension",
            why: "a NaN other than the quiet one",
        }),
        _ => Ok(()),
    }
}

fn check_key(key: &Value) -> Result<(), Error> {
    match key {
        Value::Integer(integer) if i128::from(*integer).abs() <= MAX_SAFE_INTEGER => Ok(()),
        Value::Text(_) | Value::Bytes(_) => Ok(()),
        _ => Err(Error::Invalid {
            what: "key of a map",
            why: "neither a small integer nor a string",
        }),
    }
}

/// The fields of an array, taken one after the other.
pub(super) struct Fields {
    items: std::vec::IntoIter<Value>,
}

impl Fields {
    pub(super) fn of(value: Value, what: &'static str) -> Result<Self, Error> {
        match value {
            Value::Array(items) => Ok(Fields {
                items: items.into_iter(),
            }),
            _ => Err(Error::Invalid {
                what,
                why: "it is not an array",
            }),
        }
    }

    pub(super) fn next(&mut self, what: &'static str) -> Result<Value, Error> {
        self.items.next().ok_or(Error::Invalid {
            what,
            why: "it is missing",
        })
    }

    pub(super) fn bytes(&mut self, what: &'static str) -> Result<Vec<u8>, Error> {
        self.next(what)?.into_bytes().map_err(|_| Error::Invalid {
            what,
            why: "it is not a byte string",
        })
    }

    pub(super) fn text(&mut self, what: &'static str) -> Result<String, Error> {
        self.next(what)?.into_text().map_err(|_| Error::Invalid {
            what,
            why: "it is not a text string",
        })
    }

    pub(super) fn uint<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, Error> {
        let integer = self.next(what)?.into_integer();
        let integer = integer
            .ok()
            .and_then(|integer| u64::try_from(integer).ok())
            .and_then(|n| T::try_from(n).ok());
        integer.ok_or(Error::Invalid {
            what,
            why: "it is not an unsigned integer of its size",
        })
    }

    pub(super) fn array(&mut self, what: &'static str) -> Result<Vec<Value>, Error> {
        self.next(what)?.into_array().map_err(|_| Error::Invalid {
            what,
            why: "it is not an array",
        })
    }

    pub(super) fn end(mut self, what: &'static str) -> Result<(), Error> {
        match self.items.next() {
            None => Ok(()),
            Some(_) => Err(Error::Invalid {
                what,
                why: "it has more fields",
            }),
        }
    }
}
