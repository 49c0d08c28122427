// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The PCI configuration space: bytes, of which some bits can be written.
//!
//! PCI Local Bus Specification 3.0, section 6.1, and for MSI-X 6.8.2.

use std::mem::offset_of;

use virtio_spec::blk;
use virtio_spec::pci::{self, Capability, VENDOR_ID};

use crate::pci::{BARS, CONFIG_SIZE};

use super::layout::{
    capabilities, BAR_SIZES, FIRST_CAPABILITY, MSIX_CAPABILITY, WINDOW_CAPABILITY,
};

/// Any subsystem from 0x40 on says that there is no legacy interface.
const SUBSYSTEM: u16 = 0x1100;
/// Not transitional: 1 or more.
const REVISION: u8 = 1;
/// Mass storage of no more precise kind.
const STORAGE: [u8; 3] = [0, 0x80, 0x01];
/// The virtio device that is one.
const BLOCK: u32 = blk::DEVICE_ID as u32;
/// A device that fits no class.
const OTHER: [u8; 3] = [0, 0, 0xff];

const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const BAR0: usize = 0x10;
const INTERRUPT_LINE: usize = 0x3c;

const COMMAND_MEMORY: u16 = 1 << 1;
const COMMAND_BUS_MASTER: u16 = 1 << 2;
const COMMAND_PARITY: u16 = 1 << 6;
const COMMAND_SERR: u16 = 1 << 8;
const COMMAND_NO_PIN: u16 = 1 << 10;
const STATUS_CAPABILITIES: u8 = 1 << 4;

/// In the high byte of MSI-X message control.
const MSIX_ENABLE: u8 = 1 << 7;
const MSIX_MASK_ALL: u8 = 1 << 6;

/// Fields of `struct virtio_pci_cfg_cap`.
const WINDOW_BAR: usize = WINDOW_CAPABILITY + offset_of!(Capability, bar);
const WINDOW_OFFSET: usize = WINDOW_CAPABILITY + offset_of!(Capability, offset);
const WINDOW_LENGTH: usize = WINDOW_CAPABILITY + offset_of!(Capability, length);
const WINDOW_DATA: usize = WINDOW_CAPABILITY + size_of::<Capability>();

/// Where an access through the window of configuration space goes (virtio 1.3, 4.1.4.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) bar: u8,
    pub(super) offset: u32,
}

/// Configuration space of one device.
#[derive(Debug)]
pub(super) struct ConfigSpace {
    bytes: [u8; CONFIG_SIZE],
    /// The bits that a write changes.
    writable: [u8; CONFIG_SIZE],
}

impl ConfigSpace {
    pub(super) fn new(device_id: u32, queues: u32, vectors: u16) -> Self {
        let mut space = Self {
            bytes: [0; CONFIG_SIZE],
            writable: [0; CONFIG_SIZE],
        };
        let class = if device_id == BLOCK { STORAGE } else { OTHER };
        space.fill(0x00, &VENDOR_ID.to_le_bytes());
        space.fill(0x02, &pci::device_id(device_id as u16).to_le_bytes());
        space.fill(STATUS, &[STATUS_CAPABILITIES]);
        space.fill(0x08, &[REVISION]);
        space.fill(0x09, &class);
        space.fill(0x2c, &VENDOR_ID.to_le_bytes());
        space.fill(0x2e, &SUBSYSTEM.to_le_bytes());
        space.fill(0x34, &[FIRST_CAPABILITY]);
        space.fill(0x3d, &[1]);
        space.fill(
            usize::from(FIRST_CAPABILITY),
            &capabilities(queues, vectors),
        );
        space.allow_writes();
        space
    }

