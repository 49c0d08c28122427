// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The memory that a client lent: what the device reaches by DMA.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use shunt::pci::Range;
use vm_memory::mmap::MmapRegionError;
use vm_memory::{
    Bytes, FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MemoryRegionAddress,
    MmapRegion,
};

use crate::capabilities::{MAX_DMA_MAPS, PAGE_SIZE};
use crate::wire::{self, DmaMap, DmaUnmap};

/// The mappings by address. They do not overlap.
#[derive(Debug, Default)]
pub(crate) struct Dma {
    maps: BTreeMap<u64, Map>,
}

#[derive(Debug)]
struct Map {
    size: u64,
    /// `None`: the device may not both read and write it.
    region: Option<Arc<GuestRegionMmap>>,
    /// It came without a descriptor: the region is a copy.
    is_copy: bool,
}

impl Dma {
    /// Adds a mapping.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: not whole pages; or the file ends before.
    /// - `EEXIST`: there is one already at some of the addresses.
    /// - `ENOSPC`: there are [`MAX_DMA_MAPS`].
    /// - those of `fstat(2)` and `mmap(2)`.
    pub(crate) fn map(&mut self, map: &DmaMap, fd: Option<OwnedFd>) -> Result<(), Errno> {
        if (map.address | map.offset | map.size) % PAGE_SIZE != 0 {
            return Err(Errno::INVAL);
        }
        if self.overlaps(map.address, map.size) {
            return Err(Errno::EXIST);
        }
        if self.maps.len() >= MAX_DMA_MAPS {
            return Err(Errno::NOSPC);
        }
        let both = wire::DMA_READABLE | wire::DMA_WRITEABLE;
        let is_copy = fd.is_none();
        let region = if map.flags == both {
            Some(Arc::new(mapped(map, fd)?))
        } else {
            None
        };
        let size = map.size;
        let entry = Map {
            size,
            region,
            is_copy,
        };
        self.maps.insert(map.address, entry);
        Ok(())
    }

    fn overlaps(&self, address: u64, size: u64) -> bool {
        let below = self.maps.range(..address + size).next_back();
        below.is_some_and(|(&start, map)| start + map.size > address)
    }

    /// Removes a mapping, or all of them.
    ///
    /// # Errors
    ///
    /// `ENOENT`: there is none of exactly this address and size.
    pub(crate) fn unmap(&mut self, unmap: &DmaUnmap) -> Result<(), Errno> {
        if unmap.flags == wire::UNMAP_ALL {
            self.maps.clear();
            return Ok(());
        }
        match self.maps.get(&unmap.address) {
            Some(map) if map.size == unmap.size => {}
            _ => return Err(Errno::NOENT),
        }
        self.maps.remove(&unmap.address);
        Ok(())
    }

    /// The parts that the device can work on only as copies.
    pub(crate) fn copies(&self) -> Vec<Range> {
        let copies = self
            .maps
            .iter()
            .filter(|(_, map)| map.is_copy && map.region.is_some());
        let range = |(&address, map): (&u64, &Map)| Range {
            address,
            length: map.size,
        };
        copies.map(range).collect()
    }

    /// Brings the copies in a part of memory up to date; what is no copy stays.
    pub(crate) fn store(&self, address: u64, data: &[u8]) {
        let all = Range {
            address,
            length: data.len() as u64,
        };
        for copy in self.copies().iter().filter(|copy| copy.overlaps(&all)) {
            let begin = copy.address.max(address);
            let end = (copy.address + copy.length).min(address + all.length);
            let part = &data[(begin - address) as usize..(end - address) as usize];
            let region = self
                .maps
                .get(&copy.address)
                .and_then(|map| map.region.as_ref());
            if let Some(region) = region {
                // It is within the region, so it cannot fail.
                let _ = region.write_slice(part, MemoryRegionAddress(begin - copy.address));
            }
        }
    }

    /// What can be reached now.
    pub(crate) fn memory(&self) -> GuestMemoryMmap {
        let regions = self.maps.values().filter_map(|map| map.region.clone());
        // It refuses only regions that overlap or are out of order, and none at all.
        GuestMemoryMmap::from_arc_regions(regions.collect()).unwrap_or_default()
    }
}

/// Maps memory that a client lent, or makes room for a copy of it.
fn mapped(map: &DmaMap, fd: Option<OwnedFd>) -> Result<GuestRegionMmap, Errno> {
    let size = usize::try_from(map.size).map_err(|_| Errno::INVAL)?;
    let region = match fd {
        Some(fd) => MmapRegion::from_file(place(map, fd)?, size),
        None => MmapRegion::new(size),
    };
    let region = region.map_err(|e| errno(&e))?;
    GuestRegionMmap::new(region, GuestAddress(map.address)).ok_or(Errno::INVAL)
}

fn place(map: &DmaMap, fd: OwnedFd) -> Result<FileOffset, Errno> {
    let file = File::from(fd);
    let length = rustix::fs::fstat(&file)?.st_size;
    if u64::try_from(length).map_or(true, |length| map.offset + map.size > length) {
        return Err(Errno::INVAL);
    }
    Ok(FileOffset::new(file, map.offset))
}

