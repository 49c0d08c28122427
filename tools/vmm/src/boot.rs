// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Gets a Linux kernel into guest memory, ready to run, by the 64-bit x86 boot protocol.
//!
//! - [`image`]: the kernel (ELF `vmlinux` or `bzImage`) and the initrd.
//! - [`params`]: the zero page with the memory map.
//! - [`mp_table`]: the table of processors and interrupt lines.
//! - [`segments`]: descriptors and page tables that the boot processor starts with.

pub(crate) mod image;
pub(crate) mod mp_table;
pub(crate) mod params;
pub(crate) mod segments;
