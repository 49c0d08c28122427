// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What VIRTIO 1.3 fixes: numbers and layouts, with the sections they come from. All values that
//! are exchanged are little-endian.
//!
//! - [`features`]: sets of feature bits, and those that belong to no device type.
//! - [`status`]: the device status field.
//! - [`split`] and [`packed`]: the two formats of a virtqueue.
//! - [`notification`]: what a driver writes to notify the device.
//! - [`pci`] and [`mmio`]: the transports, and [`pci_capabilities`], which lead to the former.
//! - [`blk`] and [`net`]: two device types.

#![cfg_attr(not(any(test, CONFIG_RUST)), no_std)]
#![forbid(unsafe_code)]

pub mod blk;
pub mod features;
pub mod mmio;
pub mod net;
pub mod notification;
pub mod packed;
pub mod pci;
pub mod pci_capabilities;
pub mod split;
pub mod status;
