// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The MSI-X table and the pending bits: PCI Local Bus Specification 3.0, section 6.8.2.
//!
//! Who puts the device on a bus keeps the interrupts' addresses and masks and gives a vector an
//! event or takes it away; to the device the table is memory.

use ioregion_wire::frame::Width;

use super::layout::PENDING_BITS;

const ENTRY: usize = 16;
/// Where an entry has its mask bit, which is set at first.
const CONTROL: usize = 12;

#[derive(Debug)]
pub(super) struct Msix {
    table: Vec<u8>,
    /// One bit for each vector that waits to be signalled.
    pub(super) pending: u32,
}

impl Msix {
    pub(super) fn new(vectors: u16) -> Self {
        let mut entry = [0; ENTRY];
        entry[CONTROL] = 1;
        Self {
            table: entry.repeat(vectors.into()),
            pending: 0,
        }
    }

    pub(super) fn vectors(&self) -> u16 {
        (self.table.len() / ENTRY) as u16
    }

    /// Makes a vector pending; one that there is not stands for none.
    pub(super) fn raise(&mut self, vector: u16) {
        if vector < self.vectors() {
            self.pending |= 1 << vector;
        }
    }

    /// Entries and pending bits take aligned accesses of 4 and 8 bytes.
    pub(super) fn read(&self, offset: u64, width: Width) -> Option<u64> {
        if !is_proper(offset, width) {
            return None;
        }
        if offset == PENDING_BITS {
            return Some(self.pending.into());
        }
        let mut bytes = [0; 8];
        let place = self.table.get(offset as usize..)?.get(..width.bytes())?;
        bytes[..width.bytes()].copy_from_slice(place);
        Some(u64::from_le_bytes(bytes))
    }

    pub(super) fn write(&mut self, offset: u64, width: Width, value: u64) -> Option<()> {
        if !is_proper(offset, width) {
            return None;
        }
        let place = self.table.get_mut(offset as usize..)?;
        let place = place.get_mut(..width.bytes())?;
        place.copy_from_slice(&value.to_le_bytes()[..width.bytes()]);
        Some(())
    }
}

fn is_proper(offset: u64, width: Width) -> bool {
    width.bytes() >= 4 && offset % width.bytes() as u64 == 0
}
