// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Shadow registers: a page of registers that the guest reads without asking anybody.
//!
//! A device *publishes* here what a read of each register shall yield. The page is one memory that
//! the device process, the VMM and KVM share:
//!
//! ```text
//!  guest reads     a read-only memory slot over the device's registers: no exit at all
//!  guest writes    not in the slot: they go on to KVM's rules or to the device
//!  KVM's rules     write-1-to-clear and plain registers, on the same words, atomically
//!  the device      store, fetch_or, clear; and load, when a read does come to it
//! ```
//!
//! A register that lives here has no other copy. So it does not matter who clears a bit, KVM by a
//! rule or the device when there is none; nor does it matter whether the VMM made the slot, as a
//! device that answers reads by [`Shadow::load`] answers what the guest would have found.
//! The page is part of the [state page](crate::state): it outlives the device process.
//!
//! # Order
//!
//! The guest must see the effects of its own writes, and what an interrupt announces:
//!
//! - *Publish, then complete.* Publish in [`Device::write`](crate::device::Device::write), before it
//!   returns. The reply follows, and the guest's next instruction after that. A posted write has
//!   no reply: a register that it changes is read late.
//! - *Publish, then interrupt.* [`Shadow::fetch_or`] the bit, then write the interrupt's eventfd.
//!
//! [`Shadow::store`] releases: who finds its value also finds all that this thread wrote before it,
//! in guest memory, too. [`Shadow::fetch_or`] and [`Shadow::clear`] are sequentially consistent
//! and lose no bit that another process sets or clears at the same time.
//!
//! Two stores are two moments, and the guest may read between them. When several words must be
//! read together, they need a generation counter that the guest reads before and after, as
//! virtio's `ConfigGeneration`.
//!
//! # What it cannot do
//!
//! A read has no effect on the device: no register that a read clears or advances may be in a
//! slot. The slot covers whole pages of 4 KiB.
//!
//! ```
//! use shunt::{state::StatePage, Width};
//!
//! const STATUS: u64 = 0x60;
//! let state = StatePage::create()?;
//! let registers = state.shadow();
//! registers.store(0, Width::Long, 0x6864_7721); // who the device is
//! registers.fetch_or(STATUS, Width::Long, 1);   // then interrupt
//! assert_eq!(registers.clear(STATUS, Width::Long, 1), 1);
//! # Ok::<_, shunt::state::StateError>(())
//! ```

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, AtomicU8, Ordering};
use std::sync::Arc;

use ioregion_wire::frame::Width;
use vm_memory::{AtomicInteger, MmapRegion, VolatileMemory};

/// Registers in shared memory. Clones share it.
///
/// Offsets are in bytes from the start of the registers, values are zero-extended. Access one
/// register with one width, and nothing of it with another at the same time.
///
/// # Panics
///
/// Every access panics if `offset` is not a multiple of the width, or lies beyond the end: offsets
/// are the device's own, not the guest's.
#[derive(Clone, Debug)]
pub struct Shadow {
    mapping: Arc<MmapRegion>,
    start: usize,
}

/// Evaluates `$result` with `$register`, the atomic of `$width` at `$offset`.
macro_rules! with_register {
    ($shadow:ident, $offset:ident, $width:ident, |$register:ident| $result:expr) => {
        match $width {
            Width::Byte => {
                let $register = $shadow.at::<AtomicU8>($offset);
                $result
            }
            Width::Word => {
                let $register = $shadow.at::<AtomicU16>($offset);
                $result
            }
            Width::Long => {
                let $register = $shadow.at::<AtomicU32>($offset);
                $result
            }
            Width::Quad => {
                let $register = $shadow.at::<AtomicU64>($offset);
                $result
            }
        }
    };
}

/// Zero-extends.
fn extended(value: impl Into<u64>) -> u64 {
    value.into()
}

impl Shadow {
    /// The registers from `start` to the end of `mapping`.
    pub(crate) fn new(mapping: Arc<MmapRegion>, start: usize) -> Self {
        Self { mapping, start }
    }

    /// Bytes of registers: a multiple of the page size.
    pub fn size(&self) -> usize {
        self.mapping.size() - self.start
    }

    /// Where the registers are in this process, at a page boundary: for a memory slot. Valid as
    /// long as `self` or a clone is.
    pub fn as_ptr(&self) -> *mut u8 {
        self.mapping.as_ptr().wrapping_add(self.start)
    }

