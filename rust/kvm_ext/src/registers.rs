// SPDX-License-Identifier: GPL-2.0-only

//! Registers in memory that the VMM shares with a device process.

use crate::ffi;
use core::{
    ffi::c_void,
    ptr::{
        null_mut,
        NonNull, //
    },
};
use kernel::{
    error::to_result,
    page::PAGE_SIZE,
    prelude::*, //
};

/// Pinned memory of the process that called the ioctl.
///
/// Whoever shares it may write it at any time, so what is loaded is a value, and nothing else.
///
/// # Invariants
///
/// `raw` is pinned; `start` is its mapping, of `size` bytes and rounded up to whole pages.
pub struct Registers {
    raw: NonNull<ffi::ShuntRegisters>,
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: Any thread may access and unpin the memory.
unsafe impl Send for Registers {}

// SAFETY: All accesses are atomic, or single loads and stores that may race.
unsafe impl Sync for Registers {}

impl Registers {
    /// Pins `size` bytes, from a page boundary of the caller's memory on.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: `addr` is not at a page boundary, or `size` is 0.
    /// - `EFAULT`: the memory is not there or cannot be written.
    /// - `ENOMEM`: also because of `RLIMIT_MEMLOCK`.
    pub fn pin(addr: u64, size: usize) -> Result<Self> {
        if addr % PAGE_SIZE as u64 != 0 || size == 0 {
            return Err(EINVAL);
        }
        let mut raw = null_mut();
        // SAFETY: `raw` can be written; the address is checked by the callee.
        to_result(unsafe { ffi::shunt_registers_pin(addr, size, &raw mut raw) })?;
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        // SAFETY: It was just pinned.
        let start = unsafe { ffi::shunt_registers_start(raw.as_ptr()) };
        // INVARIANT: As above; a mapping is not at 0.
        Ok(Self {
            raw,
            start: NonNull::new(start.cast()).ok_or(ENOMEM)?,
            size,
        })
    }

    /// Loads the register of `width` bytes (1, 2, 4 or 8) at `at`, a multiple of `width`.
    /// 0 if there is none.
    #[inline]
    pub fn load(&self, at: u32, width: usize) -> u64 {
        self.register(at, width).map_or(0, |register| {
            // SAFETY: `register` checked it.
            unsafe { ffi::shunt_register_load(register, width as u32) }
        })
    }

    /// Stores a register. Does nothing if there is none.
    #[inline]
    pub fn store(&self, at: u32, width: usize, value: u64) {
        if let Some(register) = self.register(at, width) {
            // SAFETY: `register` checked it.
            unsafe { ffi::shunt_register_store(register, width as u32, value) };
        }
    }

    /// Clears bits of a register: atomically, and ordered with everything before and after.
    /// Does nothing if there is none.
    #[inline]
    pub fn clear(&self, at: u32, width: usize, bits: u64) {
        if let Some(register) = self.register(at, width) {
            // SAFETY: `register` checked it.
            unsafe { ffi::shunt_register_clear(register, width as u32, bits) };
        }
    }

    #[inline]
    fn register(&self, at: u32, width: usize) -> Option<*mut c_void> {
        let at = at as usize;
        let exists = matches!(width, 1 | 2 | 4 | 8)
            && at % width == 0
            && at.checked_add(width).is_some_and(|end| end <= self.size);
        // SAFETY: It is inside of the mapping, by the check and the type invariant.
        exists.then(|| unsafe { self.start.add(at) }.as_ptr().cast())
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        // SAFETY: It is pinned by the type invariant, and nobody uses it any more.
        unsafe { ffi::shunt_registers_unpin(self.raw.as_ptr()) };
    }
}
