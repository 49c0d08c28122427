// SPDX-License-Identifier: GPL-2.0-only

//! Ends direct runs that last too long, by an NMI from another CPU.

use crate::ffi;
use core::ptr::NonNull;
use kernel::{
    error::to_result,
    prelude::*, //
};

/// What all watchdogs need of the module. To be kept in its own state, longer than any of them.
pub struct NmiHandler(());

impl NmiHandler {
    /// Registers the handler of the NMIs. Once in a module.
    ///
    /// # Errors
    ///
    /// Those of the kernel.
    pub fn new() -> Result<Self> {
        // SAFETY: There is nothing to be sure of.
        to_result(unsafe { ffi::shunt_watchdog_init() })?;
        Ok(Self(()))
    }
}

impl Drop for NmiHandler {
    fn drop(&mut self) {
        // SAFETY: It is registered since `new`.
        unsafe { ffi::shunt_watchdog_exit() }
    }
}

/// Watches the direct runs of a vCPU.
///
/// # Invariants
///
/// The watchdog is started.
pub(crate) struct Watchdog(NonNull<ffi::ShuntWatchdog>);

impl Watchdog {
    /// Starts one for a vCPU that is to be armed on this CPU.
    ///
    /// # Errors
    ///
    /// - `EBUSY`: the CPU watches another one.
    /// - `ENODEV`: there is no CPU to watch this one.
    /// - `ENOMEM`.
    pub(crate) fn new(cpu: u32) -> Result<Self> {
        let mut error = ENOMEM.to_errno();
        // SAFETY: The error can be written.
        let watchdog = unsafe { ffi::shunt_watchdog_start(cpu, &raw mut error) };
        // INVARIANT: Just started.
        NonNull::new(watchdog)
            .map(Self)
            .ok_or_else(|| Error::from_errno(error))
    }

    /// A direct run begins, or has ended. Only the vCPU's thread calls this.
    pub(crate) fn note(&self) {
        // SAFETY: It is valid by the type invariant.
        unsafe { ffi::shunt_watchdog_note(self.0.as_ptr()) }
    }

    /// Whether it has sent an NMI since this was asked last.
    pub(crate) fn has_struck(&self) -> bool {
        // SAFETY: It is valid by the type invariant.
        unsafe { ffi::shunt_watchdog_struck(self.0.as_ptr()) }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // SAFETY: It is started, by the type invariant, and nobody notes anything any more.
        unsafe { ffi::shunt_watchdog_stop(self.0.as_ptr()) }
    }
}
