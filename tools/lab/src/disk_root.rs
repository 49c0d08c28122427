// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A disk with L1's root file system, on which are programs of this machine's that are too large for
//! an initramfs, and the small initramfs from which L1 goes there.

use std::path::PathBuf;

use anyhow::{Context, Result};
use fe_tests::plan::work::NETDEVICE;

use crate::companion::{self, Program};
use crate::images::{archive, installed, l1_tree, make_file_system, unless_current, Images};
use crate::modules;
use crate::out::Places;
use crate::progress::Step;
use crate::tree::Tree;

/// What works on disks and networks, by names that they have on Debian.
const PROGRAMS: &[&str] = &["fio", "mke2fs", "e2fsck", "iperf3", "ping", "ethtool"];

/// Programs of ours.
const OURS: &[&str] = &["l1-init", "fe_tests"];

/// The driver of the disk.
const DRIVER: &str = "virtio_fe.ko";

const SIZE: &str = "256M";

/// What L1 boots from, and the image of its disk as it is at first.
pub(crate) struct DiskRoot {
    pub(crate) images: Images,
    pub(crate) disk: PathBuf,
}

/// Makes it, or finds it up to date.
///
/// # Errors
///
/// A program is not installed, or an image cannot be made.
pub(crate) fn build(places: &Places, plain: &Images) -> Result<DiskRoot> {
    let ours: Vec<Program> = companion::build(places)?
        .into_iter()
        .filter(|program| OURS.contains(&program.name.as_str()))
        .collect();
    let step = Step::start("L1's disk");
    let directory = places.out("lab")?;
    let disk = directory.join("disk.ext4");
    let tree = disk_tree(&ours, places)?;
    unless_current(&disk, &tree.fingerprint()?, |path| {
        make_file_system(&tree, &directory.join("disk"), path, SIZE)
    })?;
    let tree = initramfs_tree(&ours, places)?;
    let initramfs = archive(places, &step, "disk.cpio", &tree)?;
    step.done();
    let plain = plain.clone();
    let images = Images { initramfs, ..plain };
    Ok(DiskRoot { images, disk })
}

fn disk_tree(ours: &[Program], places: &Places) -> Result<Tree> {
    let mut tree = l1_tree(ours)?;
    for name in PROGRAMS {
        tree.dynamic_program(&format!("bin/{name}"), &installed(name)?)?;
    }
    let source = places.kernel("source")?;
    tree.file(NETDEVICE, &source.join(NETDEVICE), 0o644);
    // Whatever is to be loaded is loaded.
    tree.text("lib/modules/order", String::new(), 0o644);
    Ok(tree)
}

fn initramfs_tree(ours: &[Program], places: &Places) -> Result<Tree> {
    let mut tree = Tree::default();
    for program in ours.iter().filter(|program| program.name == "l1-init") {
        tree.file("init", &program.path, 0o755);
    }
    let driver = modules::in_load_order(places)?
        .into_iter()
        .find(|path| path.ends_with(DRIVER))
        .with_context(|| format!("{DRIVER} is missing"))?;
    tree.file(&format!("lib/modules/{DRIVER}"), &driver, 0o644);
    Ok(tree)
}