    /// What is published. Acquires.
    pub fn load(&self, offset: u64, width: Width) -> u64 {
        with_register!(self, offset, width, |register| extended(
            register.load(Ordering::Acquire)
        ))
    }

    /// Publishes a value; bits above `width` are ignored. Releases.
    pub fn store(&self, offset: u64, width: Width, value: u64) {
        with_register!(self, offset, width, |register| register
            .store(value as _, Ordering::Release));
    }

    /// Sets bits; answers the value before. Sequentially consistent.
    pub fn fetch_or(&self, offset: u64, width: Width, bits: u64) -> u64 {
        with_register!(self, offset, width, |register| extended(
            register.fetch_or(bits as _, Ordering::SeqCst)
        ))
    }

    /// Clears bits, as KVM does for a write-1-to-clear rule; answers the value before.
    /// Sequentially consistent.
    pub fn clear(&self, offset: u64, width: Width, bits: u64) -> u64 {
        with_register!(self, offset, width, |register| extended(
            register.fetch_and(!bits as _, Ordering::SeqCst)
        ))
    }

    fn at<T: AtomicInteger>(&self, offset: u64) -> &T {
        let place = usize::try_from(offset).ok();
        let place = place.and_then(|offset| self.start.checked_add(offset));
        place
            .and_then(|place| self.mapping.get_atomic_ref(place).ok())
            .unwrap_or_else(|| {
                let (width, size) = (size_of::<T>(), self.size());
                panic!("no register of {width} bytes at {offset:#x} among {size:#x} bytes")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StatePage;

    const WIDTHS: [Width; 4] = [Width::Byte, Width::Word, Width::Long, Width::Quad];

    #[test]
    fn a_register_has_its_width_and_no_more() {
        for width in WIDTHS {
            let state = StatePage::create().unwrap();
            let registers = state.shadow();
            let ones = width.mask(u64::MAX);
            registers.store(0x100, width, u64::MAX);
            assert_eq!(registers.load(0x100, width), ones);
            assert_eq!(registers.load(0xf8, Width::Quad), 0);
            assert_eq!(registers.load(0x100, Width::Quad), ones);
            assert_eq!(registers.clear(0x100, width, 6), ones);
            assert_eq!(registers.fetch_or(0x100, width, 2), ones & !6);
            assert_eq!(registers.load(0x100, width), ones & !4);
        }
    }

    #[test]
    fn every_process_has_the_same_registers() {
        let state = StatePage::create().unwrap();
        let other = StatePage::from_file(state.file().try_clone().unwrap()).unwrap();
        state.shadow().store(0xffc, Width::Long, 7);
        other.shadow().fetch_or(0xffc, Width::Long, 8);
        assert_eq!(state.shadow().load(0xffc, Width::Long), 15);
        assert_eq!(state.shadow().size(), 4096);
    }

    #[test]
    fn the_counters_are_not_among_the_registers() {
        let state = StatePage::create().unwrap();
        for offset in (0..4096).step_by(8) {
            state.shadow().store(offset, Width::Quad, u64::MAX);
        }
        assert_eq!(state.counters().values(), Default::default());
        StatePage::from_file(state.file().try_clone().unwrap()).unwrap();
    }

    #[test]
    fn bits_that_two_set_and_clear_at_once_are_all_right() {
        // Long enough for both to run at once, or in turns.
        const ROUNDS: u64 = 300_000;
        let state = StatePage::create().unwrap();
        let start = std::sync::Barrier::new(2);
        let ours = |bit: u64| {
            let registers = state.shadow();
            start.wait();
            for _ in 0..ROUNDS {
                assert_eq!(registers.fetch_or(0x60, Width::Long, bit) & bit, 0);
                assert_eq!(registers.clear(0x60, Width::Long, bit) & bit, bit);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| ours(1));
            ours(2);
        });
        assert_eq!(state.shadow().load(0x60, Width::Long), 0);
    }

    #[test]
    fn no_register_is_elsewhere() {
        for (offset, width) in [
            (0xffd, Width::Long),
            (0x1000, Width::Byte),
            (2, Width::Long),
            (0x0ffc, Width::Quad),
            (u64::MAX, Width::Byte),
            (u64::MAX - 4095, Width::Byte),
        ] {
            let state = StatePage::create().unwrap();
            let load = move || state.shadow().load(offset, width);
            let loaded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(load));
            assert!(loaded.is_err(), "{width:?} at {offset:#x}");
        }
    }
}
