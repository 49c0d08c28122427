// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Bochs, which emulates VMX, for the lab's tests of kvm-intel.
//!
//! Debian's own packages of it are too old or do not boot Linux, so it is built into the cache from
//! Debian's source, and linked into the checkout as `out/bochs`.

use crate::apt::archive;
use crate::cache::{fresh_dir, point_link, remove, Cache};
use crate::checkout::Checkout;
use crate::command::{find_program, logged, output, stepped};
use crate::host::install_by_name;
use crate::progress::Step;
use anyhow::{ensure, Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

/// The version, and how many ways there were to build it: to be raised with another one.
const BUILD: &str = "3.0-1";

/// The source below the archive's root, its digest, and the directory in it.
const SOURCE: &str = "pool/main/b/bochs/bochs_3.0+dfsg.orig.tar.xz";
const SHA256: &str = "78f6c73d4a6472d5130a87ab9dc306d02c7c71ed8e25b3a8ef642e2a7acd282b";
const DIRECTORY: &str = "bochs-3.0";

/// How many lines make prints.
const LINES: u64 = 1_040;

/// What the processor's model needs, and what makes it fast. Showing instructions per second would
/// take a signal's handler, in which Bochs 3.0 now and then stops for ever.
const OPTIONS: &[&str] = &[
    "--with-nogui",
    "--disable-docbook",
    "--disable-show-ips",
    "--enable-pci",
    "--enable-cpu-level=6",
    "--enable-x86-64",
    "--enable-vmx=2",
    "--enable-avx",
    "--enable-evex",
    "--enable-monitor-mwait",
    "--enable-handlers-chaining",
    "--enable-fast-function-calls",
    "--enable-repeat-speedups",
    "CXXFLAGS=-O2",
];

/// What is wrong with Bochs 3.0 for us: the file, the words, and those for them.
const MENDS: [[&str; 3]; 3] = [
    // A message of the HPET's goes to memory, where there is none, and not to a local APIC.
    [
        "iodev/hpet.cc",
        "DEV_MEM_WRITE_PHYSICAL((bx_phy_address) (timer->fsb >> 32), sizeof(Bit32u), (Bit8u *) &val32);",
        "extern bool apic_bus_deliver_interrupt(Bit8u, Bit32u, Bit8u, bool, bool, bool); \
         apic_bus_deliver_interrupt(val32 & 0xff, (timer->fsb >> 44) & 0xff, \
         (val32 >> 8) & 7, (timer->fsb >> 34) & 1, true, false);",
    ],
    // A guest that is entered with interrupts off keeps them off where they should exit.
    [
        "cpu/vmx.cc",
        "BX_CPU_THIS_PTR in_vmx_guest = true;",
        "BX_CPU_THIS_PTR in_vmx_guest = true; handleInterruptMaskChange();",
    ],
    // Switching the machine off is a failure.
    [
        "iodev/acpi.cc",
        "BX_FATAL((\"ACPI control: soft power off\"));",
        "SIM->quit_sim(0);",
    ],
];

/// What is kept, and its name in the source.
const PRODUCTS: [(&str, &str); 3] = [
    ("bochs", "bochs"),
    ("bios.bin", "bios/bios.bin-1.13.0"),
    ("vgabios.bin", "bios/vgabios-cirrus.bin-1.13.0"),
];

/// Builds it unless it is there.
///
/// # Errors
///
/// The machine's mirror does not have the source any more, there is no C++ compiler, or the build
/// fails.
pub(crate) fn prepare(checkout: &Checkout, cache: &Cache) -> Result<()> {
    let home = cache.path("bochs").join(BUILD);
    if !home.is_dir() {
        if find_program("g++").is_none() {
            install_by_name(cache, "g++")?;
        }
        let _lock = cache.lock()?;
        if !home.is_dir() {
            build(&cache.path("bochs"), &home)?;
        }
    }
    point_link(&checkout.path("out/bochs"), &home)
}

/// Builds it below `work` and puts it to `home`.
fn build(work: &Path, home: &Path) -> Result<()> {
    let partial = work.join("partial");
    fresh_dir(&partial)?;
    let log = work.join("build.log");
    remove(&log)?;
    unpack(&partial, &log)?;
    let source = partial.join(DIRECTORY);
    for [file, words, others] in MENDS {
        let path = source.join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        ensure!(text.contains(words), "{file} is not as expected");
        fs::write(&path, text.replace(words, others))?;
    }
    let step = Step::begin("build Bochs", Some(LINES));
    let mut configure = Command::new("./configure");
    logged(configure.args(OPTIONS).current_dir(&source), &log, |_| ())?;
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    let mut make = Command::new("make");
    make.arg(format!("-j{jobs}")).arg("bochs");
    stepped(make.current_dir(&source), &log, &step)?;
    step.done("built");

    let products = partial.join("products");
    fresh_dir(&products)?;
    for (name, place) in PRODUCTS {
        fs::copy(source.join(place), products.join(name)).with_context(|| place.to_owned())?;
    }
    fs::rename(&products, home).with_context(|| format!("cannot make {}", home.display()))?;
    remove(&partial)
}

/// Downloads the source, which apt compares with the digest, and unpacks it.
fn unpack(directory: &Path, log: &Path) -> Result<()> {
    let tarball = directory.join("source.tar.xz");
    let step = Step::begin("download Bochs' source", None);
    let mut download = Command::new("/usr/lib/apt/apt-helper");
    download
        .arg("download-file")
        .arg(format!("{}/{SOURCE}", archive()?))
        .arg(&tarball)
        .arg(format!("SHA256:{SHA256}"));
    logged(&mut download, log, |line| step.advance(line))?;
    step.done("as expected");
    let mut tar = Command::new("tar");
    output(tar.arg("-xf").arg(&tarball).arg("-C").arg(directory)).map(drop)
}
