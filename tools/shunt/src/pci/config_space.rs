// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The configuration space of a device with a header of type 0: bytes, of which some bits can be
//! written.
//!
//! PCI Local Bus Specification 3.0, chapter 6.

use super::{BARS, CONFIG_SIZE};

/// Command register.
pub const COMMAND: usize = 0x04;
/// Status register.
pub const STATUS: usize = 0x06;
/// Revision; the three bytes behind it are the class.
pub const REVISION: usize = 0x08;
/// First base address register, 4 bytes each.
pub const BAR0: usize = 0x10;
/// Base address of the expansion ROM.
pub const ROM: usize = 0x30;
/// Where the list of capabilities begins.
pub const CAPABILITIES: usize = 0x34;
/// What the guest notes of the interrupt pin's line.
pub const INTERRUPT_LINE: usize = 0x3c;
/// Which interrupt pin it has: 0 is none.
pub const INTERRUPT_PIN: usize = 0x3d;

/// Command: the device answers at the addresses of its BARs.
pub const COMMAND_MEMORY: u16 = 1 << 1;
/// Command: the device may do DMA, and send messages.
pub const COMMAND_BUS_MASTER: u16 = 1 << 2;
/// Status: there is a list of capabilities.
pub const STATUS_CAPABILITIES: u8 = 1 << 4;

/// Capability: message signalled interrupts.
pub const MSI: u8 = 0x05;
/// Capability: MSI-X.
pub const MSIX: u8 = 0x11;

const HEADER_END: usize = 0x40;
/// Addresses of capabilities are of 4 bytes.
const ALIGNMENT: u8 = 3;

/// Type bits of a BAR: 64 bits of address.
const BAR_64: u32 = 1 << 2;
/// Type bits of a BAR: reading has no side effect.
const BAR_PREFETCHABLE: u32 = 1 << 3;

/// A BAR for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBar {
    /// Bytes: a power of two of at least 16.
    pub size: u64,
    /// Its address has 64 bits, and takes the next BAR, too.
    pub is_64: bool,
    /// Reading has no side effect.
    pub is_prefetchable: bool,
}

/// Configuration space of one device.
#[derive(Clone, Debug)]
pub struct ConfigSpace {
    bytes: [u8; CONFIG_SIZE],
    /// The bits that a write changes.
    writable: [u8; CONFIG_SIZE],
    bars: [Option<MemoryBar>; BARS],
}

impl Default for ConfigSpace {
    /// Zeroes that cannot be written.
    fn default() -> Self {
        Self {
            bytes: [0; CONFIG_SIZE],
            writable: [0; CONFIG_SIZE],
            bars: [None; BARS],
        }
    }
}

