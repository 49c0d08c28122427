// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `dispatch=ioregion`: the regions that give a disk's registers to KVM.
//!
//! One region is the whole page. With posted notifications it is three, around `QueueNotify`;
//! they share a channel, so their accesses stay in order. [`super`] says why nothing else is
//! posted. A region's `user_data` is where it begins in the page.

use std::{io, sync::Arc};

use anyhow::{Context, Result};
use kvm_ioctls::VmFd;
use shunt::{
    channel::{self, Endpoint, Transport},
    ioregion::{remove_region, set_region, Bus, Region},
    virtio_mmio::{QUEUE_NOTIFY, REGION_SIZE},
};

const QUEUE_NOTIFY_END: u64 = QUEUE_NOTIFY + 4;

/// A disk's registers in the hands of KVM.
pub(crate) struct ByKvm {
    vm: Arc<VmFd>,
    transport: Transport,
    regions: Vec<Region>,
}

impl ByKvm {
    /// The registers of the disk at `address`. KVM does not have them yet.
    pub(crate) fn new(vm: Arc<VmFd>, address: u64, transport: Transport, posted: bool) -> Self {
        Self {
            vm,
            transport,
            regions: regions(address, posted),
        }
    }

    /// A fresh channel: the end of KVM and the end of the device process.
    ///
    /// # Errors
    ///
    /// Those of [`channel::pair`].
    pub(crate) fn channel(&self) -> io::Result<(Endpoint, Endpoint)> {
        channel::pair(self.transport)
    }

    /// Gives all regions to KVM, with its end of the channel.
    ///
    /// # Errors
    ///
    /// When KVM refuses one.
    pub(crate) fn set(&self, kvm_end: Endpoint) -> Result<()> {
        for region in &self.regions {
            set_region(&self.vm, region, &kvm_end)
                .with_context(|| format!("KVM refuses the ioregion at {:#x}", region.address))?;
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

fn regions(address: u64, posted_notify: bool) -> Vec<Region> {
    let region = |from: u64, to: u64, posted_writes| Region {
        bus: Bus::Mmio,
        address: address + from,
        size: to - from,
        user_data: from,
        posted_writes,
    };
    if posted_notify {
        vec![
            region(0, QUEUE_NOTIFY, false),
            region(QUEUE_NOTIFY, QUEUE_NOTIFY_END, true),
            region(QUEUE_NOTIFY_END, REGION_SIZE, false),
        ]
    } else {
        vec![region(0, REGION_SIZE, false)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_cover_the_page_and_post_notifications_only() {
        for posted in [false, true] {
            let mut next = 0xd000_0000;
            for region in regions(0xd000_0000, posted) {
                assert_eq!(region.address, next);
                assert_eq!(region.user_data, next - 0xd000_0000);
                let is_notify = region.address == 0xd000_0050 && region.size == 4;
                assert_eq!(region.posted_writes, is_notify);
                next += region.size;
            }
            assert_eq!(next, 0xd000_1000);
        }
        assert_eq!(regions(0, true).len(), 3);
    }
}
