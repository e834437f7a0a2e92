//! Field-by-field codecs, so that a struct's encoding is its declaration.

/// Encodes and decodes a struct as its fields in the order listed.
macro_rules! tls_struct {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::tls::Encode for $name {
            fn encode(&self, out: &mut $crate::tls::Writer) {
                $( $crate::tls::Encode::encode(&self.$field, out); )+
            }
        }

        impl $crate::tls::Decode for $name {
            fn decode(reader: &mut $crate::tls::Reader<'_>) -> Result<Self, $crate::Error> {
                $( let $field = $crate::tls::Decode::decode(reader)?; )+
                Ok($name { $($field),+ })
            }
        }
    };
}

/// A closed enumeration of the TLS presentation language.
macro_rules! tls_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident: $repr:ty {
            $( $(#[$variant_meta:meta])* $variant:ident = $value:literal, )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr($repr)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant = $value, )+
        }

        impl $crate::tls::Encode for $name {
            fn encode(&self, out: &mut $crate::tls::Writer) {
                $crate::tls::Encode::encode(&(*self as $repr), out);
            }
        }

        impl $crate::tls::Decode for $name {
            fn decode(reader: &mut $crate::tls::Reader<'_>) -> Result<Self, $crate::Error> {
                match <$repr as $crate::tls::Decode>::decode(reader)? {
                    $( $value => Ok($name::$variant), )+
                    value => Err($crate::Error::UnknownValue { what: stringify!($name), value: value.into() }),
                }
            }
        }
    };
}

/// A newtype over `opaque name<V>`.
macro_rules! tls_opaque {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Vec<u8>);

        impl $name {
            /// Wraps the octets inside the vector.
            pub fn new(octets: impl Into<Vec<u8>>) -> Self {
                $name(octets.into())
            }

            /// The octets inside the vector.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl $crate::tls::Encode for $name {
            fn encode(&self, out: &mut $crate::tls::Writer) {
                out.opaque(&self.0);
            }
        }

        impl $crate::tls::Decode for $name {
            fn decode(reader: &mut $crate::tls::Reader<'_>) -> Result<Self, $crate::Error> {
                Ok($name(reader.opaque()?.to_vec()))
            }
        }
    };
}

pub(crate) use {tls_enum, tls_opaque, tls_struct};
