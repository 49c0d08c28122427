// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! An initramfs with this machine's QEMU, as Debian packages it, for a guest of L1's in a VMM that
//! nobody here wrote, and what that guest boots from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::companion;
use crate::images::{add_init, add_modules, archive, installed, Images};
use crate::modules;
use crate::out::Places;
use crate::progress::Step;
use crate::second_archive;
use crate::tree::Tree;

const PROGRAM: &str = "qemu-system-x86_64";

/// What a PC without a display needs.
const FIRMWARE: &[&str] = &["bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin"];

/// Where Debian's packages have that.
const DIRECTORIES: &[&str] = &["/usr/share/seabios", "/usr/share/qemu"];

/// What answers L1 in the guest.
const ANSWERS: &str = "irq_tests";

/// The kernel's drivers of interfaces that are assigned.
const NIC_DRIVERS: [&str; 2] = ["e1000e", "virtio_net"];

/// Why there is no such VMM, if so.
pub(crate) fn missing() -> Option<String> {
    let program = installed(PROGRAM).map(drop);
    let firmware = || {
        FIRMWARE
            .iter()
            .try_for_each(|name| firmware(name).map(drop))
    };
    let error = program.and_then(|()| firmware()).err()?;
    Some(format!("{error:#}"))
}

fn firmware(name: &str) -> Result<PathBuf> {
    let mut places = DIRECTORIES.iter().map(|place| Path::new(place).join(name));
    let file = places.find(|path| path.exists());
    file.with_context(|| format!("QEMU's {name} is missing: `make host` installs it"))
}

/// The images with QEMU, a guest's kernel, and its initial RAM disk.
///
/// # Errors
///
/// An input is missing or the result cannot be written.
pub(crate) fn images(places: &Places, plain: &Images) -> Result<Images> {
    let guests = [
        ("edu.cpio", edu_guest(places)?),
        ("nic.cpio", nic_guest(places)?),
    ];
    let step = Step::start("QEMU for L1");
    let mut tree = Tree::default();
    tree.dynamic_program(&format!("bin/{PROGRAM}"), &installed(PROGRAM)?)?;
    for name in FIRMWARE {
        tree.file(&format!("share/qemu/{name}"), &firmware(name)?, 0o644);
    }
    tree.file("images/bzImage", &places.kernel("bzImage")?, 0o644);
    for (name, guest) in guests {
        let initrd = archive(places, &step, name, &guest)?;
        tree.file(&format!("images/{name}"), &initrd, 0o644);
    }
    let images = second_archive::append(places, plain, &tree, "initramfs-qemu.cpio")?;
    step.done();
    Ok(images)
}

/// The initial RAM disk, and only disk, of a guest with an `edu`.
fn edu_guest(places: &Places) -> Result<Tree> {
    let mut tree = guest(places, "edu")?;
    tree.file("edu.ko", &modules::ours(places, "edu")?, 0o644);
    Ok(tree)
}

/// That of a guest with a network interface.
fn nic_guest(places: &Places) -> Result<Tree> {
    let mut tree = guest(places, "nic")?;
    let drivers = NIC_DRIVERS.map(str::to_owned);
    let modules = modules::with_dependencies(places, &drivers)?;
    add_modules(&mut tree, "modules", &modules, |_| true)?;
    Ok(tree)
}

/// What all guests with an assigned device have, and a script as their init.
fn guest(places: &Places, script: &str) -> Result<Tree> {
    let mut tree = Tree::default();
    tree.busybox()?;
    add_init(&mut tree, places, script, &["dev", "proc", "sys"]);
    let mut programs = companion::build(places)?.into_iter();
    let answers = programs.find(|program| program.name == ANSWERS);
    let answers = answers.context("irq_tests is not built")?;
    tree.file(&format!("bin/{ANSWERS}"), &answers.path, 0o755);
    Ok(tree)
}
