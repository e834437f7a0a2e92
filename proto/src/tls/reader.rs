//! The bounded reader.

use crate::Error;

/// A position in octets being decoded. Cheap to copy; a nested vector gets a reader of its own that ends with it.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    base: &'a [u8],
    position: usize,
    end: usize,
}

/// Where a field stands, counted from the start of the object that was walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    /// The field's octets in `object`, which must be the object that was walked.
    pub(crate) fn of<'a>(&self, object: &'a [u8]) -> &'a [u8] {
        &object[self.start..self.end]
    }
}

impl<'a> Reader<'a> {
    /// A reader over all of `octets`.
    pub fn new(octets: &'a [u8]) -> Self {
        Reader {
            base: octets,
            position: 0,
            end: octets.len(),
        }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.position == self.end
    }

    /// How many octets are left.
    pub fn remaining(&self) -> usize {
        self.end - self.position
    }

    /// Ends decoding.
    ///
    /// # Errors
    /// [`Error::Trailing`] if octets are left.
    pub fn finish(&self) -> Result<(), Error> {
        match self.remaining() {
            0 => Ok(()),
            octets => Err(Error::Trailing { octets }),
        }
    }

    /// The next `count` octets.
    ///
    /// # Errors
    /// [`Error::Truncated`] if there are fewer.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let available = self.remaining();
        if count > available {
            return Err(Error::Truncated {
                needed: count,
                available,
            });
        }
        let start = self.position;
        self.position += count;
        Ok(&self.base[start..self.position])
    }

    /// The next `N` octets.
    ///
    /// # Errors
    /// [`Error::Truncated`] if there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let start = self.position;
        self.position = self.end;
        &self.base[start..self.end]
    }

    /// The content of an `opaque field<V>`.
    ///
    /// # Errors
    /// A bad length prefix, or one that states more than is there.
    pub fn opaque(&mut self) -> Result<&'a [u8], Error> {
        let length = self.length()?;
        self.take(length)
    }

    /// A reader over the content of a `T field<V>`.
    ///
    /// # Errors
    /// As [`Reader::opaque`].
    pub fn vector(&mut self) -> Result<Reader<'a>, Error> {
        let span = self.opaque_span()?;
        Ok(Reader {
            base: self.base,
            position: span.start,
            end: span.end,
        })
    }

    /// The presence octet of an `optional<T>`.
    ///
    /// # Errors
    /// [`Error::UnknownValue`] if it is neither 0 nor 1.
    pub fn presence(&mut self) -> Result<bool, Error> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [value] => Err(Error::UnknownValue {
                what: "optional presence",
                value: value.into(),
            }),
        }
    }

    /// Like [`Reader::opaque`], but tells where the content stands.
    pub(crate) fn opaque_span(&mut self) -> Result<Span, Error> {
        let length = self.length()?;
        self.take(length)?;
        Ok(Span {
            start: self.position - length,
            end: self.position,
        })
    }

    /// How far this reader has come since its base began.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// A reader whose positions are counted from here, to walk an object whose spans shall be its own.
    pub(crate) fn fork(&self) -> Reader<'a> {
        Reader::new(&self.base[self.position..self.end])
    }

    /// The octets from `start` (a former [`Reader::position`]) up to here.
    pub(crate) fn since(&self, start: usize) -> Span {
        Span {
            start,
            end: self.position,
        }
    }

    /// The length prefix of a vector: 6, 14 or 30 bits behind a two-bit selector, minimal.
    fn length(&mut self) -> Result<usize, Error> {
        let [first] = self.array()?;
        let low = usize::from(first & 0x3f);
        let (length, smallest) = match first >> 6 {
            0 => (low, 0),
            1 => {
                let [second] = self.array()?;
                ((low << 8) | usize::from(second), 1 << 6)
            }
            2 => {
                let rest: [u8; 3] = self.array()?;
                (
                    rest.iter()
                        .fold(low, |length, octet| (length << 8) | usize::from(*octet)),
                    1 << 14,
                )
            }
            _ => return Err(Error::LengthPrefix { octet: first }),
        };
        if length < smallest {
            return Err(Error::NonMinimalLength { length });
        }
        Ok(length)
    }
}
