// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What PCI devices of ours are to the guest before anybody serves them: configuration space, and
//! which registers a device process gets.

use std::ops::Range;

use shunt::{
    ioregion::{Action, Doorbell, Rule},
    pci::config_space::{
        ConfigSpace, MemoryBar, COMMAND, COMMAND_BUS_MASTER, COMMAND_MEMORY, INTERRUPT_LINE,
        INTERRUPT_PIN, REVISION,
    },
    state::MAX_QUEUES,
    virtio_pci::{
        header,
        layout::{BAR_SIZES, NOTIFY, NOTIFY_MULTIPLIER, REGISTER_BAR},
        rules,
    },
    Width,
};
use shunt_net::{e1000, rtl8139};
use virtio_spec::{blk, net};
use vmm_sys_util::eventfd::EventFd;

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    /// virtio-blk.
    Blk,
    /// virtio-net.
    Net,
    /// virtio-rng.
    Rng,
    /// virtio-console.
    Console,
    /// Intel's 82540EM.
    E1000,
    /// Realtek's RTL8139C.
    Rtl8139,
}

/// The names of all models.
pub(crate) const NAMES: &str = "blk, net, rng, console, e1000, rtl8139";
/// All models.
pub(crate) const MODELS: &[(&str, Model)] = &[
    ("blk", Model::Blk),
    ("net", Model::Net),
    ("rng", Model::Rng),
    ("console", Model::Console),
    ("e1000", Model::E1000),
    ("rtl8139", Model::Rtl8139),
];

/// Vendor, device, revision.
const E1000: ([u8; 4], u8) = ([0x86, 0x80, 0x0e, 0x10], 3);
const RTL8139: ([u8; 4], u8) = ([0xec, 0x10, 0x39, 0x81], 0x10);
/// A controller of an Ethernet.
const ETHERNET: [u8; 3] = [0, 0, 2];

impl Model {
    /// What the guest finds in configuration space; its BARs have no addresses yet.
    pub(crate) fn space(self) -> ConfigSpace {
        match self {
            Self::Blk => header(blk::DEVICE_ID.into()),
            Self::Net => header(net::DEVICE_ID.into()),
            Self::Rng => header(shunt_rng::DEVICE_ID.into()),
            Self::Console => header(shunt_console::DEVICE_ID.into()),
            Self::E1000 => self.ethernet(E1000),
            Self::Rtl8139 => self.ethernet(RTL8139),
        }
    }

    fn ethernet(self, (identifiers, revision): ([u8; 4], u8)) -> ConfigSpace {
        let mut space = ConfigSpace::default();
        space.fill(0, &identifiers);
        space.fill(REVISION, &[revision]);
        space.fill(REVISION + 1, &ETHERNET);
        space.fill(INTERRUPT_PIN, &[1]);
        space.allow(INTERRUPT_LINE, &[0xff]);
        let command = COMMAND_MEMORY | COMMAND_BUS_MASTER;
        space.allow(COMMAND, &command.to_le_bytes());
        let bar = MemoryBar {
            size: self.bar_size(),
            is_64: false,
            is_prefetchable: false,
        };
        space.add_bar(self.bar(), bar);
        space
    }

    /// Whether it interrupts by its pin; else by MSI-X.
    pub(crate) fn has_pin(self) -> bool {
        matches!(self, Self::E1000 | Self::Rtl8139)
    }

    /// The BAR that is the device's to answer; the others are the VMM's.
    pub(crate) fn bar(self) -> usize {
        match self {
            Self::Blk | Self::Net | Self::Rng | Self::Console => REGISTER_BAR,
            Self::E1000 => 0,
            Self::Rtl8139 => rtl8139::BAR,
        }
    }

    /// Bytes of that BAR.
    pub(crate) fn bar_size(self) -> u64 {
        match self {
            Self::Blk | Self::Net | Self::Rng | Self::Console => BAR_SIZES[REGISTER_BAR].into(),
            Self::E1000 => e1000::SIZE,
            Self::Rtl8139 => rtl8139::SIZE,
        }
    }

    /// Where in the BAR the registers are whose writes need not be waited for: notifications, and those
    /// that give a device frames to send.
    pub(crate) fn notify(self) -> Range<u64> {
        let of = |start: usize, size: usize| start as u64..(start + size) as u64;
        match self {
            Self::Blk | Self::Net | Self::Rng | Self::Console => NOTIFY..self.bar_size(),
            Self::E1000 => of(e1000::TDT, 4),
            Self::Rtl8139 => of(rtl8139::TRANSMIT_STATUS, 4 * rtl8139::TRANSMIT_BUFFERS),
        }
    }

    /// The places there that say nothing but that they were written, one for each queue.
    pub(crate) fn notifications(self) -> impl Iterator<Item = u64> {
        let stride = u64::from(NOTIFY_MULTIPLIER);
        let queues = if self.has_pin() { 0 } else { MAX_QUEUES };
        (0..queues as u64).map(move |queue| NOTIFY + queue * stride)
    }

    /// What KVM can do of the BAR's registers by itself, with an event for each of those places.
    pub(crate) fn rules(self, events: &[EventFd]) -> Vec<Rule<'_>> {
        match self {
            Self::Blk | Self::Net | Self::Rng | Self::Console => rules(events),
            Self::E1000 => [e1000::TDT, e1000::RDT].map(sent_on).to_vec(),
            Self::Rtl8139 => {
                let buffers = self.notify().step_by(4);
                buffers.map(|at| sent_on(at as usize)).collect()
            }
        }
    }
}

/// A write of a register that the guest does not wait for.
fn sent_on<'a>(register: usize) -> Rule<'a> {
    Rule {
        offset: register as u32,
        width: Width::Long,
        action: Action::Doorbell {
            datamatch: None,
            to: Doorbell::Device,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_has_its_registers_in_a_bar_and_pin_or_vectors() {
        for &(name, model) in MODELS {
            let space = model.space();
            assert_eq!(
                space.bar(model.bar()).unwrap().size,
                model.bar_size(),
                "{name}"
            );
            let mut pin = [0];
            space.read(INTERRUPT_PIN, &mut pin);
            assert_eq!(pin[0] == 1, model.has_pin(), "{name}");
            let has_vectors = space.capability(shunt::pci::config_space::MSIX).is_some();
            assert_eq!(has_vectors, !model.has_pin(), "{name}");
            assert!(model.notify().end <= model.bar_size());
            assert!(!model.rules(&[]).is_empty());
        }
    }
}
