// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the guest has made of a device's MSI and MSI-X capabilities: PCI Local Bus Specification 3.0,
//! section 6.8.

use std::ops::Range;

use shunt::pci::{
    config_space::{ConfigSpace, MSI, MSIX},
    msix_table::{Message, MsixTable, ENTRY},
};
use vfio_bindings::bindings::vfio::{VFIO_PCI_MSIX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX};

/// Message control, behind the capability's identifier and link.
const CONTROL: usize = 2;

const MSI_ENABLE: u16 = 1;
const MSI_64: u16 = 1 << 7;
const MSI_ADDRESS: usize = 4;

const MSIX_LAST: u16 = 0x7ff;
const MSIX_ENABLE: u16 = 1 << 15;
const MSIX_MASK_ALL: u16 = 1 << 14;
const MSIX_TABLE: usize = 4;
const BAR_MASK: u32 = 7;

/// The vectors that are on: each sends a message, or is masked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signals {
    /// VFIO's index of the kind, if any is on.
    pub(crate) kind: Option<u32>,
    /// By number.
    pub(crate) messages: Vec<Option<Message>>,
}

/// The capabilities of one device; what is written of them is in its [`ConfigSpace`].
pub(crate) struct Capabilities {
    msi: Option<usize>,
    msix: Option<Msix>,
}

/// The table is ours: the device's own has what VFIO writes there.
pub(crate) struct Msix {
    at: usize,
    /// The BAR with the table.
    pub(crate) bar: usize,
    /// Where the table is in it.
    pub(crate) place: Range<u64>,
    /// What the guest has written there.
    pub(crate) table: MsixTable,
}

impl Capabilities {
    /// Those of a space that is a copy of a device's. Makes them the guest's to write.
    pub(crate) fn new(space: &mut ConfigSpace) -> Self {
        let (msi, msix) = (space.capability(MSI), space.capability(MSIX));
        if let Some(at) = msi {
            let is_64 = space.word(at + CONTROL) & MSI_64;
            // One vector, that cannot be masked.
            space.fill(at + CONTROL, &is_64.to_le_bytes());
            space.allow(at + CONTROL, &MSI_ENABLE.to_le_bytes());
            space.fill(
                at + MSI_ADDRESS,
                &[0; 10][..msi_length(is_64) - MSI_ADDRESS],
            );
            space.allow(
                at + MSI_ADDRESS,
                &[0xff; 10][..msi_length(is_64) - MSI_ADDRESS],
            );
        }
        if let Some(at) = msix {
            let last = space.word(at + CONTROL) & MSIX_LAST;
            space.fill(at + CONTROL, &last.to_le_bytes());
            space.allow(at + CONTROL, &(MSIX_ENABLE | MSIX_MASK_ALL).to_le_bytes());
        }
        Self {
            msi,
            msix: msix.map(|at| Msix::new(space, at)),
        }
    }

    /// The parts of configuration space that are ours.
    pub(crate) fn ours(&self, space: &ConfigSpace) -> impl Iterator<Item = Range<usize>> {
        let msi = self.msi.map(|at| {
            let is_64 = space.word(at + CONTROL) & MSI_64;
            at + CONTROL..at + msi_length(is_64)
        });
        let msix = self.msix.as_ref();
        let msix = msix.map(|msix| msix.at + CONTROL..msix.at + MSIX_TABLE);
        msi.into_iter().chain(msix)
    }

    /// MSI-X, if it has that.
    pub(crate) fn msix(&mut self) -> Option<&mut Msix> {
        self.msix.as_mut()
    }

    /// What is on.
    pub(crate) fn signals(&self, space: &ConfigSpace) -> Signals {
        let of_msix = self.msix.as_ref().and_then(|msix| msix.signals(space));
        let of_msi = || msi_signals(space, self.msi?);
        of_msix.or_else(of_msi).unwrap_or_default()
    }
}

/// Bytes of the capability up to the end of the data.
fn msi_length(is_64: u16) -> usize {
    if is_64 == 0 {
        10
    } else {
        14
    }
}

