// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! PCI: one bus, whose functions the guest finds through configuration mechanism #1.
//!
//! ```text
//! guest ── ports 0xcf8, 0xcfc ──► HostBridge ──► Function::read_config, write_config
//!       ── the window for BARs ──►            ──► Function::read, write
//! ```
//!
//! A function's BARs have addresses before the guest runs, as firmware would have given them. What a
//! function is, is its own affair: [`crate::assigned`] is one of the host's, [`served_function`] one of
//! ours.

pub(crate) mod host_bridge;
pub(crate) mod model;
pub(crate) mod served_function;
pub(crate) mod window;

use anyhow::Result;
use shunt::pci::{config_space::ConfigSpace, BARS};

/// A function of a device: number 0 of each.
pub(crate) trait Function: Send {
    /// What the guest has made of its configuration space.
    fn space(&self) -> &ConfigSpace;

    /// Reads configuration space; `offset + data.len()` is at most 256.
    fn read_config(&mut self, offset: usize, data: &mut [u8]);

    /// Writes configuration space; `offset + data.len()` is at most 256.
    ///
    /// # Errors
    ///
    /// The function cannot do what the guest asks for; the machine then stops.
    fn write_config(&mut self, offset: usize, data: &[u8]) -> Result<()>;

    /// Reads from a BAR, inside of it.
    fn read(&mut self, bar: usize, offset: u64, data: &mut [u8]);

    /// Writes to a BAR, inside of it.
    ///
    /// # Errors
    ///
    /// As of [`Function::write_config`].
    fn write(&mut self, bar: usize, offset: u64, data: &[u8]) -> Result<()>;

    /// The BAR that answers to all of an access, and where in it.
    fn find(&self, address: u64, length: usize) -> Option<(usize, u64)> {
        (0..BARS).find_map(|bar| {
            let (start, size) = self.space().decoded(bar)?;
            let offset = address.checked_sub(start)?;
            let end = offset.checked_add(length as u64)?;
            (end <= size).then_some((bar, offset))
        })
    }
}
