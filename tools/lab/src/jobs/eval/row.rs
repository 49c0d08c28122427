// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What is known of one load of one guest.

use l1::scenario::COUNTERS_MARK;
use l1::series::Measured;
use serde::{Deserialize, Serialize};

use super::loss::Loss;
use super::matrix::Guest;

/// A load of a guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) mode: String,
    pub(super) ring: String,
    pub(super) interface: String,
    /// Bytes of a frame.
    pub(super) size: usize,
    /// In per cent of the capacity. `None`: a window, by which the capacity was found.
    pub(super) rate: Option<u64>,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) loss: Loss,
    /// Nanoseconds from the first frame out to the last one back.
    pub(super) nanoseconds: u64,
    /// Nanoseconds that half of the frames, 99 % of them and all of them took at most.
    pub(super) median: u64,
    pub(super) slow: u64,
    pub(super) longest: u64,
    /// Returns of `KVM_RUN` to the VMM, but for port accesses: those are the console's.
    pub(super) exits: i64,
    /// Register accesses that the device handled.
    pub(super) accesses: i64,
    /// Waits of the device process that ended.
    pub(super) wakeups: i64,
    /// Interrupts that the guest took.
    pub(super) interrupts: u64,
}

/// What the VMM noted at a mark.
#[derive(Debug, Deserialize)]
struct Mark {
    line: String,
    vcpus: Vec<Exits>,
    disks: Vec<Device>,
}

#[derive(Debug, Deserialize)]
struct Exits {
    mmio: i64,
    intr: i64,
    ioregion_failure: i64,
    other: i64,
}

#[derive(Debug, Deserialize)]
struct Device {
    register_reads: ByOrigin,
    register_writes: ByOrigin,
    requests: i64,
    failed_requests: i64,
    woken_by_access: i64,
    woken_by_event: i64,
}

#[derive(Debug, Deserialize)]
struct ByOrigin {
    kvm: i64,
    vmm: i64,
    in_process: i64,
}

/// What the VMM has counted, in all.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    exits: i64,
    accesses: i64,
    wakeups: i64,
    requests: i64,
    failed: i64,
}

impl Mark {
    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for exits in &self.vcpus {
            counts.exits += exits.mmio + exits.intr + exits.ioregion_failure + exits.other;
        }
        for device in &self.disks {
            for way in [&device.register_reads, &device.register_writes] {
                counts.accesses += way.kvm + way.vmm + way.in_process;
            }
            counts.wakeups += device.woken_by_access + device.woken_by_event;
            counts.requests += device.requests;
            counts.failed += device.failed_requests;
        }
        counts
    }

    fn is_after(&self, load: u32) -> bool {
        self.line.contains(&format!("{COUNTERS_MARK} {load} "))
    }
}

/// The VMM's report.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    marks: Vec<Mark>,
}

impl Report {
    /// What was counted during a load: between the mark before it and the one after it.
    fn during(&self, load: u32) -> Option<Counts> {
        let counts = |load| Some(self.marks.iter().find(|mark| mark.is_after(load))?.counts());
        let (before, after) = (counts(load - 1)?, counts(load)?);
        Some(Counts {
            exits: after.exits - before.exits,
            accesses: after.accesses - before.accesses,
            wakeups: after.wakeups - before.wakeups,
            requests: after.requests - before.requests,
            failed: after.failed - before.failed,
        })
    }
}

impl Row {
    /// Of one load; `None`: the VMM has no marks of it.
    pub(super) fn of(guest: &Guest, measured: &Measured, report: &Report) -> Option<Self> {
        let counts = report.during(measured.load)?;
        let back = &measured.outcome.back;
        let quantile = |share| {
            let mut quantiles = back.quantiles.iter();
            quantiles.find_map(|&(of, value)| (of == share).then_some(value))
        };
        Some(Self {
            mode: guest.mode.clone(),
            ring: guest.ring.clone(),
            interface: guest.interface.clone(),
            size: measured.size,
            rate: measured.rate,
            sent: measured.outcome.sent,
            received: back.received,
            loss: Loss::of(measured, counts.requests, counts.failed),
            nanoseconds: measured.outcome.nanoseconds,
            median: quantile(500).unwrap_or(0),
            slow: quantile(990).unwrap_or(0),
            longest: back.longest,
            exits: counts.exits,
            accesses: counts.accesses,
            wakeups: counts.wakeups,
            interrupts: measured.guest.interrupts,
        })
    }

    /// Frames lost.
    pub(super) fn lost(&self) -> u64 {
        self.sent - self.received
    }

    /// Whether the guest can bear the rate, so that nothing may be lost.
    pub(super) fn is_below_capacity(&self) -> bool {
        self.rate.is_none_or(|rate| rate < 100)
    }

    /// Whether each lost frame has its place.
    pub(super) fn is_explained(&self) -> bool {
        let parts = self.loss.parts();
        self.loss.sum() == self.lost() as i64 && parts.iter().all(|(_, frames)| *frames >= 0)
    }

    /// Frames lost, in per cent.
    pub(super) fn loss_percent(&self) -> f64 {
        100.0 * self.lost() as f64 / self.sent as f64
    }

    /// A count for each frame that came back.
    pub(super) fn per_frame(&self, count: i64) -> f64 {
        count as f64 / self.received.max(1) as f64
    }
}
