// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `dispatch=ioregion`: the regions that give a disk's registers to KVM.
//!
//! One region is the whole page, or BAR. With posted notifications it is three, around `QueueNotify`;
//! they share a channel, so their accesses stay in order. [`super`] says why nothing else is
//! posted. A region's `user_data` is where it begins in the page.

use std::{io, ops::Range, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use kvm_ioctls::VmFd;
use shunt::{
    channel::{self, ChannelEnd},
    ioregion::{create_channel, remove_region, set_region, set_rules, Bus, Region, Rule},
    pci::bar,
    state::StatePage,
    virtio_mmio::{rules, QUEUE_NOTIFY, REGION_SIZE},
};
use vmm_sys_util::eventfd::EventFd;

use super::{spec::Carrier, Machine};
use crate::pci::model::Model;

/// Slots of a ring. A vCPU waits for each access but a posted notification, so a ring is full
/// only when the guest notifies faster than the device process looks.
const RING_SLOTS: u32 = 64;

/// Registers of a device, as the guest has them.
#[derive(Clone, Debug)]
pub(crate) struct Registers {
    /// Guest physical address.
    pub(crate) address: u64,
    /// Bytes.
    pub(crate) size: u64,
    /// Where they begin in the device.
    pub(crate) start: u64,
    /// Those that only notify.
    pub(crate) notify: Range<u64>,
    /// Behind which bus: PCI, as one of this model, or virtio-mmio.
    pub(crate) model: Option<Model>,
}

impl Registers {
    /// Those of a device behind virtio-mmio.
    pub(crate) fn mmio(address: u64) -> Self {
        Self {
            address,
            size: REGION_SIZE,
            start: 0,
            notify: QUEUE_NOTIFY..QUEUE_NOTIFY + 4,
            model: None,
        }
    }

    /// Those of a PCI device, in a BAR at this address.
    pub(crate) fn pci(address: u64, model: Model) -> Self {
        Self {
            address,
            size: model.bar_size(),
            start: bar(model.bar()),
            notify: model.notify(),
            model: Some(model),
        }
    }

    /// What KVM can do of them by itself.
    fn rules<'a>(&self, events: &'a [EventFd]) -> Vec<Rule<'a>> {
        match self.model {
            Some(model) => model.rules(events),
            None => rules(events),
        }
    }

    fn regions(&self, waiting: Waiting) -> Vec<Region> {
        let region = |from: u64, to: u64, posted_writes| Region {
            bus: Bus::Mmio,
            address: self.address + from,
            size: to - from,
            user_data: self.start + from,
            posted_writes,
            timeout: waiting.timeout,
        };
        if !waiting.posted {
            return vec![region(0, self.size, false)];
        }
        let Range { start, end } = self.notify;
        let all = [
            region(0, start, false),
            region(start, end, true),
            region(end, self.size, false),
        ];
        all.into_iter().filter(|region| region.size > 0).collect()
    }
}

/// A disk's registers in the hands of KVM.
pub(crate) struct ByKvm {
    vm: Arc<VmFd>,
    carrier: Carrier,
    vcpus: u32,
    registers: Registers,
    regions: Vec<Region>,
    rules: bool,
}

/// Which accesses do not wait for the device process, and how long the others do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// Writes of `QueueNotify` are posted.
    pub(crate) posted: bool,
    /// The region has rules.
    pub(crate) rules: bool,
    /// When the device process has failed.
    pub(crate) timeout: Option<Duration>,
}

impl ByKvm {
    /// These registers. KVM does not have them yet.
    pub(crate) fn new(
        machine: &Machine<'_>,
        registers: Registers,
        carrier: Carrier,
        waiting: Waiting,
    ) -> Self {
        Self {
            vm: Arc::clone(machine.vm),
            carrier,
            vcpus: machine.vcpus,
            regions: registers.regions(waiting),
            registers,
            rules: waiting.rules,
        }
    }

    /// A fresh channel: the end of KVM and the end of the device process.
    ///
    /// # Errors
    ///
    /// Those of [`channel::pair`] and [`create_channel`].
    pub(crate) fn channel(&self) -> io::Result<(ChannelEnd, ChannelEnd)> {
        match self.carrier {
            Carrier::Frames(transport) => {
                let (kvm_end, device_end) = channel::pair(transport)?;
                Ok((ChannelEnd::Frames(kvm_end), ChannelEnd::Frames(device_end)))
            }
            Carrier::Ring => {
                let channel = create_channel(&self.vm, RING_SLOTS, self.vcpus)?;
                let device_end = channel.try_clone()?;
                Ok((ChannelEnd::Ring(channel), ChannelEnd::Ring(device_end)))
            }
        }
    }

    /// Gives all regions to KVM, with its end of the channel, which is closed here: KVM has its
    /// own reference, and must see when the device process is gone. With rules, their registers
    /// are those of `state`, and notifications go to `events`, if there are any.
    ///
    /// # Errors
    ///
    /// When KVM refuses one.
    pub(crate) fn set(
        &self,
        kvm_end: ChannelEnd,
        state: &StatePage,
        events: &[EventFd],
    ) -> Result<()> {
        for region in &self.regions {
            set_region(&self.vm, region, &kvm_end)
                .with_context(|| format!("KVM refuses the ioregion at {:#x}", region.address))?;
            if self.rules {
                let rules = self.registers.rules(events);
                set_rules(&self.vm, region, state.shadow(), &rules).with_context(|| {
                    format!(
                        "KVM refuses rules for the ioregion at {:#x}",
                        region.address
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Takes all regions from KVM. Accesses that wait in them come to the VMM.
    ///
    /// # Errors
    ///
    /// When KVM does not have one.
    pub(crate) fn remove(&self) -> Result<()> {
        for region in &self.regions {
            remove_region(&self.vm, region)
                .with_context(|| format!("KVM keeps the ioregion at {:#x}", region.address))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_cover_the_page_and_post_notifications_only() {
        let waiting = |posted| Waiting {
            posted,
            rules: false,
            timeout: None,
        };
        for posted in [false, true] {
            let mut next = 0xd000_0000;
            for region in Registers::mmio(0xd000_0000).regions(waiting(posted)) {
                assert_eq!(region.address, next);
                assert_eq!(region.user_data, next - 0xd000_0000);
                let is_notify = region.address == 0xd000_0050 && region.size == 4;
                assert_eq!(region.posted_writes, is_notify);
                next += region.size;
            }
            assert_eq!(next, 0xd000_1000);
        }
        let regions = |registers: Registers| registers.regions(waiting(true)).len();
        assert_eq!(regions(Registers::mmio(0)), 3);
        assert_eq!(regions(Registers::pci(0, Model::Blk)), 2);
    }
}
