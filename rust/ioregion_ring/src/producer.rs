// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The kernel's end of the ring.

use crate::{
    layout::{
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

/// Why an access is not in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// All slots are in use.
    Full,
    /// The device claims to have consumed what it cannot have.
    Broken {
        /// Slots that it claims to have consumed.
        claimed: u64,
        /// Slots that it had consumed when it was last looked at.
        before: u64,
        /// Slots that were ever filled.
        filled: u64,
    },
}

/// The kernel's end of the ring. The caller lets in one thread at a time.
#[derive(Debug)]
pub struct Producer {
    layout: Layout,
    filled: u64,
    consumed: u64,
}

impl Producer {
    /// The end of a new ring in zeroed memory.
    pub fn new<M: Memory>(layout: Layout, own: &M) -> Self {
        own.store(SLOTS_AT, layout.slots() as u64);
        own.store(VCPUS_AT, layout.vcpus() as u64);
        own.store_release(MAGIC_AT, MAGIC);
        Self {
            layout,
            filled: 0,
            consumed: 0,
        }
    }

    /// Puts an access into the ring.
    ///
    /// # Errors
    ///
    /// [`Refused`]; the ring is as before.
    #[inline(always)]
    pub fn post<M: Memory>(&mut self, own: &M, device: &M, access: &Access) -> Result<(), Refused> {
        if self.is_full() {
            self.look(device)?;
            if self.is_full() {
                return Err(Refused::Full);
            }
        }
        let at = self.layout.slot(self.filled);
        slot::publish(own, at, self.filled, access);
        self.filled = self.filled.wrapping_add(1);
        Ok(())
    }

    /// Whether the device has to be woken for what was posted. To be asked after each
    /// [`Self::post`].
    #[inline]
    pub fn must_wake<M: Memory>(own: &M, device: &M) -> bool {
        // Pairs with `Consumer::arm`: either this load sees the flag, or that look sees the
        // access.
        own.full_barrier();
        device.load(WAKE_ME_AT) != 0
    }

    /// Tells the device that somebody waits for room. To be followed by another
    /// [`Self::post`]: only if that is refused too, the device will wake who waits. What that is
    /// told by has to be looked at before the first post.
    pub fn want_room<M: Memory>(own: &M) {
        own.store(ROOM_WANTED_AT, 1);
        // Pairs with `Consumer::is_room_wanted`.
        own.full_barrier();
    }

    /// Whether somebody waits for room; from now on nobody does. To be asked when the device
    /// has called. The caller then has to tell all who wait, and each of them tries again:
    /// whoever looked too late to be told finds room, or asks anew.
    pub fn stop_wanting_room<M: Memory>(own: &M) -> bool {
        // The device cannot write this word.
        let is_wanted = own.load(ROOM_WANTED_AT) != 0;
        if is_wanted {
            own.store(ROOM_WANTED_AT, 0);
            // Whoever is told sees the flag cleared, so that theirs stays if they set it again.
            own.full_barrier();
        }
        is_wanted
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.filled.wrapping_sub(self.consumed) >= self.layout.slots() as u64
    }

    /// Reads the device's count, once, and checks it.
    #[cold]
    fn look<M: Memory>(&mut self, device: &M) -> Result<(), Refused> {
        let claimed = device.load_acquire(CONSUMED_AT);
        if !(self.consumed..=self.filled).contains(&claimed) {
            return Err(Refused::Broken {
                claimed,
                before: self.consumed,
                filled: self.filled,
            });
        }
        self.consumed = claimed;
        Ok(())
    }
}
