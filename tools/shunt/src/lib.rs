// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Device handlers outside the VMM: the Device trait, the serve loop, and the VMM's end.

mod attach;
pub mod chain;
pub mod channel;
pub mod counters;
pub mod device;
pub mod ioregion;
pub mod memory;
mod ring;
pub mod serve;
pub mod session;
pub mod state;
mod vectored;
pub mod virtio_device;
pub mod virtio_mmio;
pub mod vmm;

pub use ioregion_wire::frame::{Command, Operation, Reply, Width};
