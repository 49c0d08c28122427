// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Where the driver's queues are, as it tells the device, and lies in what the device may write
//! there. No lie has an address: the driver's other memory is out of reach even here.

use std::mem::offset_of;

use fastrand::Rng;
use virtio_spec::pci::CommonConfig;
use virtio_spec::{packed, split};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Queues that are watched.
const MOST: usize = 4;

/// Bytes of a descriptor's address, and of an entry of a used ring.
const ADDRESS: u64 = 8;

/// Most bytes that a length claims to be, when it is not just any.
const LENGTHS: u32 = 1 << 16;

/// What the driver wrote of one queue.
#[derive(Clone, Copy, Default)]
struct Queue {
    size: u16,
    descriptors: u64,
    device: u64,
}

/// The queues of a driver.
#[derive(Default)]
pub(crate) struct Queues {
    selected: usize,
    queues: [Queue; MOST],
}

impl Queues {
    /// The driver has written this to the common configuration.
    pub(crate) fn note(&mut self, offset: usize, value: u64) {
        if offset == offset_of!(CommonConfig, queue_select) {
            self.selected = value as usize;
        }
        let Some(queue) = self.queues.get_mut(self.selected) else {
            return;
        };
        let low = |old: u64| old & !0xffff_ffff | value & 0xffff_ffff;
        let high = |old: u64| old & 0xffff_ffff | value << 32;
        const DESC: usize = offset_of!(CommonConfig, queue_desc_lo);
        const DEVICE: usize = offset_of!(CommonConfig, queue_device_lo);
        const DESC_HIGH: usize = DESC + 4;
        const DEVICE_HIGH: usize = DEVICE + 4;
        const SIZE: usize = offset_of!(CommonConfig, queue_size);
        match offset {
            SIZE => queue.size = value as u16,
            DESC => queue.descriptors = low(queue.descriptors),
            DESC_HIGH => queue.descriptors = high(queue.descriptors),
            DEVICE => queue.device = low(queue.device),
            DEVICE_HIGH => queue.device = high(queue.device),
            _ => (),
        }
    }

    /// Writes a lie into one of the queues.
    pub(crate) fn lie(&self, memory: &GuestMemoryMmap, is_packed: bool, rng: &mut Rng) {
        let known = self.queues.iter().filter(|queue| queue.device != 0);
        let Some(&queue) = rng.choice(known.collect::<Vec<_>>()) else {
            return;
        };
        // What is not memory any more takes no lie.
        let _ = match (is_packed, rng.u8(0..4)) {
            (true, 0) => write(memory, queue.device, &rng.u32(..).to_le_bytes()),
            (true, _) => queue.lie_packed(memory, rng),
            (false, 0) => queue.lie_events(memory, rng),
            (false, _) => queue.lie_split(memory, rng),
        };
    }
}

impl Queue {
    /// Used descriptors that nobody has used: one, or all of them.
    fn lie_packed(&self, memory: &GuestMemoryMmap, rng: &mut Rng) -> Written {
        let slots = match rng.bool() {
            true => 0..self.size,
            false => {
                let slot = rng.u16(0..self.size.max(1));
                slot..slot + 1
            }
        };
        let used = packed::AVAIL | packed::USED;
        for slot in slots {
            let flags = match rng.u8(0..4) {
                0 => rng.u16(..),
                1 => 0,
                _ => used,
            };
            let at = self.descriptors + u64::from(slot) * packed::DESCRIPTOR as u64;
            write(memory, at + ADDRESS, &self.length(rng).to_le_bytes())?;
            write(memory, at + ADDRESS + 4, &self.id(rng).to_le_bytes()[..2])?;
            write(memory, at + ADDRESS + 6, &flags.to_le_bytes())?;
        }
        Ok(())
    }

    /// A used entry of nothing, or an index that is nowhere.
    fn lie_split(&self, memory: &GuestMemoryMmap, rng: &mut Rng) -> Written {
        let index: u16 = memory.read_obj(GuestAddress(self.device + split::INDEX as u64))?;
        let entry = usize::from(index % self.size.max(1)) * split::USED;
        let at = self.device + (split::RING + entry) as u64;
        write(memory, at, &self.id(rng).to_le_bytes())?;
        write(memory, at + 4, &self.length(rng).to_le_bytes())?;
        let index = match rng.u8(0..4) {
            0 => rng.u16(..),
            _ => index.wrapping_add(1),
        };
        write(
            memory,
            self.device + split::INDEX as u64,
            &index.to_le_bytes(),
        )
    }

    /// Whether notifications are wanted.
    fn lie_events(&self, memory: &GuestMemoryMmap, rng: &mut Rng) -> Written {
        write(memory, self.device, &rng.u16(..).to_le_bytes())?;
        let event = self.device + split::avail_event(self.size) as u64;
        write(memory, event, &rng.u16(..).to_le_bytes())
    }

    /// Of a buffer that there may be, or any.
    fn id(&self, rng: &mut Rng) -> u32 {
        match rng.u8(0..4) {
            0 => rng.u32(..),
            _ => rng.u32(0..u32::from(self.size.max(1))),
        }
    }

    fn length(&self, rng: &mut Rng) -> u32 {
        match rng.u8(0..4) {
            0 => rng.u32(..),
            _ => rng.u32(0..LENGTHS),
        }
    }
}

type Written = Result<(), vm_memory::GuestMemoryError>;

fn write(memory: &GuestMemoryMmap, at: u64, bytes: &[u8]) -> Written {
    memory.write_slice(bytes, GuestAddress(at))
}
