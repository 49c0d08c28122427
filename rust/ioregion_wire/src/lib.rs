// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Formats of ioregionfd, byte for byte.
//!
//! - [`uapi`] mirrors `include/uapi/linux/ioregion.h`: what a VMM passes to `KVM_SET_IOREGION`
//!   and what it reads from `kvm_run` after `KVM_EXIT_IOREGIONFD_FAILURE`.
//! - [`frame`] is the protocol between KVM and a device process: 32-byte commands one way,
//!   32-byte replies the other.
//! - [`run`] reads the description of an access in `kvm_run`.
//!
//! The kernel module and the companion compile these same files. There is no I/O here, no
//! allocation and no unsafe code.

#![cfg_attr(not(any(test, CONFIG_RUST)), no_std)]
#![forbid(unsafe_code)]

pub mod frame;
pub mod run;
pub mod uapi;
