// SPDX-License-Identifier: GPL-2.0-only

//! Measuring how long something took.

use crate::ffi;
use core::{
    arch::x86_64::_rdtsc,
    num::NonZeroU64, //
};

/// A moment, on the clock that is the quickest to read: the CPU's time-stamp counter. Good for
/// statistics, not for decisions, as the counters of two CPUs need not agree everywhere.
#[derive(Clone, Copy)]
pub struct Moment(NonZeroU64);

impl Moment {
    /// The present one.
    #[inline]
    pub fn now() -> Self {
        // SAFETY: Every x86-64 processor has the instruction.
        let cycles = unsafe { _rdtsc() };
        Self(NonZeroU64::new(cycles).unwrap_or(NonZeroU64::MIN))
    }

    /// How many nanoseconds ago it was. 0 if it seems to lie ahead, by another CPU's counter.
    #[inline]
    pub fn elapsed_ns(self) -> u64 {
        let cycles = Self::now().0.get().saturating_sub(self.0.get());
        // SAFETY: There are no requirements.
        unsafe { ffi::shunt_cycles_to_ns(cycles) }
    }
}
