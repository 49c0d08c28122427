// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The table of needs, and how each is probed.

use crate::command::find_program;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The lowest QEMU that emulates an x2APIC without hardware virtualization.
const QEMU_MAJOR: u64 = 10;

/// The lowest libclang and clang that Linux 7.3 accepts (scripts/min-tool-version.sh).
const LIBCLANG_MAJOR: u64 = 17;

/// Where C headers are: everywhere, and on Debian per architecture.
const INCLUDE: [&str; 3] = [
    "/usr/include",
    "/usr/include/x86_64-linux-gnu",
    "/usr/local/include",
];

/// One thing the machine must have.
pub(crate) struct Need {
    /// What it is, for people.
    pub(crate) name: &'static str,
    /// The Debian package that brings it.
    pub(crate) package: &'static str,
    probe: Probe,
}

enum Probe {
    /// A program on the path.
    Program,
    /// A program that ends well when run with these arguments.
    Works(&'static [&'static str]),
    /// A C header.
    Header,
    /// A program that needs no shared library, since it runs in an initramfs.
    StaticProgram,
    /// libclang, which bindgen loads when it runs.
    Libclang,
    /// clang of at least [`LIBCLANG_MAJOR`].
    Clang,
    /// QEMU for x86 of at least [`QEMU_MAJOR`].
    Qemu,
}

const fn program(name: &'static str, package: &'static str) -> Need {
    Need {
        name,
        package,
        probe: Probe::Program,
    }
}

const fn header(name: &'static str, package: &'static str) -> Need {
    Need {
        name,
        package,
        probe: Probe::Header,
    }
}

static NEEDS: [Need; 30] = [
    program("gcc", "gcc"),
    header("stdlib.h", "libc6-dev"),
    program("ld", "binutils"),
    program("make", "make"),
    program("git", "git"),
    program("flex", "flex"),
    program("bison", "bison"),
    program("bc", "bc"),
    program("xz", "xz-utils"),
    program("cpio", "cpio"),
    program("depmod", "kmod"),
    program("rsync", "rsync"),
    program("python3", "python3"),
    header("gelf.h", "libelf-dev"),
    header("openssl/ssl.h", "libssl-dev"),
    Need {
        // A minimal perl has no Encode, which checkpatch uses.
        name: "perl with its standard modules",
        package: "perl",
        probe: Probe::Works(&["perl", "-MEncode", "-MTerm::ANSIColor", "-e", "1"]),
    },
    Need {
        name: "libclang 17 or newer",
        package: "libclang-19-dev",
        probe: Probe::Libclang,
    },
    program("mkfs.ext4", "e2fsprogs"),
    program("debugfs", "e2fsprogs"),
    program("gzip", "gzip"),
    program("tar", "tar"),
    program("valgrind", "valgrind"),
    program("fio", "fio"),
    program("iperf3", "iperf3"),
    program("ping", "iputils-ping"),
    program("ethtool", "ethtool"),
    program("ip", "iproute2"),
    Need {
        name: "busybox",
        package: "busybox-static",
        probe: Probe::StaticProgram,
    },
    Need {
        name: "qemu-system-x86_64 10 or newer",
        package: "qemu-system-x86",
        probe: Probe::Qemu,
    },
    program("qemu-storage-daemon", "qemu-utils"),
];

/// What only the kernel's debug variant needs.
static DEBUG_NEEDS: [Need; 1] = [Need {
    name: "clang 17 or newer",
    package: "clang-19",
    probe: Probe::Clang,
}];

/// Everything the machine must have, with `debug` also for the kernel's debug variant.
pub(crate) fn needs(debug: bool) -> impl Iterator<Item = &'static Need> {
    let more: &[Need] = if debug { &DEBUG_NEEDS } else { &[] };
    NEEDS.iter().chain(more)
}

impl Need {
    /// Whether the machine has it.
    pub(crate) fn is_met(&self) -> bool {
        match self.probe {
            Probe::Program => find_program(self.name).is_some(),
            Probe::Works(words) => works(words),
            Probe::Header => INCLUDE
                .iter()
                .any(|base| Path::new(base).join(self.name).is_file()),
            Probe::StaticProgram => find_program(self.name).is_some_and(|path| is_static(&path)),
            Probe::Libclang => libclang_directory().is_some(),
            Probe::Clang => clang().is_some(),
            Probe::Qemu => qemu_major().is_some_and(|major| major >= QEMU_MAJOR),
        }
    }

    /// What to do where we cannot install it ourselves.
    pub(crate) fn remedy(&self) -> String {
        let how = match self.probe {
            Probe::StaticProgram => "install a statically linked one",
            Probe::Header => "install the development package that has this C header",
            _ => "install it",
        };
        format!("{how} (on Debian it is in the package {})", self.package)
    }

    /// Whether only the release's backports may have it in the version we need.
    pub(crate) fn may_need_backports(&self) -> bool {
        matches!(self.probe, Probe::Qemu)
    }

    /// Whether a package of this upstream version would meet the need.
    pub(crate) fn is_met_by(&self, upstream: &str) -> bool {
        match self.probe {
            Probe::Qemu => leading_number(upstream).is_some_and(|major| major >= QEMU_MAJOR),
            _ => true,
        }
    }
}

