// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a driver writes to notify the device of available buffers: section 2.9.

/// An available buffer notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Number of the virtqueue (`vqn`), or what the device gave in its place.
    pub queue: u16,
    /// Where the next available entry goes: the available index of a split virtqueue; the offset
    /// of the descriptor, with the wrap counter in bit 15, of a packed one.
    pub next: u16,
}

impl Notification {
    /// The value with `VIRTIO_F_NOTIFICATION_DATA`; without it, [`Self::queue`] is written.
    #[inline]
    pub const fn data(self) -> u32 {
        self.queue as u32 | (self.next as u32) << 16
    }

    /// Reads such a value.
    pub const fn from_data(data: u32) -> Self {
        Self {
            queue: data as u16,
            next: (data >> 16) as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_in_the_low_half() {
        let (queue, next) = (0x1234, 0x8765);
        let notification = Notification { queue, next };
        assert_eq!(notification.data(), 0x8765_1234);
        assert_eq!(Notification::from_data(0x8765_1234), notification);
    }
}
