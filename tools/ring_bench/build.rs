// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Compiles the kernel's `virtio_ring.c` as its `tools/virtio` does, with the headers that are
//! there for that, and a driver that uses it.

use std::path::Path;

const SOURCE: &str = "../../out/kernel/source";

fn main() {
    println!("cargo::rerun-if-changed=c");
    println!("cargo::rerun-if-changed={SOURCE}/drivers/virtio/virtio_ring.c");
    let ring = Path::new(SOURCE).join("drivers/virtio/virtio_ring.c");
    assert!(
        ring.is_file(),
        "{} is missing: `make kernel` gets it",
        ring.display()
    );
    cc::Build::new()
        .files(["c/kernel_ring.c", "c/driver.c"])
        .includes([SOURCE, "../../out/kernel/source/tools/virtio"])
        .include(format!("{SOURCE}/tools/include"))
        // What those lack: the header of a device id.
        .flag("-idirafter")
        .flag(format!("{SOURCE}/include"))
        .flag("-include")
        .flag(format!("{SOURCE}/include/linux/kconfig.h"))
        // As on x86-64.
        .define("CONFIG_PHYS_ADDR_T_64BIT", None)
        // As the kernel is compiled, whatever the profile of ours; our linker wants `-fpie`.
        .opt_level(2)
        .force_frame_pointer(false)
        .pic(false)
        .flag("-fpie")
        .flag("-fno-strict-aliasing")
        .flag("-fno-strict-overflow")
        .flag("-fno-common")
        .flag("-fcf-protection=none")
        // The kernel's code and headers are not ours to mend.
        .warnings(false)
        .compile("kernel_ring");
}
