// SPDX-License-Identifier: GPL-2.0-only

//! What a disk can do.

use kernel::bindings;

/// What a disk can do, and likes (`struct queue_limits`). Sectors have 512 bytes; 0 is as the
/// block layer has it where nothing else is said.
#[derive(Clone, Copy, Default)]
pub struct Limits {
    /// Bytes of the smallest piece that can be addressed.
    pub logical_block_size: u32,
    /// Bytes of the smallest piece that is written without reading.
    pub physical_block_size: u32,
    /// Bytes by which the first of those is off.
    pub alignment_offset: u32,
    /// Bytes of the smallest request that is not slow.
    pub io_min: u32,
    /// Bytes of the best request.
    pub io_opt: u32,
    /// Most segments of a request.
    pub max_segments: u16,
    /// Most bytes of a segment.
    pub max_segment_size: u32,
    /// Most sectors of a request.
    pub max_hw_sectors: u32,
    /// Writes are durable only after a flush.
    pub write_cache: bool,
    /// Most sectors of a discard; 0 if there is none.
    pub max_discard_sectors: u32,
    /// Bytes of the smallest piece that can be discarded.
    pub discard_granularity: u32,
    /// Most sectors that can be zeroed at once; 0 if there is no such thing.
    pub max_write_zeroes_sectors: u32,
}

/// `helpers.c` asserts it.
const BLK_FEAT_WRITE_CACHE: u32 = 1;

impl Limits {
    pub(crate) fn into_raw(self) -> bindings::queue_limits {
        bindings::queue_limits {
            features: if self.write_cache {
                BLK_FEAT_WRITE_CACHE
            } else {
                0
            },
            logical_block_size: self.logical_block_size,
            physical_block_size: self.physical_block_size,
            alignment_offset: self.alignment_offset,
            io_min: self.io_min,
            io_opt: self.io_opt,
            max_segments: self.max_segments,
            max_segment_size: self.max_segment_size,
            max_hw_sectors: self.max_hw_sectors,
            max_hw_discard_sectors: self.max_discard_sectors,
            max_discard_segments: 1,
            discard_granularity: self.discard_granularity,
            max_write_zeroes_sectors: self.max_write_zeroes_sectors,
            ..pin_init::zeroed()
        }
    }
}
