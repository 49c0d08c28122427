// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A QEMU whose TCG delivers an interrupt that KVM injects once, for guests under `-icount`.
//!
//! `helper_vmrun()` delivers an injected interrupt and leaves its vector in `exception_index`. If
//! nothing comes between, the main loop delivers it once more when it next leaves the translated code, as
//! it does under `-icount` for every timer: also while the guest has its interrupts off. Debian's
//! source is built into the cache without that, and linked into the checkout as `out/mended-qemu`. It
//! uses the firmware of the machine's own QEMU.

use crate::apt::{find_standalone, View};
use crate::cache::{fresh_dir, point_link, remove, Cache};
use crate::checkout::Checkout;
use crate::command::{find_program, logged, output, stepped};
use crate::host::install_by_name;
use crate::progress::Step;
use anyhow::{ensure, Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PROGRAM: &str = "qemu-system-x86_64";

/// The release whose source is built.
const SUITE: &str = "trixie";

/// How many ways there were to build it: to be raised with another one.
const BUILD: &str = "2";

/// Programs and headers that the build needs, and Debian's packages of them.
const NEEDS: [(&str, &str); 5] = [
    ("/usr/bin/ninja", "ninja-build"),
    ("/usr/bin/pkg-config", "pkg-config"),
    ("/usr/include/glib-2.0/glib.h", "libglib2.0-dev"),
    ("/usr/include/zlib.h", "zlib1g-dev"),
    ("/usr/include/slirp/libslirp.h", "libslirp-dev"),
];

/// Python's modules that it needs, in versions that older releases do not have.
const MODULES: [&str; 2] = ["meson", "python3-pycotap"];
const MODULES_AT: &str = "usr/lib/python3/dist-packages";

const OPTIONS: &[&str] = &[
    "--target-list=x86_64-softmmu",
    "--without-default-features",
    "--enable-tcg",
    "--enable-plugins",
    "--enable-slirp",
    "--disable-docs",
    "--disable-tools",
    "--disable-guest-agent",
    "--disable-install-blobs",
];

/// What is changed: the file, the words, and those for them.
const FILE: &str = "target/i386/tcg/system/svm_helper.c";
const WORDS: &str = "do_interrupt_x86_hardirq(env, vector, 1);";
const OTHERS: &str = "do_interrupt_x86_hardirq(env, vector, 1); cs->exception_index = -1;";

/// Debian's source has no firmware, and this is what it has of its build.
const FIRMWARE: (&str, &str) = ("pc-bios/meson.build", "roms = []\n");

/// About how many lines ninja prints.
const LINES: u64 = 1_550;

/// Builds it unless it is there.
///
/// # Errors
///
/// The mirror does not have what is needed, or the build fails.
pub(crate) fn prepare(checkout: &Checkout, cache: &Cache) -> Result<()> {
    let link = checkout.path("out/mended-qemu");
    let home = cache.path("qemu").join(format!("mended-{BUILD}"));
    if !home.is_dir() {
        for (file, package) in NEEDS {
            if !Path::new(file).exists() {
                install_by_name(cache, package)?;
            }
        }
        ensure!(find_program("cc").is_some(), "there is no C compiler");
        let _lock = cache.lock()?;
        if !home.is_dir() {
            build(cache, &home)?;
        }
    }
    point_link(&link, &home)
}

fn build(cache: &Cache, home: &Path) -> Result<()> {
    let work = cache.path("qemu/building");
    fresh_dir(&work)?;
    let log = cache.path("qemu/build.log");
    remove(&log)?;
    let modules = python_modules(cache, &work)?;
    let source = source(cache, &work, &log)?;
    let directory = work.join("build");
    fresh_dir(&directory)?;
    let step = Step::begin("build QEMU", Some(LINES));
    let mut configure = Command::new(source.join("configure"));
    configure.args(OPTIONS).current_dir(&directory);
    logged(configure.env("PYTHONPATH", &modules), &log, |_| ())?;
    let mut ninja = Command::new("ninja");
    ninja.arg(PROGRAM).current_dir(&directory);
    stepped(ninja.env("PYTHONPATH", &modules), &log, &step)?;
    step.done("built");

    let product = work.join("product");
    fresh_dir(&product)?;
    fs::copy(directory.join(PROGRAM), product.join(PROGRAM)).context("the built QEMU")?;
    fs::rename(&product, home).with_context(|| format!("cannot make {}", home.display()))?;
    remove(&work)
}

/// Unpacks Python's modules; where they are.
fn python_modules(cache: &Cache, work: &Path) -> Result<PathBuf> {
    let root = work.join("python");
    for package in MODULES {
        let found = find_standalone(cache, package, |_| true)?;
        let (view, offer) = found.with_context(|| format!("the mirror has no {package}"))?;
        let file = view.download(package, &offer, &work.join("download"))?;
        output(
            Command::new("dpkg-deb")
                .arg("--extract")
                .arg(file)
                .arg(&root),
        )?;
    }
    Ok(root.join(MODULES_AT))
}

/// Downloads, unpacks and changes the source; its root.
fn source(cache: &Cache, work: &Path, log: &Path) -> Result<PathBuf> {
    let download = work.join("download");
    let view = View::sources(cache, SUITE)?;
    let tarball = view.download_source("qemu", &download)?;
    let source = work.join("source");
    fresh_dir(&source)?;
    let step = Step::begin("unpack QEMU's source", None);
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--strip-components=1", "--file"]);
    tar.arg(&tarball).arg("--directory").arg(&source);
    logged(&mut tar, log, |_| ())?;
    step.done("whole");
    mend(&source)?;
    Ok(source)
}

fn mend(source: &Path) -> Result<()> {
    let path = source.join(FILE);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let is_known = text.matches(WORDS).count() == 1;
    ensure!(is_known, "{FILE} of this QEMU is not as expected");
    fs::write(&path, text.replace(WORDS, OTHERS))?;
    let (file, text) = FIRMWARE;
    fs::write(source.join(file), text).with_context(|| file.to_owned())
}