    fn fill(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn allow(&mut self, at: usize, bits: &[u8]) {
        self.writable[at..at + bits.len()].copy_from_slice(bits);
    }

    fn allow_writes(&mut self) {
        let command =
            COMMAND_MEMORY | COMMAND_BUS_MASTER | COMMAND_PARITY | COMMAND_SERR | COMMAND_NO_PIN;
        self.allow(COMMAND, &command.to_le_bytes());
        for (index, size) in (0..BARS).zip(BAR_SIZES) {
            let address = size.checked_sub(1).map_or(0, |low| !low);
            self.allow(BAR0 + 4 * index, &address.to_le_bytes());
        }
        self.allow(INTERRUPT_LINE, &[0xff]);
        self.allow(WINDOW_BAR, &[0xff]);
        self.allow(WINDOW_OFFSET, &[0xff; 12]);
        self.allow(MSIX_CAPABILITY + 3, &[MSIX_ENABLE | MSIX_MASK_ALL]);
    }

    pub(super) fn read(&self, offset: usize, data: &mut [u8]) {
        data.copy_from_slice(&self.bytes[offset..offset + data.len()]);
    }

    pub(super) fn write(&mut self, offset: usize, data: &[u8]) {
        for (at, new) in (offset..).zip(data) {
            let writable = self.writable[at];
            self.bytes[at] = self.bytes[at] & !writable | new & writable;
        }
    }

    /// The register that this access is for, if it is one of the window's data.
    pub(super) fn window(&self, offset: usize, length: usize) -> Option<Window> {
        let wanted = self.long(WINDOW_LENGTH);
        if offset != WINDOW_DATA || length as u32 != wanted {
            return None;
        }
        Some(Window {
            bar: self.bytes[WINDOW_BAR],
            offset: self.long(WINDOW_OFFSET),
        })
    }

    /// Puts what was read through the window where it is read from.
    pub(super) fn set_window_data(&mut self, data: &[u8]) {
        self.fill(WINDOW_DATA, data);
    }

    pub(super) fn is_bus_master(&self) -> bool {
        self.command() & COMMAND_BUS_MASTER != 0
    }

    pub(super) fn uses_pin(&self) -> bool {
        self.command() & COMMAND_NO_PIN == 0 && self.bytes[MSIX_CAPABILITY + 3] & MSIX_ENABLE == 0
    }

    fn command(&self) -> u16 {
        u16::from_le_bytes([self.bytes[COMMAND], self.bytes[COMMAND + 1]])
    }

    fn long(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        self.read(at, &mut bytes);
        u32::from_le_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_says_its_size() {
        let mut space = ConfigSpace::new(BLOCK, 1, 2);
        for (index, size) in (0..BARS).zip(BAR_SIZES) {
            space.write(BAR0 + 4 * index, &[0xff; 4]);
            let found = space.long(BAR0 + 4 * index);
            assert_eq!(found.wrapping_neg(), size, "BAR {index}");
        }
    }

    #[test]
    fn identity_cannot_be_written() {
        let mut space = ConfigSpace::new(BLOCK, 1, 2);
        let before = space.bytes;
        space.write(0, &[0xa5; CONFIG_SIZE]);
        space.write(0, &before);
        assert_eq!(space.bytes, before);
        space.write(0, &[0xff; 4]);
        assert_eq!(space.long(0), 0x1042_1af4);
        assert_eq!(space.bytes[0x09..0x0c], STORAGE);
    }

    #[test]
    fn the_window_opens_for_its_length_only() {
        let mut space = ConfigSpace::new(BLOCK, 1, 2);
        assert_eq!(
            space.window(WINDOW_DATA, 0),
            Some(Window { bar: 0, offset: 0 })
        );
        space.write(WINDOW_BAR, &[1]);
        space.write(WINDOW_OFFSET, &0x800u32.to_le_bytes());
        space.write(WINDOW_LENGTH, &2u32.to_le_bytes());
        let window = Window {
            bar: 1,
            offset: 0x800,
        };
        assert_eq!(space.window(WINDOW_DATA, 2), Some(window));
        for (offset, length) in [(WINDOW_DATA, 4), (WINDOW_DATA + 1, 2), (0, 256)] {
            assert_eq!(space.window(offset, length), None);
        }
    }

    #[test]
    fn the_pin_is_off_with_msix_or_when_disabled() {
        let mut space = ConfigSpace::new(BLOCK, 1, 2);
        assert!(space.uses_pin());
        space.write(MSIX_CAPABILITY + 3, &[MSIX_ENABLE]);
        assert!(!space.uses_pin());
        space.write(MSIX_CAPABILITY + 3, &[0]);
        space.write(COMMAND, &COMMAND_NO_PIN.to_le_bytes());
        assert!(!space.uses_pin());
    }
}
