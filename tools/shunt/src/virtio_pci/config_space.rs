// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the configuration space of a virtio device has beside that of any other.
//!
//! PCI Local Bus Specification 3.0, section 6.1, and for MSI-X 6.8.2.

use std::mem::offset_of;

use virtio_spec::blk;
use virtio_spec::pci::{self, Capability, VENDOR_ID};

use crate::pci::config_space::{
    self, MemoryBar, CAPABILITIES, COMMAND, COMMAND_BUS_MASTER, COMMAND_MEMORY, INTERRUPT_LINE,
    INTERRUPT_PIN, STATUS, STATUS_CAPABILITIES,
};
use crate::pci::BARS;
use crate::state::MAX_QUEUES;

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

const COMMAND_PARITY: u16 = 1 << 6;
const COMMAND_SERR: u16 = 1 << 8;
const COMMAND_NO_PIN: u16 = 1 << 10;

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
pub(super) struct ConfigSpace(config_space::ConfigSpace);

impl ConfigSpace {
    pub(super) fn new(device_id: u32, queues: u32, vectors: u16) -> Self {
        let mut space = config_space::ConfigSpace::default();
        let class = if device_id == BLOCK { STORAGE } else { OTHER };
        space.fill(0x00, &VENDOR_ID.to_le_bytes());
        space.fill(0x02, &pci::device_id(device_id as u16).to_le_bytes());
        space.fill(STATUS, &[STATUS_CAPABILITIES]);
        space.fill(0x08, &[REVISION]);
        space.fill(0x09, &class);
        space.fill(0x2c, &VENDOR_ID.to_le_bytes());
        space.fill(0x2e, &SUBSYSTEM.to_le_bytes());
        space.fill(CAPABILITIES, &[FIRST_CAPABILITY]);
        space.fill(INTERRUPT_PIN, &[1]);
        space.fill(
            usize::from(FIRST_CAPABILITY),
            &capabilities(queues, vectors),
        );
        let mut space = Self(space);
        space.allow_writes();
        space
    }

    fn allow_writes(&mut self) {
        let space = &mut self.0;
        let command =
            COMMAND_MEMORY | COMMAND_BUS_MASTER | COMMAND_PARITY | COMMAND_SERR | COMMAND_NO_PIN;
        space.allow(COMMAND, &command.to_le_bytes());
        for (index, size) in (0..BARS).zip(BAR_SIZES).filter(|&(_, size)| size > 0) {
            let bar = MemoryBar {
                size: size.into(),
                is_64: false,
                is_prefetchable: false,
            };
            space.add_bar(index, bar);
        }
        space.allow(INTERRUPT_LINE, &[0xff]);
        space.allow(WINDOW_BAR, &[0xff]);
        space.allow(WINDOW_OFFSET, &[0xff; 12]);
        space.allow(MSIX_CAPABILITY + 3, &[MSIX_ENABLE | MSIX_MASK_ALL]);
    }

    pub(super) fn read(&self, offset: usize, data: &mut [u8]) {
        self.0.read(offset, data);
    }

    pub(super) fn write(&mut self, offset: usize, data: &[u8]) {
        self.0.write(offset, data);
    }

    /// The register that this access is for, if it is one of the window's data.
    pub(super) fn window(&self, offset: usize, length: usize) -> Option<Window> {
        let wanted = self.0.long(WINDOW_LENGTH);
        if offset != WINDOW_DATA || length as u32 != wanted {
            return None;
        }
        Some(Window {
            bar: self.byte(WINDOW_BAR),
            offset: self.0.long(WINDOW_OFFSET),
        })
    }

    /// Puts what was read through the window where it is read from.
    pub(super) fn set_window_data(&mut self, data: &[u8]) {
        self.0.fill(WINDOW_DATA, data);
    }

    pub(super) fn is_bus_master(&self) -> bool {
        self.0.word(COMMAND) & COMMAND_BUS_MASTER != 0
    }

    pub(super) fn uses_pin(&self) -> bool {
        self.0.word(COMMAND) & COMMAND_NO_PIN == 0
            && self.byte(MSIX_CAPABILITY + 3) & MSIX_ENABLE == 0
    }

    fn byte(&self, at: usize) -> u8 {
        let mut byte = [0];
        self.read(at, &mut byte);
        byte[0]
    }
}

/// What a guest is to find of any virtio device with this identifier, when somebody else than the
/// device answers it: room for [`MAX_QUEUES`] queues, a vector for each and one for the
/// configuration, and no interrupt pin. Its capability to access BARs through configuration space
/// is there, but does nothing.
pub fn header(device_id: u32) -> config_space::ConfigSpace {
    let queues = MAX_QUEUES as u16;
    let mut header = ConfigSpace::new(device_id, queues.into(), queues + 1).0;
    header.fill(INTERRUPT_PIN, &[0]);
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::CONFIG_SIZE;

    #[test]
    fn identity_cannot_be_written() {
        let mut space = ConfigSpace::new(BLOCK, 1, 2);
        let all = |space: &ConfigSpace| {
            let mut bytes = [0; CONFIG_SIZE];
            space.read(0, &mut bytes);
            bytes
        };
        let before = all(&space);
        space.write(0, &[0xa5; CONFIG_SIZE]);
        space.write(0, &before);
        assert_eq!(all(&space), before);
        space.write(0, &[0xff; 4]);
        assert_eq!(space.0.long(0), 0x1042_1af4);
        assert_eq!(all(&space)[0x09..0x0c], STORAGE);
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
