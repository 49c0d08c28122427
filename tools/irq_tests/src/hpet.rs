// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A timer of the HPET as a device, by `drivers/hpet_msi`, IA-PC HPET specification 1.0a, 2.3: it
//! interrupts when the counter has come to what the guest has written to its comparator.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;

use anyhow::{ensure, Context, Result};
use rawguest::Memory;
use vmm_sys_util::eventfd::EventFd;
use vmm_sys_util::ioctl::ioctl_with_val;
use vmm_sys_util::ioctl_io_nr;

/// The driver's file, where the driver is loaded.
const PATH: &str = "/dev/hpet_msi";

/// The counter, 8 bytes.
pub(crate) const COUNTER: u64 = 0xf0;
/// The comparator of timer 2, 8 bytes.
pub(crate) const COMPARATOR: u64 = 0x148;
/// A register that a handler can write 1 to, without any effect: status of interrupts that are no
/// messages.
pub(crate) const STATUS: u64 = 0x20;
/// From now to the interrupt, in ticks of the counter: longer than it takes a guest to write that down,
/// and than it takes one with an exit for a timer of the host's meanwhile.
pub(crate) const SOON: i32 = 500;
pub(crate) const LATER: i32 = 50_000;
/// How often a guest goes round a loop of two instructions until that has come. A tick of Bochs' is an
/// instruction.
pub(crate) const PATIENCE: u32 = 1000;

const SIZE: usize = 4096;

ioctl_io_nr!(HPET_MSI_SIGNAL, 0xb8, 0);

/// The timer, and the HPET's registers.
pub(crate) struct Hpet {
    file: File,
    pub(crate) registers: Arc<Memory>,
}

/// Whether it is what raises the guests' interrupts.
pub(crate) fn is_used() -> bool {
    Path::new(PATH).exists()
}

impl Hpet {
    /// The timer.
    pub(crate) fn open() -> Result<Self> {
        let file = File::options().read(true).write(true).open(PATH);
        let file = file.context(PATH)?;
        let registers = Memory::of_device(file.try_clone()?, 0, SIZE)?;
        Ok(Self {
            file,
            registers: Arc::new(registers),
        })
    }

    /// Has the interrupt signal an eventfd.
    pub(crate) fn set_msi(&self, event: &EventFd) -> Result<()> {
        // SAFETY: The argument is a number.
        let result =
            unsafe { ioctl_with_val(&self.file, HPET_MSI_SIGNAL(), event.as_raw_fd() as u64) };
        let error = std::io::Error::last_os_error();
        ensure!(result == 0, "HPET_MSI_SIGNAL: {error}");
        Ok(())
    }
}
