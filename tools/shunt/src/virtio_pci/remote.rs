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

use virtio_spec::pci::isr;
use vm_memory::GuestMemoryMmap;

use crate::pci::{Direction, Range, Transfer};
use crate::ring::{Lookahead, Piece, RingError};
use crate::virtio_device::VirtioDevice;

use super::VirtioPci;

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
        let features = self.features();
        let queue = &mut self.queues[index];
        let Some((ring, registers)) = queue.open(&self.memory, features)? else {
            self.remote.reset();
            return Ok(());
        };
        let ahead = ring.look_ahead(registers, features);
        let needed = Needed::of(&self.memory, &ahead, &self.remote);
        if !needed.read.is_empty() {
            self.remote.begin(Direction::Fetch, needed.read);
            return Ok(());
        }
        let did = self.do_one(index)?;
        let written = needed.write.into_iter().chain(ahead.answer(did));
        self.settle(index, did, written.collect());
        Ok(())
    }

    /// Decides what comes after a turn that wrote to `written`.
    fn settle(&mut self, index: usize, did: bool, mut written: Vec<Range>) {
        let queue = &mut self.queues[index];
        let was_last_look = std::mem::replace(&mut queue.is_last_look, !did);
        if did || !was_last_look {
            queue.kicked = true;
        } else {
            queue.is_last_look = false;
        }
        let vector = did.then_some(queue.vector);
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
            self.raise(isr::QUEUE, vector);
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
}

impl Needed {
    /// Looks as far ahead as what was fetched lets it.
    fn of(memory: &GuestMemoryMmap, ahead: &Lookahead, remote: &Remote) -> Self {
        let mut needed = Self::default();
        needed.read(ahead.announcement(), remote);
        if needed.read.is_empty() {
            needed.read(ahead.descriptors(), remote);
        }
        if needed.read.is_empty() {
            needed.follow(memory, ahead, remote);
        }
        needed
    }

    fn read(&mut self, range: Range, remote: &Remote) {
        if remote.is_copy(&range) && !remote.fetched.contains(&range) {
            self.read.push(range);
        }
    }

    /// The next request's buffers.
    fn follow(&mut self, memory: &GuestMemoryMmap, ahead: &Lookahead, remote: &Remote) {
        for piece in ahead.pieces(memory, None) {
            if !piece.is_table {
                self.take(&piece, remote);
                continue;
            }
            self.read(piece.range, remote);
            if self.read.is_empty() {
                let entries = ahead.pieces(memory, Some(piece.range));
                entries.for_each(|entry| self.take(&entry, remote));
            }
        }
    }

    fn take(&mut self, piece: &Piece, remote: &Remote) {
        match piece.is_writable {
            true => self.write.push(piece.range),
            false => self.read(piece.range, remote),
        }
    }
}
