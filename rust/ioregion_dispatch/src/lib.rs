// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What `ioregion.ko` decides, as pure code.
//!
//! - [`spec`]: whether the argument of `KVM_SET_IOREGION` describes a region.
//! - [`regions`]: which region an access belongs to.
//! - [`pieces`]: the commands that an access of any size becomes.
//! - [`replies`]: which command a reply answers, when several vCPUs wait on one channel.
//! - [`spin`]: how long a vCPU spins before it sleeps.
//! - [`counters`]: what is counted of a region's accesses, and the histogram of waits.
//! - [`reassembly`]: whole frames out of what a read of a stream or of a message yields.
//!
//! There is no I/O here, no allocation and no unsafe code; the module and the tests on an
//! ordinary machine compile these same files.

#![cfg_attr(not(any(test, CONFIG_RUST)), no_std)]
#![forbid(unsafe_code)]

pub mod counters;
pub mod pieces;
pub mod reassembly;
pub mod regions;
pub mod replies;
pub mod spec;
pub mod spin;
