// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the tests of virtio_fe.ko and the lab, which makes their machines, have to agree on, and what
//! the bench does as they do.
#![forbid(unsafe_code)]

pub mod buffer;
pub mod content;
pub mod errand;
pub mod network;
pub mod plan;
pub mod program;
pub mod serial;
pub mod wire;
