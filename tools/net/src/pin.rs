// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! An interrupt pin whose other end is an irqfd with a resample event: `KVM_IRQFD_FLAG_RESAMPLE` of
//! Linux' Documentation/virt/kvm/api.rst. KVM lowers the line by itself when the guest has
//! acknowledged the interrupt, and then asks what the level is.

use vmm_sys_util::eventfd::EventFd;

/// The event that tells that the line is low again.
pub(crate) const RESAMPLE: usize = 0;

/// The pin of a device.
#[derive(Debug)]
pub(crate) struct Pin {
    line: EventFd,
    is_high: bool,
}

impl Pin {
    /// One that is low.
    pub(crate) fn new(line: EventFd) -> Self {
        let is_high = false;
        Self { line, is_high }
    }

    /// The device wants this level; whether the line rises. It does not fall before the guest has
    /// acknowledged the interrupt.
    pub(crate) fn want(&mut self, level: bool) -> bool {
        let rises = level && !self.is_high;
        if rises {
            // It fails only when the counter is full; then KVM raises the line at any rate.
            let _ = self.line.write(1);
            self.is_high = true;
        }
        rises
    }

    /// KVM has lowered the line. Now [`want`](Self::want) the level.
    pub(crate) fn lowered(&mut self) {
        self.is_high = false;
    }
}
