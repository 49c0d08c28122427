// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! How far a device is, for the one that goes on after it.

/// How far a device is that takes a buffer, completes and publishes it before it takes the next
/// one. It keeps this, in memory that outlives it, from [`completing`](super::Ring::completing) on.
///
/// ```text
/// pop, completing, store -> complete, publish        the driver has the buffer back
///                        ^                  ^
///      ended here: the buffer is done again  ended here: the next one is taken
/// ```
///
/// Which of the two it was, the ring says: of the driver's it is only looked at whether the buffer
/// is there still, so a lie costs nobody but the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Where the buffer is, counted from the beginning: its index, or offset and laps.
    pub(super) at: u16,
    /// Descriptors, or entries, to the next buffer; 0 while none is being completed.
    pub(super) step: u16,
}

impl Progress {
    /// As a word, which a device can store at once. That of a fresh queue is 0.
    pub const fn to_word(self) -> u32 {
        (self.at as u32) | (self.step as u32) << 16
    }

    /// The progress that makes this word.
    pub const fn from_word(word: u32) -> Self {
        Self {
            at: word as u16,
            step: (word >> 16) as u16,
        }
    }
}
