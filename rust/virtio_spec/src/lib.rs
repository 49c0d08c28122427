// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What VIRTIO 1.3 fixes: numbers and layouts, with the sections they come from. All values that
//! are exchanged are little-endian.
//!
//! - [`features`]: sets of feature bits, and those that belong to no device type.
//! - [`split`] and [`packed`]: the two formats of a virtqueue.
//! - [`notification`]: what a driver writes to notify the device.

#![cfg_attr(not(any(test, CONFIG_RUST)), no_std)]
#![forbid(unsafe_code)]

pub mod features;
pub mod notification;
pub mod packed;
pub mod split;
