// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Shared memory for one thread, which checks every access.

use std::cell::Cell;
use std::rc::Rc;

use virtio_ring::memory::Memory;

/// Bytes that both sides reach.
#[derive(Clone, Debug)]
pub(crate) struct Area(Rc<[Cell<u8>]>);

impl Area {
    /// Bytes that nobody has cleared.
    pub(crate) fn new(bytes: usize) -> Self {
        Self((0..bytes).map(|_| Cell::new(0xa5)).collect())
    }

    fn load<const N: usize>(&self, at: usize) -> [u8; N] {
        assert_eq!(at % N, 0, "{at:#x} is not aligned");
        let bytes = &self.0[at..at + N];
        std::array::from_fn(|index| bytes[index].get())
    }

    fn store<const N: usize>(&self, at: usize, value: [u8; N]) {
        assert_eq!(at % N, 0, "{at:#x} is not aligned");
        let bytes = &self.0[at..at + N];
        bytes
            .iter()
            .zip(value)
            .for_each(|(byte, value)| byte.set(value));
    }
}

impl Memory for Area {
    fn bytes(&self) -> usize {
        self.0.len()
    }

    fn load16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.load(at))
    }

    fn load16_acquire(&self, at: usize) -> u16 {
        self.load16(at)
    }

    fn load32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.load(at))
    }

    fn load64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.load(at))
    }

    fn load64_acquire(&self, at: usize) -> u64 {
        self.load64(at)
    }

    fn store16(&self, at: usize, value: u16) {
        self.store(at, value.to_le_bytes());
    }

    fn store16_release(&self, at: usize, value: u16) {
        self.store16(at, value);
    }

    fn store32(&self, at: usize, value: u32) {
        self.store(at, value.to_le_bytes());
    }

    fn store64(&self, at: usize, value: u64) {
        self.store(at, value.to_le_bytes());
    }

    fn store64_release(&self, at: usize, value: u64) {
        self.store64(at, value);
    }

    fn full_barrier(&self) {}
}
