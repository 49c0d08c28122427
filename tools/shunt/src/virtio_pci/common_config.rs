// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The common configuration structure: virtio 1.3, section 4.1.4.3.
//!
//! A field takes accesses of its own width; those of 64 bits are two of 32. An access of another
//! kind reads zero or does nothing, and is counted.

use std::sync::atomic::Ordering;

use ioregion_wire::frame::Width;
use virtio_spec::pci::NO_VECTOR;
use virtio_spec::status;

use crate::virtio_device::VirtioDevice;
use crate::virtio_mmio::half::Half;

use super::{VirtioPci, Virtqueue};

/// Status bits that a driver can set.
const DRIVER_STATUS: u8 =
    status::ACKNOWLEDGE | status::DRIVER | status::DRIVER_OK | status::FEATURES_OK | status::FAILED;

/// A field, the halves of those of 64 bits apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    DeviceFeatureSelect,
    DeviceFeature,
    DriverFeatureSelect,
    DriverFeature,
    ConfigVector,
    NumQueues,
    Status,
    ConfigGeneration,
    QueueSelect,
    QueueSize,
    QueueVector,
    QueueEnable,
    QueueNotifyOff,
    QueueDescriptors(Half),
    QueueDriver(Half),
    QueueDevice(Half),
}

impl Field {
    /// The field that an access of this kind is for.
    fn at(offset: u64, width: Width) -> Option<Self> {
        use Width::{Byte, Long, Word};
        Some(match (offset, width) {
            (0x00, Long) => Self::DeviceFeatureSelect,
            (0x04, Long) => Self::DeviceFeature,
            (0x08, Long) => Self::DriverFeatureSelect,
            (0x0c, Long) => Self::DriverFeature,
            (0x10, Word) => Self::ConfigVector,
            (0x12, Word) => Self::NumQueues,
            (0x14, Byte) => Self::Status,
            (0x15, Byte) => Self::ConfigGeneration,
            (0x16, Word) => Self::QueueSelect,
            (0x18, Word) => Self::QueueSize,
            (0x1a, Word) => Self::QueueVector,
            (0x1c, Word) => Self::QueueEnable,
            (0x1e, Word) => Self::QueueNotifyOff,
            (0x20, Long) => Self::QueueDescriptors(Half::Low),
            (0x24, Long) => Self::QueueDescriptors(Half::High),
            (0x28, Long) => Self::QueueDriver(Half::Low),
            (0x2c, Long) => Self::QueueDriver(Half::High),
            (0x30, Long) => Self::QueueDevice(Half::Low),
            (0x34, Long) => Self::QueueDevice(Half::High),
            _ => return None,
        })
    }
}

/// The registers that are not a queue's.
#[derive(Debug)]
pub(super) struct Common {
    device_feature_select: u32,
    driver_feature_select: u32,
    pub(super) driver_features: u64,
    pub(super) config_vector: u16,
    pub(super) status: u8,
    queue_select: u16,
    pub(super) config_generation: u8,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            device_feature_select: 0,
            driver_feature_select: 0,
            driver_features: 0,
            config_vector: NO_VECTOR,
            status: 0,
            queue_select: 0,
            config_generation: 0,
        }
    }
}

impl Common {
    fn write_driver_feature(&mut self, value: u32) {
        // Fixed once the driver and the device agreed on features.
        if self.status & status::FEATURES_OK != 0 {
            return;
        }
        if let Some(half) = Half::selected(self.driver_feature_select) {
            half.replace(&mut self.driver_features, value);
        }
    }
}

impl<D: VirtioDevice> VirtioPci<D> {
    /// `None` for an access that the structure does not take.
    pub(super) fn read_common(&self, offset: u64, width: Width) -> Option<u64> {
        let common = &self.common;
        Some(match Field::at(offset, width)? {
            Field::DeviceFeatureSelect => common.device_feature_select.into(),
            Field::DeviceFeature => Half::selected(common.device_feature_select)
                .map_or(0, |half| half.of(self.offered_features()).into()),
            Field::DriverFeatureSelect => common.driver_feature_select.into(),
            Field::DriverFeature => Half::selected(common.driver_feature_select)
                .map_or(0, |half| half.of(common.driver_features).into()),
            Field::ConfigVector => common.config_vector.into(),
            Field::NumQueues => self.queues.len() as u64,
            Field::Status => common.status.into(),
            Field::ConfigGeneration => common.config_generation.into(),
            Field::QueueSelect => common.queue_select.into(),
            queue => self
                .queues
                .get(usize::from(common.queue_select))
                .map_or(0, |selected| {
                    read_queue(selected, common.queue_select, queue)
                }),
        })
    }

