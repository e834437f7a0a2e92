//! Objects that keep the octets they were decoded from.

use bytes::Bytes;

use crate::Error;
use crate::tls::Reader;

/// Walks the object at the reader's position and copies its octets out once. The spans `walk` finds are relative to
/// the object's start. The layout is boxed: there are many kinds of objects in one enum, and some layouts are large.
pub(super) fn read<'a, L>(
    reader: &mut Reader<'a>,
    walk: impl FnOnce(&mut Reader<'a>) -> Result<L, Error>,
) -> Result<(Bytes, Box<L>), Error> {
    let mut object = reader.fork();
    let layout = walk(&mut object)?;
    let octets = reader.take(object.position())?;
    Ok((Bytes::copy_from_slice(octets), Box::new(layout)))
}

/// What every verbatim object has: equality and the encoding are those of its octets.
macro_rules! verbatim {
    ($name:ident, $walk:path) => {
        impl $name {
            /// The exact octets, without an MLSMessage header.
            pub fn as_bytes(&self) -> &[u8] {
                &self.octets
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.octets == other.octets
            }
        }

        impl Eq for $name {}

        impl $crate::tls::Encode for $name {
            fn encode(&self, out: &mut $crate::tls::Writer) {
                out.raw(&self.octets);
            }
        }

        impl $crate::tls::Decode for $name {
            fn decode(reader: &mut $crate::tls::Reader<'_>) -> Result<Self, $crate::Error> {
                let (octets, layout) = $crate::mls::verbatim::read(reader, $walk)?;
                Ok($name { octets, layout })
            }
        }
    };
}

pub(super) use verbatim;
