// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A virtqueue while the driver has it ready: requests in, completions out, in order.

use std::sync::atomic::Ordering;

use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::chain::{BadChain, Chain};
use crate::pci::Range;
use crate::state::QueueRegisters;

/// Why a device cannot go on: something that the driver did.
#[derive(Debug)]
pub(crate) enum RingError {
    /// The ring itself: size, addresses, or an index that runs ahead.
    Ring(virtio_queue::Error),
    /// A part of the ring lies outside guest memory.
    OutsideMemory,
    /// The driver chose features that the device, since it was restarted, does not offer.
    Features,
    /// One request.
    Chain(BadChain),
}

impl std::fmt::Display for RingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ring(e) => write!(f, "bad ring: {e}"),
            Self::OutsideMemory => write!(f, "a ring outside guest memory"),
            Self::Features => write!(f, "features that are no longer offered"),
            Self::Chain(e) => write!(f, "bad request: {e:?}"),
        }
    }
}

impl From<virtio_queue::Error> for RingError {
    fn from(e: virtio_queue::Error) -> Self {
        Self::Ring(e)
    }
}

impl From<BadChain> for RingError {
    fn from(e: BadChain) -> Self {
        Self::Chain(e)
    }
}

#[derive(Debug)]
pub(crate) struct Ring {
    queue: Queue,
}

/// A request, to be completed under its head index.
#[derive(Debug)]
struct Request<'m> {
    head: u16,
    chain: Chain<'m>,
}

/// Where a ring lies: virtio 1.3, section 2.7.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Areas {
    descriptors: u64,
    driver: u64,
    device: u64,
    size: u16,
    next_avail: u16,
}

impl Areas {
    /// The descriptor table.
    pub(crate) fn descriptors(&self) -> Range {
        self.range(self.descriptors, 16, 0)
    }

    /// The available ring.
    pub(crate) fn driver(&self) -> Range {
        self.range(self.driver, 2, 6)
    }

    /// The used ring.
    pub(crate) fn used(&self) -> Range {
        self.range(self.device, 8, 6)
    }

    fn range(&self, address: u64, each: u64, more: u64) -> Range {
        Range {
            address,
            length: each * u64::from(self.size) + more,
        }
    }

    /// The first descriptor of the next request, if there is one.
    pub(crate) fn next_head(&self, memory: &GuestMemoryMmap) -> Option<u16> {
        let read = |offset| {
            memory
                .read_obj::<u16>(GuestAddress(self.driver + offset))
                .ok()
        };
        if read(2)? == self.next_avail {
            return None;
        }
        read(4 + 2 * u64::from(self.next_avail % self.size))
    }
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
    /// The ring that the registers describe, all of it in guest memory. Its indices are zero.
    fn open(
        memory: &GuestMemoryMmap,
        registers: &QueueRegisters,
        max_size: u16,
        event_idx: bool,
    ) -> Result<Self, RingError> {
        let mut queue = Queue::new(max_size)?;
        let size = registers.size.load(Ordering::Relaxed);
        let size = u16::try_from(size).map_err(|_| virtio_queue::Error::InvalidSize)?;
        let address = |register: &std::sync::atomic::AtomicU64| {
            GuestAddress(register.load(Ordering::Relaxed))
        };
        queue.try_set_size(size)?;
        queue.try_set_desc_table_address(address(&registers.descriptors))?;
        queue.try_set_avail_ring_address(address(&registers.driver_area))?;
        queue.try_set_used_ring_address(address(&registers.device_area))?;
        queue.set_event_idx(event_idx);
        queue.set_ready(true);
        if !queue.is_valid(memory) {
            return Err(RingError::OutsideMemory);
        }
        Ok(Self { queue })
    }

    /// A ring that the driver just made ready. The used index begins at zero; the device stores
    /// it, so that [`resume`](Self::resume) finds the truth there even if the driver did not
    /// clear its memory.
    pub(crate) fn start(
        memory: &GuestMemoryMmap,
        registers: &QueueRegisters,
        max_size: u16,
        event_idx: bool,
    ) -> Result<Self, RingError> {
        let ring = Self::open(memory, registers, max_size, event_idx)?;
        // The address cannot wrap: `open` checked that the whole used ring is in guest memory.
        let used_idx = GuestAddress(ring.queue.used_ring() + 2);
        memory
            .store(0u16, used_idx, Ordering::Relaxed)
            .map_err(|_| RingError::OutsideMemory)?;
        Ok(ring)
    }

    /// A ring that another process worked on: everything before the used index is complete, and
    /// nothing else.
    pub(crate) fn resume(
        memory: &GuestMemoryMmap,
        registers: &QueueRegisters,
        max_size: u16,
        event_idx: bool,
    ) -> Result<Self, RingError> {
        let mut ring = Self::open(memory, registers, max_size, event_idx)?;
        let used = ring.queue.used_idx(memory, Ordering::Acquire)?.0;
        ring.queue.set_next_avail(used);
        ring.queue.set_next_used(used);
        Ok(ring)
    }

    /// Hands up to `batch` requests to `handle`, which answers how many bytes of the writable
    /// part it wrote. Each is complete before the next is looked at: that is what makes the used
    /// index tell the truth after a crash.
    pub(crate) fn turn(
        &mut self,
        memory: &GuestMemoryMmap,
        batch: usize,
        mut handle: impl FnMut(&Chain<'_>) -> Result<u32, BadChain>,
    ) -> Result<Turn, RingError> {
        let mut done = 0;
        self.quiet(memory)?;
        let more = loop {
            if done == batch {
                break true;
            }
            if let Some(request) = self.next(memory)? {
                let length = handle(&request.chain)?;
                self.complete(memory, request.head, length)?;
                done += 1;
            } else if !self.listen(memory)? {
                break false;
            }
        };
        let interrupt = done > 0 && self.interrupt_wanted(memory)?;
        Ok(Turn { more, interrupt })
    }

    /// Where it lies.
    pub(crate) fn areas(&self) -> Areas {
        Areas {
            descriptors: self.queue.desc_table(),
            driver: self.queue.avail_ring(),
            device: self.queue.used_ring(),
            size: self.queue.size(),
            next_avail: self.queue.next_avail(),
        }
    }

    /// The next request, if the driver has made one available.
    fn next<'m>(&mut self, memory: &'m GuestMemoryMmap) -> Result<Option<Request<'m>>, RingError> {
        let Some(descriptors) = self.queue.iter(memory)?.next() else {
            return Ok(None);
        };
        Ok(Some(Request {
            head: descriptors.head_index(),
            chain: Chain::parse(memory, descriptors)?,
        }))
    }

    /// Gives a request back to the driver, `length` bytes of its writable part written.
    fn complete(
        &mut self,
        memory: &GuestMemoryMmap,
        head: u16,
        length: u32,
    ) -> Result<(), RingError> {
        Ok(self.queue.add_used(memory, head, length)?)
    }

    /// The driver wants an interrupt for what was completed since the last call.
    fn interrupt_wanted(&mut self, memory: &GuestMemoryMmap) -> Result<bool, RingError> {
        Ok(self.queue.needs_notification(memory)?)
    }

    /// Asks the driver for no notifications, while the device looks anyway.
    fn quiet(&mut self, memory: &GuestMemoryMmap) -> Result<(), RingError> {
        Ok(self.queue.disable_notification(memory)?)
    }

    /// Asks the driver for a notification of the next request. True: one came meanwhile.
    fn listen(&mut self, memory: &GuestMemoryMmap) -> Result<bool, RingError> {
        Ok(self.queue.enable_notification(memory)?)
    }
}
