// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the VMM counted, as JSON (`--report`).

use std::path::Path;

use anyhow::{Context, Result};
use ioregion_wire::uapi::KVM_EXIT_IOREGIONFD_FAILURE;
use kvm_ioctls::VcpuExit;
use serde::Serialize;
use shunt::counters::CounterValues;

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
            VcpuExit::Unsupported(KVM_EXIT_IOREGIONFD_FAILURE) => &mut self.ioregion_failure,
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
    /// In the order of the options.
    pub(crate) disks: Vec<DiskReport>,
}

/// One disk.
#[derive(Debug, Serialize)]
pub(crate) struct DiskReport {
    /// Guest physical address of its registers.
    pub(crate) address: String,
    /// Its interrupt line.
    pub(crate) irq: u32,
    /// How its registers were dispatched.
    pub(crate) dispatch: &'static str,
    /// Device processes that were attached; 0 when the device is in the VMM.
    pub(crate) processes: u64,
    /// What the device counted in its state page.
    pub(crate) counters: CounterValues,
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
