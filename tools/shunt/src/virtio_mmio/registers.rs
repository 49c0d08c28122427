// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The register file as the driver writes it: virtio 1.3, section 4.2.2.
//!
//! Registers are 4 bytes wide at multiples of 4; an access of another kind reads zero or does
//! nothing, and is counted. The configuration space takes any access.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};

use ioregion_wire::frame::Width;
use virtio_spec::features::Features;
use virtio_spec::{mmio, status};

use crate::counters::add;
use crate::device::Device;
use crate::ring::Ring;
use crate::state::QueueRegisters;
use crate::virtio_device::VirtioDevice;

use super::half::Half;
use super::VirtioMmio;

/// Bytes of guest memory that the registers and the configuration space take.
pub const REGION_SIZE: u64 = 4096;

/// Offset of the `QueueNotify` register: what an ioeventfd in the region goes to.
pub const QUEUE_NOTIFY: u64 = mmio::QUEUE_NOTIFY as u64;

pub(super) const CONFIG: u64 = mmio::CONFIG as u64;

/// Status bits that a driver can set.
const DRIVER_STATUS: u8 =
    status::ACKNOWLEDGE | status::DRIVER | status::DRIVER_OK | status::FEATURES_OK | status::FAILED;

impl<D: VirtioDevice> Device for VirtioMmio<D> {
    fn read(&mut self, offset: u64, width: Width) -> u64 {
        if offset >= CONFIG {
            return self.read_config(offset, width);
        }
        if offset == mmio::INTERRUPT_STATUS as u64 {
            add(&self.state.counters().interrupt_status_reads, 1);
        }
        let value = aligned(offset, width).and_then(|register| self.read_register(register));
        value.map_or_else(|| self.count_bad_access(), u64::from)
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) {
        if let Some(position) = offset.checked_sub(CONFIG) {
            let bytes = value.to_le_bytes();
            self.device.write_config(position, &bytes[..width.bytes()]);
            let announce = self.device.take_config_change();
            return self.publish_config(announce);
        }
        let done =
            aligned(offset, width).and_then(|register| self.write_register(register, value as u32));
        if done.is_none() {
            self.count_bad_access();
        }
    }

    fn notified(&mut self, queue: usize) {
        add(&self.state.counters().notify_eventfd, 1);
        self.kick(queue);
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        self.device.input()
    }

    fn input_ready(&mut self) {
        for queue in self.device.ready_queues() {
            self.kick(queue);
        }
    }

    fn work(&mut self) -> bool {
        self.run_queues()
    }
}

/// The register at `offset`, if the access is of the only kind that registers take.
fn aligned(offset: u64, width: Width) -> Option<usize> {
    match (offset % 4, width) {
        (0, Width::Long) => usize::try_from(offset).ok(),
        _ => None,
    }
}

fn get(register: &AtomicU32) -> u32 {
    register.load(Ordering::Acquire)
}

impl<D: VirtioDevice> VirtioMmio<D> {
    /// Zero, which is what such a read yields.
    fn count_bad_access(&self) -> u64 {
        add(&self.state.counters().bad_accesses, 1);
        0
    }

    /// Carries out a write; `None` for a register that does not exist or cannot be written. What
    /// it changes of other registers is published when it returns.
    fn write_register(&mut self, register: usize, value: u32) -> Option<()> {
        match register {
            mmio::QUEUE_NOTIFY => {
                add(&self.state.counters().notify_register, 1);
                self.kick(self.notified_queue(value));
            }
            mmio::INTERRUPT_ACK => {
                add(&self.state.counters().interrupt_acks, 1);
                self.acknowledge(value);
            }
            _ => {
                self.write_setting(register, value)?;
                self.publish_selected();
            }
        }
        Some(())
    }

    /// With `VIRTIO_F_NOTIFICATION_DATA`, upper bits say where in the ring: virtio 1.3, section 2.9.
    fn notified_queue(&self, value: u32) -> usize {
        match self.features().has(Features::NOTIFICATION_DATA) {
            true => usize::from(value as u16),
            false => value as usize,
        }
    }

    /// Does what KVM's rule for this register does.
    fn acknowledge(&self, bits: u32) {
        let register = mmio::INTERRUPT_STATUS as u64;
        let shadow = self.state.shadow();
        shadow.clear(register, Width::Long, bits.into());
    }

    /// Stores what configures the device.
    fn write_setting(&mut self, register: usize, value: u32) -> Option<()> {
        let registers = self.state.registers();
        match register {
            mmio::DEVICE_FEATURES_SEL => {
                registers
                    .device_features_sel
                    .store(value, Ordering::Relaxed);
            }
            mmio::DRIVER_FEATURES_SEL => {
                registers
                    .driver_features_sel
                    .store(value, Ordering::Relaxed);
            }
            mmio::DRIVER_FEATURES => self.write_driver_features(value),
            mmio::QUEUE_SEL => registers.queue_sel.store(value, Ordering::Relaxed),
            mmio::QUEUE_READY => self.write_queue_ready(value),
            mmio::STATUS => self.write_status(value),
            mmio::SHM_SEL => {}
            _ => return self.write_queue_register(register, value),
        }
        Some(())
    }

