// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A virtqueue while the driver has it ready: requests in, completions out, in order.
//!
//! [`lookahead`] finds out what a request will need of memory.

mod lookahead;

use std::sync::atomic::Ordering;

use virtio_ring::device::{self, BadRing, Broken, Progress, Settings};
use virtio_ring::memory::Areas;
use virtio_ring::segment::Segment;
use virtio_spec::features::Features;
use virtio_spec::{packed, split};
use vm_memory::GuestMemoryMmap;

use crate::chain::{BadChain, Chain};
use crate::guest_area::{GuestArea, GuestTables};
use crate::state::QueueRegisters;

pub(crate) use lookahead::{Lookahead, Piece};

/// What every ring of ours can do, so that all transports offer it.
pub(crate) const FEATURES: Features = Features::INDIRECT_DESC.with(Features::EVENT_IDX);

/// Why a device cannot go on: something that the driver did.
#[derive(Debug)]
pub(crate) enum RingError {
    /// There can be no such ring.
    Bad(BadRing),
    /// An index, or a chain of descriptors.
    Broken(Broken),
    /// A part of the ring lies outside guest memory, or is not aligned.
    OutsideMemory,
    /// The driver chose features that the device, since it was restarted, does not offer.
    Features,
    /// One request.
    Chain(BadChain),
    /// It was the device: [`VirtioDevice::must_reset`](crate::virtio_device::VirtioDevice::must_reset).
    Device,
}

impl std::fmt::Display for RingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bad(e) => write!(f, "bad ring: {e:?}"),
            Self::Broken(e) => write!(f, "broken ring: {e:?}"),
            Self::OutsideMemory => write!(f, "a ring outside guest memory, or not aligned"),
            Self::Features => write!(f, "features that are no longer offered"),
            Self::Chain(e) => write!(f, "bad request: {e:?}"),
            Self::Device => write!(f, "the device cannot go on"),
        }
    }
}

impl From<BadRing> for RingError {
    fn from(e: BadRing) -> Self {
        Self::Bad(e)
    }
}

impl From<Broken> for RingError {
    fn from(e: Broken) -> Self {
        Self::Broken(e)
    }
}

impl From<BadChain> for RingError {
    fn from(e: BadChain) -> Self {
        Self::Chain(e)
    }
}

#[derive(Debug)]
pub(crate) struct Ring {
    ring: device::Ring<GuestArea>,
    memory: GuestMemoryMmap,
    /// Room for those of one message.
    segments: Vec<Segment>,
    /// Buffers for the next message, whose segments are the first ones.
    taken: Vec<device::Chain>,
}

/// What became of a [`Ring::turn`].
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// There are more requests.
    pub(crate) more: bool,
    /// The driver wants an interrupt.
    pub(crate) interrupt: bool,
}

impl Ring {
    /// The ring that the registers describe, where the [progress](Progress) in them says: at its
    /// beginning, if the driver has just made it ready.
    pub(crate) fn open(
        memory: &GuestMemoryMmap,
        registers: &QueueRegisters,
        max_size: u16,
        features: Features,
    ) -> Result<Self, RingError> {
        let settings = settings(registers, max_size, features)?;
        let areas = areas(memory, registers, &settings).ok_or(RingError::OutsideMemory)?;
        let progress = Progress::from_word(registers.progress.load(Ordering::Acquire));
        Ok(Self {
            ring: device::Ring::resume(settings, areas, progress)?,
            memory: memory.clone(),
            segments: vec![Segment::default(); settings.size.into()],
            taken: Vec::new(),
        })
    }

