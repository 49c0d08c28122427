// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the driver reads: every readable register and the configuration space, published in the
//! [shadow registers](crate::shadow). A read that comes to the device is answered from there, too.
//!
//! `Status`, `InterruptStatus` and `ConfigGeneration` have no other copy. The rest follows from the
//! state page and the device.

use std::sync::atomic::Ordering;

use ioregion_wire::frame::Width;
use virtio_spec::{mmio, status};

use crate::virtio_device::VirtioDevice;

use super::half::Half;
use super::registers::{CONFIG, REGION_SIZE};
use super::VirtioMmio;

const VENDOR: u32 = u32::from_le_bytes(*b"SHNT");
const CONFIG_SIZE: usize = (REGION_SIZE - CONFIG) as usize;

/// Registers that a driver can read. All others read zero.
const READABLE: [usize; 14] = [
    mmio::MAGIC_VALUE,
    mmio::VERSION,
    mmio::DEVICE_ID,
    mmio::VENDOR_ID,
    mmio::DEVICE_FEATURES,
    mmio::QUEUE_NUM_MAX,
    mmio::QUEUE_READY,
    mmio::INTERRUPT_STATUS,
    mmio::STATUS,
    mmio::SHM_LEN_LOW,
    mmio::SHM_LEN_HIGH,
    mmio::SHM_BASE_LOW,
    mmio::SHM_BASE_HIGH,
    mmio::CONFIG_GENERATION,
];

impl<D: VirtioDevice> VirtioMmio<D> {
    /// The value of a register, `None` if it cannot be read.
    pub(super) fn read_register(&self, register: usize) -> Option<u32> {
        READABLE
            .contains(&register)
            .then(|| self.published(register))
    }

    /// Any part of the configuration space; zero beyond its end.
    pub(super) fn read_config(&self, offset: u64, width: Width) -> u64 {
        let byte = |at: u64| match offset.checked_add(at) {
            Some(offset) if offset < REGION_SIZE => self.state.shadow().load(offset, Width::Byte),
            _ => 0,
        };
        (0..width.bytes() as u64).fold(0, |value, at| value | byte(at) << (8 * at))
    }

    pub(super) fn published(&self, register: usize) -> u32 {
        self.state.shadow().load(register as u64, Width::Long) as u32
    }

    pub(super) fn publish(&self, register: usize, value: u32) {
        let shadow = self.state.shadow();
        shadow.store(register as u64, Width::Long, value.into());
    }

    /// Sets bits of a register; its value before.
    pub(super) fn set_bits(&self, register: usize, bits: u32) -> u32 {
        let shadow = self.state.shadow();
        shadow.fetch_or(register as u64, Width::Long, bits.into()) as u32
    }

    /// What never changes. The magic value comes last: a page that has it has the rest.
    pub(super) fn publish_identity(&self) {
        for register in [
            mmio::SHM_LEN_LOW,
            mmio::SHM_LEN_HIGH,
            mmio::SHM_BASE_LOW,
            mmio::SHM_BASE_HIGH,
        ] {
            // There is no shared memory region, which all ones say.
            self.publish(register, u32::MAX);
        }
        self.publish(mmio::VERSION, mmio::MODERN);
        self.publish(mmio::DEVICE_ID, self.device.device_id());
        self.publish(mmio::VENDOR_ID, VENDOR);
        self.publish(mmio::MAGIC_VALUE, mmio::MAGIC);
    }

    /// What depends on the selectors and on the selected queue.
    pub(super) fn publish_selected(&self) {
        let registers = self.state.registers();
        let half = registers.device_features_sel.load(Ordering::Relaxed);
        let features = Half::selected(half).map_or(0, |half| half.of(self.offered_features()));
        let (size, ready) = self.selected_queue().map_or((0, 0), |index| {
            let ready = registers.queues[index].ready.load(Ordering::Acquire);
            (self.queues[index].max_size.into(), ready)
        });
        self.publish(mmio::DEVICE_FEATURES, features);
        self.publish(mmio::QUEUE_NUM_MAX, size);
        self.publish(mmio::QUEUE_READY, ready);
    }

    /// The configuration space, if it differs from what is published; then `announce` says whether
    /// the driver is to be told by an interrupt.
    ///
    /// The generation is odd from before the first store until after the bit that announces the
    /// change. So the process after one that died meanwhile sees that there is something to
    /// complete and to announce.
    pub(super) fn publish_config(&self, announce: bool) {
        let shadow = self.state.shadow();
        let mut bytes = [0; CONFIG_SIZE];
        self.device.read_config(0, &mut bytes);
        let word = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0, |word, &b| word << 8 | u64::from(b))
        };
        let words = bytes.chunks_exact(4).map(word);
        let mut changed = (CONFIG..)
            .step_by(4)
            .zip(words)
            .filter(|&(offset, value)| shadow.load(offset, Width::Long) != value)
            .peekable();
        let generation = self.published(mmio::CONFIG_GENERATION);
        let was_cut_off = generation % 2 != 0;
        if changed.peek().is_none() && !was_cut_off {
            return;
        }
        let odd = generation | 1;
        self.publish(mmio::CONFIG_GENERATION, odd);
        for (offset, value) in changed {
            shadow.store(offset, Width::Long, value);
        }
        let announce = (announce || was_cut_off) && self.status() & status::DRIVER_OK != 0;
        if announce {
            self.set_bits(mmio::INTERRUPT_STATUS, mmio::interrupt::CONFIG);
        }
        self.publish(mmio::CONFIG_GENERATION, odd.wrapping_add(1));
        if announce {
            self.raise(mmio::interrupt::CONFIG);
        }
    }
}
