// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A split virtqueue: section 2.7.
//!
//! ```text
//! descriptor area   16 bytes for each descriptor: le64 addr, le32 len, le16 flags, le16 next
//! driver area       le16 flags, le16 idx, le16 ring[size], le16 used_event
//! device area       le16 flags, le16 idx, { le32 id, le32 len } ring[size], le16 avail_event
//! ```

/// Most descriptors of a virtqueue; their number is a power of two.
pub const MAX_SIZE: u16 = 1 << 15;

/// Bytes of a descriptor, here and in an indirect table.
pub const DESCRIPTOR: usize = 16;
/// Alignment of the descriptor area.
pub const DESCRIPTOR_ALIGN: usize = 16;
/// Alignment of the driver area.
pub const DRIVER_ALIGN: usize = 2;
/// Alignment of the device area.
pub const DEVICE_ALIGN: usize = 4;

/// Descriptor flag: the chain goes on at `next` (`VIRTQ_DESC_F_NEXT`).
pub const NEXT: u16 = 1;
/// Descriptor flag: the device writes the buffer; else it reads it (`VIRTQ_DESC_F_WRITE`).
pub const WRITE: u16 = 2;
/// Descriptor flag: the buffer holds a table of descriptors (`VIRTQ_DESC_F_INDIRECT`).
pub const INDIRECT: u16 = 4;

/// Flag of the driver area: no interrupts, please (`VIRTQ_AVAIL_F_NO_INTERRUPT`).
pub const NO_INTERRUPT: u16 = 1;
/// Flag of the device area: no notifications, please (`VIRTQ_USED_F_NO_NOTIFY`).
pub const NO_NOTIFY: u16 = 1;

/// Offset of `flags` in the driver area and in the device area.
pub const FLAGS: usize = 0;
/// Offset of `idx` in the driver area and in the device area.
pub const INDEX: usize = 2;
/// Offset of `ring` in the driver area and in the device area.
pub const RING: usize = 4;
/// Bytes of an entry of the driver area's ring.
pub const AVAILABLE: usize = 2;
/// Bytes of an entry of the device area's ring.
pub const USED: usize = 8;

/// Offset of `used_event` in the driver area.
pub const fn used_event(size: u16) -> usize {
    RING + AVAILABLE * size as usize
}

/// Offset of `avail_event` in the device area.
pub const fn avail_event(size: u16) -> usize {
    RING + USED * size as usize
}

/// Bytes of the descriptor area.
pub const fn descriptor_area(size: u16) -> usize {
    DESCRIPTOR * size as usize
}

/// Bytes of the driver area.
pub const fn driver_area(size: u16) -> usize {
    used_event(size) + 2
}

/// Bytes of the device area.
pub const fn device_area(size: u16) -> usize {
    avail_event(size) + 2
}

/// Whether there has to be a notification, as the other side asked for one when the entry at
/// index `event` is there, and `old` to `new - 1` are (`vring_need_event`).
#[inline]
pub const fn is_event_due(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_as_long_as_the_table_says() {
        // Section 2.7: 16 * size, 6 + 2 * size, 6 + 8 * size.
        for size in [1, 2, 256, MAX_SIZE] {
            let number = usize::from(size);
            assert_eq!(descriptor_area(size), 16 * number);
            assert_eq!(driver_area(size), 6 + 2 * number);
            assert_eq!(device_area(size), 6 + 8 * number);
        }
    }

    #[test]
    fn an_event_is_due_when_its_entry_is_among_the_new() {
        for old in [0, 100, u16::MAX - 1] {
            for added in [0, 1, 5] {
                for ahead in [-3i16, -1, 0, 1, 4, 5, 6] {
                    let event = old.wrapping_add_signed(ahead);
                    let is_new = (0..added).contains(&ahead);
                    let new = old.wrapping_add_signed(added);
                    assert_eq!(is_event_due(event, new, old), is_new, "{event} {new} {old}");
                }
            }
        }
    }
}