    /// Hands up to `batch` messages to `handle`, which answers how many bytes of the writable
    /// part it wrote. `room` says, before each, how much room for writing the next one needs at least, and
    /// `None` if there is none to come: it gets buffers until there is that much, at least one. Each is
    /// complete before the next is looked at: that is what makes the progress tell the truth after
    /// a crash. It does not if the crash comes while several buffers of a packed ring are given back:
    /// the driver's descriptors behind the first one are gone then, and the queue needs a reset.
    pub(crate) fn turn<D>(
        &mut self,
        registers: &QueueRegisters,
        batch: usize,
        device: &mut D,
        room: impl Fn(&mut D) -> Option<u32>,
        handle: impl Fn(&mut D, &Chain<'_>) -> Result<u32, RingError>,
    ) -> Result<Turn, RingError> {
        let mut turn = Turn::default();
        let mut done = 0;
        self.ring.disable_notifications();
        while let Some(room) = room(device) {
            if done == batch {
                turn.more = true;
                break;
            }
            if self.take(room)? {
                let length = handle(device, &self.chain()?)?;
                turn.interrupt |= self.give_back(registers, length);
                done += 1;
            } else if !self.ring.enable_notifications() {
                break;
            }
        }
        let progress = self.ring.progress().to_word();
        registers.progress.store(progress, Ordering::Release);
        Ok(turn)
    }

    /// Takes buffers until there is this much room in them, at least one. Whether there is.
    fn take(&mut self, room: u32) -> Result<bool, RingError> {
        loop {
            let has: u64 = self.taken.iter().map(|chain| u64::from(chain.room)).sum();
            if !self.taken.is_empty() && has >= room.into() {
                return Ok(true);
            }
            let used: usize = self.taken.iter().map(count).sum();
            let tables = GuestTables(&self.memory);
            match self.ring.pop(&tables, &mut self.segments[used..])? {
                Some(chain) => self.taken.push(chain),
                None => return Ok(false),
            }
        }
    }

    /// The buffers taken, as one. Only the first one can have something to read.
    fn chain(&self) -> Result<Chain<'_>, BadChain> {
        let used: usize = self.taken.iter().map(count).sum();
        let readable = self.taken.first().map_or(0, |chain| chain.readable);
        let (readable, writable) = self.segments[..used].split_at(readable);
        Chain::new(&self.memory, readable, writable, self.taken.len())
    }

    /// Gives all buffers taken back at once, with `length` bytes written. Whether the driver wants
    /// an interrupt.
    fn give_back(&mut self, registers: &QueueRegisters, mut length: u32) -> bool {
        let progress = self.ring.completing(&self.taken).to_word();
        registers.progress.store(progress, Ordering::Release);
        for chain in self.taken.drain(..) {
            let written = length.min(chain.room);
            self.ring.complete(chain, written);
            length -= written;
        }
        self.ring.publish()
    }
}

fn count(chain: &device::Chain) -> usize {
    chain.readable + chain.writable
}

fn settings(
    registers: &QueueRegisters,
    max_size: u16,
    features: Features,
) -> Result<Settings, RingError> {
    let size = registers.size.load(Ordering::Relaxed);
    match u16::try_from(size) {
        Ok(size) if size <= max_size => Ok(Settings {
            queue: 0,
            size,
            features,
        }),
        other => Err(BadRing::Size(other.unwrap_or(u16::MAX)).into()),
    }
}

/// Sizes and alignments: virtio 1.3, sections 2.7 and 2.8.10.
fn areas(
    memory: &GuestMemoryMmap,
    registers: &QueueRegisters,
    settings: &Settings,
) -> Option<Areas<GuestArea>> {
    let size = settings.size;
    let [descriptors, driver, device] = match settings.features.has(Features::RING_PACKED) {
        true => [
            (packed::descriptor_area(size), 16),
            (packed::EVENT, 4),
            (packed::EVENT, 4),
        ],
        false => [
            (split::descriptor_area(size), 16),
            (split::driver_area(size), 2),
            (split::device_area(size), 4),
        ],
    };
    let area = |register: &std::sync::atomic::AtomicU64, (bytes, alignment)| {
        GuestArea::new(memory, register.load(Ordering::Relaxed), bytes, alignment)
    };
    Some(Areas {
        descriptors: area(&registers.descriptors, descriptors)?,
        driver: area(&registers.driver_area, driver)?,
        device: area(&registers.device_area, device)?,
    })
}
