// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The MSI-X table: PCI Local Bus Specification 3.0, section 6.8.2.
//!
//! ```text
//! entry, 16 bytes:  0 address | 8 data | 12 control, of which bit 0 masks the vector
//! ```

use std::ops::Range;

/// Bytes of an entry.
pub const ENTRY: usize = 16;

const DATA: usize = 8;
const CONTROL: usize = 12;
const MASKED: u8 = 1;

/// What a vector sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Where.
    pub address: u64,
    /// What.
    pub data: u32,
}

/// The table of a device.
#[derive(Clone, Debug)]
pub struct MsixTable(Vec<u8>);

impl MsixTable {
    /// So many vectors, all of them masked.
    pub fn new(vectors: u16) -> Self {
        let mut entry = [0; ENTRY];
        entry[CONTROL] = MASKED;
        Self(entry.repeat(vectors.into()))
    }

    /// How many vectors it has.
    pub fn vectors(&self) -> u16 {
        (self.0.len() / ENTRY) as u16
    }

    /// What a vector sends, unless it is masked.
    pub fn message(&self, vector: u16) -> Option<Message> {
        let entry = self.0.chunks_exact(ENTRY).nth(vector.into())?;
        let long = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| entry[at + byte]));
        let is_masked = entry[CONTROL] & MASKED != 0;
        (!is_masked).then(|| Message {
            address: u64::from(long(4)) << 32 | u64::from(long(0)),
            data: long(DATA),
        })
    }

    /// Reads an aligned part of 4 or 8 bytes; none if it is not one.
    pub fn read(&self, offset: u64, data: &mut [u8]) -> Option<()> {
        data.copy_from_slice(self.0.get(place(offset, data.len())?)?);
        Some(())
    }

    /// Writes an aligned part of 4 or 8 bytes; none if it is not one.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Option<()> {
        let place = self.0.get_mut(place(offset, data.len())?)?;
        place.copy_from_slice(data);
        Some(())
    }
}

/// Entries and pending bits take such accesses only.
pub fn is_proper(offset: u64, length: usize) -> bool {
    matches!(length, 4 | 8) && offset % length as u64 == 0
}

fn place(offset: u64, length: usize) -> Option<Range<usize>> {
    let proper = is_proper(offset, length).then_some(offset)?;
    let start = usize::try_from(proper).ok()?;
    Some(start..start.checked_add(length)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_sends_what_is_written_once_it_is_unmasked() {
        let mut table = MsixTable::new(2);
        table.write(16, &0x1_fee0_1000u64.to_le_bytes()).unwrap();
        table.write(24, &0x4123u32.to_le_bytes()).unwrap();
        assert_eq!(table.message(1), None);
        table.write(28, &[0; 4]).unwrap();
        let message = Message {
            address: 0x1_fee0_1000,
            data: 0x4123,
        };
        assert_eq!(table.message(1), Some(message));
        assert_eq!((table.message(0), table.message(2)), (None, None));
        let mut control = [0; 4];
        table.read(12, &mut control).unwrap();
        assert_eq!(control, [1, 0, 0, 0]);
    }

    #[test]
    fn other_accesses_are_refused() {
        let mut table = MsixTable::new(1);
        for (offset, length) in [(0, 1), (0, 2), (2, 4), (4, 8), (16, 4), (u64::MAX - 3, 4)] {
            let mut data = [0; 8];
            assert!(table.read(offset, &mut data[..length]).is_none());
            assert!(table.write(offset, &data[..length]).is_none());
        }
    }
}
