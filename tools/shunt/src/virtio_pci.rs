// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The virtio-pci transport, without the legacy interface: virtio 1.3, section 4.1.
//!
//! `layout` says where registers are, `config_space`, `common_config` and `msix` hold them; this file
//! runs the queues. The device has an interrupt pin and MSI-X with a vector for each queue and one
//! for the configuration.
//!
//! Unlike [`VirtioMmio`](crate::virtio_mmio::VirtioMmio) it does not outlive its process: its
//! registers are its own, and the state page has its counters only.

mod common_config;
mod config_space;
pub mod layout;
mod msix;
mod remote;
mod rules;

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;

use ioregion_wire::frame::Width;
use virtio_spec::features::Features;
use virtio_spec::pci::{isr, NO_VECTOR};
use virtio_spec::status;
use vm_memory::GuestMemoryMmap;

use crate::counters::add;
use crate::device::Device;
use crate::pci::{bar, FastPath, Interrupts, PciDevice, Range, Transfer, BARS};
use crate::ring::{self, Ring, RingError, Turn};
use crate::state::{QueueRegisters, StatePage, MAX_QUEUES};
use crate::virtio_device::{carry_out, VirtioDevice};

use common_config::Common;
pub use config_space::header;
use config_space::ConfigSpace;
use msix::Msix;
use remote::Remote;
pub use rules::rules;

const TRANSPORT_FEATURES: Features = Features::VERSION_1.with(ring::FEATURES);

/// Requests of one queue between two looks at what else there is to do: how long a register
/// access may wait.
const BATCH: usize = 8;

/// A virtio device behind virtio-pci registers.
///
/// What a driver does wrong makes the device demand a reset (`DEVICE_NEEDS_RESET`) and stop until
/// it gets one.
#[derive(Debug)]
pub struct VirtioPci<D> {
    device: D,
    memory: GuestMemoryMmap,
    state: StatePage,
    config: ConfigSpace,
    common: Common,
    msix: Msix,
    isr: u8,
    queues: Vec<Virtqueue>,
    remote: Remote,
}

#[derive(Debug)]
struct Virtqueue {
    max_size: u16,
    registers: QueueRegisters,
    vector: u16,
    is_enabled: bool,
    /// While it is enabled; opened anew when there is another memory.
    ring: Option<Ring>,
    /// There may be requests.
    kicked: bool,
    /// In memory that has to be fetched: the driver was asked for notifications, and the rings are
    /// looked at once more.
    is_last_look: bool,
}

impl Virtqueue {
    fn new(max_size: u16) -> Self {
        let registers = QueueRegisters::default();
        registers.size.store(max_size.into(), Ordering::Relaxed);
        Self {
            max_size,
            registers,
            vector: NO_VECTOR,
            is_enabled: false,
            ring: None,
            kicked: false,
            is_last_look: false,
        }
    }

    /// The ring, where it was last, and its registers, if the driver has enabled the queue.
    fn open(
        &mut self,
        memory: &GuestMemoryMmap,
        features: Features,
    ) -> Result<Option<(&mut Ring, &QueueRegisters)>, RingError> {
        if self.is_enabled && self.ring.is_none() {
            let ring = Ring::open(memory, &self.registers, self.max_size, features)?;
            self.ring = Some(ring);
        }
        let registers = &self.registers;
        Ok(self.ring.as_mut().map(|ring| (ring, registers)))
    }
}

impl<D: VirtioDevice> VirtioPci<D> {
    /// Puts `device` behind registers in their first state, to count in `state`. It reaches no memory
    /// yet.
    pub fn new(device: D, state: StatePage) -> Self {
        let sizes = device.queue_sizes().iter().take(MAX_QUEUES);
        let queues: Vec<Virtqueue> = sizes.copied().map(Virtqueue::new).collect();
        let vectors = queues.len() as u16 + 1;
        Self {
            config: ConfigSpace::new(device.device_id(), queues.len() as u32, vectors),
            common: Common::default(),
            msix: Msix::new(vectors),
            device,
            memory: GuestMemoryMmap::default(),
            state,
            isr: 0,
            queues,
            remote: Remote::default(),
        }
    }

