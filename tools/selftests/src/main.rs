// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Kernel selftests of ioregion.ko, in KTAP.

fn main() {}
