// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Puts a virtio device on the bus that the VMM has for it: virtio-mmio with an interrupt line, or
//! virtio-pci with MSI-X vectors.

use std::io;

use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

use crate::device::Device;
use crate::pci::signalled::Signalled;
use crate::session::Session;
use crate::state::StatePage;
use crate::virtio_device::VirtioDevice;
use crate::virtio_mmio::VirtioMmio;
use crate::virtio_pci::VirtioPci;

/// What a device has of the machine.
#[derive(Debug)]
pub struct Slot {
    /// Guest memory.
    pub memory: GuestMemoryMmap,
    /// Its registers and counters.
    pub state: StatePage,
    /// Its interrupt line, on virtio-mmio.
    pub interrupt: EventFd,
    /// Its MSI-X vectors, on virtio-pci; none on virtio-mmio.
    pub vectors: Vec<EventFd>,
}

impl Slot {
    /// What the VMM has lent.
    ///
    /// # Errors
    ///
    /// A descriptor cannot be duplicated.
    pub fn of_session(session: &Session) -> io::Result<Self> {
        let vectors = session.vectors.iter().map(EventFd::try_clone);
        Ok(Self {
            memory: session.memory.clone(),
            state: session.state.clone(),
            interrupt: session.interrupt.try_clone()?,
            vectors: vectors.collect::<Result<_, _>>()?,
        })
    }

    /// The device behind its registers there.
    pub fn put<D: VirtioDevice + Send + 'static>(self, device: D) -> Box<dyn Device + Send> {
        let (memory, state) = (self.memory, self.state);
        if self.vectors.is_empty() {
            return Box::new(VirtioMmio::new(device, memory, state, self.interrupt));
        }
        let device = VirtioPci::new(device, state);
        Box::new(Signalled::new(device, memory, self.vectors))
    }
}
