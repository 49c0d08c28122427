// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A virtio-blk device in its own process, served from an image file.

fn main() {}
