// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! QEMU's educational device, `docs/specs/edu.rst`: a write to one register raises its interrupt, one
//! to another takes it back.

use std::sync::Arc;

use anyhow::Result;
use rawguest::Memory;

use crate::vfio::Device;

/// Vendor and device.
pub(crate) const ID: (&str, &str) = ("0x1234", "0x11e8");

/// Not 0 while the interrupt is raised.
pub(crate) const STATUS: u64 = 0x24;
/// Raises the interrupt: what is written is added to the status.
pub(crate) const RAISE: u64 = 0x60;
/// Takes it back: what is written is removed from the status.
pub(crate) const ACKNOWLEDGE: u64 = 0x64;

/// The device, and its registers.
pub(crate) struct Edu {
    pub(crate) device: Device,
    pub(crate) registers: Arc<Memory>,
}

impl Edu {
    /// Takes the one of this number.
    pub(crate) fn find(number: usize) -> Result<Self> {
        let device = Device::find(ID.0, ID.1, number)?;
        let registers = Arc::new(device.bar(0)?);
        Ok(Self { device, registers })
    }
}
