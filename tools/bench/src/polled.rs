// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A channel in shared memory whose device is the guest itself.
//!
//! What an access costs the vCPU when the device polls cannot be measured on one CPU, where a
//! polling device would run in the vCPU's time. So the guest stores what the device would have
//! stored by then; the control stores the same without the access.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{ensure, Context, Result};
use ioregion_ring::layout::Layout;
use ioregion_wire::uapi::IOREGION_CHANNEL_DEVICE_AREA;
use kvm_bindings::kvm_userspace_memory_region;
use rawguest::Machine;
use rustix::mm::{mmap, munmap, MapFlags, ProtFlags};
use shunt::ioregion::{create_channel, set_region, KvmEnd, Region};

use crate::guest::DEVICE_AREA;
use crate::stage::SLOTS;

/// Number of the memory slot; the guest's RAM has 0.
const MEMORY_SLOT: u32 = 1;

/// The channel, whose device's area is memory of the guest.
pub(crate) struct Polled {
    layout: Layout,
    kernel: Mapping,
    _device: Mapping,
    /// While it is open, the device is there.
    _channel: OwnedFd,
}

impl Polled {
    /// Makes it for a region of this VM.
    pub(crate) fn new(machine: &Machine, region: &Region) -> Result<Self> {
        let layout = Layout::new(SLOTS.into(), 1)
            .map_err(|bad| anyhow::anyhow!("no channel is so: {bad:?}"))?;
        let channel = create_channel(machine.fd(), SLOTS, 1).context("channel")?;
        let end = KvmEnd::Ring(channel.as_fd());
        set_region(machine.fd(), region, end).context("KVM_SET_IOREGION")?;
        let own = ProtFlags::READ | ProtFlags::WRITE;
        let (at, size) = (IOREGION_CHANNEL_DEVICE_AREA, layout.device_area());
        let device = Mapping::new(channel.as_fd(), at, size, own)?;
        let slot = kvm_userspace_memory_region {
            slot: MEMORY_SLOT,
            flags: 0,
            guest_phys_addr: region.address + u64::from(DEVICE_AREA),
            memory_size: size as u64,
            userspace_addr: device.start as u64,
        };
        // SAFETY: the mapping has this size. Should it go before the VM, the guest faults and
        // nothing else happens: no other mapping of this process takes its place unseen, as the
        // stage drops both together.
        unsafe { machine.fd().set_user_memory_region(slot) }
            .context("KVM_SET_USER_MEMORY_REGION")?;
        Ok(Self {
            kernel: Mapping::new(channel.as_fd(), 0, layout.kernel_area(), ProtFlags::READ)?,
            layout,
            _device: device,
            _channel: channel,
        })
    }

    /// Checks that so many accesses went through the ring.
    pub(crate) fn verify(&self, accesses: u64) -> Result<()> {
        let last = self.kernel.word(self.layout.slot(accesses.wrapping_sub(1)));
        let next = self.kernel.word(self.layout.slot(accesses));
        let oldest = (accesses + 1).saturating_sub(SLOTS.into());
        ensure!(
            (last, next) == (accesses, oldest),
            "the last accesses in the ring are {last} and {next}, want {accesses} and {oldest}"
        );
        Ok(())
    }
}

struct Mapping {
    start: *mut u64,
    size: usize,
}

impl Mapping {
    fn new(channel: BorrowedFd, at: u64, size: usize, protection: ProtFlags) -> Result<Self> {
        let start = std::ptr::null_mut();
        // SAFETY: a new mapping where the kernel likes disturbs nobody.
        let start = unsafe { mmap(start, size, protection, MapFlags::SHARED, channel, at) };
        let start = start.context("mmap")?.cast();
        Ok(Self { start, size })
    }

    fn word(&self, at: usize) -> u64 {
        assert!(at < self.size, "{at:#x} in a mapping of {:#x}", self.size);
        // SAFETY: the word is in the mapping, and aligned as the offset is.
        unsafe { self.start.byte_add(at).read_volatile() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // It fails only for what is not mapped. SAFETY: the mapping is ours, and no reference
        // into it exists.
        let _ = unsafe { munmap(self.start.cast(), self.size) };
    }
}
