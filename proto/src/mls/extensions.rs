//! Extension lists (RFC 9420, section 13).

use super::ids::ExtensionType;
use crate::Error;
use crate::tls::{self, Decode, Reader, Span, tls_struct};

/// An extension, its data opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// The type.
    pub extension_type: ExtensionType,
    /// The data, in the type's own encoding.
    pub data: Vec<u8>,
}

tls_struct!(Extension { extension_type, data });

/// A borrowed list of extensions, each type at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extensions<'a> {
    octets: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// A view of the content of an `Extension extensions<V>` that [`walk`] accepted.
    pub(super) fn view(octets: &'a [u8]) -> Self {
        Extensions { octets }
    }

    /// The types and data, in order.
    pub fn iter(&self) -> impl Iterator<Item = (ExtensionType, &'a [u8])> + use<'a> {
        let mut reader = Reader::new(self.octets);
        // The list was walked when its object was decoded, so that it ends where it is empty and nowhere else.
        std::iter::from_fn(move || Some((ExtensionType::decode(&mut reader).ok()?, reader.opaque().ok()?)))
    }

    /// The data of the extension of this type, if it is there.
    pub fn get(&self, extension_type: ExtensionType) -> Option<&'a [u8]> {
        self.iter()
            .find(|(found, _)| *found == extension_type)
            .map(|(_, data)| data)
    }

    /// The decoded data of the extension of this type, if it is there.
    ///
    /// # Errors
    /// If the data is not a `T` and nothing else.
    pub fn decode<T: Decode>(&self, extension_type: ExtensionType) -> Result<Option<T>, Error> {
        self.get(extension_type).map(tls::decode_exact).transpose()
    }
}

/// Walks an `Extension extensions<V>`; the span is that of its content.
pub(super) fn walk(reader: &mut Reader<'_>) -> Result<Span, Error> {
    let mut list = reader.vector()?;
    let start = list.position();
    let mut types = Vec::new();
    while !list.is_empty() {
        types.push(ExtensionType::decode(&mut list)?);
        list.opaque()?;
    }
    types.sort_unstable();
    match types.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::Duplicate {
            what: "ExtensionType",
            value: pair[0].0.to_string(),
        }),
        None => Ok(list.since(start)),
    }
}
