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

use crate::pci::{bar, BARS};

pub(super) const REGISTER_BAR: usize = 0;
pub(super) const MSIX_BAR: usize = 1;

pub(super) const BAR_SIZES: [u32; BARS] = [0x4000, 0x1000, 0, 0, 0, 0];

pub(super) const PAGE: u64 = 0x1000;
pub(super) const COMMON: u64 = bar(REGISTER_BAR);
pub(super) const ISR: u64 = COMMON + PAGE;
pub(super) const DEVICE: u64 = ISR + PAGE;
pub(super) const NOTIFY: u64 = DEVICE + PAGE;
pub(super) const MSIX: u64 = bar(MSIX_BAR);

/// Bytes between the places of two queues' notifications.
pub(super) const NOTIFY_MULTIPLIER: u32 = 4;

/// `struct virtio_pci_common_cfg` up to `queue_device`, the last field of the features offered.
pub(super) const COMMON_SIZE: u32 = 56;

pub(super) const PENDING_BITS: u64 = 0x800;

/// Offsets of the capabilities in configuration space.
pub(super) const FIRST_CAPABILITY: u8 = 0x40;
pub(super) const WINDOW_CAPABILITY: usize = 0x84;
pub(super) const MSIX_CAPABILITY: usize = 0x98;

const VENDOR_CAPABILITY: u8 = 0x09;
const MSIX_CAPABILITY_ID: u8 = 0x11;

/// Bytes of `struct virtio_pci_cap`.
const HEAD: u8 = 16;

/// `VIRTIO_PCI_CAP_COMMON_CFG` and so on: virtio 1.3, section 4.1.4.
#[derive(Clone, Copy)]
enum Kind {
    Common = 1,
    Notify = 2,
    Isr = 3,
    Device = 4,
    Window = 5,
}

struct Capability {
    kind: Kind,
    /// Where it begins in BAR 0, and how long it is.
    place: (u64, u32),
    /// What follows `struct virtio_pci_cap`.
    extra: Option<u32>,
}

/// The capability list for a device with so many queues and MSI-X vectors, to be put at
/// [`FIRST_CAPABILITY`].
pub(super) fn capabilities(queues: u32, vectors: u16) -> Vec<u8> {
    let list = [
        capability(Kind::Common, (COMMON, COMMON_SIZE), None),
        capability(
            Kind::Notify,
            (NOTIFY, queues * NOTIFY_MULTIPLIER),
            Some(NOTIFY_MULTIPLIER),
        ),
        capability(Kind::Isr, (ISR, 1), None),
        capability(Kind::Device, (DEVICE, PAGE as u32), None),
        capability(Kind::Window, (0, 0), Some(0)),
    ];
    let mut bytes = Vec::new();
    for capability in list {
        append(&mut bytes, &capability);
    }
    append_msix(&mut bytes, vectors);
    bytes
}

const fn capability(kind: Kind, place: (u64, u32), extra: Option<u32>) -> Capability {
    Capability { kind, place, extra }
}

fn append(bytes: &mut Vec<u8>, capability: &Capability) {
    let length = HEAD + if capability.extra.is_some() { 4 } else { 0 };
    let next = FIRST_CAPABILITY + bytes.len() as u8 + length;
    let (offset, size) = capability.place;
    let kind = capability.kind as u8;
    bytes.extend([VENDOR_CAPABILITY, next, length, kind]);
    bytes.extend([REGISTER_BAR as u8, 0, 0, 0]);
    bytes.extend((offset as u32).to_le_bytes());
    bytes.extend(size.to_le_bytes());
    if let Some(extra) = capability.extra {
        bytes.extend(extra.to_le_bytes());
    }
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
        let vendor = VENDOR_CAPABILITY;
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
