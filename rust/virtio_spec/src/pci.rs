// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! virtio over PCI: section 4.1. Offsets of fields are had with [`core::mem::offset_of`].

use zerocopy::little_endian::{
    U16,
    U32, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout, //
};

/// PCI vendor id of all virtio devices: 4.1.2.
pub const VENDOR_ID: u16 = 0x1af4;

/// PCI device id of a device that is not transitional: 4.1.2.
pub const fn device_id(virtio_device_id: u16) -> u16 {
    0x1040 + virtio_device_id
}

/// Id of vendor-specific PCI capabilities, of which virtio's are.
pub const CAPABILITY_ID: u8 = 0x09;

/// What a capability tells of: `cfg_type`, 4.1.4.
pub mod cfg_type {
    /// [`super::CommonConfig`].
    pub const COMMON: u8 = 1;
    /// Where notifications go; a [`super::NotifyCapability`].
    pub const NOTIFY: u8 = 2;
    /// The ISR status.
    pub const ISR: u8 = 3;
    /// Configuration of the device type.
    pub const DEVICE: u8 = 4;
    /// A window through PCI configuration space.
    pub const PCI: u8 = 5;
    /// A shared memory region.
    pub const SHARED_MEMORY: u8 = 8;
    /// Data of the vendor's.
    pub const VENDOR: u8 = 9;
}

/// `struct virtio_pci_cap`: where a structure is, 4.1.4.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Capability {
    /// [`CAPABILITY_ID`].
    pub cap_vndr: u8,
    /// Offset of the next capability in configuration space, 0 in the last one.
    pub cap_next: u8,
    /// Bytes of this one, with what follows this structure.
    pub cap_len: u8,
    /// Which structure: one of [`cfg_type`].
    pub cfg_type: u8,
    /// Which BAR, 0 to 5.
    pub bar: u8,
    /// Tells several of the same type apart.
    pub id: u8,
    /// Not used.
    pub padding: [u8; 2],
    /// Where it begins in the BAR.
    pub offset: U32,
    /// Its bytes.
    pub length: U32,
}

/// `struct virtio_pci_notify_cap`: 4.1.4.4.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct NotifyCapability {
    /// Where notifications go.
    pub cap: Capability,
    /// Bytes from one `queue_notify_off` to the next.
    pub notify_off_multiplier: U32,
}

/// `struct virtio_pci_common_cfg`: 4.1.4.3. Addresses are two fields of 32 bits, which is how they
/// may be accessed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CommonConfig {
    /// Which 32 bits `device_feature` shows.
    pub device_feature_select: U32,
    /// Features that the device offers.
    pub device_feature: U32,
    /// Which 32 bits `driver_feature` shows.
    pub driver_feature_select: U32,
    /// Features that the driver takes.
    pub driver_feature: U32,
    /// MSI-X vector for changes of the configuration, or [`NO_VECTOR`].
    pub config_msix_vector: U16,
    /// Most queues, without administration queues.
    pub num_queues: U16,
    /// [`crate::status`].
    pub device_status: u8,
    /// Changes when the configuration may have changed.
    pub config_generation: u8,
    /// Which queue the other fields are of.
    pub queue_select: U16,
    /// Descriptors of the queue; first the most there can be; 0 if there is no such queue.
    pub queue_size: U16,
    /// MSI-X vector of the queue, or [`NO_VECTOR`].
    pub queue_msix_vector: U16,
    /// Set to 1 to enable the queue.
    pub queue_enable: U16,
    /// Where the queue's notifications go, in multiples of
    /// [`NotifyCapability::notify_off_multiplier`].
    pub queue_notify_off: U16,
    /// Descriptor area, bits 0 to 31.
    pub queue_desc_lo: U32,
    /// Descriptor area, bits 32 to 63.
    pub queue_desc_hi: U32,
    /// Driver area, bits 0 to 31.
    pub queue_driver_lo: U32,
    /// Driver area, bits 32 to 63.
    pub queue_driver_hi: U32,
    /// Device area, bits 0 to 31.
    pub queue_device_lo: U32,
    /// Device area, bits 32 to 63.
    pub queue_device_hi: U32,
    /// With `VIRTIO_F_NOTIF_CONFIG_DATA`: what to notify with in place of the queue's number.
    pub queue_notif_config_data: U16,
    /// With `VIRTIO_F_RING_RESET`: set to 1 to reset the queue, which is done when it is 0.
    pub queue_reset: U16,
    /// With `VIRTIO_F_ADMIN_VQ`: the first administration queue.
    pub admin_queue_index: U16,
    /// With `VIRTIO_F_ADMIN_VQ`: administration queues.
    pub admin_queue_num: U16,
}

/// A vector field that maps no vector: 4.1.5.1.2.
pub const NO_VECTOR: u16 = 0xffff;

/// Bits of the ISR status, which reading clears: 4.1.4.5.
pub mod isr {
    /// Buffers of some queue have been used.
    pub const QUEUE: u8 = 1;
    /// The configuration has changed.
    pub const CONFIG: u8 = 2;
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    #[test]
    fn fields_are_where_linux_has_them() {
        assert_eq!(size_of::<Capability>(), 16);
        assert_eq!(offset_of!(Capability, bar), 4);
        assert_eq!(offset_of!(Capability, offset), 8);
        assert_eq!(offset_of!(NotifyCapability, notify_off_multiplier), 16);
        assert_eq!(offset_of!(CommonConfig, config_msix_vector), 16);
        assert_eq!(offset_of!(CommonConfig, device_status), 20);
        assert_eq!(offset_of!(CommonConfig, queue_select), 22);
        assert_eq!(offset_of!(CommonConfig, queue_notify_off), 30);
        assert_eq!(offset_of!(CommonConfig, queue_desc_lo), 32);
        assert_eq!(offset_of!(CommonConfig, queue_device_hi), 52);
        assert_eq!(offset_of!(CommonConfig, queue_reset), 58);
        assert_eq!(size_of::<CommonConfig>(), 64);
    }
}
