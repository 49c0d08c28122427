// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The MSI-X table with the pending bits behind it.
//!
//! Who puts the device on a bus keeps the interrupts' addresses and masks and gives a vector an
//! event or takes it away; to the device the table is memory.

use ioregion_wire::frame::Width;

use super::layout::PENDING_BITS;
use crate::pci::msix_table::{is_proper, MsixTable};

#[derive(Debug)]
pub(super) struct Msix {
    table: MsixTable,
    /// One bit for each vector that waits to be signalled.
    pub(super) pending: u32,
}

impl Msix {
    pub(super) fn new(vectors: u16) -> Self {
        Self {
            table: MsixTable::new(vectors),
            pending: 0,
        }
    }

    pub(super) fn vectors(&self) -> u16 {
        self.table.vectors()
    }

    /// Makes a vector pending; one that there is not stands for none.
    pub(super) fn raise(&mut self, vector: u16) {
        if vector < self.vectors() {
            self.pending |= 1 << vector;
        }
    }

    /// Entries and pending bits take aligned accesses of 4 and 8 bytes.
    pub(super) fn read(&self, offset: u64, width: Width) -> Option<u64> {
        if offset == PENDING_BITS && is_proper(offset, width.bytes()) {
            return Some(self.pending.into());
        }
        let mut bytes = [0; 8];
        self.table.read(offset, &mut bytes[..width.bytes()])?;
        Some(u64::from_le_bytes(bytes))
    }

    pub(super) fn write(&mut self, offset: u64, width: Width, value: u64) -> Option<()> {
        let bytes = value.to_le_bytes();
        self.table.write(offset, &bytes[..width.bytes()])
    }
}
