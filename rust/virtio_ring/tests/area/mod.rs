// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Shared memory for one thread, which checks every access.

use std::cell::Cell;
use std::rc::Rc;

use virtio_ring::memory::Unshared;

/// Bytes that both sides reach.
#[derive(Clone, Debug)]
pub(crate) struct Area(Rc<[Cell<u8>]>);

impl Area {
    /// Bytes that nobody has cleared.
    pub(crate) fn new(bytes: usize) -> Self {
        Self((0..bytes).map(|_| Cell::new(0xa5)).collect())
    }
}

impl Unshared for Area {
    fn length(&self) -> usize {
        self.0.len()
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
