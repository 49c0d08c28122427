// SPDX-License-Identifier: GPL-2.0-only

//! A region: guest addresses whose accesses go to a channel.

use crate::{
    channel::Channel,
    counters::Counters, //
};
use ioregion_dispatch::{
    regions::Ranged,
    spec::{
        Bus,
        Range,
        Spec, //
    },
};
use ioregion_wire::{
    frame::{
        Command,
        Operation,
        Width, //
    },
    uapi,
};
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kvm_ext::Deadline;

/// Addresses of one bus of a VM, and where their accesses go.
pub(crate) struct Region {
    spec: Spec,
    user_data: u64,
    channel: Channel,
    removed: Atomic<bool>,
    counters: Counters,
}

impl Region {
    pub(crate) fn new(spec: Spec, user_data: u64, channel: Channel) -> Self {
        Self {
            spec,
            user_data,
            channel,
            removed: Atomic::new(false),
            counters: Counters::new(),
        }
    }

    pub(crate) fn user_data(&self) -> u64 {
        self.user_data
    }

    /// When a device that is asked now has failed.
    #[inline]
    pub(crate) fn deadline(&self) -> Deadline {
        match self.spec.timeout_ms {
            0 => Deadline::NEVER,
            ms => Deadline::after_ms(ms),
        }
    }

    #[inline]
    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    #[inline]
    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Where an address is in the region.
    #[inline]
    pub(crate) fn offset(&self, addr: u64) -> u64 {
        addr.wrapping_sub(self.spec.range.start())
    }

    /// The command for one piece of an access. That of a doorbell is the same whatever is written.
    #[inline]
    pub(crate) fn command(&self, addr: u64, width: Width, operation: Operation) -> Command {
        let (width, operation) = match self.is_doorbell() {
            true => (Width::Byte, Operation::Write(0)),
            false => (width, operation),
        };
        Command {
            operation,
            width,
            expects_reply: operation == Operation::Read || !self.spec.posted_writes,
            user_data: self.user_data,
            offset: self.offset(addr),
        }
    }

    /// Whether an access is one command whatever its size.
    #[inline]
    pub(crate) fn is_doorbell(&self) -> bool {
        self.spec.range.is_empty()
    }

    /// `KVM_IOREGION_*` flags, as they were set.
    pub(crate) fn flags(&self) -> u32 {
        let pio = match self.spec.bus {
            Bus::Mmio => 0,
            Bus::Pio => uapi::KVM_IOREGION_PIO,
        };
        let posted = if self.spec.posted_writes {
            uapi::KVM_IOREGION_POSTED_WRITES
        } else {
            0
        };
        let channel = match self.channel {
            Channel::Frames { .. } => 0,
            Channel::Ring(_) => uapi::KVM_IOREGION_CHANNEL,
        };
        pio | posted | channel
    }

    /// The region is no longer the VM's: no command is sent for it any more, and who waits for
    /// a reply gives up.
    pub(crate) fn remove(&self) {
        self.channel.change(|| self.removed.store(true, Relaxed));
    }

    /// Exact with the channel locked, as [`Self::remove`] sets it there.
    #[inline]
    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Relaxed)
    }
}

impl Ranged for Region {
    #[inline]
    fn range(&self) -> &Range {
        &self.spec.range
    }
}
