//! Random moments that can be had again: a small generator with a printed seed.

/// xorshift64*: plenty for choosing what to kill next.
pub struct Random(u64);

impl Random {
    /// A generator whose seed is taken from the process and the clock, and printed.
    #[must_use]
    pub fn new() -> Self {
        let now = u64::try_from(om_api::clock::since_boot().as_nanos()).unwrap_or(1);
        let seed = now ^ (u64::from(std::process::id()) << 32);
        crate::measured(&format!("seed {seed}"));
        Self::seeded(seed)
    }

    /// A generator with a known seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Less than `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let last = u64::try_from(from.len()).unwrap_or(1);
        &from[usize::try_from(self.below(last)).unwrap_or(0)]
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}
