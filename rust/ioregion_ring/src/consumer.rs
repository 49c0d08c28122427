// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The device's end of the ring.

use crate::{
    layout::{
        BadLayout,
        Layout,
        CONSUMED_AT,
        MAGIC,
        MAGIC_AT,
        ROOM_WANTED_AT,
        SLOTS_AT,
        VCPUS_AT,
        WAKE_ME_AT, //
    },
    memory::Memory,
    slot::{
        self,
        Access, //
    },
};
use ioregion_wire::frame::BadCommand;

/// Why shared memory is not a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadChannel {
    /// It has another magic number, or another version.
    Magic(u64),
    /// It has dimensions that no channel has.
    Layout(BadLayout),
}

/// The dimensions that the kernel's area tells of; of that, the first page must be mapped.
///
/// # Errors
///
/// [`BadChannel`].
pub fn layout<M: Memory>(kernel: &M) -> Result<Layout, BadChannel> {
    let magic = kernel.load_acquire(MAGIC_AT);
    if magic != MAGIC {
        return Err(BadChannel::Magic(magic));
    }
    Layout::new(kernel.load(SLOTS_AT), kernel.load(VCPUS_AT)).map_err(BadChannel::Layout)
}

/// The device's end of the ring.
#[derive(Debug)]
pub struct Consumer {
    layout: Layout,
    consumed: u64,
}

impl Consumer {
    /// The end of a ring, where the device left it: a new one begins at 0.
    pub fn new<M: Memory>(layout: Layout, own: &M) -> Self {
        Self {
            layout,
            consumed: own.load(CONSUMED_AT),
        }
    }

    /// Takes the next access out of the ring. `None` if it is empty.
    #[inline]
    pub fn next<M: Memory>(&mut self, own: &M, kernel: &M) -> Option<Result<Access, BadCommand>> {
        let at = self.layout.slot(self.consumed);
        let access = slot::read(kernel, at, self.consumed)?;
        self.consumed = self.consumed.wrapping_add(1);
        own.store_release(CONSUMED_AT, self.consumed);
        Some(access)
    }

    /// Whether an access is in the ring.
    #[inline]
    pub fn is_ready<M: Memory>(&self, kernel: &M) -> bool {
        let at = self.layout.slot(self.consumed);
        slot::is_published(kernel, at, self.consumed)
    }

    /// Whether a vCPU waits for room. To be asked when the ring is empty, and if so, the kernel
    /// is to be told that there is room now.
    #[inline]
    pub fn is_room_wanted<M: Memory>(own: &M, kernel: &M) -> bool {
        // Pairs with `Producer::want_room`: either this load sees the flag, or that post sees
        // what was consumed.
        own.full_barrier();
        kernel.load(ROOM_WANTED_AT) != 0
    }

    /// Asks to be woken for the next access, before going to sleep. `false` if one is there
    /// already: then the device must not sleep.
    #[inline]
    pub fn arm<M: Memory>(&mut self, own: &M, kernel: &M) -> bool {
        own.store(WAKE_ME_AT, 1);
        // Pairs with `Producer::must_wake`.
        own.full_barrier();
        let is_empty = !self.is_ready(kernel);
        if !is_empty {
            Self::disarm(own);
        }
        is_empty
    }

    /// Asks not to be woken, while the device looks by itself.
    #[inline]
    pub fn disarm<M: Memory>(own: &M) {
        own.store(WAKE_ME_AT, 0);
    }
}
