// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The zero page, `struct boot_params` (Documentation/arch/x86/zero-page.rst of Linux).

use anyhow::Result;
use linux_loader::{
    configurator::{linux::LinuxBootConfigurator, BootConfigurator, BootParams},
    loader::bootparam::{boot_e820_entry, boot_params, setup_header},
};
use vm_memory::{GuestAddress, GuestMemoryMmap};

use super::image::Kernel;
use crate::layout::{CMDLINE, HIGH_MEMORY, LOW_MEMORY_END, MP_TABLE, ZERO_PAGE};

const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;
const BOOT_FLAG: u16 = 0xaa55;
/// "HdrS", the magic of `setup_header`.
const HEADER_MAGIC: u32 = 0x5372_6448;
/// `type_of_loader`: none of the registered ones.
const LOADER_UNDEFINED: u8 = 0xff;
/// What a kernel without a setup header (an ELF image) is aligned to.
const KERNEL_ALIGNMENT: u32 = 0x20_0000;

/// The guest's memory map as (start, size, type).
fn memory_map(ram: &[(u64, u64)]) -> Vec<(u64, u64, u32)> {
    let mut map = vec![
        (0, LOW_MEMORY_END, E820_RAM),
        (MP_TABLE, HIGH_MEMORY - MP_TABLE, E820_RESERVED),
    ];
    for &(start, size) in ram {
        let from = start.max(HIGH_MEMORY);
        map.push((from, start + size - from, E820_RAM));
    }
    map
}

/// Makes the zero page of `kernel`; `initrd` is its address and size.
pub(crate) fn zero_page(
    kernel: &Kernel,
    ram: &[(u64, u64)],
    initrd: Option<(u32, u32)>,
) -> boot_params {
    let mut hdr = kernel.setup_header.unwrap_or(setup_header {
        boot_flag: BOOT_FLAG,
        header: HEADER_MAGIC,
        kernel_alignment: KERNEL_ALIGNMENT,
        ..Default::default()
    });
    hdr.type_of_loader = LOADER_UNDEFINED;
    // The command line is below 1 MiB.
    hdr.cmd_line_ptr = CMDLINE as u32;
    if let Some((address, size)) = initrd {
        hdr.ramdisk_image = address;
        hdr.ramdisk_size = size;
    }
    let mut params = boot_params {
        hdr,
        ..Default::default()
    };
    let map = memory_map(ram);
    for (entry, (addr, size, kind)) in params.e820_table.iter_mut().zip(&map) {
        *entry = boot_e820_entry {
            addr: *addr,
            size: *size,
            r#type: *kind,
        };
    }
    params.e820_entries = map.len() as u8;
    params
}

/// Writes the zero page to guest memory.
///
/// # Errors
///
/// When guest memory ends before it.
pub(crate) fn write(memory: &GuestMemoryMmap, params: &boot_params) -> Result<()> {
    let params = BootParams::new::<boot_params>(params, GuestAddress(ZERO_PAGE));
    Ok(LinuxBootConfigurator::write_bootparams(&params, memory)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        layout::{HOLE_END, HOLE_START},
        memory::ranges,
    };
    use vm_memory::ByteValued;

    const ELF: Kernel = Kernel {
        entry: 0,
        end: 0,
        setup_header: None,
    };

    #[test]
    fn the_map_has_all_ram_but_the_bios_area() {
        let map = memory_map(&ranges(HOLE_START + 0x1000));
        assert_eq!(
            map,
            [
                (0, 0x9_fc00, E820_RAM),
                (0xf_0000, 0x1_0000, E820_RESERVED),
                (0x10_0000, HOLE_START - 0x10_0000, E820_RAM),
                (HOLE_END, 0x1000, E820_RAM),
            ]
        );
    }

    #[test]
    fn fields_are_where_the_boot_protocol_has_them() {
        let params = zero_page(&ELF, &ranges(1 << 30), Some((0x123_4000, 0x567)));
        let bytes = params.as_slice();
        let u32_at = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(bytes[0x1e8], 3, "e820_entries");
        assert_eq!(&bytes[0x1fe..0x200], &[0x55, 0xaa], "boot_flag");
        assert_eq!(&bytes[0x202..0x206], b"HdrS");
        assert_eq!(bytes[0x210], 0xff, "type_of_loader");
        assert_eq!(u32_at(0x218), 0x123_4000, "ramdisk_image");
        assert_eq!(u32_at(0x21c), 0x567, "ramdisk_size");
        assert_eq!(u32_at(0x228), 0x2_0000, "cmd_line_ptr");
        assert_eq!(u32_at(0x2d0 + 20), 0xf_0000, "e820_table[1].addr");
        assert_eq!(u32_at(0x2d0 + 36), E820_RESERVED, "e820_table[1].type");
    }
}