fn msi_signals(space: &ConfigSpace, at: usize) -> Option<Signals> {
    let control = space.word(at + CONTROL);
    if control & MSI_ENABLE == 0 {
        return None;
    }
    let data = at + msi_length(control & MSI_64) - 2;
    let high = match control & MSI_64 {
        0 => 0,
        _ => space.long(at + MSI_ADDRESS + 4),
    };
    let message = Message {
        address: u64::from(high) << 32 | u64::from(space.long(at + MSI_ADDRESS)),
        data: space.word(data).into(),
    };
    Some(Signals {
        kind: Some(VFIO_PCI_MSI_IRQ_INDEX),
        messages: vec![Some(message)],
    })
}

impl Msix {
    fn new(space: &ConfigSpace, at: usize) -> Self {
        let vectors = (space.word(at + CONTROL) & MSIX_LAST) + 1;
        let place = space.long(at + MSIX_TABLE);
        let start = u64::from(place & !BAR_MASK);
        Self {
            at,
            bar: (place & BAR_MASK) as usize,
            place: start..start + u64::from(vectors) * ENTRY as u64,
            table: MsixTable::new(vectors),
        }
    }

    fn signals(&self, space: &ConfigSpace) -> Option<Signals> {
        let control = space.word(self.at + CONTROL);
        if control & MSIX_ENABLE == 0 {
            return None;
        }
        let is_on = control & MSIX_MASK_ALL == 0;
        let message = |vector| self.table.message(vector).filter(|_| is_on);
        Some(Signals {
            kind: Some(VFIO_PCI_MSIX_IRQ_INDEX),
            messages: (0..self.table.vectors()).map(message).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shunt::pci::config_space::{CAPABILITIES, STATUS, STATUS_CAPABILITIES};

    /// MSI with several vectors and masks at 0x40, MSI-X with 3 vectors at 0x60, in BAR 1 at 0x800.
    fn device() -> (ConfigSpace, Capabilities) {
        let mut space = ConfigSpace::default();
        space.fill(STATUS, &[STATUS_CAPABILITIES]);
        space.fill(CAPABILITIES, &[0x40]);
        space.fill(0x40, &[MSI, 0x60, 0x8a, 0x01]);
        space.fill(0x60, &[MSIX, 0, 2, 0, 1, 8, 0, 0]);
        let capabilities = Capabilities::new(&mut space);
        (space, capabilities)
    }

    #[test]
    fn msi_has_one_vector_with_the_message_that_is_written() {
        let (mut space, capabilities) = device();
        assert_eq!(space.word(0x42), MSI_64);
        space.write(0x44, &0x1_fee0_2000u64.to_le_bytes());
        space.write(0x4c, &0x4024u16.to_le_bytes());
        assert_eq!(capabilities.signals(&space), Signals::default());
        space.write(0x42, &[1, 0]);
        let message = Message {
            address: 0x1_fee0_2000,
            data: 0x4024,
        };
        let signals = capabilities.signals(&space);
        assert_eq!(signals.kind, Some(VFIO_PCI_MSI_IRQ_INDEX));
        assert_eq!(signals.messages, [Some(message)]);
    }

    #[test]
    fn msix_masks_a_vector_or_all() {
        let (mut space, mut capabilities) = device();
        let msix = capabilities.msix().unwrap();
        assert_eq!((msix.bar, msix.place.clone()), (1, 0x800..0x830));
        msix.table.write(16, &0xfee0_0000u64.to_le_bytes()).unwrap();
        msix.table.write(24, &0x25u64.to_le_bytes()).unwrap();
        assert_eq!(capabilities.signals(&space), Signals::default());
        space.write(0x62, &MSIX_ENABLE.to_le_bytes());
        let message = Message {
            address: 0xfee0_0000,
            data: 0x25,
        };
        let signals = capabilities.signals(&space);
        assert_eq!(signals.kind, Some(VFIO_PCI_MSIX_IRQ_INDEX));
        assert_eq!(signals.messages, [None, Some(message), None]);
        space.write(0x62, &(MSIX_ENABLE | MSIX_MASK_ALL).to_le_bytes());
        assert_eq!(capabilities.signals(&space).messages, [None; 3]);
    }

    #[test]
    fn what_is_ours_ends_where_the_capability_does() {
        let (space, capabilities) = device();
        let ours: Vec<_> = capabilities.ours(&space).collect();
        assert_eq!(ours, [0x42..0x4e, 0x62..0x64]);
    }
}
