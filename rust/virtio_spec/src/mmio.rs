// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! virtio over MMIO: section 4.2. Registers are 32 bits wide, configuration space aside.

/// What [`MAGIC_VALUE`] reads: "virt".
pub const MAGIC: u32 = 0x7472_6976;
/// What [`VERSION`] reads.
pub const MODERN: u32 = 2;

/// R: [`MAGIC`].
pub const MAGIC_VALUE: usize = 0x000;
/// R: [`MODERN`]; 1 for a legacy device.
pub const VERSION: usize = 0x004;
/// R: the device type, 0 if there is no device.
pub const DEVICE_ID: usize = 0x008;
/// R: the vendor.
pub const VENDOR_ID: usize = 0x00c;
/// R: 32 of the features that the device offers.
pub const DEVICE_FEATURES: usize = 0x010;
/// W: which.
pub const DEVICE_FEATURES_SEL: usize = 0x014;
/// W: 32 of the features that the driver takes.
pub const DRIVER_FEATURES: usize = 0x020;
/// W: which.
pub const DRIVER_FEATURES_SEL: usize = 0x024;
/// W: the queue that the other registers of queues are of.
pub const QUEUE_SEL: usize = 0x030;
/// R: most descriptors of the queue, 0 if there is no such queue.
pub const QUEUE_NUM_MAX: usize = 0x034;
/// W: descriptors of the queue.
pub const QUEUE_NUM: usize = 0x038;
/// RW: 1 if the queue is ready.
pub const QUEUE_READY: usize = 0x044;
/// W: notifies the device.
pub const QUEUE_NOTIFY: usize = 0x050;
/// R: why there is an interrupt, bits of [`interrupt`].
pub const INTERRUPT_STATUS: usize = 0x060;
/// W: which of these have been seen to.
pub const INTERRUPT_ACK: usize = 0x064;
/// RW: [`crate::status`].
pub const STATUS: usize = 0x070;
/// W: descriptor area, bits 0 to 31.
pub const QUEUE_DESC_LOW: usize = 0x080;
/// W: descriptor area, bits 32 to 63.
pub const QUEUE_DESC_HIGH: usize = 0x084;
/// W: driver area, bits 0 to 31.
pub const QUEUE_DRIVER_LOW: usize = 0x090;
/// W: driver area, bits 32 to 63.
pub const QUEUE_DRIVER_HIGH: usize = 0x094;
/// W: device area, bits 0 to 31.
pub const QUEUE_DEVICE_LOW: usize = 0x0a0;
/// W: device area, bits 32 to 63.
pub const QUEUE_DEVICE_HIGH: usize = 0x0a4;
/// W: the shared memory region that the next registers are of.
pub const SHM_SEL: usize = 0x0ac;
/// R: its bytes, bits 0 to 31.
pub const SHM_LEN_LOW: usize = 0x0b0;
/// R: its bytes, bits 32 to 63.
pub const SHM_LEN_HIGH: usize = 0x0b4;
/// R: its address, bits 0 to 31.
pub const SHM_BASE_LOW: usize = 0x0b8;
/// R: its address, bits 32 to 63.
pub const SHM_BASE_HIGH: usize = 0x0bc;
/// RW: with `VIRTIO_F_RING_RESET`, 1 resets the queue, which is done when it is 0.
pub const QUEUE_RESET: usize = 0x0c0;
/// R: changes when the configuration may have changed.
pub const CONFIG_GENERATION: usize = 0x0fc;
/// RW: configuration of the device type.
pub const CONFIG: usize = 0x100;

/// Bits of [`INTERRUPT_STATUS`] and [`INTERRUPT_ACK`].
pub mod interrupt {
    /// Buffers of some queue have been used.
    pub const QUEUE: u32 = 1;
    /// The configuration has changed.
    pub const CONFIG: u32 = 2;
}
