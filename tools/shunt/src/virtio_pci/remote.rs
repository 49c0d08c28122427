// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Queues in memory that the device cannot map, but only have read and written for it.
//!
//! The device works on *copies*: parts of its memory that are private to it. It takes one request
//! at a time, in rounds:
//!
//! ```text
//! fetch       the available ring; then the descriptors; then an indirect table; then what is to
//!             be read of the request
//! turn        the request is done, on the copies
//! write back  the buffers, the used ring behind its index, its index
//! interrupt
//! ```
//!
//! What the driver wants to be told of may have changed since the copy was made. So the driver is
//! interrupted after every request; and when there was none, it is asked for notifications, and
//! the rings are fetched once more before the queue rests.

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::pci::{Direction, Range, Transfer};
use crate::ring::{Areas, RingError};
use crate::virtio_device::VirtioDevice;

use super::{VirtioPci, ISR_QUEUE};

const DESCRIPTOR: u64 = 16;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// Where the index of a used ring ends.
const USED_HEAD: u64 = 4;

/// How far the round is.
#[derive(Debug, Default)]
pub(super) struct Remote {
    /// The parts of memory that are copies.
    pub(super) copies: Vec<Range>,
    /// The queue that the round is for.
    queue: Option<usize>,
    /// What has been fetched in this round.
    fetched: Vec<Range>,
    direction: Option<Direction>,
    /// What the round waits for.
    ranges: Vec<Range>,
    /// Of the transfer.
    number: u64,
    /// The vector to raise when all is written back.
    vector: Option<u16>,
}

impl Remote {
    /// Forgets the round.
    pub(super) fn reset(&mut self) {
        let copies = std::mem::take(&mut self.copies);
        *self = Self {
            copies,
            number: self.number,
            ..Self::default()
        };
    }

    pub(super) fn transfer(&self) -> Option<Transfer<'_>> {
        Some(Transfer {
            number: self.number,
            direction: self.direction?,
            ranges: &self.ranges,
        })
    }

    fn begin(&mut self, direction: Direction, ranges: Vec<Range>) {
        self.number += 1;
        self.direction = Some(direction);
        self.ranges = ranges;
    }

    fn is_copy(&self, range: &Range) -> bool {
        self.copies.iter().any(|copy| copy.overlaps(range))
    }
}

impl<D: VirtioDevice> VirtioPci<D> {
    /// Goes on with the queues as far as that is possible without waiting. True: there is more.
    pub(super) fn run_remote_queues(&mut self) -> bool {
        if !self.running() || self.remote.direction.is_some() {
            return false;
        }
        let Some(index) = self.remote.queue.or_else(|| self.begin_round()) else {
            return false;
        };
        if let Err(e) = self.run_round(index) {
            self.remote.reset();
            self.demand_reset(&e);
        }
        self.remote.direction.is_none() && self.running()
    }

    /// A notification that comes from now on makes another round.
    fn begin_round(&mut self) -> Option<usize> {
        let index = self.queues.iter().position(|queue| queue.kicked)?;
        self.queues[index].kicked = false;
        self.remote.queue = Some(index);
        Some(index)
    }

    fn run_round(&mut self, index: usize) -> Result<(), RingError> {
        let Some(ring) = &self.queues[index].ring else {
            self.remote.reset();
            return Ok(());
        };
        let areas = ring.areas();
        let needed = Needed::of(&self.memory, &areas, &self.remote);
        if !needed.read.is_empty() {
            self.remote.begin(Direction::Fetch, needed.read);
            return Ok(());
        }
        let did = self.do_one(index)?;
        self.settle(index, did, &areas, needed.write);
        Ok(())
    }

    /// Decides what comes after a turn.
    fn settle(&mut self, index: usize, did: bool, areas: &Areas, buffers: Vec<Range>) {
        let queue = &mut self.queues[index];
        let was_last_look = std::mem::replace(&mut queue.is_last_look, !did);
        if did || !was_last_look {
            queue.kicked = true;
        } else {
            queue.is_last_look = false;
        }
        let used = areas.used();
        let rest = Range {
            address: used.address + USED_HEAD,
            length: used.length - USED_HEAD,
        };
        let head = Range {
            address: used.address,
            length: USED_HEAD,
        };
        let vector = did.then_some(queue.vector);
        let mut written: Vec<Range> = buffers.into_iter().chain([rest, head]).collect();
        written.retain(|range| self.remote.is_copy(range));
        self.remote.reset();
        self.remote.vector = vector;
        if written.is_empty() {
            self.finish_round();
        } else {
            self.remote.begin(Direction::WriteBack, written);
        }
    }