fn errno(error: &MmapRegionError) -> Errno {
    match error {
        MmapRegionError::Mmap(e) => Errno::from_io_error(e).unwrap_or(Errno::INVAL),
        _ => Errno::INVAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
    use vm_memory::GuestMemoryBackend;

    fn memfd(size: u64) -> OwnedFd {
        let fd = memfd_create("dma", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&fd, size).unwrap();
        fd
    }

    fn map(address: u64, size: u64) -> DmaMap {
        DmaMap {
            argsz: 32,
            flags: wire::DMA_READABLE | wire::DMA_WRITEABLE,
            offset: 0,
            address,
            size,
        }
    }

    fn unmap(address: u64, size: u64) -> DmaUnmap {
        DmaUnmap {
            argsz: 24,
            flags: 0,
            address,
            size,
        }
    }

    #[test]
    fn memory_comes_and_goes() {
        let mut dma = Dma::default();
        let fd = memfd(0x3000);
        let second = DmaMap {
            offset: 0x1000,
            ..map(0x10_0000, 0x2000)
        };
        dma.map(&map(0, 0x1000), Some(fd.try_clone().unwrap()))
            .unwrap();
        dma.map(&second, Some(fd)).unwrap();
        let memory = dma.memory();
        memory.write_obj(7u32, GuestAddress(0x10_0ffc)).unwrap();
        dma.unmap(&unmap(0x10_0000, 0x2000)).unwrap();
        assert!(dma
            .memory()
            .read_obj::<u32>(GuestAddress(0x10_0ffc))
            .is_err());
        assert_eq!(dma.memory().num_regions(), 1);
        let all = DmaUnmap {
            flags: wire::UNMAP_ALL,
            ..unmap(0, 0)
        };
        dma.unmap(&all).unwrap();
        assert_eq!(dma.memory().num_regions(), 0);
    }

    #[test]
    fn mappings_do_not_overlap() {
        let mut dma = Dma::default();
        dma.map(&map(0x2000, 0x2000), None).unwrap();
        for (address, size, expected) in [
            (0x1000, 0x1000, Ok(())),
            (0x4000, 0x1000, Ok(())),
            (0x1000, 0x2000, Err(Errno::EXIST)),
            (0x3000, 0x1000, Err(Errno::EXIST)),
            (0, 0x10_0000, Err(Errno::EXIST)),
            (0x3000, 0x2000, Err(Errno::EXIST)),
        ] {
            let found = dma.map(&map(address, size), None);
            assert_eq!(found, expected, "{address:#x}, {size:#x}");
        }
    }

    #[test]
    fn only_what_was_mapped_is_unmapped() {
        let mut dma = Dma::default();
        dma.map(&map(0x2000, 0x2000), None).unwrap();
        for (address, size) in [(0x2000, 0x1000), (0x3000, 0x1000), (0, 0), (0x2000, 0)] {
            assert_eq!(dma.unmap(&unmap(address, size)), Err(Errno::NOENT));
        }
        dma.unmap(&unmap(0x2000, 0x2000)).unwrap();
    }

    #[test]
    fn what_cannot_be_mapped_is_refused() {
        let mut dma = Dma::default();
        let long = map(0, 0x2000);
        assert_eq!(dma.map(&long, Some(memfd(0x1000))), Err(Errno::INVAL));
        assert_eq!(dma.map(&map(0x10, 0x1000), None), Err(Errno::INVAL));
        assert_eq!(dma.map(&map(0, 0x1001), None), Err(Errno::INVAL));
        let (pipe, _other) = rustix::pipe::pipe().unwrap();
        assert!(dma.map(&map(0, 0x1000), Some(pipe)).is_err());
        assert!(dma.maps.is_empty());
    }

    #[test]
    fn only_copies_are_brought_up_to_date() {
        let mut dma = Dma::default();
        let without = DmaMap {
            offset: 0,
            ..map(0x1000, 0x1000)
        };
        dma.map(&map(0, 0x1000), Some(memfd(0x1000))).unwrap();
        dma.map(&without, None).unwrap();
        dma.map(&map(0x2000, 0x1000), Some(memfd(0x1000))).unwrap();
        dma.store(0xffc, &[7; 0x1008]);
        let byte = |address| dma.memory().read_obj::<u8>(GuestAddress(address)).unwrap();
        let found = [0xffc, 0xfff, 0x1000, 0x1fff, 0x2000, 0x2003].map(byte);
        assert_eq!(found, [0, 0, 7, 7, 0, 0]);
        let copy = Range {
            address: 0x1000,
            length: 0x1000,
        };
        assert_eq!(dma.copies(), [copy]);
    }

    #[test]
    fn there_is_a_limit() {
        let mut dma = Dma::default();
        for number in 0..MAX_DMA_MAPS as u64 {
            dma.map(&map(number * PAGE_SIZE, PAGE_SIZE), None).unwrap();
        }
        let next = map(1 << 40, PAGE_SIZE);
        assert_eq!(dma.map(&next, None), Err(Errno::NOSPC));
    }
}
