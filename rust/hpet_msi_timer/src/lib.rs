// SPDX-License-Identifier: GPL-2.0-only

//! A timer of the HPET whose interrupt signals an eventfd, as VFIO has the interrupts of PCI devices do
//! it, and the HPET's registers in a process' memory.

use core::ptr::NonNull;
use kernel::{
    error::to_result,
    ffi::{
        c_int,
        c_void, //
    },
    mm::virt::VmaNew,
    prelude::*, //
};

/// `struct shunt_hpet_msi`.
#[repr(C)]
struct ShuntHpetMsi {
    _opaque: [u8; 0],
}

extern "C" {
    fn shunt_hpet_msi_start(eventfd: c_int, error: *mut c_int) -> *mut ShuntHpetMsi;
    fn shunt_hpet_msi_stop(msi: *mut ShuntHpetMsi);
    fn shunt_hpet_msi_map(area: *mut c_void) -> c_int;
}

/// The timer's interrupt, until this is dropped.
///
/// # Invariants
///
/// It is started.
pub struct HpetMsi(NonNull<ShuntHpetMsi>);

// SAFETY: Any thread may stop it.
unsafe impl Send for HpetMsi {}

impl HpetMsi {
    /// Has the interrupt signal an eventfd of the current process.
    ///
    /// # Errors
    ///
    /// - `EBADF`, `EINVAL`: the descriptor is no eventfd's.
    /// - `EBUSY`: there is one already, or another device signals the eventfd.
    /// - `ENODEV`: there is no HPET.
    /// - `ENOMEM`, `ENOSPC`: there is no memory, or no vector.
    pub fn new(eventfd: i32) -> Result<Self> {
        let mut error = ENOMEM.to_errno();
        // SAFETY: The error can be written.
        let msi = unsafe { shunt_hpet_msi_start(eventfd, &raw mut error) };
        // INVARIANT: Just started.
        NonNull::new(msi)
            .map(Self)
            .ok_or_else(|| Error::from_errno(error))
    }
}

impl Drop for HpetMsi {
    fn drop(&mut self) {
        // SAFETY: It is started by the type invariant.
        unsafe { shunt_hpet_msi_stop(self.0.as_ptr()) }
    }
}

/// Maps the page of the HPET's registers.
///
/// # Errors
///
/// - `ENODEV`: there is no HPET.
/// - `EINVAL`: it is to be more than the first page of the file.
pub fn map_registers(vma: &VmaNew) -> Result {
    // SAFETY: The area is being set up, and nobody else sees it.
    to_result(unsafe { shunt_hpet_msi_map(vma.as_ptr().cast()) })
}
