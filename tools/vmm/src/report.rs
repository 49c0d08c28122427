// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the VMM counted, as JSON (`--report`).

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, Result};
use ioregion_wire::uapi::KVM_EXIT_IOREGIONFD_FAILURE;
use kvm_ioctls::VcpuExit;
use serde::Serialize;
use shunt::counters::CounterValues;

use crate::marks::Mark;

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

/// The same, as it is counted.
#[derive(Debug, Default)]
pub(crate) struct ExitCounters {
    io: AtomicU64,
    mmio: AtomicU64,
    hlt: AtomicU64,
    intr: AtomicU64,
    ioregion_failure: AtomicU64,
    shutdown: AtomicU64,
    other: AtomicU64,
}

impl ExitCounters {
    /// Counts one exit.
    pub(crate) fn count(&self, exit: &VcpuExit<'_>) {
        let counter = match exit {
            VcpuExit::IoIn(..) | VcpuExit::IoOut(..) => &self.io,
            VcpuExit::MmioRead(..) | VcpuExit::MmioWrite(..) => &self.mmio,
            VcpuExit::Hlt => &self.hlt,
            VcpuExit::Intr => &self.intr,
            VcpuExit::Shutdown => &self.shutdown,
            VcpuExit::Unsupported(KVM_EXIT_IOREGIONFD_FAILURE) => &self.ioregion_failure,
            _ => &self.other,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a return without an exit: a signal, or a processor that got its SIPI.
    pub(crate) fn count_interruption(&self) {
        self.intr.fetch_add(1, Ordering::Relaxed);
    }

    /// The values now.
    pub(crate) fn values(&self) -> ExitCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ExitCounts {
            io: get(&self.io),
            mmio: get(&self.mmio),
            hlt: get(&self.hlt),
            intr: get(&self.intr),
            ioregion_failure: get(&self.ioregion_failure),
            shutdown: get(&self.shutdown),
            other: get(&self.other),
        }
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
    /// What was counted until a line with the text of `--mark` was printed, for each.
    pub(crate) marks: Vec<Mark>,
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
