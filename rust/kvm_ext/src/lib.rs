// SPDX-License-Identifier: GPL-2.0-only

//! VM extensions: the abstraction over `struct kvm_ext_ops` of our kernel patch series.
//!
//! A module implements [`Extension`] and keeps a [`Registration`]. KVM then attaches each VM
//! that uses one of the extension's ioctls, and calls [`Extension::handle_io`] for guest
//! accesses that nothing in the kernel handles:
//!
//! ```text
//! KVM_SET_IOREGION -> owns_ioctl -> create_vm (once) -> ioctl
//! guest access     -> KVM_RUN, about to exit -> handle_io(vm, vcpu, Io)
//!                       Completed   -> KVM completes the access, guest goes on
//!                       ToUserspace -> KVM_RUN returns the exit
//!                       Interrupted -> KVM_RUN returns EINTR; the next one calls again
//! end of the VM    -> drop of each vCPU's state, then of the VM's
//! ```
//!
//! [`PeerFile`], [`SharedRing`] and [`Changes`] are what `handle_io` may wait for: the other end of
//! a pipe or socket, a process that shares memory, and another thread of the same VM. What need
//! not wait, `try_io` may handle before there is an exit; it reads what is [`Published`].
//!
//! This crate is the only place where the module touches C. Nothing here knows what the
//! extension is for.

mod changes;
mod deadline;
mod event_fd;
mod extension;
mod ffi;
mod io;
mod moment;
mod peer_file;
mod published;
mod registers;
mod shared_ring;
pub mod trace;
mod vcpu;

pub use changes::Changes;
pub use deadline::Deadline;
pub use event_fd::EventFd;
pub use extension::{
    Extension,
    IoOutcome,
    Registration, //
};
pub use io::Io;
pub use moment::Moment;
pub use peer_file::{
    Direction,
    PeerFile, //
};
pub use published::{
    Kvm,
    Published,
    ReadSide, //
};
pub use registers::Registers;
pub use shared_ring::{
    Area,
    SharedRing, //
};
