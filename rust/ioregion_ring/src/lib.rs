// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A channel in shared memory: guest accesses go to a device process through a ring, and values
//! come back through one completion line per vCPU.
//!
//! There are two areas of memory, so that each side maps the other's read-only. Whoever writes a
//! word never reads it back from there: the kernel's [`producer`] and the device's [`consumer`]
//! keep what they need to themselves, and check what they read of each other.
//!
//! - [`layout`]: where everything is.
//! - [`slot`]: the words of an access.
//! - [`producer`] and [`consumer`]: the two ends of the ring.
//! - [`completion`]: a vCPU's line.
//! - [`memory`]: the few kinds of memory access that these need.
//!
//! The ring is one queue for all vCPUs: all accesses of a channel are in one order, so a read
//! stays behind the posted writes before it, as on a bus.

#![cfg_attr(not(any(test, CONFIG_RUST)), no_std)]
#![forbid(unsafe_code)]

pub mod completion;
pub mod consumer;
pub mod layout;
pub mod memory;
pub mod producer;
pub mod slot;
