//! serde for `proto`'s types, by their TLS-presentation octets: what is asked of another node is encoded with bincode, and
//! the parts of it that came over the wire stay what they were.

use mimi_hub_proto::tls::{Decode, Encode, decode_exact, encode};
use serde::de::Error as _;
use serde::{Deserializer, Serializer};
use serde_bytes::ByteBuf;

/// For `#[serde(with = "crate::octets")]`.
pub(crate) fn serialize<T: Encode, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(&encode(value))
}

/// For `#[serde(with = "crate::octets")]`.
pub(crate) fn deserialize<'de, T: Decode, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let octets: ByteBuf = serde::Deserialize::deserialize(deserializer)?;
    decode_exact(&octets).map_err(D::Error::custom)
}

/// For `#[serde(with = "crate::octets::shared")]` on [`bytes::Bytes`].
pub(crate) mod shared {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_bytes::ByteBuf;

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        ByteBuf::deserialize(deserializer).map(|bytes| bytes.into_vec().into())
    }
}
