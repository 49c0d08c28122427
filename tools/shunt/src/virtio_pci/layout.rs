// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Where things are: the BARs, and the capabilities that say so.
//!
//! ```text
//! BAR 0   0x0000  common configuration      virtio 1.3, section 4.1.4.3
//!         0x1000  ISR status                4.1.4.5
//!         0x2000  device configuration      4.1.4.6
//!         0x3000  notifications, one 4-byte place for each queue     4.1.4.4
//! BAR 1   0x0000  MSI-X table, 16 bytes a vector
//!         0x0800  MSI-X pending bits
//! ```
//!
//! Notifications have a page of their own, behind the registers, so that a VMM can give the
//! former to ioeventfds and the latter to one region of ioregionfd.

use std::mem::offset_of;

use virtio_spec::pci::{cfg_type, Capability, CommonConfig, CAPABILITY_ID};
use zerocopy::IntoBytes;

use crate::pci::{bar, BARS};

/// The BAR with registers.
pub const REGISTER_BAR: usize = 0;
/// The BAR with the MSI-X table.
pub const MSIX_BAR: usize = 1;

/// Bytes of each BAR.
pub const BAR_SIZES: [u32; BARS] = [0x4000, 0x1000, 0, 0, 0, 0];

/// Bytes of each kind of registers of BAR 0.
pub const PAGE: u64 = 0x1000;
/// Where the common configuration begins in the device's registers.
pub const COMMON: u64 = bar(REGISTER_BAR);
pub(super) const ISR: u64 = COMMON + PAGE;
/// Where its own configuration begins.
pub const DEVICE: u64 = ISR + PAGE;
/// Where notifications begin in the device's registers.
pub const NOTIFY: u64 = DEVICE + PAGE;
pub(super) const MSIX: u64 = bar(MSIX_BAR);

/// Bytes between the places of two queues' notifications.
pub const NOTIFY_MULTIPLIER: u32 = 4;

/// The common configuration up to its last field of the features offered.
pub(super) const COMMON_SIZE: u32 = offset_of!(CommonConfig, queue_notif_config_data) as u32;

pub(super) const PENDING_BITS: u64 = 0x800;

/// Offsets of the capabilities in configuration space.
pub(super) const FIRST_CAPABILITY: u8 = 0x40;
pub(super) const WINDOW_CAPABILITY: usize = 0x84;
pub(super) const MSIX_CAPABILITY: usize = 0x98;

const MSIX_CAPABILITY_ID: u8 = 0x11;

struct Part {
    /// One of [`cfg_type`].
    kind: u8,
    /// Where it begins in BAR 0, and how long it is.
    place: (u64, u32),
    /// What follows the capability.
    extra: Option<u32>,
}

/// The capability list for a device with so many queues and MSI-X vectors, to be put at
/// [`FIRST_CAPABILITY`].
pub(super) fn capabilities(queues: u32, vectors: u16) -> Vec<u8> {
    let list = [
        part(cfg_type::COMMON, (COMMON, COMMON_SIZE), None),
        part(
            cfg_type::NOTIFY,
            (NOTIFY, queues * NOTIFY_MULTIPLIER),
            Some(NOTIFY_MULTIPLIER),
        ),
        part(cfg_type::ISR, (ISR, 1), None),
        part(cfg_type::DEVICE, (DEVICE, PAGE as u32), None),
        part(cfg_type::PCI, (0, 0), Some(0)),
    ];
    let mut bytes = Vec::new();
    for part in list {
        append(&mut bytes, &part);
    }
    append_msix(&mut bytes, vectors);
    bytes
}

const fn part(kind: u8, place: (u64, u32), extra: Option<u32>) -> Part {
    Part { kind, place, extra }
}

fn append(bytes: &mut Vec<u8>, part: &Part) {
    let extra = part.extra.map(u32::to_le_bytes);
    let extra = extra.as_ref().map_or(&[][..], |extra| extra);
    let length = size_of::<Capability>() + extra.len();
    let capability = Capability {
        cap_vndr: CAPABILITY_ID,
        cap_next: FIRST_CAPABILITY + (bytes.len() + length) as u8,
        cap_len: length as u8,
        cfg_type: part.kind,
        bar: REGISTER_BAR as u8,
        id: 0,
        padding: [0; 2],
        offset: (part.place.0 as u32).into(),
        length: part.place.1.into(),
    };
    bytes.extend(capability.as_bytes());
    bytes.extend(extra);
}

/// The last of the list. The table's and the pending bits' places carry the BAR in their low bits.
fn append_msix(bytes: &mut Vec<u8>, vectors: u16) {
    bytes.extend([MSIX_CAPABILITY_ID, 0]);
    bytes.extend((vectors - 1).to_le_bytes());
    bytes.extend((MSIX_BAR as u32).to_le_bytes());
    bytes.extend((PENDING_BITS as u32 | MSIX_BAR as u32).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_can_be_walked() {
        let bytes = capabilities(1, 2);
        let mut at = FIRST_CAPABILITY;
        let mut found = Vec::new();
        while at != 0 {
            let capability = &bytes[usize::from(at - FIRST_CAPABILITY)..];
            found.push((at, capability[0], capability[3]));
            at = capability[1];
        }
        let vendor = CAPABILITY_ID;
        let [window, msix] = [WINDOW_CAPABILITY as u8, MSIX_CAPABILITY as u8];
        let expected = [
            (0x40, vendor, 1),
            (0x50, vendor, 2),
            (0x64, vendor, 3),
            (0x74, vendor, 4),
            (window, vendor, 5),
            (msix, MSIX_CAPABILITY_ID, 0),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn the_parts_of_bar_0_fit_into_it() {
        let queues = crate::state::MAX_QUEUES as u32;
        let end = NOTIFY + u64::from(queues * NOTIFY_MULTIPLIER);
        assert!(end <= u64::from(BAR_SIZES[REGISTER_BAR]));
        assert!(u64::from(COMMON_SIZE) <= PAGE);
    }
}
