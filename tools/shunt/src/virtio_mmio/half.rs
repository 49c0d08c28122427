// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! 64-bit registers that the driver sees as two of 32 bits.

use std::sync::atomic::{AtomicU64, Ordering};

/// One half of a 64-bit register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Low,
    High,
}

impl Half {
    /// The half that a selector register selects; there are but two.
    pub(crate) fn selected(selector: u32) -> Option<Self> {
        match selector {
            0 => Some(Self::Low),
            1 => Some(Self::High),
            _ => None,
        }
    }

    fn shift(self) -> u32 {
        match self {
            Self::Low => 0,
            Self::High => 32,
        }
    }

    /// This half of a value.
    pub(crate) fn of(self, value: u64) -> u32 {
        (value >> self.shift()) as u32
    }

    /// Replaces this half. The device is the only writer, so load and store need not be one.
    pub(crate) fn store(self, register: &AtomicU64, value: u32) {
        let mut whole = register.load(Ordering::Relaxed);
        self.replace(&mut whole, value);
        register.store(whole, Ordering::Relaxed);
    }

    /// Replaces this half.
    pub(crate) fn replace(self, whole: &mut u64, value: u32) {
        let other = *whole & !(u64::from(u32::MAX) << self.shift());
        *whole = other | u64::from(value) << self.shift();
    }
}
