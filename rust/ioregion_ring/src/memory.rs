// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the ring asks of memory.

/// One area of shared memory, as 64-bit words. Offsets are in bytes and multiples of 8.
///
/// The kernel, userspace and the model checker each implement it with the atomics that they
/// have. An area that the other side owns is only loaded from.
pub trait Memory {
    /// Loads a word, unordered.
    fn load(&self, at: usize) -> u64;

    /// Loads a word; what follows in program order is seen after it.
    fn load_acquire(&self, at: usize) -> u64;

    /// Loads consecutive words, unordered.
    #[inline(always)]
    fn load_words<const N: usize>(&self, at: usize) -> [u64; N] {
        core::array::from_fn(|index| self.load(at + 8 * index))
    }

    /// Stores a word, unordered.
    fn store(&self, at: usize, value: u64);

    /// Stores consecutive words, unordered and perhaps in parts: the other side must not look at
    /// them before a later [`Self::store_release`] says that it may.
    #[inline(always)]
    fn store_words<const N: usize>(&self, at: usize, values: [u64; N]) {
        for (index, value) in values.into_iter().enumerate() {
            self.store(at + 8 * index, value);
        }
    }

    /// Stores a word; what precedes in program order is seen before it.
    fn store_release(&self, at: usize, value: u64);

    /// Orders all accesses before it before all after it, in every area.
    fn full_barrier(&self);
}
