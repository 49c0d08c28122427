// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A disk that Bochs boots Linux from: our boot sector, Linux's own 16-bit part with the command
//! line, the rest of the kernel, and the initial RAM disk. `Documentation/arch/x86/boot.rst` has the
//! fields.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{ensure, Context, Result};

use crate::images::Images;
use crate::out::Places;

const SECTOR: usize = 512;
/// Bochs wants whole cylinders of such a disk: 16 heads, 63 sectors each.
const CYLINDER: usize = 16 * 63 * SECTOR;

/// Where the boot sector has its table of parts, and how long an entry is.
const TABLE: usize = 0x180;
const ENTRY: usize = 12;

/// Where the parts belong. The command line is behind the 16-bit part, at an offset above its stack.
const SETUP: u32 = 0x1_0000;
const CMDLINE: usize = 0xe000;
const KERNEL: u32 = 0x10_0000;
const INITRD: u32 = 0x1000_0000;

/// Fields of the 16-bit part.
const SETUP_SECTS: usize = 0x1f1;
const TYPE_OF_LOADER: usize = 0x210;
const LOADFLAGS: usize = 0x211;
const RAMDISK_IMAGE: usize = 0x218;
const RAMDISK_SIZE: usize = 0x21c;
const HEAP_END_PTR: usize = 0x224;
const CMD_LINE_PTR: usize = 0x228;

/// A loader without a number of its own, and that it has set the end of the heap, which leaves half a
/// kilobyte below the command line for the stack.
const UNDEFINED: u8 = 0xff;
const CAN_USE_HEAP: u8 = 0x80;
const HEAP_END: u16 = CMDLINE as u16 - 0x200;

/// Makes the image `disk`.
///
/// # Errors
///
/// An input cannot be read, is too long or is no kernel; the boot sector cannot be assembled.
pub(super) fn make(places: &Places, images: &Images, cmdline: &str, disk: &Path) -> Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
    let mut setup = read(&images.kernel)?;
    let initrd = read(&images.initramfs)?;
    let sectors = setup.get(SETUP_SECTS).context("no kernel")?;
    let kernel = setup.split_off((usize::from(*sectors) + 1) * SECTOR);
    ensure!(setup.len() <= CMDLINE, "the kernel's 16-bit part is long");
    fill_in(&mut setup, initrd.len());
    setup.resize(CMDLINE, 0);
    setup.extend(cmdline.bytes().chain([0]));

    let parts = [(setup, SETUP), (kernel, KERNEL), (initrd, INITRD)];
    let image = join(boot_sector(places)?, &parts)?;
    fs::write(disk, image).with_context(|| disk.display().to_string())
}

/// What a loader tells Linux.
fn fill_in(setup: &mut [u8], initrd_len: usize) {
    let mut put = |at: usize, bytes: &[u8]| setup[at..at + bytes.len()].copy_from_slice(bytes);
    put(TYPE_OF_LOADER, &[UNDEFINED]);
    put(RAMDISK_IMAGE, &INITRD.to_le_bytes());
    put(RAMDISK_SIZE, &(initrd_len as u32).to_le_bytes());
    put(HEAP_END_PTR, &HEAP_END.to_le_bytes());
    put(CMD_LINE_PTR, &(SETUP + CMDLINE as u32).to_le_bytes());
    setup[LOADFLAGS] |= CAN_USE_HEAP;
}

/// The disk: the sector with its table, and each part from a sector on.
fn join(mut disk: Vec<u8>, parts: &[(Vec<u8>, u32)]) -> Result<Vec<u8>> {
    for (number, (part, address)) in parts.iter().enumerate() {
        let numbers = [disk.len() / SECTOR, part.len().div_ceil(SECTOR)];
        let entry = [numbers[0] as u32, numbers[1] as u32, *address].map(u32::to_le_bytes);
        let at = TABLE + number * ENTRY;
        disk[at..at + ENTRY].copy_from_slice(entry.as_flattened());
        disk.extend(part);
        disk.resize(disk.len().next_multiple_of(SECTOR), 0);
    }
    disk.resize(disk.len().next_multiple_of(CYLINDER), 0);
    Ok(disk)
}

/// Assembles the boot sector.
fn boot_sector(places: &Places) -> Result<Vec<u8>> {
    let directory = places.out("lab")?;
    let (object, binary) = (
        directory.join("boot_sector.o"),
        directory.join("boot_sector"),
    );
    let source = places.source("tools/lab/bochs/boot_sector.S");
    run(Command::new("as")
        .args(["--32", "-o"])
        .args([&object, &source]))?;
    run(Command::new("ld")
        .args(["-m", "elf_i386", "-Ttext=0x7c00", "--entry=0x7c00"])
        .args(["--oformat=binary", "-o"])
        .args([&binary, &object]))?;
    let sector = fs::read(&binary).context("the boot sector")?;
    ensure!(sector.len() == SECTOR, "the boot sector is none");
    Ok(sector)
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("starting {program}: `make host` installs it"))?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{program}: {}", words.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_where_the_table_says() {
        let parts = [(vec![1; 700], SETUP), (vec![2; 512], KERNEL)];
        let disk = join(vec![0; SECTOR], &parts).unwrap();
        assert_eq!(disk.len(), CYLINDER);
        for (number, (part, address)) in parts.iter().enumerate() {
            let word = |at: usize| u32::from_le_bytes(disk[at..at + 4].try_into().unwrap());
            let entry = TABLE + number * ENTRY;
            assert_eq!(word(entry + 8), *address);
            let from = word(entry) as usize * SECTOR;
            assert_eq!(disk[from..from + part.len()], part[..]);
            assert_eq!(word(entry + 4) as usize, part.len().div_ceil(SECTOR));
        }
        assert_eq!(disk[TABLE + 2 * ENTRY..TABLE + 3 * ENTRY], [0; ENTRY]);
    }
}