    fn offered_features(&self) -> u64 {
        self.device.features() | TRANSPORT_FEATURES.bits()
    }

    fn features_acceptable(&self) -> bool {
        let wanted = self.features();
        wanted.bits() & !self.offered_features() == 0 && wanted.has(Features::VERSION_1)
    }

    /// Those that the driver chose.
    fn features(&self) -> Features {
        Features::from_bits(self.common.driver_features)
    }

    fn running(&self) -> bool {
        let stopped = status::DEVICE_NEEDS_RESET | status::FAILED;
        let state = self.common.status & (status::DRIVER_OK | stopped);
        state == status::DRIVER_OK && self.config.is_bus_master()
    }

    fn kick_all(&mut self) {
        for queue in &mut self.queues {
            queue.kicked = true;
        }
    }

    fn kick(&mut self, index: usize) -> Option<()> {
        self.queues.get_mut(index)?.kicked = true;
        Some(())
    }

    fn raise(&mut self, isr: u8, vector: u16) {
        self.isr |= isr;
        self.msix.raise(vector);
        add(&self.state.counters().interrupts, 1);
    }

    /// Stops until the driver resets the device.
    fn demand_reset(&mut self, cause: &RingError) {
        let old = self.common.status;
        self.common.status |= status::DEVICE_NEEDS_RESET;
        add(&self.state.counters().resets_demanded, 1);
        log::warn!(
            "virtio device {} needs a reset: {cause}",
            self.device.device_id()
        );
        if old & status::DRIVER_OK != 0 {
            self.raise(isr::CONFIG, self.common.config_vector);
        }
    }

    /// Does pending requests of all queues, a batch each. True: there are more.
    fn run_queues(&mut self) -> bool {
        for index in 0..self.queues.len() {
            if !self.running() {
                return false;
            }
            if std::mem::take(&mut self.queues[index].kicked) {
                match self.run_queue(index) {
                    Ok(more) => self.queues[index].kicked = more,
                    Err(e) => self.demand_reset(&e),
                }
            }
        }
        self.running() && self.queues.iter().any(|queue| queue.kicked)
    }

    fn run_queue(&mut self, index: usize) -> Result<bool, RingError> {
        let turn = self.turn(index, BATCH)?;
        if turn.interrupt {
            self.raise(isr::QUEUE, self.queues[index].vector);
        }
        Ok(turn.more)
    }

    /// Does one request, if there is one. The driver is not told.
    fn do_one(&mut self, index: usize) -> Result<bool, RingError> {
        Ok(self.turn(index, 1)?.more)
    }

    fn turn(&mut self, index: usize, batch: usize) -> Result<Turn, RingError> {
        let features = self.features();
        let queue = &mut self.queues[index];
        let Some((ring, registers)) = queue.open(&self.memory, features)? else {
            return Ok(Turn::default());
        };
        let device = &mut self.device;
        let counters = self.state.counters();
        ring.turn(
            registers,
            batch,
            device,
            |device| device.room_needed(index),
            |device, chain| carry_out(device, index, chain, counters),
        )
    }

    /// `None` for a register that does not exist or cannot be read so.
    fn read_register(&mut self, offset: u64, width: Width) -> Option<u64> {
        let within = offset % layout::PAGE;
        match offset - within {
            layout::COMMON => self.read_common(within, width),
            layout::ISR if within == 0 => Some(std::mem::take(&mut self.isr).into()),
            layout::DEVICE => {
                let mut bytes = [0; 8];
                self.device.read_config(within, &mut bytes[..width.bytes()]);
                Some(u64::from_le_bytes(bytes))
            }
            layout::NOTIFY => Some(0),
            layout::MSIX => self.msix.read(within, width),
            _ => None,
        }
    }

    /// `None` for a register that does not exist or cannot be written so.
    fn write_register(&mut self, offset: u64, width: Width, value: u64) -> Option<()> {
        let within = offset % layout::PAGE;
        match offset - within {
            layout::COMMON => self.write_common(within, width, value),
            layout::DEVICE => {
                let bytes = value.to_le_bytes();
                self.device.write_config(within, &bytes[..width.bytes()]);
                Some(())
            }
            layout::NOTIFY => {
                add(&self.state.counters().notify_register, 1);
                self.kick((within / u64::from(layout::NOTIFY_MULTIPLIER)) as usize)
            }
            layout::MSIX => self.msix.write(within, width, value),
            _ => None,
        }
    }
}

