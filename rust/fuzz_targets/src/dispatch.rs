// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `ioregion_dispatch`: everything that takes something from a VMM, a guest or a device.

pub mod pieces;
pub mod regions;
pub mod replies;
pub mod specs;
pub mod streams;
