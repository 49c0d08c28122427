// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Wires, seen from L1.

mod end;
mod namespace;
mod traffic;

pub(crate) use end::{Device, End};
pub(crate) use traffic::{exchange, stream};
