// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What became of the guests: judged against what each scenario promises, and as a table.

mod promises;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use comfy_table::{presets, CellAlignment, Table};
use l1::scenario::{Report, Scenario};
use serde::Deserialize;

use crate::boot::Outcome;

/// What we read of the VMM's `--report`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
struct VmmReport {
    /// For each vCPU, returns of `KVM_RUN` by reason.
    vcpus: Vec<BTreeMap<String, u64>>,
    disks: Vec<DiskReport>,
}

/// What the VMM reports of one disk.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
struct DiskReport {
    processes: u64,
    counters: Counters,
}

/// What the device counted.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
struct Counters {
    register_reads: ByOrigin,
    register_writes: ByOrigin,
    bad_accesses: u64,
    failed_requests: u64,
    resets_demanded: u64,
    bytes_read: u64,
    bytes_written: u64,
    notify_register: u64,
    notify_eventfd: u64,
    interrupt_status_reads: u64,
    interrupt_acks: u64,
}

/// How many register accesses came from where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
struct ByOrigin {
    kvm: u64,
    vmm: u64,
    in_process: u64,
}

impl Counters {
    /// Register accesses, reads and writes together.
    fn accesses(&self) -> ByOrigin {
        let (reads, writes) = (self.register_reads, self.register_writes);
        ByOrigin {
            kvm: reads.kvm + writes.kvm,
            vmm: reads.vmm + writes.vmm,
            in_process: reads.in_process + writes.in_process,
        }
    }
}

impl VmmReport {
    fn of(report: &Report) -> Result<Self> {
        let json = report.vmm.clone().context("the VMM made no report")?;
        let parsed: Self = serde_json::from_value(json).context("the VMM's report")?;
        parsed.disks.first().context("the VMM reports no disk")?;
        Ok(parsed)
    }

    /// Returns of `KVM_RUN` for one reason, all vCPUs together.
    fn exits(&self, reason: &str) -> u64 {
        self.vcpus.iter().filter_map(|vcpu| vcpu.get(reason)).sum()
    }
}

/// The reports of `scenarios`, each with everything that was wrong. A guest that never came
/// to its turn has failed, too.
pub(crate) fn judge(scenarios: &[&Scenario], outcome: &Outcome, files: u64) -> Vec<Report> {
    let judged = |scenario: &&Scenario| {
        let mut reports = outcome.reports.iter();
        let Some(report) = reports.find(|report| report.scenario == scenario.name) else {
            return Report {
                scenario: scenario.name.to_owned(),
                failures: vec!["L1 ended before this guest did".to_owned()],
                ..Report::default()
            };
        };
        let mut report = report.clone();
        if report.failures.is_empty() {
            report.failures = promises::broken(scenario, &report, files);
        }
        report
    };
    scenarios.iter().map(judged).collect()
}

const HEADER: [&str; 11] = [
    "guest",
    "verdict",
    "files\nverified",
    "MiB\nread",
    "MiB\nwritten",
    "register accesses\nKVM to device",
    "VMM to\ndevice",
    "in the\nVMM",
    "exits to the VMM\nMMIO / all",
    "device\nprocesses",
    "s",
];

/// One row for each guest.
pub(crate) fn table(reports: &[Report]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_header(HEADER);
    for report in reports {
        table.add_row(row(report));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn row(report: &Report) -> [String; HEADER.len()] {
    let vmm = VmmReport::of(report).ok();
    let of_guest = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let guest = report.guest.as_ref();
    let disk = vmm.as_ref().and_then(|vmm| vmm.disks.first());
    let accesses = disk.map(|disk| disk.counters.accesses());
    let exits = vmm.as_ref().map(|vmm| {
        let all: u64 = vmm.vcpus.iter().flat_map(BTreeMap::values).sum();
        format!("{} / {all}", vmm.exits("mmio"))
    });
    let verdict = if report.failures.is_empty() {
        "ok"
    } else {
        "FAILED"
    };
    [
        report.scenario.clone(),
        verdict.to_owned(),
        of_guest(guest.map(|guest| guest.files_verified.to_string())),
        of_guest(guest.map(|guest| mib(guest.sectors_read))),
        of_guest(guest.map(|guest| mib(guest.sectors_written))),
        of_guest(accesses.map(|by| by.kvm.to_string())),
        of_guest(accesses.map(|by| by.vmm.to_string())),
        of_guest(accesses.map(|by| by.in_process.to_string())),
        of_guest(exits),
        report.device_processes.to_string(),
        format!("{:.1}", report.seconds),
    ]
}

/// Sectors of 512 bytes as MiB.
fn mib(sectors: u64) -> String {
    format!("{:.1}", sectors as f64 / 2048.0)
}