    fn finish_round(&mut self) {
        let vector = self.remote.vector;
        self.remote.reset();
        if let Some(vector) = vector {
            self.raise(ISR_QUEUE, vector);
        }
    }

    pub(super) fn take_transferred(&mut self, number: u64, ok: bool) {
        if number != self.remote.number {
            return;
        }
        match self.remote.direction.take() {
            Some(_) if !ok => {
                self.remote.reset();
                self.demand_reset(&RingError::OutsideMemory);
            }
            Some(Direction::Fetch) => {
                let fetched = std::mem::take(&mut self.remote.ranges);
                self.remote.fetched.extend(fetched);
            }
            Some(Direction::WriteBack) => self.finish_round(),
            None => {}
        }
    }
}

/// What a request needs.
#[derive(Default)]
struct Needed {
    /// To be read, as far as it is known and has not been fetched.
    read: Vec<Range>,
    /// To be written, once all is fetched.
    write: Vec<Range>,
    /// No request has more descriptors than the queue.
    most: u64,
}

impl Needed {
    /// Looks as far ahead as what was fetched lets it. Of what is wrong it makes nothing: the turn will
    /// find it.
    fn of(memory: &GuestMemoryMmap, areas: &Areas, remote: &Remote) -> Self {
        let mut needed = Self {
            most: areas.descriptors().length / DESCRIPTOR,
            ..Self::default()
        };
        needed.read(areas.driver(), remote);
        // The driver fills descriptors before it makes them available: older ones would be those
        // of another request.
        if needed.read.is_empty() {
            needed.read(areas.descriptors(), remote);
        }
        if needed.read.is_empty() {
            needed.follow(memory, areas, remote);
        }
        needed
    }

    fn read(&mut self, range: Range, remote: &Remote) {
        if remote.is_copy(&range) && !remote.fetched.contains(&range) {
            self.read.push(range);
        }
    }

    /// The next request's buffers.
    fn follow(&mut self, memory: &GuestMemoryMmap, areas: &Areas, remote: &Remote) {
        let Some(head) = areas.next_head(memory) else {
            return;
        };
        let table = areas.descriptors();
        match Descriptor::read(memory, &table, head) {
            Some(first) if first.flags & INDIRECT != 0 => {
                let indirect = first.range();
                self.read(indirect, remote);
                if self.read.is_empty() {
                    self.walk(memory, &indirect, 0, remote);
                }
            }
            _ => self.walk(memory, &table, head, remote),
        }
    }

    fn walk(&mut self, memory: &GuestMemoryMmap, table: &Range, head: u16, remote: &Remote) {
        let mut next = Some(head);
        for _ in 0..self.most {
            let Some(found) = next.and_then(|at| Descriptor::read(memory, table, at)) else {
                return;
            };
            if found.flags & WRITE != 0 {
                self.write.push(found.range());
            } else {
                self.read(found.range(), remote);
            }
            next = (found.flags & NEXT != 0).then_some(found.next);
        }
    }
}

struct Descriptor {
    address: u64,
    length: u32,
    flags: u16,
    next: u16,
}

impl Descriptor {
    fn read(memory: &GuestMemoryMmap, table: &Range, index: u16) -> Option<Self> {
        let at = u64::from(index) * DESCRIPTOR;
        if at + DESCRIPTOR > table.length {
            return None;
        }
        let address = table.address.checked_add(at)?;
        let [low, high]: [u64; 2] = [
            memory.read_obj(GuestAddress(address)).ok()?,
            memory
                .read_obj(GuestAddress(address.checked_add(8)?))
                .ok()?,
        ];
        Some(Self {
            address: low,
            length: high as u32,
            flags: (high >> 32) as u16,
            next: (high >> 48) as u16,
        })
    }

    fn range(&self) -> Range {
        Range {
            address: self.address,
            length: self.length.into(),
        }
    }
}
