// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The virtio-mmio transport, version 2: virtio 1.3, section 4.2.
//!
//! All registers live in the [state page](crate::state) and in the [shadow
//! registers](crate::shadow) behind it. This file runs the queues; `registers` is the register file
//! as the driver writes it, `published` as it reads it, `rules` what KVM can do of it by itself.

pub(crate) mod half;
mod published;
mod registers;
mod rules;

use std::sync::atomic::Ordering;

use virtio_spec::features::Features;
use virtio_spec::{mmio, status};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

use crate::counters::add;
use crate::ring::{self, Ring, RingError};
use crate::state::{StatePage, MAX_QUEUES};
use crate::virtio_device::{carry_out, VirtioDevice};

pub use registers::{QUEUE_NOTIFY, REGION_SIZE};
pub use rules::rules;

const TRANSPORT_FEATURES: Features = Features::VERSION_1.with(ring::FEATURES);

/// Requests of one queue between two looks at the channels: how long a register access may wait.
const BATCH: usize = 8;

/// A virtio device behind virtio-mmio registers.
///
/// What a driver does wrong makes the device demand a reset (`DEVICE_NEEDS_RESET`) and stop until
/// it gets one.
#[derive(Debug)]
pub struct VirtioMmio<D> {
    device: D,
    memory: GuestMemoryMmap,
    state: StatePage,
    interrupt: EventFd,
    queues: Vec<Virtqueue>,
}

#[derive(Debug)]
struct Virtqueue {
    max_size: u16,
    /// While the driver has it ready.
    ring: Option<Ring>,
    /// There may be requests.
    kicked: bool,
}

impl<D: VirtioDevice> VirtioMmio<D> {
    /// Puts `device` behind registers that live in `state`, and publishes them. When a process before this one left
    /// a running device there, it resumes: queues and features as they were, requests from the
    /// first incomplete one on ([`Device::work`](crate::device::Device::work) does them), one
    /// interrupt at once.
    ///
    /// Usable in a device process (with the parts of a [`Session`](crate::session::Session)) as
    /// well as in the VMM.
    pub fn new(device: D, memory: GuestMemoryMmap, state: StatePage, interrupt: EventFd) -> Self {
        let queue = |&max_size: &u16| Virtqueue {
            max_size,
            ring: None,
            kicked: false,
        };
        let queues = device
            .queue_sizes()
            .iter()
            .take(MAX_QUEUES)
            .map(queue)
            .collect();
        add(&state.counters().attaches, 1);
        let mut transport = Self {
            device,
            memory,
            state,
            interrupt,
            queues,
        };
        transport.publish_selected();
        transport.publish_config(true);
        transport.publish_identity();
        transport.resume();
        transport
    }

    /// Takes over what another process left in the state page; nothing, if it is fresh.
    fn resume(&mut self) {
        let status = self.status();
        if status == 0 {
            return;
        }
        if let Err(e) = self.reopen_rings() {
            return self.demand_reset(&e);
        }
        if status & status::FEATURES_OK != 0 && !self.features_acceptable() {
            return self.demand_reset(&RingError::Features);
        }
        self.device.set_features(self.features());
        if status & status::DRIVER_OK != 0 {
            self.kick_all();
            self.raise(mmio::interrupt::QUEUE | needs_reset_interrupt(status));
        }
    }

    fn reopen_rings(&mut self) -> Result<(), RingError> {
        let features = self.features();
        for (queue, registers) in self.queues.iter_mut().zip(&self.state.registers().queues) {
            if registers.ready.load(Ordering::Acquire) != 0 {
                let ring = Ring::open(&self.memory, registers, queue.max_size, features)?;
                queue.ring = Some(ring);
            }
        }
        Ok(())
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
        let registers = self.state.registers();
        Features::from_bits(registers.driver_features.load(Ordering::Relaxed))
    }

    fn status(&self) -> u8 {
        self.published(mmio::STATUS) as u8
    }

    fn running(&self) -> bool {
        let stopped = status::DEVICE_NEEDS_RESET | status::FAILED;
        self.status() & (status::DRIVER_OK | stopped) == status::DRIVER_OK
    }

    fn kick_all(&mut self) {
        for queue in &mut self.queues {
            queue.kicked = true;
        }
    }

    fn kick(&mut self, index: usize) {
        if let Some(queue) = self.queues.get_mut(index) {
            queue.kicked = true;
        }
    }

    /// Sets bits of `InterruptStatus`, then interrupts: the driver finds the bits set. They are
    /// cleared with an atomic and-not, so that none set meanwhile goes with them.
    fn raise(&self, bits: u32) {
        self.set_bits(mmio::INTERRUPT_STATUS, bits);
        add(&self.state.counters().interrupts, 1);
        // It fails only when the counter is full; then there is an interrupt pending.
        let _ = self.interrupt.write(1);
    }

    /// Stops until the driver resets the device. Requests completed before are announced.
    fn demand_reset(&mut self, cause: &RingError) {
        let old = self.set_bits(mmio::STATUS, status::DEVICE_NEEDS_RESET.into()) as u8;
        add(&self.state.counters().resets_demanded, 1);
        log::warn!(
            "virtio device {} needs a reset: {cause}",
            self.device.device_id()
        );
        if old & status::DRIVER_OK != 0 {
            self.raise(mmio::interrupt::CONFIG | mmio::interrupt::QUEUE);
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
        let Some(ring) = &mut self.queues[index].ring else {
            return Ok(false);
        };
        let device = &mut self.device;
        let counters = self.state.counters();
        let registers = &self.state.registers().queues[index];
        let turn = ring.turn(
            registers,
            BATCH,
            device,
            |device| device.room_needed(index),
            |device, chain| carry_out(device, index, chain, counters),
        )?;
        if turn.interrupt {
            self.raise(mmio::interrupt::QUEUE);
        }
        if self.device.take_config_change() {
            self.publish_config(true);
        }
        Ok(turn.more)
    }
}

/// The configuration-change interrupt, if a reset was demanded: perhaps it was not sent.
fn needs_reset_interrupt(status: u8) -> u32 {
    if status & status::DEVICE_NEEDS_RESET != 0 {
        mmio::interrupt::CONFIG
    } else {
        0
    }
}

#[cfg(test)]
mod tests;
