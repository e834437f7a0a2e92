//! The writer.

/// Collects an encoding.
#[derive(Debug, Default)]
pub struct Writer {
    octets: Vec<u8>,
}

/// The longest content a length prefix can express (RFC 9420, section 2.1.2).
const MAX_VECTOR_LEN: usize = (1 << 30) - 1;

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `octets` as they are.
    pub fn raw(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// Appends an `opaque field<V>`.
    ///
    /// # Panics
    /// As [`crate::tls::encode`].
    pub fn opaque(&mut self, content: &[u8]) {
        let (prefix, used) = length_prefix(content.len());
        self.octets.reserve(used + content.len());
        self.raw(&prefix[..used]);
        self.raw(content);
    }

    /// Appends a `T field<V>` whose content `write` writes.
    ///
    /// # Panics
    /// As [`crate::tls::encode`].
    pub fn vector(&mut self, write: impl FnOnce(&mut Writer)) {
        let start = self.octets.len();
        write(self);
        let (prefix, used) = length_prefix(self.octets.len() - start);
        self.octets.splice(start..start, prefix[..used].iter().copied());
    }

    /// What was written.
    pub fn into_vec(self) -> Vec<u8> {
        self.octets
    }
}

fn length_prefix(length: usize) -> ([u8; 4], usize) {
    assert!(
        length <= MAX_VECTOR_LEN,
        "a vector of {length} octets cannot be encoded; callers bound what they build"
    );
    let [.., a, b, c, d] = length.to_be_bytes();
    match length {
        0..=0x3f => ([d, 0, 0, 0], 1),
        0x40..=0x3fff => ([0x40 | c, d, 0, 0], 2),
        _ => ([0x80 | a, b, c, d], 4),
    }
}
