// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A PCI device whose MSI-X vectors are eventfds, behind a VMM that keeps configuration space and
//! MSI-X table: what is left is a [`Device`] with the registers of its BARs.

use std::os::fd::BorrowedFd;

use ioregion_wire::frame::Width;
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

use super::config_space::{COMMAND, COMMAND_BUS_MASTER};
use super::PciDevice;
use crate::device::Device;

/// The device. The VMM does not let the guest have what it masks, and keeps what comes meanwhile.
#[derive(Debug)]
pub struct Signalled<D> {
    device: D,
    vectors: Vec<EventFd>,
}

impl<D: PciDevice> Signalled<D> {
    /// A device that may do DMA to `memory`. Vectors beyond `vectors` are lost.
    pub fn new(mut device: D, memory: GuestMemoryMmap, vectors: Vec<EventFd>) -> Self {
        device.set_memory(memory, vec![]);
        device.write_config(COMMAND, &COMMAND_BUS_MASTER.to_le_bytes());
        Self { device, vectors }
    }

    fn signal(&mut self) {
        let pending = self.device.interrupts().pending;
        for (number, event) in self.vectors.iter().enumerate() {
            if pending & 1 << number != 0 {
                // It fails only when the counter is full; then there is an interrupt pending.
                let _ = event.write(1);
            }
        }
        self.device.delivered(pending);
    }
}

impl<D: PciDevice> Device for Signalled<D> {
    fn read(&mut self, offset: u64, width: Width) -> u64 {
        self.device.read(offset, width)
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) {
        self.device.write(offset, width, value);
    }

    fn notified(&mut self, index: usize) {
        self.device.notified(index);
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        self.device.input()
    }

    fn input_ready(&mut self) {
        self.device.input_ready();
    }

    /// Called after every access and event.
    fn work(&mut self) -> bool {
        let more = self.device.work();
        self.signal();
        more
    }
}
