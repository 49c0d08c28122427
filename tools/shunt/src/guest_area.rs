// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Guest memory, as a [ring](virtio_ring) asks for it.

use std::sync::atomic::{fence, Ordering};

use virtio_ring::device::Tables;
use virtio_ring::memory::Memory;
use vm_memory::{AtomicAccess, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// An area of a virtqueue, all of it in guest memory.
#[derive(Debug)]
pub struct GuestArea {
    memory: GuestMemoryMmap,
    start: GuestAddress,
    bytes: usize,
}

impl GuestArea {
    /// `None` if a part of it lies outside guest memory, or it is not aligned: virtio 1.3, sections
    /// 2.7 and 2.8.10.
    pub fn new(
        memory: &GuestMemoryMmap,
        address: u64,
        bytes: usize,
        alignment: u64,
    ) -> Option<Self> {
        let start = GuestAddress(address);
        let is_usable = address % alignment == 0 && memory.check_range(start, bytes);
        is_usable.then(|| Self {
            memory: memory.clone(),
            start,
            bytes,
        })
    }

    /// Zero outside, where no ring looks.
    fn load<T: AtomicAccess + Default>(&self, at: usize, order: Ordering) -> T {
        let address = GuestAddress(self.start.0 + at as u64);
        self.memory.load(address, order).unwrap_or_default()
    }

    fn store<T: AtomicAccess>(&self, at: usize, value: T, order: Ordering) {
        let address = GuestAddress(self.start.0 + at as u64);
        // It cannot fail inside of the area.
        let _ = self.memory.store(value, address, order);
    }
}

impl Memory for GuestArea {
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn load16(&self, at: usize) -> u16 {
        u16::from_le(self.load(at, Ordering::Relaxed))
    }

    fn load16_acquire(&self, at: usize) -> u16 {
        u16::from_le(self.load(at, Ordering::Acquire))
    }

    fn load32(&self, at: usize) -> u32 {
        u32::from_le(self.load(at, Ordering::Relaxed))
    }

    fn load64(&self, at: usize) -> u64 {
        u64::from_le(self.load(at, Ordering::Relaxed))
    }

    fn load64_acquire(&self, at: usize) -> u64 {
        u64::from_le(self.load(at, Ordering::Acquire))
    }

    fn store16(&self, at: usize, value: u16) {
        self.store(at, value.to_le(), Ordering::Relaxed);
    }

    fn store16_release(&self, at: usize, value: u16) {
        self.store(at, value.to_le(), Ordering::Release);
    }

    fn store32(&self, at: usize, value: u32) {
        self.store(at, value.to_le(), Ordering::Relaxed);
    }

    fn store64(&self, at: usize, value: u64) {
        self.store(at, value.to_le(), Ordering::Relaxed);
    }

    fn store64_release(&self, at: usize, value: u64) {
        self.store(at, value.to_le(), Ordering::Release);
    }

    fn full_barrier(&self) {
        fence(Ordering::SeqCst);
    }
}

/// Indirect tables anywhere in guest memory.
pub(crate) struct GuestTables<'m>(pub(crate) &'m GuestMemoryMmap);

impl Tables for GuestTables<'_> {
    fn descriptor(&self, address: u64) -> Option<[u64; 2]> {
        let mut bytes = [0; 16];
        let address = GuestAddress(address);
        self.0.read_slice(&mut bytes, address).ok()?;
        let [low, high] =
            [0, 8].map(|at| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i])));
        Some([low, high])
    }
}
