// SPDX-License-Identifier: GPL-2.0-only

//! Direct runs of vCPUs: the abstraction over `include/linux/kvm_exitless.h` of our kernel patch
//! series, and over what moves an interrupt to a vector.
//!
//! ```text
//! Attachment::new(VM) ── route, obstacle ──► Attachment::arm(vCPU, CPU) ──► Armed
//!   routes_changed                             enter, exit: at every run of the vCPU
//! Consumer::new(eventfd) ── choose_vector
//!   changed: a device signals the eventfd, or no longer
//! ```
//!
//! A direct run that goes on and on is ended by an NMI from another CPU; [`NmiHandler`] belongs to that.
//!
//! This crate is the only place where the module touches C. What belongs to whom is decided in
//! `exitless_vectors`.

mod armed;
mod attachment;
mod consumer;
mod ffi;
mod later;
pub mod trace;
mod watchdog;

pub use armed::{
    Armed,
    Entrance,
    Vcpu, //
};
pub use attachment::{
    Attachment,
    Destination,
    Session, //
};
pub use consumer::{
    Consumer,
    Device, //
};
pub use later::cancel;
pub use watchdog::NmiHandler;
