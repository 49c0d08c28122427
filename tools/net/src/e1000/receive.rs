// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Receive descriptors: section 3.2.3.
//!
//! ```text
//! 0 address of the buffer | 8 length | 10 checksum | 12 status | 13 errors | 14 VLAN tag
//! ```

use vm_memory::{Bytes, GuestAddress};

use super::{E1000, RCTL, RDBAL, RDT, RECEIVED};
use crate::Wire;

const ENABLE: u32 = 1 << 1;
const SIZE_SHIFT: u32 = 16;
/// The sizes are 16 times as large, but for the largest one.
const LARGE: u32 = 1 << 25;
const STRIP_CHECKSUM: u32 = 1 << 26;

const DONE: u8 = 1 << 0;
const END: u8 = 1 << 1;
/// Nothing is said of checksums.
const NO_CHECKSUM: u8 = 1 << 2;

/// Bytes of Ethernet's checksum, which no wire has that we have.
const CHECKSUM: [u8; 4] = [0; 4];

impl<W: Wire> E1000<W> {
    /// Receives so many frames; whether there may be more that have descriptors.
    pub(super) fn receive(&mut self, batch: usize) -> bool {
        (0..batch).all(|_| self.receive_one().is_some())
    }

    fn receive_one(&mut self) -> Option<()> {
        let control = self.get(RCTL);
        if control & ENABLE == 0 {
            return None;
        }
        let mut frame = self.frames.next()?.to_vec();
        if control & STRIP_CHECKSUM == 0 {
            frame.extend(CHECKSUM);
        }
        let size = buffer_size(control);
        if (self.receive_descriptors() as usize) < frame.len().div_ceil(size) {
            return None;
        }
        let pieces = frame.chunks(size).count();
        for (number, piece) in frame.chunks(size).enumerate() {
            let end = if number + 1 == pieces { END } else { 0 };
            self.give(piece, DONE | NO_CHECKSUM | end);
        }
        self.frames.take(self.state.counters());
        self.cause(RECEIVED);
        Some(())
    }

    /// How many the driver has given.
    fn receive_descriptors(&self) -> u32 {
        let entries = self.get(RDBAL + 8) / 16;
        let (head, tail) = (self.get(RDBAL + 0x10), self.get(RDT));
        if entries == 0 || head >= entries || tail >= entries {
            return 0;
        }
        (tail + entries - head) % entries
    }

    /// Fills the next descriptor. Memory that the guest does not have is not written.
    fn give(&mut self, piece: &[u8], status: u8) {
        let Some(at) = self.head(RDBAL) else {
            return;
        };
        let address: u64 = self.memory.read_obj(GuestAddress(at)).unwrap_or(u64::MAX);
        let written = self.memory.write_slice(piece, GuestAddress(address));
        let mut back = [0; 8];
        back[..2].copy_from_slice(&(piece.len() as u16).to_le_bytes());
        back[4] = status;
        let done = self
            .memory
            .write_obj(u64::from_le_bytes(back), GuestAddress(at + 8));
        if let Err(e) = written.and(done) {
            log::warn!("a receive descriptor outside of memory: {e}");
        }
        self.advance(RDBAL);
    }
}

fn buffer_size(control: u32) -> usize {
    let size = 2048usize >> ((control >> SIZE_SHIFT) & 3);
    match control & LARGE != 0 && size < 2048 {
        true => 16 * size,
        false => size,
    }
}
