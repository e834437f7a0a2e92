//! Values as JSON and back: integers of up to 32 bits are numbers, those of 64 are decimal strings, octets are hex, an
//! absent value is null. Nothing here encodes or decodes, so that JSON and octets are two independent ways to a value.

use mimi_hub_proto::mls::{
    ApplicationMessage, Capabilities, CipherSuite, CommitMessage, Credential, CredentialType, Extension, ExtensionType,
    ExternalSender, GroupInfo, HpkeCiphertext, HpkePublicKey, KeyPackage, ProposalMessage, ProposalRef, RatchetTree,
    RequiredCapabilities, SignaturePublicKey, Welcome,
};
use mimi_hub_proto::tls;
use mimi_hub_proto::uri::{ClientUri, IdentifierUri, RoomUri, UserUri};
use serde_json::{Map, Value, json};

/// What JSON gives instead of a value.
pub(crate) type Read<T> = Result<T, String>;

/// A value as it stands in the files.
pub(crate) trait Fields: Sized {
    fn show(&self) -> Value;
    fn read(value: &Value) -> Read<Self>;

    fn show_all(items: &[Self]) -> Value {
        items.iter().map(Self::show).collect()
    }

    fn read_all(value: &Value) -> Read<Vec<Self>> {
        let items = value.as_array().ok_or("not a list")?;
        items.iter().map(Self::read).collect()
    }
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Read<Vec<u8>> {
    let digit = |octet: u8| match octet {
        b'0'..=b'9' => Ok(octet - b'0'),
        b'a'..=b'f' => Ok(octet - b'a' + 10),
        _ => Err(format!("not lower-case hex: {text}")),
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(format!("half an octet: {text}"));
    }
    pairs.iter().map(|[a, b]| Ok(digit(*a)? << 4 | digit(*b)?)).collect()
}

pub(crate) fn text(value: &Value) -> Read<&str> {
    value.as_str().ok_or_else(|| format!("not a string: {value}"))
}

/// The member of an object.
pub(crate) fn member<'a>(value: &'a Value, name: &str) -> Read<&'a Value> {
    value.get(name).ok_or_else(|| format!("{name} is missing"))
}

pub(crate) fn field<T: Fields>(value: &Value, name: &str) -> Read<T> {
    T::read(member(value, name)?).map_err(|error| format!("{name}: {error}"))
}

/// `fields` and those of `more`, in one object.
pub(crate) fn with(fields: Value, more: Value) -> Value {
    let (Value::Object(mut fields), Value::Object(more)) = (fields, more) else {
        return Value::Null;
    };
    fields.extend(more);
    Value::Object(fields)
}

pub(crate) fn object(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
    Value::Object(members.collect::<Map<_, _>>())
}

impl Fields for u8 {
    fn show(&self) -> Value {
        json!(self)
    }
    fn read(value: &Value) -> Read<Self> {
        let number = value.as_u64().and_then(|number| number.try_into().ok());
        number.ok_or_else(|| format!("not a number: {value}"))
    }
    fn show_all(items: &[Self]) -> Value {
        json!(hex(items))
    }
    fn read_all(value: &Value) -> Read<Vec<Self>> {
        unhex(text(value)?)
    }
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Fields for $type {
            fn show(&self) -> Value {
                json!(self)
            }
            fn read(value: &Value) -> Read<Self> {
                let number = value.as_u64().and_then(|number| number.try_into().ok());
                number.ok_or_else(|| format!("not a number: {value}"))
            }
        }
    )*};
}

numbers!(u16, u32);

impl Fields for u64 {
    fn show(&self) -> Value {
        json!(self.to_string())
    }
    fn read(value: &Value) -> Read<Self> {
        text(value)?
            .parse()
            .map_err(|_| format!("not a decimal number: {value}"))
    }
}

impl Fields for bool {
    fn show(&self) -> Value {
        json!(self)
    }
    fn read(value: &Value) -> Read<Self> {
        value
            .as_bool()
            .ok_or_else(|| format!("neither true nor false: {value}"))
    }
}

impl Fields for String {
    fn show(&self) -> Value {
        json!(self)
    }
    fn read(value: &Value) -> Read<Self> {
        text(value).map(str::to_owned)
    }
}

impl<T: Fields> Fields for Vec<T> {
    fn show(&self) -> Value {
        T::show_all(self)
    }
    fn read(value: &Value) -> Read<Self> {
        T::read_all(value)
    }
}

