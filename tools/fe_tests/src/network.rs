// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Wires, seen from L1.

mod end;
mod namespace;
mod traffic;

pub use end::{Counters, Device, End};
pub use namespace::{ip, join, Namespace};
pub use traffic::{exchange, pour, stream};
