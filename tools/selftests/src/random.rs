// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Numbers that are the same in every run.

/// Marsaglia's xorshift64.
pub(crate) struct Random(u64);

impl Random {
    /// Any seed but 0.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
