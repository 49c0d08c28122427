// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The virtio-mmio transport, version 2: virtio 1.3, section 4.2.

use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

use ioregion_wire::frame::Width;

use crate::device::Device;
use crate::state::StatePage;
use crate::virtio_device::VirtioDevice;

/// Bytes of guest memory that the registers and the configuration space take.
pub const REGION_SIZE: u64 = 4096;

/// Offset of the `QueueNotify` register: what an ioeventfd in the region goes to.
pub const QUEUE_NOTIFY: u64 = 0x50;

/// A virtio device behind virtio-mmio registers.
pub struct VirtioMmio<D> {
    device: D,
    memory: GuestMemoryMmap,
    state: StatePage,
    interrupt: EventFd,
}

impl<D: VirtioDevice> VirtioMmio<D> {
    /// Puts `device` behind registers that live in `state`. When a process before this one left
    /// a running device there, it resumes: queues and features as they were, requests from the
    /// first incomplete one on ([`Device::work`] does them), one interrupt at once.
    ///
    /// Usable in a device process (with the parts of a [`Session`](crate::session::Session)) as
    /// well as in the VMM.
    pub fn new(device: D, memory: GuestMemoryMmap, state: StatePage, interrupt: EventFd) -> Self {
        Self {
            device,
            memory,
            state,
            interrupt,
        }
    }
}

impl<D: VirtioDevice> Device for VirtioMmio<D> {
    fn read(&mut self, offset: u64, width: Width) -> u64 {
        todo!()
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) {
        todo!()
    }

    fn notified(&mut self, queue: usize) {
        todo!()
    }

    fn work(&mut self) -> bool {
        todo!()
    }
}