impl<const N: usize> Fields for [u8; N] {
    fn show(&self) -> Value {
        json!(hex(self))
    }
    fn read(value: &Value) -> Read<Self> {
        let octets = unhex(text(value)?)?;
        octets.try_into().map_err(|_| format!("not {N} octets"))
    }
}

impl<T: Fields> Fields for Option<T> {
    fn show(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::show)
    }
    fn read(value: &Value) -> Read<Self> {
        (!value.is_null()).then(|| T::read(value)).transpose()
    }
}

macro_rules! uris {
    ($($type:ty),*) => {$(
        impl Fields for $type {
            fn show(&self) -> Value {
                json!(self.as_str())
            }
            fn read(value: &Value) -> Read<Self> {
                text(value)?.parse().map_err(|error| format!("{value}: {error}"))
            }
        }
    )*};
}

uris!(ClientUri, IdentifierUri, RoomUri, UserUri);

/// Numbers with a name.
macro_rules! newtypes {
    ($($type:ident),*) => {$(
        impl $crate::files::fields::Fields for $type {
            fn show(&self) -> ::serde_json::Value {
                $crate::files::fields::Fields::show(&self.0)
            }
            fn read(value: &::serde_json::Value) -> $crate::files::fields::Read<Self> {
                $crate::files::fields::Fields::read(value).map($type)
            }
        }
    )*};
}

/// Structs, with the drafts' names of their fields.
macro_rules! structs {
    ($($type:ident { $($field:ident: $name:literal),+ $(,)? })+) => {$(
        impl $crate::files::fields::Fields for $type {
            fn show(&self) -> ::serde_json::Value {
                $crate::files::fields::object([$(($name, $crate::files::fields::Fields::show(&self.$field))),+])
            }
            fn read(value: &::serde_json::Value) -> $crate::files::fields::Read<Self> {
                Ok($type { $($field: $crate::files::fields::field(value, $name)?),+ })
            }
        }
    )+};
}

/// Enumerations, with the drafts' names of their values.
macro_rules! names {
    ($($type:ident { $($variant:ident: $name:literal),+ $(,)? })+) => {$(
        impl $crate::files::fields::Fields for $type {
            fn show(&self) -> ::serde_json::Value {
                let name = match self { $($type::$variant => $name),+ };
                ::serde_json::Value::from(name)
            }
            fn read(value: &::serde_json::Value) -> $crate::files::fields::Read<Self> {
                match $crate::files::fields::text(value)? {
                    $($name => Ok($type::$variant),)+
                    other => Err(format!("{} is unknown", other)),
                }
            }
        }
    )+};
}

pub(crate) use {names, newtypes, structs};

newtypes!(CipherSuite, CredentialType, ExtensionType);

macro_rules! opaques {
    ($($type:ident),*) => {$(
        impl Fields for $type {
            fn show(&self) -> Value {
                json!(hex(self.as_bytes()))
            }
            fn read(value: &Value) -> Read<Self> {
                unhex(text(value)?).map($type::new)
            }
        }
    )*};
}

opaques!(HpkePublicKey, ProposalRef, SignaturePublicKey);

/// Objects of MLS stand as their octets: what is in them is RFC 9420's.
macro_rules! mls {
    ($($type:ident),*) => {$(
        impl Fields for $type {
            fn show(&self) -> Value {
                json!(hex(&tls::encode(self)))
            }
            fn read(value: &Value) -> Read<Self> {
                tls::decode_exact(&unhex(text(value)?)?).map_err(|error| error.to_string())
            }
        }
    )*};
}

mls!(
    ApplicationMessage,
    CommitMessage,
    Credential,
    GroupInfo,
    KeyPackage,
    ProposalMessage,
    RatchetTree,
    Welcome
);

structs! {
    Capabilities {
        versions: "versions",
        cipher_suites: "cipher_suites",
        extensions: "extensions",
        proposals: "proposals",
        credentials: "credentials",
    }
    Extension { extension_type: "extension_type", data: "extension_data" }
    ExternalSender { signature_key: "signature_key", credential: "credential" }
    HpkeCiphertext { kem_output: "kem_output", ciphertext: "ciphertext" }
    RequiredCapabilities {
        extension_types: "extension_types",
        proposal_types: "proposal_types",
        credential_types: "credential_types",
    }
}
