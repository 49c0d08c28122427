// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Counters of a device. They live in its [state page](crate::state), so that they outlast the
//! device process and the VMM reads them without asking.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Which way an access came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A channel whose other end is KVM: the access did not touch the VMM.
    Kvm,
    /// A channel whose other end is the VMM, which forwards an exit or a failed access.
    Vmm,
    /// A call in the VMM's own process.
    InProcess,
}

const ORIGINS: usize = 3;

/// Event counts, shared between processes. All only grow; a crash may lose or repeat the count
/// of the one event it interrupts.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Counters {
    reads: [AtomicU64; ORIGINS],
    writes: [AtomicU64; ORIGINS],
    /// Accesses of a width or at an offset that the device does not have.
    pub bad_accesses: AtomicU64,
    /// Requests completed, failed ones included.
    pub requests: AtomicU64,
    /// Requests completed with an error status.
    pub failed_requests: AtomicU64,
    /// Bytes of data that went to the guest.
    pub bytes_read: AtomicU64,
    /// Bytes of data that came from the guest.
    pub bytes_written: AtomicU64,
    /// Flush requests.
    pub flushes: AtomicU64,
    /// Interrupts raised.
    pub interrupts: AtomicU64,
    /// Queue notifications by register write.
    pub notify_register: AtomicU64,
    /// Queue notifications by eventfd.
    pub notify_eventfd: AtomicU64,
    /// Reads of `InterruptStatus` that came to the device.
    pub interrupt_status_reads: AtomicU64,
    /// Writes of `InterruptACK` that came to the device.
    pub interrupt_acks: AtomicU64,
    /// Times that the device process waited, and an access ended the wait. Some of these waits
    /// may have been over before they began.
    pub woken_by_access: AtomicU64,
    /// Times that the device process waited, and an event ended the wait.
    pub woken_by_event: AtomicU64,
    /// Times that a device took the state page over, the first one included.
    pub attaches: AtomicU64,
    /// Times that the device demanded a reset because of what the driver did.
    pub resets_demanded: AtomicU64,
}

/// Adds `n` to a counter.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Counters {
    /// Counts a register read.
    pub fn count_read(&self, origin: Origin) {
        add(&self.reads[origin as usize], 1);
    }

    /// Counts a register write.
    pub fn count_write(&self, origin: Origin) {
        add(&self.writes[origin as usize], 1);
    }

    /// The values now. Each is exact; together they are no snapshot of one moment.
    pub fn values(&self) -> CounterValues {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let by_origin = |counters: &[AtomicU64; ORIGINS]| ByOrigin {
            kvm: get(&counters[Origin::Kvm as usize]),
            vmm: get(&counters[Origin::Vmm as usize]),
            in_process: get(&counters[Origin::InProcess as usize]),
        };
        CounterValues {
            register_reads: by_origin(&self.reads),
            register_writes: by_origin(&self.writes),
            bad_accesses: get(&self.bad_accesses),
            requests: get(&self.requests),
            failed_requests: get(&self.failed_requests),
            bytes_read: get(&self.bytes_read),
            bytes_written: get(&self.bytes_written),
            flushes: get(&self.flushes),
            interrupts: get(&self.interrupts),
            notify_register: get(&self.notify_register),
            notify_eventfd: get(&self.notify_eventfd),
            interrupt_status_reads: get(&self.interrupt_status_reads),
            interrupt_acks: get(&self.interrupt_acks),
            woken_by_access: get(&self.woken_by_access),
            woken_by_event: get(&self.woken_by_event),
            attaches: get(&self.attaches),
            resets_demanded: get(&self.resets_demanded),
        }
    }
}

/// A count for each [`Origin`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByOrigin {
    /// [`Origin::Kvm`].
    pub kvm: u64,
    /// [`Origin::Vmm`].
    pub vmm: u64,
    /// [`Origin::InProcess`].
    pub in_process: u64,
}

/// What [`Counters`] held at one time; field by field as there. Serializable for reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // documented on the counters
pub struct CounterValues {
    pub register_reads: ByOrigin,
    pub register_writes: ByOrigin,
    pub bad_accesses: u64,
    pub requests: u64,
    pub failed_requests: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub flushes: u64,
    pub interrupts: u64,
    pub notify_register: u64,
    pub notify_eventfd: u64,
    pub interrupt_status_reads: u64,
    pub interrupt_acks: u64,
    pub woken_by_access: u64,
    pub woken_by_event: u64,
    pub attaches: u64,
    pub resets_demanded: u64,
}