/// The directory of the newest libclang that is new enough.
pub(crate) fn libclang_directory() -> Option<PathBuf> {
    let entries = fs::read_dir("/usr/lib").ok()?;
    let best = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let major: u64 = name.strip_prefix("llvm-")?.parse().ok()?;
            let directory = entry.path().join("lib");
            (major >= LIBCLANG_MAJOR && has_libclang(&directory)).then_some((major, directory))
        })
        .max();
    best.map(|(_, directory)| directory)
        .or_else(|| unversioned_libclang(&["/usr/lib64", "/usr/lib"]))
}

/// The clang that belongs to libclang, so that C is compiled by what bindgen reads it with.
pub(crate) fn clang() -> Option<PathBuf> {
    let versioned = libclang_directory()?.parent()?.join("bin/clang");
    if versioned.is_file() {
        return Some(versioned);
    }
    find_program("clang")
        .filter(|program| major_of(program).is_some_and(|major| major >= LIBCLANG_MAJOR))
}

/// Distributions that have one LLVM only keep it with the other libraries, the version
/// in the file's name.
fn unversioned_libclang(directories: &[&str]) -> Option<PathBuf> {
    directories.iter().map(PathBuf::from).find(|directory| {
        library_names(directory).iter().any(|name| {
            name.strip_prefix("libclang.so.")
                .and_then(leading_number)
                .is_some_and(|major| major >= LIBCLANG_MAJOR)
        })
    })
}

fn has_libclang(directory: &Path) -> bool {
    library_names(directory)
        .iter()
        .any(|name| name.starts_with("libclang.so") || name.starts_with("libclang-"))
}

fn library_names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn works(words: &[&str]) -> bool {
    Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn qemu_major() -> Option<u64> {
    major_of(&find_program("qemu-system-x86_64")?)
}

/// The major version that a program says it has.
fn major_of(program: &Path) -> Option<u64> {
    let output = Command::new(program).arg("--version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// Reads the major version from `QEMU emulator version 10.0.2 (Debian ...)` or
/// `Debian clang version 19.1.7 (3)`.
fn parse_version(text: &str) -> Option<u64> {
    leading_number(text.split("version ").nth(1)?)
}

fn leading_number(text: &str) -> Option<u64> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn is_static(path: &Path) -> bool {
    fs::read(path).is_ok_and(|image| names_no_interpreter(&image))
}

/// Whether a 64-bit little-endian ELF image has no program header of type `PT_INTERP`.
/// Offsets are those of elf(5): `e_phoff` 32, `e_phentsize` 54, `e_phnum` 56.
fn names_no_interpreter(image: &[u8]) -> bool {
    const PT_INTERP: [u8; 4] = 3u32.to_le_bytes();
    let half = |at: usize| Some(u16::from_le_bytes(image.get(at..at + 2)?.try_into().ok()?));
    let table = || {
        let start = u64::from_le_bytes(image.get(32..40)?.try_into().ok()?);
        let size = usize::from(half(54)?);
        let count = usize::from(half(56)?);
        let start = usize::try_from(start).ok()?;
        image
            .get(start..start.checked_add(size * count)?)
            .map(|table| (table, size))
    };
    match table() {
        Some((table, size)) if image.starts_with(b"\x7fELF\x02\x01") && size >= 4 => {
            table.chunks(size).all(|header| header[..4] != PT_INTERP)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elf(header_types: &[u32]) -> Vec<u8> {
        let mut image = b"\x7fELF\x02\x01".to_vec();
        image.resize(64, 0);
        image[32..40].copy_from_slice(&64u64.to_le_bytes());
        image[54..56].copy_from_slice(&56u16.to_le_bytes());
        image[56..58].copy_from_slice(&(header_types.len() as u16).to_le_bytes());
        for kind in header_types {
            image.extend(kind.to_le_bytes());
            image.extend([0; 52]);
        }
        image
    }

    #[test]
    fn a_program_interpreter_makes_a_program_dynamic() {
        assert!(names_no_interpreter(&elf(&[1, 1, 4])));
        assert!(!names_no_interpreter(&elf(&[1, 3])));
        assert!(!names_no_interpreter(&elf(&[1])[..100]));
        assert!(!names_no_interpreter(b"#!/bin/sh"));
    }

    #[test]
    fn versions() {
        let text = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright";
        assert_eq!(parse_version(text), Some(10));
        assert_eq!(parse_version("QEMU emulator version 7.2.0"), Some(7));
        let text = "Debian clang version 19.1.7 (3~deb12u1)\nTarget: x86_64-pc-linux-gnu";
        assert_eq!(parse_version(text), Some(19));
        assert_eq!(parse_version("no such thing"), None);
    }

    #[test]
    fn only_a_new_enough_qemu_package_will_do() {
        let qemu = needs(false).find(|need| need.may_need_backports()).unwrap();
        assert!(qemu.is_met_by("10.0.2+ds"));
        assert!(!qemu.is_met_by("7.2+dfsg"));
    }

    #[test]
    fn a_program_that_cannot_start_does_not_work() {
        assert!(works(&["sh", "-c", "exit 0"]));
        assert!(!works(&["sh", "-c", "exit 1"]));
        assert!(!works(&["no-such-program-here"]));
    }
}