    pub(super) fn selected_queue(&self) -> Option<usize> {
        let index = get(&self.state.registers().queue_sel) as usize;
        (index < self.queues.len()).then_some(index)
    }

    /// A queue's set-up registers; fixed while the queue is ready.
    fn write_queue_register(&self, register: usize, value: u32) -> Option<()> {
        let store: fn(&QueueRegisters, u32) = match register {
            mmio::QUEUE_NUM => |queue, size| queue.size.store(size, Ordering::Relaxed),
            mmio::QUEUE_DESC_LOW => |queue, low| Half::Low.store(&queue.descriptors, low),
            mmio::QUEUE_DESC_HIGH => |queue, high| Half::High.store(&queue.descriptors, high),
            mmio::QUEUE_DRIVER_LOW => |queue, low| Half::Low.store(&queue.driver_area, low),
            mmio::QUEUE_DRIVER_HIGH => |queue, high| Half::High.store(&queue.driver_area, high),
            mmio::QUEUE_DEVICE_LOW => |queue, low| Half::Low.store(&queue.device_area, low),
            mmio::QUEUE_DEVICE_HIGH => |queue, high| Half::High.store(&queue.device_area, high),
            _ => return None,
        };
        if let Some(index) = self.selected_queue() {
            let queue = &self.state.registers().queues[index];
            if get(&queue.ready) == 0 {
                store(queue, value);
            }
        }
        Some(())
    }

    /// Fixed once the driver and the device agreed on features.
    fn write_driver_features(&self, value: u32) {
        let registers = self.state.registers();
        if self.status() & status::FEATURES_OK != 0 {
            return;
        }
        if let Some(half) = Half::selected(get(&registers.driver_features_sel)) {
            half.store(&registers.driver_features, value);
        }
    }

    /// A queue becomes ready after the features are agreed on, as they shape its rings.
    fn write_queue_ready(&mut self, value: u32) {
        let Some(index) = self.selected_queue() else {
            return;
        };
        let registers = &self.state.registers().queues[index];
        let queue = &mut self.queues[index];
        if value == 0 {
            registers.ready.store(0, Ordering::Release);
            queue.ring = None;
        } else if queue.ring.is_none() && self.status() & status::FEATURES_OK != 0 {
            self.start_queue(index);
        }
    }

    fn start_queue(&mut self, index: usize) {
        let registers = &self.state.registers().queues[index];
        let max_size = self.queues[index].max_size;
        registers.progress.store(0, Ordering::Relaxed);
        match Ring::open(&self.memory, registers, max_size, self.features()) {
            Ok(ring) => {
                registers.ready.store(1, Ordering::Release);
                self.queues[index].ring = Some(ring);
            }
            Err(e) => self.demand_reset(&e),
        }
    }

    /// Sets bits; zero resets. `FEATURES_OK` stays clear when the features cannot be accepted,
    /// `DRIVER_OK` without it.
    fn write_status(&mut self, value: u32) {
        if value == 0 {
            return self.reset();
        }
        let old = self.status();
        let mut new = old | value as u8 & DRIVER_STATUS;
        if old & status::FEATURES_OK == 0 && !self.features_acceptable() {
            new &= !status::FEATURES_OK;
        }
        if new & status::FEATURES_OK == 0 {
            new &= !status::DRIVER_OK;
        }
        self.publish(mmio::STATUS, new.into());
        if new & !old & status::FEATURES_OK != 0 {
            self.device.set_features(self.features());
        }
        if new & !old & status::DRIVER_OK != 0 {
            self.kick_all();
        }
    }

    /// Everything as at first, except the configuration generation, which only grows. Status
    /// goes last: while it is not zero, a reset is not over.
    fn reset(&mut self) {
        for queue in &mut self.queues {
            queue.ring = None;
            queue.kicked = false;
        }
        let registers = self.state.registers();
        for queue in &registers.queues {
            queue.ready.store(0, Ordering::Release);
            queue.size.store(0, Ordering::Relaxed);
            for area in [&queue.descriptors, &queue.driver_area, &queue.device_area] {
                area.store(0, Ordering::Relaxed);
            }
        }
        for selector in [
            &registers.device_features_sel,
            &registers.driver_features_sel,
            &registers.queue_sel,
        ] {
            selector.store(0, Ordering::Relaxed);
        }
        registers.driver_features.store(0, Ordering::Relaxed);
        self.publish_selected();
        self.publish(mmio::INTERRUPT_STATUS, 0);
        self.publish(mmio::STATUS, 0);
    }
}
