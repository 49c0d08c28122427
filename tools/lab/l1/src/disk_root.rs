// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! L1's root file system on a disk of virtio_fe.ko's, as a guest has it: a small initramfs loads the
//! driver, mounts the disk, and hands over to the init that is there.

use std::convert::Infallible;
use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use l1::job::ROOT;
use rustix::mount::{mount, mount_move, mount_remount, MountFlags};
use rustix::process::{chdir, chroot};

use crate::host;

const MODULE: &str = "virtio_fe.ko";
const INIT: &str = "/init";
const PLACE: &str = "/root";

/// The argument of the init on the disk.
const HANDED_OVER: &str = "--handed-over";

/// Whether we are the init on the disk.
pub(crate) fn is_handed_over() -> bool {
    env::args().nth(1).is_some_and(|word| word == HANDED_OVER)
}

/// Hands over to the init on a disk, if the kernel command line names one.
///
/// # Errors
///
/// It names one and we are still here.
pub(crate) fn enter() -> Result<()> {
    let cmdline = fs::read_to_string("/proc/cmdline").context("/proc/cmdline")?;
    let mut words = cmdline.split_whitespace();
    match words.find_map(|word| word.strip_prefix(ROOT)) {
        Some(serial) => hand_over(serial).map(|never| match never {}),
        None => Ok(()),
    }
}

fn hand_over(serial: &str) -> Result<Infallible> {
    host::load_module(MODULE)?;
    let node = fe_tests::serial::node(serial)?;
    fs::create_dir_all(PLACE).context(PLACE)?;
    mount(&node, PLACE, "ext4", MountFlags::empty(), None)
        .with_context(|| format!("mounting {}", node.display()))?;
    for place in host::mounted() {
        let to = format!("{PLACE}{place}");
        mount_move(place, &to).with_context(|| format!("moving {place} to {to}"))?;
    }
    chdir(PLACE).context(PLACE)?;
    mount_move(".", "/").context("moving the disk to /")?;
    chroot(".").context("chroot")?;
    chdir("/").context("/")?;
    Err(Command::new(INIT).arg(HANDED_OVER).exec()).context("starting the disk's init")
}

/// Leaves the disk's file system as one that was unmounted.
pub(crate) fn leave() -> Result<()> {
    mount_remount(Path::new("/"), MountFlags::RDONLY, "").context("remounting /")
}
