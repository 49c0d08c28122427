// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the VMM counted, as JSON (`--report`).

use std::path::Path;

use anyhow::{Context, Result};
use kvm_ioctls::VcpuExit;
use serde::Serialize;

/// How often `KVM_RUN` of one vCPU came back to the VMM, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ExitCounts {
    /// Port accesses.
    pub(crate) io: u64,
    /// MMIO accesses.
    pub(crate) mmio: u64,
    /// HLT; KVM's own irqchip keeps these to itself.
    pub(crate) hlt: u64,
    /// Signals, and a processor that was started.
    pub(crate) intr: u64,
    /// Accesses that an ioregion's device did not complete.
    pub(crate) ioregion_failure: u64,
    /// Triple faults: how a guest resets the machine.
    pub(crate) shutdown: u64,
    /// All others.
    pub(crate) other: u64,
}

impl ExitCounts {
    /// Counts one exit.
    pub(crate) fn count(&mut self, exit: &VcpuExit<'_>) {
        let counter = match exit {
            VcpuExit::IoIn(..) | VcpuExit::IoOut(..) => &mut self.io,
            VcpuExit::MmioRead(..) | VcpuExit::MmioWrite(..) => &mut self.mmio,
            VcpuExit::Hlt => &mut self.hlt,
            VcpuExit::Intr => &mut self.intr,
            VcpuExit::Shutdown => &mut self.shutdown,
            _ => &mut self.other,
        };
        *counter += 1;
    }
}

/// All of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Why the machine ended.
    pub(crate) outcome: String,
    /// By vCPU.
    pub(crate) vcpus: Vec<ExitCounts>,
}

impl Report {
    /// Writes the report to `path`.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        std::fs::write(path, text)
            .with_context(|| format!("cannot write the report {}", path.display()))
    }
}
