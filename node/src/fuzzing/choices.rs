//! Choices out of octets. What is missing at the end is zero, which is the plainest choice everywhere.

/// What is left of an input.
pub(super) struct Choices<'a>(pub(super) &'a [u8]);

impl<'a> Choices<'a> {
    pub(super) fn are_left(&self) -> bool {
        !self.0.is_empty()
    }

    pub(super) fn octet(&mut self) -> u8 {
        self.octets(1).first().copied().unwrap_or_default()
    }

    /// As many of the next octets as there are.
    pub(super) fn octets(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A number below `limit`, which is not 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::from(self.octet()) % limit
    }

    /// A short number, which often means something.
    pub(super) fn number(&mut self) -> u32 {
        match self.octet() {
            255 => u32::MAX,
            octet => u32::from(octet) % 8,
        }
    }

    /// Once in `often` times.
    pub(super) fn rarely(&mut self, often: usize) -> bool {
        self.below(often) == 1
    }

    pub(super) fn of<'b, T>(&mut self, list: &'b [T]) -> &'b T {
        let place = self.below(list.len());
        &list[place]
    }
}
