// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Builds the images, boots L1 in QEMU, runs and judges jobs in it.

fn main() {}
