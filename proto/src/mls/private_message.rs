//! Private messages (RFC 9420, section 6.3), of which a hub sees the frame.

use bytes::Bytes;

use super::ContentType;
use super::verbatim::verbatim;
use crate::Error;
use crate::tls::{Decode, Reader, Span};

/// An encrypted message, verbatim.
#[derive(Debug, Clone)]
pub struct PrivateMessage {
    octets: Bytes,
    layout: Box<Layout>,
}

verbatim!(PrivateMessage, walk);

#[derive(Debug, Clone)]
struct Layout {
    group_id: Span,
    epoch: u64,
    content_type: ContentType,
    authenticated_data: Span,
}

fn walk(reader: &mut Reader<'_>) -> Result<Layout, Error> {
    let group_id = reader.opaque_span()?;
    let epoch = u64::decode(reader)?;
    let content_type = ContentType::decode(reader)?;
    let authenticated_data = reader.opaque_span()?;
    reader.opaque()?;
    reader.opaque()?;
    Ok(Layout {
        group_id,
        epoch,
        content_type,
        authenticated_data,
    })
}

impl PrivateMessage {
    /// The additional authenticated data; in a room, an encoded SafeAAD.
    pub fn authenticated_data(&self) -> &[u8] {
        self.layout.authenticated_data.of(&self.octets)
    }

    /// What is encrypted.
    pub fn content_type(&self) -> ContentType {
        self.layout.content_type
    }

    /// The epoch it was sent in.
    pub fn epoch(&self) -> u64 {
        self.layout.epoch
    }

    /// The MLS group ID.
    pub fn group_id(&self) -> &[u8] {
        self.layout.group_id.of(&self.octets)
    }
}
