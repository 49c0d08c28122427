// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Gets what the machine lacks: packages, bindgen, the patched kernel, the modules.

fn main() {}
