// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Block devices: section 5.2. A request is a [`Header`], data one way or the other, and a byte
//! that the device writes, one of [`status`].

use zerocopy::little_endian::{
    U16,
    U32,
    U64, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout, //
};

/// Device type.
pub const DEVICE_ID: u16 = 2;

/// Bytes of a sector, the unit of positions and of most lengths.
pub const SECTOR: u64 = 512;

/// Feature bits: 5.2.3.
pub mod feature {
    use crate::features::Features;

    /// [`super::Config::size_max`] is there.
    pub const SIZE_MAX: Features = Features::bit(1);
    /// [`super::Config::seg_max`] is there.
    pub const SEG_MAX: Features = Features::bit(2);
    /// [`super::Config::geometry`] is there.
    pub const GEOMETRY: Features = Features::bit(4);
    /// The device is read-only.
    pub const RO: Features = Features::bit(5);
    /// [`super::Config::blk_size`] is there.
    pub const BLK_SIZE: Features = Features::bit(6);
    /// The device has a cache, and requests to flush it.
    pub const FLUSH: Features = Features::bit(9);
    /// [`super::Config::topology`] is there.
    pub const TOPOLOGY: Features = Features::bit(10);
    /// [`super::Config::writeback`] is there.
    pub const CONFIG_WCE: Features = Features::bit(11);
    /// [`super::Config::num_queues`] is there.
    pub const MQ: Features = Features::bit(12);
    /// There are requests to discard.
    pub const DISCARD: Features = Features::bit(13);
    /// There are requests to write zeroes.
    pub const WRITE_ZEROES: Features = Features::bit(14);
    /// The device tells how worn it is.
    pub const LIFETIME: Features = Features::bit(15);
    /// There are requests to erase securely.
    pub const SECURE_ERASE: Features = Features::bit(16);
    /// The device is zoned.
    pub const ZONED: Features = Features::bit(17);
}

/// `struct virtio_blk_config`: 5.2.4, without what belongs to zoned devices. A field is there if
/// its feature was offered.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Config {
    /// Sectors.
    pub capacity: U64,
    /// Most bytes of a segment.
    pub size_max: U32,
    /// Most segments of data.
    pub seg_max: U32,
    /// For those who believe in cylinders.
    pub geometry: Geometry,
    /// Bytes of a logical block.
    pub blk_size: U32,
    /// Physical blocks.
    pub topology: Topology,
    /// 1: the cache is in use; 0: writes are durable when they complete.
    pub writeback: u8,
    /// Not used.
    pub unused0: u8,
    /// Request queues.
    pub num_queues: U16,
    /// Most sectors of a range to discard.
    pub max_discard_sectors: U32,
    /// Most ranges of a request to discard.
    pub max_discard_seg: U32,
    /// Sectors that the ranges to discard should be multiples of.
    pub discard_sector_alignment: U32,
    /// Most sectors of a range to zero.
    pub max_write_zeroes_sectors: U32,
    /// Most ranges of a request to write zeroes.
    pub max_write_zeroes_seg: U32,
    /// 1: zeroes may be written by unmapping.
    pub write_zeroes_may_unmap: u8,
    /// Not used.
    pub unused1: [u8; 3],
    /// Most sectors of a range to erase.
    pub max_secure_erase_sectors: U32,
    /// Most ranges of a request to erase.
    pub max_secure_erase_seg: U32,
    /// Sectors that the ranges to erase are multiples of.
    pub secure_erase_sector_alignment: U32,
}

/// `struct virtio_blk_geometry`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Geometry {
    /// Cylinders.
    pub cylinders: U16,
    /// Heads.
    pub heads: u8,
    /// Sectors of a track.
    pub sectors: u8,
}

/// `struct virtio_blk_topology`, in logical blocks.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Topology {
    /// Blocks of a physical block, log2.
    pub physical_block_exp: u8,
    /// The first block that begins a physical one.
    pub alignment_offset: u8,
    /// Fewest blocks that should be asked for.
    pub min_io_size: U16,
    /// Most blocks that should be asked for.
    pub opt_io_size: U32,
}

/// What the device reads at the beginning of a request: 5.2.6.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Header {
    /// One of [`request`].
    pub kind: U32,
    /// Not used.
    pub reserved: U32,
    /// Where to read or write; else 0.
    pub sector: U64,
}

/// `struct virtio_blk_discard_write_zeroes`, the data of such requests.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Range {
    /// The first one.
    pub sector: U64,
    /// How many.
    pub num_sectors: U32,
    /// [`UNMAP`], or 0.
    pub flags: U32,
}

/// Of a [`Range`] to write zeroes to: unmap it.
pub const UNMAP: u32 = 1;

/// What is asked for: 5.2.6.
pub mod request {
    /// Read.
    pub const IN: u32 = 0;
    /// Write.
    pub const OUT: u32 = 1;
    /// Make all that was written durable.
    pub const FLUSH: u32 = 4;
    /// Tell the id, [`super::ID_BYTES`].
    pub const GET_ID: u32 = 8;
    /// Tell how worn it is.
    pub const GET_LIFETIME: u32 = 10;
    /// Discard ranges.
    pub const DISCARD: u32 = 11;
    /// Write zeroes to ranges.
    pub const WRITE_ZEROES: u32 = 13;
    /// Erase ranges securely.
    pub const SECURE_ERASE: u32 = 14;
}

/// Bytes of an id: a string that need not end with a zero.
pub const ID_BYTES: usize = 20;

/// How a request ended.
pub mod status {
    /// As asked.
    pub const OK: u8 = 0;
    /// With an error.
    pub const IOERR: u8 = 1;
    /// The device does not know it.
    pub const UNSUPP: u8 = 2;
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn fields_are_where_linux_has_them() {
        assert_eq!(offset_of!(Config, geometry), 16);
        assert_eq!(offset_of!(Config, blk_size), 20);
        assert_eq!(offset_of!(Config, writeback), 32);
        assert_eq!(offset_of!(Config, num_queues), 34);
        assert_eq!(offset_of!(Config, max_discard_sectors), 36);
        assert_eq!(offset_of!(Config, write_zeroes_may_unmap), 56);
        assert_eq!(size_of::<Config>(), 72);
        assert_eq!(size_of::<Header>(), 16);
        assert_eq!(size_of::<Range>(), 16);
    }
}