    /// `None` for an access that the structure does not take.
    pub(super) fn write_common(&mut self, offset: u64, width: Width, value: u64) -> Option<()> {
        let value = value as u32;
        match Field::at(offset, width)? {
            Field::DeviceFeatureSelect => self.common.device_feature_select = value,
            Field::DriverFeatureSelect => self.common.driver_feature_select = value,
            Field::DriverFeature => self.common.write_driver_feature(value),
            Field::ConfigVector => self.common.config_vector = self.vector(value),
            Field::Status => self.write_status(value as u8),
            Field::QueueSelect => self.common.queue_select = value as u16,
            Field::DeviceFeature
            | Field::NumQueues
            | Field::ConfigGeneration
            | Field::QueueNotifyOff => return None,
            queue => self.write_queue(queue, value),
        }
        Some(())
    }

    /// What a vector register keeps of what is written to it.
    fn vector(&self, value: u32) -> u16 {
        match u16::try_from(value) {
            Ok(vector) if vector < self.msix.vectors() => vector,
            _ => NO_VECTOR,
        }
    }

    /// Sets bits; zero resets. `FEATURES_OK` stays clear when the features cannot be accepted,
    /// `DRIVER_OK` without it.
    fn write_status(&mut self, value: u8) {
        if value == 0 {
            return self.reset_virtio();
        }
        let old = self.common.status;
        let mut new = old | value & DRIVER_STATUS;
        if old & status::FEATURES_OK == 0 && !self.features_acceptable() {
            new &= !status::FEATURES_OK;
        }
        if new & status::FEATURES_OK == 0 {
            new &= !status::DRIVER_OK;
        }
        self.common.status = new;
        if new & !old & status::FEATURES_OK != 0 {
            self.device.set_features(self.features());
        }
        if new & !old & status::DRIVER_OK != 0 {
            self.kick_all();
        }
    }

    fn write_queue(&mut self, field: Field, value: u32) {
        let index = usize::from(self.common.queue_select);
        let vector = self.vector(value);
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        match field {
            Field::QueueVector => queue.vector = vector,
            Field::QueueEnable if value == 1 => self.enable_queue(index),
            // Its rings are where they were while it is enabled.
            _ if queue.is_enabled => {}
            Field::QueueSize => queue.registers.size.store(value, Ordering::Relaxed),
            Field::QueueDescriptors(half) => half.store(&queue.registers.descriptors, value),
            Field::QueueDriver(half) => half.store(&queue.registers.driver_area, value),
            Field::QueueDevice(half) => half.store(&queue.registers.device_area, value),
            _ => {}
        }
    }

    /// A queue is enabled after the features are agreed on, as they shape its rings.
    fn enable_queue(&mut self, index: usize) {
        let features = self.features();
        let queue = &mut self.queues[index];
        if queue.is_enabled || self.common.status & status::FEATURES_OK == 0 {
            return;
        }
        queue.is_enabled = true;
        if let Err(e) = queue.open(&self.memory, features).map(|_| ()) {
            queue.is_enabled = false;
            self.demand_reset(&e);
        }
    }

    /// The virtio part as at first; the PCI part stays.
    pub(super) fn reset_virtio(&mut self) {
        self.common = Common::default();
        self.isr = 0;
        self.msix.pending = 0;
        self.remote.reset();
        for queue in &mut self.queues {
            *queue = Virtqueue::new(queue.max_size);
        }
    }
}

fn read_queue(queue: &Virtqueue, index: u16, field: Field) -> u64 {
    let registers = &queue.registers;
    let half = |half: Half, register: &std::sync::atomic::AtomicU64| {
        u64::from(half.of(register.load(Ordering::Relaxed)))
    };
    match field {
        Field::QueueSize => registers.size.load(Ordering::Relaxed).into(),
        Field::QueueVector => queue.vector.into(),
        Field::QueueEnable => queue.is_enabled.into(),
        Field::QueueNotifyOff => index.into(),
        Field::QueueDescriptors(which) => half(which, &registers.descriptors),
        Field::QueueDriver(which) => half(which, &registers.driver_area),
        Field::QueueDevice(which) => half(which, &registers.device_area),
        _ => 0,
    }
}
