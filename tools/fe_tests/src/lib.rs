// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the tests of virtio_fe.ko and the lab, which makes their machines, have to agree on.
#![forbid(unsafe_code)]

pub mod buffer;
pub mod content;
pub mod plan;
pub mod serial;
pub mod wire;
