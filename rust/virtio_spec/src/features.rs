// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Feature bits: section 2.2, and section 6 for those that belong to no device type.

/// A set of feature bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u64);

impl Features {
    /// Indirect descriptors: 2.7.5.3 and 2.8.7.
    pub const INDIRECT_DESC: Self = Self::bit(28);
    /// `used_event` and `avail_event`, or event suppression by descriptor: 2.7.7, 2.7.10 and
    /// 2.8.14.
    pub const EVENT_IDX: Self = Self::bit(29);
    /// The device is not a legacy one.
    pub const VERSION_1: Self = Self::bit(32);
    /// The device reaches memory as the platform tells: through an IOMMU, say.
    pub const ACCESS_PLATFORM: Self = Self::bit(33);
    /// Packed virtqueues: 2.8.
    pub const RING_PACKED: Self = Self::bit(34);
    /// Buffers are used in the order in which they were made available: 2.7.9 and 2.8.8.
    pub const IN_ORDER: Self = Self::bit(35);
    /// Memory accesses are ordered as for a device of the platform, not as for another CPU.
    pub const ORDER_PLATFORM: Self = Self::bit(36);
    /// The device supports Single Root I/O Virtualization.
    pub const SR_IOV: Self = Self::bit(37);
    /// Notifications say how far the ring is filled: 2.9.
    pub const NOTIFICATION_DATA: Self = Self::bit(38);
    /// Notifications carry a number that the device chose in place of the queue's: 4.1.5.2.
    pub const NOTIF_CONFIG_DATA: Self = Self::bit(39);
    /// A queue can be reset by itself: 2.6.1.
    pub const RING_RESET: Self = Self::bit(40);
    /// There are administration virtqueues: 2.13.
    pub const ADMIN_VQ: Self = Self::bit(41);

    /// The set with one bit, 0 to 63.
    pub const fn bit(bit: u32) -> Self {
        Self(1 << bit)
    }

    /// The set with the bits of `bits`.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// As a number.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether all of `others` are in it.
    pub const fn has(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// It and `others`.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// It without `others`.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_in() {
        let set = Features::VERSION_1.with(Features::RING_PACKED);
        assert_eq!(set.bits(), 0x5_0000_0000);
        assert!(set.has(Features::VERSION_1) && set.has(set));
        assert!(!set.has(Features::IN_ORDER.with(Features::VERSION_1)));
        assert_eq!(set.without(Features::VERSION_1), Features::RING_PACKED);
        assert_eq!(set.and(Features::from_bits(1 << 34)), Features::RING_PACKED);
    }
}
