// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Loads the kernel and the initrd.

use std::{
    fs::File,
    io::{Read, Seek},
    path::Path,
};

use anyhow::{bail, ensure, Context, Result};
use linux_loader::loader::{bootparam::setup_header, BzImage, Elf, KernelLoader};
use vm_memory::{
    Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
};

use crate::layout::HIGH_MEMORY;

const ELF_MAGIC: [u8; 4] = *b"\x7fELF";
/// Of the boot protocol: where the 64-bit entry of a bzImage is from its load address.
const BZIMAGE_ENTRY_64: u64 = 0x200;
/// `XLF_KERNEL_64` in `setup_header.xloadflags`: the bzImage has that entry.
const XLF_KERNEL_64: u16 = 1;
const PAGE: u64 = 4096;

/// A kernel in guest memory.
pub(crate) struct Kernel {
    /// Where the boot processor starts.
    pub(crate) entry: u64,
    /// First byte after the image; memory from here to `init_size` is the kernel's too.
    pub(crate) end: u64,
    /// What a bzImage says about itself; zero page defaults for an ELF image.
    pub(crate) setup_header: Option<setup_header>,
}

/// Loads `path`, an ELF image or a bzImage.
///
/// # Errors
///
/// When the file cannot be read, is neither, or does not fit.
pub(crate) fn load_kernel(memory: &GuestMemoryMmap, path: &Path) -> Result<Kernel> {
    let mut file =
        File::open(path).with_context(|| format!("cannot open the kernel {}", path.display()))?;
    let mut magic = [0; 4];
    file.read_exact(&mut magic)
        .with_context(|| format!("cannot read the kernel {}", path.display()))?;
    file.rewind()?;
    let loaded = if magic == ELF_MAGIC {
        load_elf(memory, &mut file)
    } else {
        load_bzimage(memory, &mut file)
    };
    loaded.with_context(|| format!("cannot load the kernel {}", path.display()))
}

fn load_elf(memory: &GuestMemoryMmap, file: &mut File) -> Result<Kernel> {
    let loaded = Elf::load(memory, None, file, Some(GuestAddress(HIGH_MEMORY)))?;
    Ok(Kernel {
        entry: loaded.kernel_load.raw_value(),
        end: loaded.kernel_end,
        setup_header: None,
    })
}

fn load_bzimage(memory: &GuestMemoryMmap, file: &mut File) -> Result<Kernel> {
    let loaded = BzImage::load(memory, None, file, Some(GuestAddress(HIGH_MEMORY)))
        .context("it is no ELF image and not a valid bzImage")?;
    let Some(header) = loaded.setup_header else {
        bail!("the bzImage has no setup header");
    };
    ensure!(
        header.xloadflags & XLF_KERNEL_64 != 0,
        "the bzImage has no 64-bit entry point"
    );
    let start = loaded.kernel_load.raw_value();
    Ok(Kernel {
        entry: start + BZIMAGE_ENTRY_64,
        end: loaded
            .kernel_end
            .max(header.pref_address + u64::from(header.init_size)),
        setup_header: Some(header),
    })
}

/// Loads `path` at the end of RAM below 4 GiB; answers its address and size.
///
/// # Errors
///
/// When the file cannot be read or does not fit behind the kernel.
pub(crate) fn load_initrd(
    memory: &GuestMemoryMmap,
    path: &Path,
    kernel_end: u64,
) -> Result<(u32, u32)> {
    let data = std::fs::read(path)
        .with_context(|| format!("cannot read the initrd {}", path.display()))?;
    let low_end = memory
        .find_region(GuestAddress(0))
        .map_or(0, |region| region.len());
    let start = place_initrd(low_end, kernel_end, data.len() as u64).with_context(|| {
        format!(
            "the initrd ({} bytes) does not fit between the kernel's end {kernel_end:#x} and \
             the end of low RAM {low_end:#x}",
            data.len()
        )
    })?;
    memory.write_slice(&data, GuestAddress(start))?;
    // Low RAM ends below 4 GiB, so address and size have 32 bits.
    Ok((start as u32, data.len() as u32))
}

fn place_initrd(low_end: u64, kernel_end: u64, size: u64) -> Option<u64> {
    let start = low_end.checked_sub(size)? & !(PAGE - 1);
    (start >= kernel_end).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initrd_is_page_aligned_and_behind_the_kernel() {
        for (low_end, kernel_end, size, want) in [
            (0x10_0000, 0x8_0000, 0x1000, Some(0xf_f000)),
            (0x10_0000, 0x8_0000, 0x1001, Some(0xf_e000)),
            (0x10_0000, 0xf_f000, 0x1000, Some(0xf_f000)),
            (0x10_0000, 0xf_f001, 0x1000, None),
            (0x10_0000, 0, 0x10_0001, None),
        ] {
            assert_eq!(
                place_initrd(low_end, kernel_end, size),
                want,
                "size {size:#x}"
            );
        }
    }
}
