// SPDX-License-Identifier: GPL-2.0-only

//! How a virtio driver reaches its device: the abstraction over the buses of the kernel.
//!
//! ```text
//! Pci::new, Mmio::new     registers are mapped                     -> Transport
//! negotiate               reset, status, features                  -> Features
//! Transport::vectors      interrupts are allocated                 -> Vectors
//! DmaMemory::new          memory that the device reaches
//! Transport::enable_queue the device learns where a queue is       -> Doorbell
//! Vectors::request        interrupts come                          -> Interrupts
//! set_status(DRIVER_OK)   the device begins
//! ```
//!
//! None of it has a lifetime: what is mapped or requested is given back when it is dropped, and
//! that has to be before the device is unbound.
//!
//! This crate is the only place where a virtio driver touches C. Nothing here knows what a device
//! is for.

mod debugfs;
mod deferred;
mod ffi;
mod interrupts;
mod memory;
mod mmio;
mod pci;
mod registers;
mod sleep;
pub mod trace;
mod transport;
mod vectors;

pub use debugfs::{
    Debugfs,
    Observed, //
};
pub use deferred::cancel;
pub use interrupts::{
    Handler,
    Interrupts, //
};
pub use memory::{
    Access,
    DmaMemory,
    DmaView, //
};
pub use mmio::Mmio;
pub use pci::Pci;
pub use registers::{
    Doorbell,
    Window, //
};
pub use sleep::{
    Sleep,
    WithSleep, //
};
pub use transport::{
    negotiate,
    read_config,
    reset_queue,
    silence,
    QueueSetup,
    Transport, //
};
pub use vectors::{
    Plan,
    Vectors, //
};
