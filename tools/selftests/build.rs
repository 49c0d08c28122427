// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Compiles the device of `samples/adder.c`, which a test serves a guest with.

fn main() {
    println!("cargo::rerun-if-changed=../../samples/adder.c");
    println!("cargo::rerun-if-changed=../../include/uapi/linux/ioregion.h");
    cc::Build::new()
        .file("../../samples/adder.c")
        .flag("-idirafter")
        .flag("../../include/uapi")
        .warnings_into_errors(true)
        .compile("adder");
}
