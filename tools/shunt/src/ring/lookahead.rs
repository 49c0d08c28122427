// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a request needs of the guest's memory, found out before the device takes it: for rings in
//! memory that has to be fetched.
//!
//! A look ahead trusts nothing and decides nothing: of what is wrong it makes nothing, and the
//! ring will find it.

use virtio_spec::features::Features;
use virtio_spec::packed;
use virtio_spec::split::{self, DESCRIPTOR, INDIRECT, NEXT, WRITE};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::pci::Range;
use crate::state::QueueRegisters;

use super::{Ordering, Ring};

/// Where the index of a used ring ends.
const USED_HEAD: u64 = 4;

/// A ring, as it is before a request is taken.
pub(crate) struct Lookahead {
    is_packed: bool,
    size: u16,
    descriptors: u64,
    driver: u64,
    device: u64,
    /// Where the next request comes.
    next: u16,
    /// Its first descriptor, if it is there.
    head: Option<u16>,
}

/// A descriptor of the next request.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    /// What it is for.
    pub(crate) range: Range,
    pub(crate) is_writable: bool,
    pub(crate) is_table: bool,
    /// The one after it.
    next: Option<u16>,
}

impl Ring {
    /// What is known of the next request.
    pub(crate) fn look_ahead(&self, registers: &QueueRegisters, features: Features) -> Lookahead {
        Lookahead {
            is_packed: features.has(Features::RING_PACKED),
            size: self.segments.len() as u16,
            descriptors: registers.descriptors.load(Ordering::Relaxed),
            driver: registers.driver_area.load(Ordering::Relaxed),
            device: registers.device_area.load(Ordering::Relaxed),
            next: self.ring.next(),
            head: self.ring.head(),
        }
    }
}

impl Lookahead {
    /// What says whether there is a request. It is to be fetched before the
    /// [descriptors](Self::descriptors): older ones would be those of another request.
    pub(crate) fn announcement(&self) -> Range {
        match self.is_packed {
            true => range(self.descriptor(self.next), DESCRIPTOR),
            false => range(self.driver, split::driver_area(self.size)),
        }
    }

    /// All descriptors of the ring.
    pub(crate) fn descriptors(&self) -> Range {
        range(self.descriptors, usize::from(self.size) * DESCRIPTOR)
    }

    /// What the device writes in the ring, in the order in which the driver may see it; `did` says
    /// whether it did a request.
    pub(crate) fn answer(&self, did: bool) -> Vec<Range> {
        if self.is_packed {
            let events = range(self.device, packed::EVENT);
            let used = did.then(|| range(self.descriptor(self.next), DESCRIPTOR));
            return std::iter::once(events).chain(used).collect();
        }
        let used = range(self.device, split::device_area(self.size));
        let rest = Range {
            address: used.address + USED_HEAD,
            length: used.length - USED_HEAD,
        };
        let head = Range {
            address: used.address,
            length: USED_HEAD,
        };
        vec![rest, head]
    }

    /// The pieces of the next request: those in the ring, or with `table` those in this one.
    pub(crate) fn pieces<'m>(
        &'m self,
        memory: &'m GuestMemoryMmap,
        table: Option<Range>,
    ) -> impl Iterator<Item = Piece> + 'm {
        let (within, first) = match table {
            Some(table) => (table, Some(0)),
            None => (self.descriptors(), self.head),
        };
        let piece = move |at| self.piece(memory, &within, table.is_some(), at);
        std::iter::successors(first.and_then(piece), move |last| last.next.and_then(piece))
            .take(self.size.into())
    }

    fn piece(
        &self,
        memory: &GuestMemoryMmap,
        within: &Range,
        is_in_table: bool,
        index: u16,
    ) -> Option<Piece> {
        let at = u64::from(index) * DESCRIPTOR as u64;
        if at + DESCRIPTOR as u64 > within.length {
            return None;
        }
        let word = |at| memory.read_obj::<u64>(GuestAddress(at)).ok();
        let address = within.address.checked_add(at)?;
        let (low, high) = (word(address)?, word(address.checked_add(8)?)?);
        let (flags, next) = match (self.is_packed, is_in_table) {
            (false, _) => ((high >> 32) as u16, (high >> 48) as u16),
            (true, false) => ((high >> 48) as u16, (index + 1) % self.size),
            // In a table all follow each other: section 2.8.7.
            (true, true) => ((high >> 48) as u16 & WRITE | NEXT, index + 1),
        };
        Some(Piece {
            range: Range {
                address: low,
                length: high as u32 as u64,
            },
            is_writable: flags & WRITE != 0,
            is_table: flags & INDIRECT != 0,
            next: (flags & NEXT != 0).then_some(next),
        })
    }

    fn descriptor(&self, index: u16) -> u64 {
        self.descriptors
            .wrapping_add(u64::from(index) * DESCRIPTOR as u64)
    }
}

fn range(address: u64, length: usize) -> Range {
    Range {
        address,
        length: length as u64,
    }
}
