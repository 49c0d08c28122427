// SPDX-License-Identifier: GPL-2.0-only

//! A counter of changes that threads can wait on.

use crate::ffi;
use core::ptr::NonNull;
use kernel::prelude::*;

/// Counts the changes of some state, so that a thread can sleep until there is another one.
///
/// The order that loses no wake-up: read [`Self::count`] while the lock of the state is held,
/// look at the state, drop the lock, wait with that count.
///
/// # Invariants
///
/// The pointer came from `shunt_changes_alloc` and is freed by [`Drop`] only.
pub struct Changes(NonNull<ffi::ShuntChanges>);

// SAFETY: A wait queue and a counter may be used, and freed, by any thread.
unsafe impl Send for Changes {}

// SAFETY: The wait queue locks itself; the counter is only accessed by READ_ONCE and WRITE_ONCE.
unsafe impl Sync for Changes {}

impl Changes {
    /// A counter that nobody waits on.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        // SAFETY: There are no requirements.
        let changes = unsafe { ffi::shunt_changes_alloc() };
        // INVARIANT: It was just allocated, and nobody else has it.
        NonNull::new(changes).map(Self).ok_or(ENOMEM)
    }

    /// How many changes there were, modulo 2^32.
    #[inline]
    pub fn count(&self) -> u32 {
        // SAFETY: The pointer is valid by the type invariant.
        unsafe { ffi::shunt_changes_count(self.0.as_ptr()) }
    }

    /// Counts one more change and wakes the waiters. To be called with the lock of the state
    /// held, which also keeps callers apart.
    #[inline]
    pub fn announce(&self) {
        // SAFETY: The pointer is valid by the type invariant.
        unsafe { ffi::shunt_changes_announce(self.0.as_ptr()) }
    }

    pub(crate) fn as_ptr(&self) -> *mut ffi::ShuntChanges {
        self.0.as_ptr()
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        // SAFETY: The pointer is valid by the type invariant, and whoever drops the counter is
        // its last user, so nobody waits on it.
        unsafe { ffi::shunt_changes_free(self.0.as_ptr()) }
    }
}
