// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Virtqueues, split and packed, of VIRTIO 1.3.
//!
//! The other side can write at any time whatever it likes into the memory that both share. So
//! what a side wrote it keeps to itself and never reads back, what the other side writes is read
//! once and checked, and a lie ends the ring with an error that says what was wrong.
//!
//! - [`driver`]: the side that makes buffers available.
//! - [`device`]: the side that uses them.
//! - [`segment`]: the pieces of a buffer.
//! - [`memory`]: the few kinds of memory access that a ring needs.
//!
//! Not here: registers, notifications themselves, interrupts, DMA mapping and sleeping.

#![cfg_attr(not(any(test, CONFIG_RUST)), no_std)]
#![forbid(unsafe_code)]

pub mod device;
pub mod driver;
pub mod memory;
pub mod segment;

mod event;
mod position;
mod settings;