impl<D: VirtioDevice> Device for VirtioPci<D> {
    fn read(&mut self, offset: u64, width: Width) -> u64 {
        self.read_register(offset, width).unwrap_or_else(|| {
            add(&self.state.counters().bad_accesses, 1);
            0
        })
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) {
        if self.write_register(offset, width, value).is_none() {
            add(&self.state.counters().bad_accesses, 1);
        }
    }

    fn notified(&mut self, queue: usize) {
        add(&self.state.counters().notify_eventfd, 1);
        // There is an event for each queue and no other.
        let _ = self.kick(queue);
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        self.device.input()
    }

    fn input_ready(&mut self) {
        for queue in self.device.ready_queues() {
            let _ = self.kick(queue);
        }
    }

    fn work(&mut self) -> bool {
        let more = if self.remote.copies.is_empty() {
            self.run_queues()
        } else {
            self.run_remote_queues()
        };
        if self.device.take_config_change() {
            self.common.config_generation = self.common.config_generation.wrapping_add(1);
            self.raise(isr::CONFIG, self.common.config_vector);
        }
        more
    }
}

impl<D: VirtioDevice> PciDevice for VirtioPci<D> {
    fn bar_sizes(&self) -> [u32; BARS] {
        layout::BAR_SIZES
    }

    fn has_pin(&self) -> bool {
        true
    }

    fn msix_vectors(&self) -> u32 {
        self.msix.vectors().into()
    }

    fn read_config(&mut self, offset: usize, data: &mut [u8]) {
        let window = self.config.window(offset, data.len());
        if let (Some(window), Some(width)) = (window, Width::from_bytes(data.len())) {
            let value = self.read(bar(window.bar.into()) + u64::from(window.offset), width);
            self.config
                .set_window_data(&value.to_le_bytes()[..data.len()]);
        }
        self.config.read(offset, data);
    }

    fn write_config(&mut self, offset: usize, data: &[u8]) {
        self.config.write(offset, data);
        let window = self.config.window(offset, data.len());
        if let (Some(window), Some(width)) = (window, Width::from_bytes(data.len())) {
            let mut bytes = [0; 8];
            bytes[..data.len()].copy_from_slice(data);
            let register = bar(window.bar.into()) + u64::from(window.offset);
            self.write(register, width, u64::from_le_bytes(bytes));
        }
    }

    fn fast_paths(&self) -> Vec<FastPath> {
        let registers = FastPath::Registers {
            bar: layout::REGISTER_BAR,
            offset: 0,
            size: layout::NOTIFY,
        };
        let doorbell = |event: usize| FastPath::Doorbell {
            bar: layout::REGISTER_BAR,
            offset: layout::NOTIFY + event as u64 * u64::from(layout::NOTIFY_MULTIPLIER),
            event,
        };
        let doorbells = (0..self.queues.len()).map(doorbell);
        std::iter::once(registers).chain(doorbells).collect()
    }

    fn set_memory(&mut self, memory: GuestMemoryMmap, copies: Vec<Range>) {
        self.memory = memory;
        self.remote.copies = copies;
        for queue in &mut self.queues {
            queue.ring = None;
        }
    }

    fn transfer(&self) -> Option<Transfer<'_>> {
        self.remote.transfer()
    }

    fn transferred(&mut self, number: u64, ok: bool) {
        self.take_transferred(number, ok);
    }

    fn reset(&mut self) {
        self.reset_virtio();
        let (queues, vectors) = (self.queues.len() as u32, self.msix.vectors());
        self.config = ConfigSpace::new(self.device.device_id(), queues, vectors);
        self.msix = Msix::new(vectors);
    }

    fn interrupts(&self) -> Interrupts {
        Interrupts {
            pin: self.isr != 0 && self.config.uses_pin(),
            pending: self.msix.pending,
        }
    }

    fn delivered(&mut self, vectors: u32) {
        self.msix.pending &= !vectors;
    }

    fn state(&self) -> StatePage {
        self.state.clone()
    }
}

#[cfg(test)]
mod tests;
