//! Welcomes (RFC 9420, section 12.4.3.1).

use bytes::Bytes;

use super::CipherSuite;
use super::verbatim::verbatim;
use crate::Error;
use crate::tls::{Decode, Reader, Span};

/// The message that lets added clients in, verbatim.
#[derive(Debug, Clone)]
pub struct Welcome {
    octets: Bytes,
    layout: Box<Layout>,
}

verbatim!(Welcome, walk);

#[derive(Debug, Clone)]
struct Layout {
    cipher_suite: CipherSuite,
    new_members: Vec<Span>,
}

fn walk(reader: &mut Reader<'_>) -> Result<Layout, Error> {
    let cipher_suite = CipherSuite::decode(reader)?;
    let mut secrets = reader.vector()?;
    let mut new_members = Vec::new();
    while !secrets.is_empty() {
        new_members.push(secrets.opaque_span()?);
        walk_ciphertext(&mut secrets)?;
    }
    reader.opaque()?;
    Ok(Layout {
        cipher_suite,
        new_members,
    })
}

/// Walks an HPKECiphertext without copying it.
pub(super) fn walk_ciphertext(reader: &mut Reader<'_>) -> Result<(), Error> {
    reader.opaque()?;
    reader.opaque()?;
    Ok(())
}

impl Welcome {
    /// The suite.
    pub fn cipher_suite(&self) -> CipherSuite {
        self.layout.cipher_suite
    }

    /// The KeyPackageRefs of those it is for, in order.
    pub fn new_members(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.layout.new_members.iter().map(|span| span.of(&self.octets))
    }
}
