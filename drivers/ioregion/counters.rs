// SPDX-License-Identifier: GPL-2.0-only

//! The counters of a region, and the line of debugfs that shows them.

use crate::{
    channel::Channel,
    region::Region, //
};
use ioregion_dispatch::{
    counters::{
        bucket,
        cell,
        Counts,
        How,
        Kind,
        BUCKETS,
        CELLS, //
    },
    regions::Ranged, //
};
use ioregion_wire::uapi::KVM_IOREGION_PIO;
use kernel::{
    fmt,
    seq_file::SeqFile,
    seq_print,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

/// The counters of a region. They have cache lines of their own: all vCPUs write them, and read
/// what is beside them.
#[repr(align(64))]
pub(crate) struct Counters {
    cells: [Atomic<u64>; CELLS],
    waits: [Atomic<u64>; BUCKETS],
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            cells: [const { Atomic::new(0) }; CELLS],
            waits: [const { Atomic::new(0) }; BUCKETS],
        }
    }

    /// An access has ended.
    #[inline]
    pub(crate) fn count(&self, kind: Kind, how: How) {
        self.cells[cell(kind, how)].add(1u64, Relaxed);
    }

    /// The vCPU had to wait for one.
    pub(crate) fn count_wait(&self, ns: u64) {
        self.waits[bucket(ns)].add(1u64, Relaxed);
    }

    fn read(&self) -> Counts {
        let value = |counter: &Atomic<u64>| counter.load(Relaxed);
        Counts {
            cells: self.cells.each_ref().map(value),
            waits: self.waits.each_ref().map(value),
        }
    }
}

/// Prints the line of a region.
pub(crate) fn show(region: &Region, file: &SeqFile) {
    let range = region.range();
    let bus = match region.flags() & KVM_IOREGION_PIO {
        0 => "mmio",
        _ => "pio",
    };
    let channel = match region.channel() {
        Channel::Frames { .. } => "frames",
        Channel::Ring(_) => "ring",
    };
    let counts = region.counters().read();
    seq_print!(
        file,
        "bus={bus} start={:#x} size={:#x} channel={channel} user_data={:#x} {}\n",
        range.start(),
        range.len(),
        region.user_data(),
        Words(&counts)
    );
}

/// The counters as words.
struct Words<'a>(&'a Counts);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(counts) = self;
        write!(
            f,
            "reads={} writes={} posted={} ruled={} spun={} slept={} failed={} timed_out={} waits=",
            counts.of_kind(Kind::Read),
            counts.writes(),
            counts.of_kind(Kind::Posted),
            counts.of_how(How::Ruled),
            counts.of_how(How::Spun),
            counts.of_how(How::Slept),
            counts.of_how(How::Failed),
            counts.of_how(How::TimedOut),
        )?;
        let waits = counts.waits.iter().enumerate();
        let mut separator = "";
        for (log2, count) in waits.filter(|(_, &count)| count > 0) {
            write!(f, "{separator}{log2}:{count}")?;
            separator = ",";
        }
        Ok(())
    }
}
