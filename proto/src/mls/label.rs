//! The inputs of RFC 9420's labelled operations. The cryptography is elsewhere.

use crate::tls::Writer;

/// The prefix that separates MLS from every other use of the same keys.
const PREFIX: &str = "MLS 1.0 ";

/// SignContent, what `SignWithLabel(., label, content)` signs (RFC 9420, section 5.1.2).
pub fn sign_content(label: &str, content: &[u8]) -> Vec<u8> {
    labelled(label, content)
}

/// EncryptContext, the `info` of `EncryptWithLabel(., label, context, .)` (RFC 9420, section 5.1.3).
pub fn encrypt_context(label: &str, context: &[u8]) -> Vec<u8> {
    labelled(label, context)
}

/// RefHashInput, what `RefHash(label, value)` hashes (RFC 9420, section 5.2). The label is used as it is: those of
/// KeyPackageRef and ProposalRef carry the prefix themselves.
pub fn ref_hash_input(label: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Writer::new();
    out.opaque(label.as_bytes());
    out.opaque(value);
    out.into_vec()
}

fn labelled(label: &str, octets: &[u8]) -> Vec<u8> {
    let mut out = Writer::new();
    out.opaque(format!("{PREFIX}{label}").as_bytes());
    out.opaque(octets);
    out.into_vec()
}
