// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A packed virtqueue: section 2.8.
//!
//! ```text
//! descriptor area   16 bytes for each descriptor: le64 addr, le32 len, le16 id, le16 flags
//! driver area       le16 off_wrap, le16 flags: which interrupts the driver wants
//! device area       le16 off_wrap, le16 flags: which notifications the device wants
//! ```
//!
//! The other descriptor flags are those of [`crate::split`].

/// Most descriptors of a virtqueue; their number need not be a power of two.
pub const MAX_SIZE: u16 = 1 << 15;

/// Bytes of a descriptor, here and in an indirect table.
pub const DESCRIPTOR: usize = 16;
/// Alignment of the descriptor area.
pub const DESCRIPTOR_ALIGN: usize = 16;
/// Bytes, and alignment, of the driver area and of the device area.
pub const EVENT: usize = 4;

/// Descriptor flag: equals the driver's wrap counter, and differs from [`USED`], when available
/// (`VIRTQ_DESC_F_AVAIL`).
pub const AVAIL: u16 = 1 << 7;
/// Descriptor flag: equals the device's wrap counter, as does [`AVAIL`], when used
/// (`VIRTQ_DESC_F_USED`).
pub const USED: u16 = 1 << 15;

/// Event flags: of everything (`RING_EVENT_FLAGS_ENABLE`).
pub const ENABLE: u16 = 0;
/// Event flags: of nothing (`RING_EVENT_FLAGS_DISABLE`).
pub const DISABLE: u16 = 1;
/// Event flags: of the descriptor that `off_wrap` names (`RING_EVENT_FLAGS_DESC`).
pub const DESC: u16 = 2;

/// Bit of `off_wrap`: the wrap counter. The others are the offset of a descriptor.
pub const WRAP: u16 = 1 << 15;

/// Bytes of the descriptor area.
pub const fn descriptor_area(size: u16) -> usize {
    DESCRIPTOR * size as usize
}
