// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `dispatch=exit`: the device lives in the VMM, and a vCPU that accesses it does its work.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use shunt::{
    counters::Origin,
    device::{perform, Device},
    state::StatePage,
    virtio_mmio::VirtioMmio,
    Command, Reply,
};
use shunt_blk::Blk;
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

use super::{registers::Registers, spec::HostedSpec};
use crate::bus::AccessError;

/// A disk in this process.
pub(crate) struct Hosted {
    device: Mutex<VirtioMmio<Blk>>,
    state: StatePage,
}

impl Hosted {
    /// Opens the image.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub(crate) fn new(
        spec: &HostedSpec,
        memory: GuestMemoryMmap,
        state: StatePage,
        interrupt: EventFd,
    ) -> Result<Self> {
        let blk = Blk::open(&spec.image, spec.read_only)
            .with_context(|| format!("cannot open the image {}", spec.image.display()))?
            .offering(spec.offer);
        let device = VirtioMmio::new(blk, memory, state.clone(), interrupt);
        Ok(Self {
            device: Mutex::new(device),
            state,
        })
    }
}

impl Registers for Hosted {
    fn access(&self, command: &Command) -> Result<Reply, AccessError> {
        // A thread that panicked with the lock held has ended the machine.
        let mut device = self.device.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = self.state.counters();
        let reply = perform(&mut *device, command, Origin::InProcess, counters);
        while device.work() {}
        Ok(reply)
    }
}
