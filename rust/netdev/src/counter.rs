// SPDX-License-Identifier: GPL-2.0-only

//! Counting on the way of each packet.

use core::sync::atomic::{
    AtomicU64,
    Ordering, //
};

/// A number that one thread at a time adds to, while others may read it.
///
/// Rust's atomics and not the kernel's, because with C by gcc each of those is a function call.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it; not in two threads at a time.
    #[inline]
    pub fn add(&self, number: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(number);
        self.0.store(sum, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
