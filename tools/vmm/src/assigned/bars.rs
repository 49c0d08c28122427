// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! BARs as memory slots of KVM's, wherever the guest puts them.

use std::{
    fs::File,
    ops::Range,
    os::fd::{AsRawFd, BorrowedFd},
};

use anyhow::{Context, Result};
use kvm_ioctls::VmFd;
use vfio_bindings::bindings::vfio::{VFIO_REGION_INFO_FLAG_MMAP, VFIO_REGION_INFO_FLAG_WRITE};
use vfio_ioctls::{VfioDevice, VfioRegionInfoCap};
use vm_memory::{mmap::MmapRegion, FileOffset};

use crate::{layout::BAR_SLOT, memory};

const PAGE: u64 = 0x1000;

/// Memory slots that nobody has.
pub(super) struct Slots(std::ops::RangeFrom<u32>);

impl Default for Slots {
    fn default() -> Self {
        Self(BAR_SLOT..)
    }
}

/// The parts of a BAR that the guest reaches without an exit.
pub(super) struct MappedBar {
    /// Which BAR.
    pub(super) index: usize,
    areas: Vec<Area>,
    /// Where it is.
    address: Option<u64>,
}

struct Area {
    slot: u32,
    offset: u64,
    memory: MmapRegion,
}

impl MappedBar {
    /// What can be mapped of a BAR, but for the `traps` in it. The guest does not see it yet.
    ///
    /// # Errors
    ///
    /// The device's memory cannot be mapped.
    pub(super) fn new(
        device: &VfioDevice,
        index: usize,
        traps: Option<Range<u64>>,
        slots: &mut Slots,
    ) -> Result<Self> {
        let region = index as u32;
        let mut areas = Vec::new();
        for (offset, size) in mappable(&offered(device, region), traps) {
            let memory = map(device, device.get_region_offset(region) + offset, size)
                .with_context(|| format!("mapping BAR {index}"))?;
            let slot = slots.0.next().context("no memory slot")?;
            areas.push(Area {
                slot,
                offset,
                memory,
            });
        }
        Ok(Self {
            index,
            areas,
            address: None,
        })
    }

    /// Takes the BAR from the guest, unless it is at `address`.
    ///
    /// # Errors
    ///
    /// KVM refuses it.
    pub(super) fn leave(&mut self, vm: &VmFd, address: Option<u64>) -> Result<()> {
        if self.address.is_some() && self.address != address {
            for area in &self.areas {
                memory::hide_device(vm, area.slot)?;
            }
            self.address = None;
        }
        Ok(())
    }

    /// Lets the guest have it at `address`.
    ///
    /// # Errors
    ///
    /// KVM refuses it, as something else is there.
    pub(super) fn appear(&mut self, vm: &VmFd, address: Option<u64>) -> Result<()> {
        if let (None, Some(address)) = (self.address, address) {
            for area in &self.areas {
                memory::show_device(vm, area.slot, address + area.offset, &area.memory)?;
            }
            self.address = Some(address);
        }
        Ok(())
    }
}

/// What VFIO lets us map of a region: (offset, size) each.
fn offered(device: &VfioDevice, region: u32) -> Vec<(u64, u64)> {
    let wanted = VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_WRITE;
    if device.get_region_flags(region) & wanted != wanted {
        return Vec::new();
    }
    let sparse = device.get_region_caps(region).into_iter();
    let mut sparse = sparse.filter_map(|capability| match capability {
        VfioRegionInfoCap::SparseMmap(sparse) => Some(sparse.areas),
        _ => None,
    });
    match sparse.next() {
        Some(areas) => areas.iter().map(|area| (area.offset, area.size)).collect(),
        None => vec![(0, device.get_region_size(region))],
    }
}

/// Whole pages of the areas in which there is no trap.
fn mappable(areas: &[(u64, u64)], traps: Option<Range<u64>>) -> Vec<(u64, u64)> {
    let traps = traps.unwrap_or(0..0);
    let pages = traps.start & !(PAGE - 1)..traps.end.next_multiple_of(PAGE);
    let parts = areas.iter().flat_map(|&(offset, size)| {
        let end = offset + size;
        let before = offset..end.min(pages.start.max(offset));
        let behind = offset.max(pages.end.min(end))..end;
        [before, behind]
    });
    let whole = parts.map(|part| part.start.next_multiple_of(PAGE)..part.end & !(PAGE - 1));
    let whole = whole.filter(|part| !part.is_empty());
    whole
        .map(|part| (part.start, part.end - part.start))
        .collect()
}

fn map(device: &VfioDevice, offset: u64, size: u64) -> Result<MmapRegion> {
    // SAFETY: The device keeps its descriptor open until after this.
    let file = unsafe { BorrowedFd::borrow_raw(device.as_raw_fd()) };
    let file = File::from(file.try_clone_to_owned()?);
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let place = FileOffset::new(file, offset);
    Ok(MmapRegion::build(
        Some(place),
        size as usize,
        protection,
        libc::MAP_SHARED,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_with_traps_and_parts_of_pages_are_not_mapped() {
        for (areas, traps, want) in [
            (&[(0, 0x4000)][..], None, &[(0, 0x4000)][..]),
            (&[(0, 0x1000)], Some(0..0x40), &[]),
            (&[(0, 0x800)], None, &[]),
            (
                &[(0, 0x4000)],
                Some(0x1800..0x1830),
                &[(0, 0x1000), (0x2000, 0x2000)],
            ),
            (&[(0, 0x4000)], Some(0x3000..0x3010), &[(0, 0x3000)]),
            (
                &[(0, 0x1000), (0x2000, 0x2000)],
                Some(0x2000..0x2010),
                &[(0, 0x1000), (0x3000, 0x1000)],
            ),
        ] {
            assert_eq!(mappable(areas, traps.clone()), want, "{areas:?} {traps:?}");
        }
    }
}
