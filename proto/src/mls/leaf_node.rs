//! Leaf nodes (RFC 9420, section 7.2).

use super::ids::CredentialType;
use super::small::check_credential;
use super::{Capabilities, CredentialRef, Extensions, extensions};
use crate::Error;
use crate::tls::{Decode, Reader, Span, tls_struct};

/// When a KeyPackage may be used, in seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// The first second.
    pub not_before: u64,
    /// The last second.
    pub not_after: u64,
}

tls_struct!(Lifetime { not_before, not_after });

/// Where a leaf node came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeafNodeSource {
    /// A KeyPackage, with its lifetime.
    KeyPackage(Lifetime),
    /// An Update proposal.
    Update,
    /// The path of a Commit.
    Commit,
}

impl LeafNodeSource {
    /// The error for a leaf node in a place that implies another source (RFC 9420, section 7.3).
    pub(super) fn unexpected(self, expected: &'static str) -> Error {
        let found = match self {
            LeafNodeSource::KeyPackage(_) => "a leaf node of a KeyPackage",
            LeafNodeSource::Update => "a leaf node of an Update",
            LeafNodeSource::Commit => "a leaf node of a Commit",
        };
        Error::Unexpected { expected, found }
    }
}

/// Where the fields of a leaf node stand in the object that contains it.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    encryption_key: Span,
    signature_key: Span,
    credential_type: CredentialType,
    credential: Span,
    capabilities: Span,
    pub(super) source: LeafNodeSource,
    extensions: Span,
}

/// Walks a LeafNode from any source.
pub(super) fn walk(reader: &mut Reader<'_>) -> Result<Layout, Error> {
    let encryption_key = reader.opaque_span()?;
    let signature_key = reader.opaque_span()?;
    let credential_type = CredentialType::decode(reader)?;
    check_credential(credential_type, reader.clone().vector()?)?;
    let credential = reader.opaque_span()?;
    let start = reader.position();
    for _ in 0..5 {
        let list = reader.vector()?;
        if list.remaining() % 2 != 0 {
            return Err(Error::Truncated {
                needed: 2,
                available: 1,
            });
        }
    }
    let capabilities = reader.since(start);
    let source = match u8::decode(reader)? {
        1 => LeafNodeSource::KeyPackage(Lifetime::decode(reader)?),
        2 => LeafNodeSource::Update,
        3 => {
            reader.opaque()?;
            LeafNodeSource::Commit
        }
        value => {
            return Err(Error::UnknownValue {
                what: "LeafNodeSource",
                value: value.into(),
            });
        }
    };
    let extensions = extensions::walk(reader)?;
    reader.opaque()?;
    Ok(Layout {
        encryption_key,
        signature_key,
        credential_type,
        credential,
        capabilities,
        source,
        extensions,
    })
}

/// A borrowed leaf node.
#[derive(Debug, Clone, Copy)]
pub struct LeafNode<'a> {
    object: &'a [u8],
    layout: &'a Layout,
}

impl<'a> LeafNode<'a> {
    pub(super) fn view(object: &'a [u8], layout: &'a Layout) -> Self {
        LeafNode { object, layout }
    }

    /// What the client can do.
    #[expect(
        clippy::expect_used,
        reason = "`walk` has refused what does not decode: every two octets are a value"
    )]
    pub fn capabilities(&self) -> Capabilities {
        let mut reader = Reader::new(self.layout.capabilities.of(self.object));
        Capabilities::decode(&mut reader).expect("the walker saw five lists of two-octet values here")
    }

    /// Who the client is.
    pub fn credential(&self) -> CredentialRef<'a> {
        let content = self.layout.credential.of(self.object);
        CredentialRef {
            credential_type: self.layout.credential_type,
            content,
        }
    }

    /// The HPKE key of the leaf.
    pub fn encryption_key(&self) -> &'a [u8] {
        self.layout.encryption_key.of(self.object)
    }

    /// The leaf's extensions.
    pub fn extensions(&self) -> Extensions<'a> {
        Extensions::view(self.layout.extensions.of(self.object))
    }

    /// The key that verifies the client's messages.
    pub fn signature_key(&self) -> &'a [u8] {
        self.layout.signature_key.of(self.object)
    }

    /// Where the leaf came from.
    pub fn source(&self) -> LeafNodeSource {
        self.layout.source
    }
}
