// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Device handlers outside the VMM.
//!
//! A *device process* serves the registers of one device. A guest's access comes to it as a
//! command over a *channel*, from KVM itself ([`ioregion`]) or from the VMM:
//!
//! ```text
//!  guest     mov [register], eax
//!              |  exit
//!  KVM       ioregion.ko: the access is in a region --- or KVM_EXIT_MMIO to the VMM
//!              |                                          |  vmm::DeviceProcess::access
//!              |        channel of origin Kvm             |  channel of origin Vmm
//!  ============|==========================================|========================= process
//!              v                                          v
//!            serve::serve          epoll: one read per ready channel and turn
//!              v
//!            ServedChannel         bytes -> frame -> Command          (ioregion_wire)
//!            or RingChannel        slot of the shared ring -> Command (ioregion_ring)
//!              v
//!            device::perform       counts the access in the state page
//!              v
//!            Device::read, write   a device of your own, or VirtioMmio over a VirtioDevice
//!              |                   (an in-process device begins here)
//!              v
//!            ServedChannel,        Reply -> the same channel          the vCPU goes on
//!            RingChannel
//!              v
//!            Device::work          what the access left behind: requests of the rings,
//!                                  file I/O, the interrupt
//! ```
//!
//! A device is a type with two methods, [`device::Device`]; `examples/adder.rs` is a whole device
//! process. The library knows one kind of device, virtio ([`virtio_device`]), and that only as a
//! `Device` among others.
//!
//! | module | of | |
//! |---|---|---|
//! | [`device`] | both | the `Device` trait, and `perform` |
//! | [`session`], [`serve`] | device | connect to a VMM, serve until it hangs up |
//! | [`vmm`] | VMM | wait for a device process, attach it, talk to it, notice its end |
//! | [`ioregion`] | VMM | regions of KVM, completion of accesses that failed there |
//! | [`channel`] | both | what carries commands and replies as messages |
//! | [`ring_channel`] | device | what carries them in shared memory |
//! | [`memory`], [`state`], [`shadow`], [`counters`] | both | what they share |
//! | [`virtio_device`], [`chain`] | device | virtio, over [`virtio_mmio`] or [`virtio_pci`], as [`virtio_bus`] has it |
//! | [`guest_area`] | both | guest memory for `virtio_ring`, the rings of either side |
//! | [`pci`] | device | what a PCI device is to whoever puts it on a bus |
//!
//! Unsafe code is where memory is mapped or the kernel is called: `state`, `vectored`, `session`,
//! `vmm`, `ioregion`, and `shared_area` and `kernel_end` of `ring_channel`.

mod attach;
pub mod chain;
pub mod channel;
pub mod counters;
pub mod device;
pub mod guest_area;
pub mod ioregion;
pub mod memory;
pub mod offer;
pub mod pci;
mod ring;
pub mod ring_channel;
pub mod serve;
pub mod session;
pub mod shadow;
pub mod state;
mod vectored;
pub mod virtio_bus;
pub mod virtio_device;
pub mod virtio_mmio;
pub mod virtio_pci;
pub mod vmm;

pub use ioregion_wire::frame::{Command, Operation, Reply, Width};