impl ConfigSpace {
    /// Puts `bytes` there, whatever a write may change.
    pub fn fill(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Lets writes change these bits, and no others of these bytes.
    pub fn allow(&mut self, at: usize, bits: &[u8]) {
        self.writable[at..at + bits.len()].copy_from_slice(bits);
    }

    /// Adds a BAR, at address 0 until somebody writes one.
    pub fn add_bar(&mut self, index: usize, bar: MemoryBar) {
        let kind = if bar.is_64 { BAR_64 } else { 0 }
            | if bar.is_prefetchable {
                BAR_PREFETCHABLE
            } else {
                0
            };
        let address = !(bar.size - 1);
        let (low, high) = (address as u32, (address >> 32) as u32);
        let at = BAR0 + 4 * index;
        self.fill(at, &kind.to_le_bytes());
        self.allow(at, &low.to_le_bytes());
        if bar.is_64 {
            self.allow(at + 4, &high.to_le_bytes());
        }
        self.bars[index] = Some(bar);
    }

    /// A BAR, if there is one.
    pub fn bar(&self, index: usize) -> Option<MemoryBar> {
        self.bars[index]
    }

    /// The address and the size of a BAR, if there is one and the device answers there.
    pub fn decoded(&self, index: usize) -> Option<(u64, u64)> {
        let bar = self.bars[index]?;
        if self.word(COMMAND) & COMMAND_MEMORY == 0 {
            return None;
        }
        let at = BAR0 + 4 * index;
        let high = if bar.is_64 { self.long(at + 4) } else { 0 };
        let address = u64::from(high) << 32 | u64::from(self.long(at));
        Some((address & !(bar.size - 1), bar.size))
    }

    /// Where the capability with this identifier begins; the list is that of [`capabilities`].
    pub fn capability(&self, id: u8) -> Option<usize> {
        capabilities(&self.bytes).find(|&at| self.bytes[at] == id)
    }

    /// Copies `data.len()` bytes from `offset` on.
    pub fn read(&self, offset: usize, data: &mut [u8]) {
        data.copy_from_slice(&self.bytes[offset..offset + data.len()]);
    }

    /// Changes what can be written.
    pub fn write(&mut self, offset: usize, data: &[u8]) {
        for (at, new) in (offset..).zip(data) {
            let writable = self.writable[at];
            self.bytes[at] = self.bytes[at] & !writable | new & writable;
        }
    }

    /// Two bytes.
    pub fn word(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    /// Four bytes.
    pub fn long(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        self.read(at, &mut bytes);
        u32::from_le_bytes(bytes)
    }
}

/// Where the capabilities of a configuration space begin, in the order of its list; one that goes
/// round in circles, or out of the space, ends.
pub fn capabilities(bytes: &[u8; CONFIG_SIZE]) -> impl Iterator<Item = usize> + '_ {
    let has_any = bytes[STATUS] & STATUS_CAPABILITIES != 0;
    let mut next = if has_any { bytes[CAPABILITIES] } else { 0 };
    let longest = (CONFIG_SIZE - HEADER_END) / usize::from(ALIGNMENT + 1);
    (0..longest).map_while(move |_| {
        let at = usize::from(next & !ALIGNMENT);
        next = *bytes.get(at + 1)?;
        (at >= HEADER_END).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAR: MemoryBar = MemoryBar {
        size: 0x4000,
        is_64: false,
        is_prefetchable: false,
    };

    fn with_bars() -> ConfigSpace {
        let mut space = ConfigSpace::default();
        space.allow(COMMAND, &COMMAND_MEMORY.to_le_bytes());
        space.add_bar(0, BAR);
        let wide = MemoryBar {
            size: 1 << 33,
            is_64: true,
            is_prefetchable: true,
        };
        space.add_bar(2, wide);
        space
    }

    #[test]
    fn a_bar_says_its_size_and_its_kind() {
        let mut space = with_bars();
        for at in (0x10..0x28).step_by(4) {
            space.write(at, &[0xff; 4]);
        }
        let found = [0x10, 0x14, 0x18, 0x1c, 0x20, 0x24].map(|at| space.long(at));
        assert_eq!(found, [0xffff_c000, 0, 0xc, 0xffff_fffe, 0, 0]);
    }

    #[test]
    fn a_bar_is_decoded_when_memory_is_on() {
        let mut space = with_bars();
        space.write(0x10, &0xe000_7fffu32.to_le_bytes());
        space.write(0x18, &[0xff, 0xff, 0xff, 0xff, 3, 0, 0, 0]);
        assert_eq!(space.decoded(0), None);
        space.write(COMMAND, &[2, 0]);
        assert_eq!(space.decoded(0), Some((0xe000_4000, 0x4000)));
        assert_eq!(space.decoded(2), Some((2 << 32, 1 << 33)));
        assert_eq!((space.decoded(1), space.decoded(3)), (None, None));
    }

    #[test]
    fn capabilities_are_found_and_a_circle_ends() {
        let mut space = ConfigSpace::default();
        space.fill(CAPABILITIES, &[0x42]);
        space.fill(0x40, &[MSIX, 0x50]);
        space.fill(0x50, &[MSI, 0x40]);
        assert_eq!(space.capability(MSI), None, "there is no list");
        space.fill(STATUS, &[STATUS_CAPABILITIES]);
        assert_eq!(space.capability(MSI), Some(0x50));
        assert_eq!(space.capability(MSIX), Some(0x40));
        assert_eq!(space.capability(1), None);
        space.fill(CAPABILITIES, &[0x10]);
        assert_eq!(space.capability(MSI), None, "the header has none");
    }
}
