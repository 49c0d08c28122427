// SPDX-License-Identifier: GPL-2.0-only

//! When to give up waiting.

use crate::ffi;

/// A moment of the monotonic clock after which nobody waits any more. A wait ends up to two ticks
/// later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(u64);

impl Deadline {
    /// One that does not come.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `ms` milliseconds from now.
    pub fn after_ms(ms: u32) -> Self {
        // SAFETY: There are no requirements.
        Self(unsafe { ffi::shunt_deadline(ms) })
    }

    /// Whether it has come.
    pub fn is_over(self) -> bool {
        // SAFETY: There are no requirements.
        unsafe { ffi::shunt_is_over(self.0) }
    }

    #[inline]
    pub(crate) fn as_raw(self) -> u64 {
        self.0
    }
}
