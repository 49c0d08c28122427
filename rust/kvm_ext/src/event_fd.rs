// SPDX-License-Identifier: GPL-2.0-only

//! An eventfd that the kernel signals.

use crate::ffi;
use core::ptr::NonNull;
use kernel::prelude::*;

/// A reference to an eventfd.
///
/// # Invariants
///
/// The reference is ours.
pub struct EventFd(NonNull<ffi::EventfdCtx>);

// SAFETY: Any thread may signal and drop an eventfd.
unsafe impl Send for EventFd {}

// SAFETY: As above; it locks itself.
unsafe impl Sync for EventFd {}

impl EventFd {
    /// The eventfd behind a descriptor of the current process.
    ///
    /// # Errors
    ///
    /// - `EBADF`: there is no such descriptor.
    /// - `EINVAL`: it is not an eventfd.
    pub fn from_fd(fd: i32) -> Result<Self> {
        let mut error = EBADF.to_errno();
        // SAFETY: `error` can be written.
        let eventfd = unsafe { ffi::shunt_eventfd_get(fd, &raw mut error) };
        // INVARIANT: `shunt_eventfd_get` gave us a reference.
        NonNull::new(eventfd)
            .map(Self)
            .ok_or(Error::from_errno(error))
    }

    /// Adds 1 to its counter. Does not sleep.
    #[inline]
    pub fn signal(&self) {
        // SAFETY: It is valid by the type invariant.
        unsafe { ffi::shunt_eventfd_signal(self.0.as_ptr()) };
    }
}

impl Drop for EventFd {
    fn drop(&mut self) {
        // SAFETY: The reference is ours by the type invariant.
        unsafe { ffi::shunt_eventfd_put(self.0.as_ptr()) };
    }
}
