// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Shared memory for one thread, which checks every access.

use std::cell::Cell;

use ioregion_ring::layout::Layout;
use ioregion_ring::memory::Memory;
use ioregion_ring::slot::Access;
use ioregion_wire::frame::{Command, Operation, Width};
use proptest::prelude::*;

/// The words of an area.
pub(crate) struct Words(Vec<Cell<u64>>);

impl Words {
    /// The kernel's area of a layout, zeroed.
    pub(crate) fn of_kernel(layout: &Layout) -> Self {
        Self(vec![Cell::new(0); layout.kernel_area() / 8])
    }

    /// The device's area of a layout, zeroed.
    pub(crate) fn of_device(layout: &Layout) -> Self {
        Self(vec![Cell::new(0); layout.device_area() / 8])
    }

    /// The area as its owner sees it.
    pub(crate) fn own(&self) -> View<'_> {
        let may_store = true;
        View {
            words: &self.0,
            may_store,
        }
    }

    /// The area as the other side sees it.
    pub(crate) fn others(&self) -> View<'_> {
        let may_store = false;
        View {
            words: &self.0,
            may_store,
        }
    }
}

/// What a side may do with an area.
pub(crate) struct View<'a> {
    words: &'a [Cell<u64>],
    may_store: bool,
}

impl View<'_> {
    fn word(&self, at: usize) -> &Cell<u64> {
        assert_eq!(at % 8, 0, "{at:#x} is not aligned");
        let size = self.words.len() * 8;
        assert!(at < size, "{at:#x} is outside of {size:#x} bytes");
        &self.words[at / 8]
    }
}

impl Memory for View<'_> {
    fn load(&self, at: usize) -> u64 {
        self.word(at).get()
    }

    fn load_acquire(&self, at: usize) -> u64 {
        self.load(at)
    }

    fn store(&self, at: usize, value: u64) {
        assert!(self.may_store, "a store to the other side's area");
        self.word(at).set(value);
    }

    fn store_release(&self, at: usize, value: u64) {
        self.store(at, value);
    }

    fn full_barrier(&self) {}
}

prop_compose! {
    /// Any access that can be in a ring.
    pub(crate) fn access()(
        is_write: bool,
        exponent in 0u8..4,
        data: u64,
        expects_reply: bool,
        words: [u64; 3],
        vcpu: u32,
    ) -> Access {
        let width = Width::from_exponent(exponent).unwrap();
        Access {
            command: Command {
                operation: match is_write {
                    true => Operation::Write(width.mask(data)),
                    false => Operation::Read,
                },
                width,
                expects_reply: expects_reply || !is_write,
                user_data: words[0],
                offset: words[1],
            },
            vcpu,
            request: words[2],
        }
    }
}

/// Small rings, so that they run full.
pub(crate) fn layout() -> impl Strategy<Value = Layout> {
    (0u32..4, 1u64..4).prop_map(|(exponent, vcpus)| Layout::new(1 << exponent, vcpus).unwrap())
}
