// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A small VMM on the rust-vmm crates.

fn main() {}
