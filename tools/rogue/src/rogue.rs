// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A PCI device that lies now and then.
//!
//! It does what a real one does until it lies. After that it does nothing more, because it would not
//! know what is true itself, until the driver resets it: for that it asks, or leaves the driver
//! to find out.

use std::mem::offset_of;

use fastrand::Rng;
use ioregion_wire::frame::Width;
use shunt::device::Device;
use shunt::pci::{FastPath, Interrupts, PciDevice, Range, Transfer, BARS};
use shunt::state::StatePage;
use shunt::virtio_pci::layout;
use virtio_spec::features::Features;
use virtio_spec::pci::CommonConfig;
use virtio_spec::status;
use vm_memory::GuestMemoryMmap;

use crate::queues::Queues;

/// One of so many pieces of work is followed by a lie.
const HONEST: u32 = 24;

/// Most lies at a time.
const MOST: u32 = 8;

/// One of so many resets makes the device lie at once after this and the next resets.
const STUBBORN: u32 = 24;
const STUBBORN_RESETS: u32 = 20;

/// Most reads of the configuration, and of the status, that are answered by noise.
const NOISY_CONFIG: u32 = 200;
const NOISY_STATUS: u32 = 8;

const STATUS: u64 = layout::COMMON + offset_of!(CommonConfig, device_status) as u64;
const FEATURE_SELECT: u64 = layout::COMMON + offset_of!(CommonConfig, driver_feature_select) as u64;
const FEATURES: u64 = layout::COMMON + offset_of!(CommonConfig, driver_feature) as u64;

/// What it is up to.
#[derive(Default)]
struct Mood {
    has_lied: bool,
    /// Asks for a reset.
    asks: bool,
    /// Resets after which it lies at once.
    stubborn: u32,
    noisy_config: u32,
    noisy_status: u32,
}

/// A device that lies.
pub(crate) struct Rogue<D> {
    device: D,
    memory: GuestMemoryMmap,
    rng: Rng,
    queues: Queues,
    features: [u32; 2],
    feature_select: usize,
    works: bool,
    /// Interrupts for no reason.
    pending: u32,
    mood: Mood,
}

impl<D: PciDevice> Rogue<D> {
    pub(crate) fn new(device: D, rng: Rng) -> Self {
        Self {
            device,
            memory: GuestMemoryMmap::default(),
            rng,
            queues: Queues::default(),
            features: [0; 2],
            feature_select: 0,
            works: false,
            pending: 0,
            mood: Mood::default(),
        }
    }

    fn lie(&mut self) {
        let [low, high] = self.features.map(u64::from);
        let is_packed = Features::from_bits(low | high << 32).has(Features::RING_PACKED);
        for _ in 0..self.rng.u32(1..=MOST) {
            self.queues.lie(&self.memory, is_packed, &mut self.rng);
        }
        self.mood.has_lied = true;
        self.mood.asks = self.rng.u8(0..4) > 0;
        if self.rng.u8(0..4) == 0 {
            self.mood.noisy_config = self.rng.u32(0..NOISY_CONFIG);
            self.mood.noisy_status = self.rng.u32(0..NOISY_STATUS);
        }
        let all = (1 << self.device.msix_vectors()) - 1;
        self.pending = if self.mood.asks {
            all
        } else {
            self.rng.u32(..) & all
        };
    }

    fn start_afresh(&mut self) {
        let stubborn = match self.mood.stubborn {
            0 if self.rng.u32(0..STUBBORN) == 0 => STUBBORN_RESETS,
            rest => rest.saturating_sub(1),
        };
        self.mood = Mood {
            stubborn,
            noisy_config: self.mood.noisy_config,
            ..Mood::default()
        };
        self.queues = Queues::default();
        self.works = false;
    }

    fn note(&mut self, offset: u64, value: u64) {
        match offset {
            STATUS if value == 0 => self.start_afresh(),
            STATUS => self.works = value as u8 & status::DRIVER_OK != 0,
            FEATURE_SELECT => self.feature_select = value as usize,
            FEATURES => {
                if let Some(half) = self.features.get_mut(self.feature_select) {
                    *half = value as u32;
                }
            }
            _ if offset < layout::COMMON + layout::PAGE => {
                self.queues.note((offset - layout::COMMON) as usize, value);
            }
            _ => (),
        }
    }
}

/// Whether there is one more; it is taken.
fn take(number: &mut u32) -> bool {
    let is_left = *number > 0;
    *number = number.saturating_sub(1);
    is_left
}

impl<D: PciDevice> Device for Rogue<D> {
    fn read(&mut self, offset: u64, width: Width) -> u64 {
        let value = self.device.read(offset, width);
        let is_config = (layout::DEVICE..layout::DEVICE + layout::PAGE).contains(&offset);
        match offset {
            STATUS if take(&mut self.mood.noisy_status) => self.rng.u64(..),
            STATUS if self.mood.asks => value | u64::from(status::DEVICE_NEEDS_RESET),
            _ if is_config && take(&mut self.mood.noisy_config) => self.rng.u64(..),
            _ => value,
        }
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) {
        self.note(offset, value);
        self.device.write(offset, width, value);
    }

    fn notified(&mut self, index: usize) {
        self.device.notified(index);
    }

    fn work(&mut self) -> bool {
        if self.mood.has_lied {
            return false;
        }
        let more = self.device.work();
        let is_time = self.mood.stubborn > 0 || self.rng.u32(0..HONEST) == 0;
        if self.works && is_time {
            self.lie();
            return false;
        }
        more
    }
}

impl<D: PciDevice> PciDevice for Rogue<D> {
    fn bar_sizes(&self) -> [u32; BARS] {
        self.device.bar_sizes()
    }

    fn has_pin(&self) -> bool {
        self.device.has_pin()
    }

    fn msix_vectors(&self) -> u32 {
        self.device.msix_vectors()
    }

    fn read_config(&mut self, offset: usize, data: &mut [u8]) {
        self.device.read_config(offset, data);
    }

    fn write_config(&mut self, offset: usize, data: &[u8]) {
        self.device.write_config(offset, data);
    }

    /// None: each access is to come here.
    fn fast_paths(&self) -> Vec<FastPath> {
        Vec::new()
    }

    fn set_memory(&mut self, memory: GuestMemoryMmap, copies: Vec<Range>) {
        self.memory = memory.clone();
        self.device.set_memory(memory, copies);
    }

    fn transfer(&self) -> Option<Transfer<'_>> {
        self.device.transfer()
    }

    fn transferred(&mut self, number: u64, ok: bool) {
        self.device.transferred(number, ok);
    }

    fn reset(&mut self) {
        self.start_afresh();
        self.device.reset();
    }

    fn interrupts(&self) -> Interrupts {
        let interrupts = self.device.interrupts();
        Interrupts {
            pending: interrupts.pending | self.pending,
            ..interrupts
        }
    }

    fn delivered(&mut self, vectors: u32) {
        self.pending &= !vectors;
        self.device.delivered(vectors);
    }

    fn state(&self) -> StatePage {
        self.device.state()
    }
}
