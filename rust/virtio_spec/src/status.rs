// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The device status field: section 2.1. Writing 0 resets the device.

/// The driver has noticed the device.
pub const ACKNOWLEDGE: u8 = 1;
/// The driver knows how to drive it.
pub const DRIVER: u8 = 2;
/// The driver is set up.
pub const DRIVER_OK: u8 = 4;
/// The driver has chosen features, and if it stays set, the device accepts them.
pub const FEATURES_OK: u8 = 8;
/// The device cannot go on before it is reset.
pub const DEVICE_NEEDS_RESET: u8 = 64;
/// The driver has given up.
pub const FAILED: u8 = 128;
