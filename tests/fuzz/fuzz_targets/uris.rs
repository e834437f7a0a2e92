//! Text: identifiers from people, paths and the wire, domains, and directories of other providers.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use mimi_hub_fuzz::{bounded, exact};
use mimi_hub_proto::uri::{ClientUri, GroupUri, IdentifierUri, ProviderDomain, RoomUri, UserUri, path_segment};
use mimi_hub_proto::{Directory, Error};

/// What is accepted is canonical: read again, it is the same.
fn canonical<T: FromStr<Err = Error> + Display + Debug + PartialEq>(text: &str) -> Option<T> {
    let value: T = bounded(text.len(), || text.parse()).ok()?;
    assert_eq!(value.to_string().parse().as_ref(), Ok(&value), "from {text:?}");
    Some(value)
}

macro_rules! uri {
    ($octets:ident, $($kind:ty),*) => {$(
        exact::<$kind>($octets);
        if let Ok(uri) = bounded($octets.len(), || <$kind>::from_octets($octets)) {
            assert_eq!(uri.as_str().as_bytes(), $octets);
        }
        if let Ok(text) = std::str::from_utf8($octets) {
            if let Some(uri) = canonical::<$kind>(text) {
                let segment = path_segment(uri.as_str());
                assert_eq!(<$kind>::from_path(&segment).as_ref(), Ok(&uri));
                assert_eq!(uri.provider().as_str(), uri.domain());
            }
            let _ = bounded(text.len(), || <$kind>::from_path(text));
        }
    )*};
}

fuzz_target!(|octets: &[u8]| {
    uri!(octets, ClientUri, GroupUri, RoomUri, UserUri);
    exact::<IdentifierUri>(octets);
    if let Ok(text) = std::str::from_utf8(octets) {
        canonical::<ProviderDomain>(text);
        if let Some(room) = canonical::<RoomUri>(text) {
            assert_eq!(room.group_uri().room_uri(), room);
        }
    }
    if let Ok(directory) = bounded(octets.len(), || serde_json::from_slice::<Directory>(octets)) {
        let written = serde_json::to_vec(&directory).expect("a directory is JSON");
        assert_eq!(
            serde_json::from_slice::<Directory>(&written).expect("and is read again"),
            directory
        );
        assert!(directory.notify.expand("mimi://a.example/r/x").starts_with("https://"));
    }
});
