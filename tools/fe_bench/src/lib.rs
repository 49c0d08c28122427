// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the bench of virtio_fe.ko and the lab, which makes its machines, have to agree on.
#![forbid(unsafe_code)]

pub mod line;
pub mod plan;
