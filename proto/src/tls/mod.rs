//! The TLS presentation language with the variable-length vectors of RFC 9420, section 2.1.2.
//!
//! Owns the reader and the writer that every struct of this crate goes through. The reader only ever looks at octets
//! that are there: a length prefix is compared with what remains before anything is sliced or allocated.

mod macros;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use macros::{tls_enum, tls_opaque, tls_struct};
pub use reader::Reader;
pub(crate) use reader::Span;
pub use writer::Writer;

use crate::Error;

/// A type with a TLS-presentation encoding.
pub trait Encode {
    /// Appends the encoding to `out`.
    fn encode(&self, out: &mut Writer);

    /// Appends the encodings of all `items`, without a length prefix.
    fn encode_elements(items: &[Self], out: &mut Writer)
    where
        Self: Sized,
    {
        for item in items {
            item.encode(out);
        }
    }
}

/// A type that can be read from its TLS-presentation encoding. Every implementation consumes at least one octet.
pub trait Decode: Sized {
    /// Reads one value, leaving what follows it.
    ///
    /// # Errors
    /// Whatever is wrong with the octets; the reader's position is then unspecified.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error>;

    /// Reads values until `reader` is empty.
    ///
    /// # Errors
    /// As [`Decode::decode`].
    fn decode_elements(reader: &mut Reader<'_>) -> Result<Vec<Self>, Error> {
        let mut items = Vec::new();
        while !reader.is_empty() {
            items.push(Self::decode(reader)?);
        }
        Ok(items)
    }
}

/// Reads exactly one value from `octets`.
///
/// # Errors
/// Whatever is wrong with the octets, and [`Error::Trailing`] if some remain.
pub fn decode_exact<T: Decode>(octets: &[u8]) -> Result<T, Error> {
    let mut reader = Reader::new(octets);
    let value = T::decode(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

/// The encoding of `value`.
///
/// # Panics
/// If one vector in it is 2^30 octets or longer, which RFC 9420 cannot express; nothing that came through
/// [`decode_exact`] is, and what this crate's users build stays far below.
pub fn encode<T: Encode + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Writer::new();
    value.encode(&mut out);
    out.into_vec()
}

macro_rules! integer {
    ($($type:ty),*) => {$(
        impl Encode for $type {
            fn encode(&self, out: &mut Writer) {
                out.raw(&self.to_be_bytes());
            }
        }

        impl Decode for $type {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
                Ok(<$type>::from_be_bytes(reader.array()?))
            }
        }
    )*};
}

integer!(u16, u32, u64);

impl Encode for u8 {
    fn encode(&self, out: &mut Writer) {
        out.raw(&[*self]);
    }

    fn encode_elements(items: &[Self], out: &mut Writer) {
        out.raw(items);
    }
}

impl Decode for u8 {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(u8::from_be_bytes(reader.array()?))
    }

    fn decode_elements(reader: &mut Reader<'_>) -> Result<Vec<Self>, Error> {
        Ok(reader.rest().to_vec())
    }
}

/// `enum { false(0), true(1) } bool;` of draft-ietf-mimi-room-policy.
impl Encode for bool {
    fn encode(&self, out: &mut Writer) {
        u8::from(*self).encode(out);
    }
}

impl Decode for bool {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        match u8::decode(reader)? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(Error::UnknownValue {
                what: "bool",
                value: value.into(),
            }),
        }
    }
}

/// A fixed-length `opaque field[N]`.
impl<const N: usize> Encode for [u8; N] {
    fn encode(&self, out: &mut Writer) {
        out.raw(self);
    }
}

impl<const N: usize> Decode for [u8; N] {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        reader.array()
    }
}

/// `T field<V>`.
impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, out: &mut Writer) {
        self.as_slice().encode(out);
    }
}

impl<T: Encode> Encode for [T] {
    fn encode(&self, out: &mut Writer) {
        out.vector(|out| T::encode_elements(self, out));
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        T::decode_elements(&mut reader.vector()?)
    }
}

/// `optional<T>` of RFC 9420, section 2.1.1.
impl<T: Encode> Encode for Option<T> {
    fn encode(&self, out: &mut Writer) {
        match self {
            None => 0u8.encode(out),
            Some(value) => {
                1u8.encode(out);
                value.encode(out);
            }
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        Ok(if reader.presence()? {
            Some(T::decode(reader)?)
        } else {
            None
        })
    }
}

/// A UTF-8 string in an `opaque field<V>`.
impl Encode for String {
    fn encode(&self, out: &mut Writer) {
        out.opaque(self.as_bytes());
    }
}

impl Decode for String {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let octets = reader.opaque()?;
        match std::str::from_utf8(octets) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Error::Utf8 { what: "string" }),
        }
    }
}
