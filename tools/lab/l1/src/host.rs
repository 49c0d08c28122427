// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Makes L1 a host: file systems, modules, names for busybox.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use anyhow::{Context, Result};
use kvm_ioctls::{Kvm, VmFd};
use rustix::fs::Mode;
use rustix::mount::{mount, MountFlags};
use rustix::process::umask;
use rustix::system::finit_module;
use rustix::thread::{sched_getaffinity, sched_setaffinity};

use crate::results::Results;

/// Where the lab puts the modules, and the list of them in load order.
const MODULES: &str = "/lib/modules";

const KVM: &str = "/dev/kvm";

/// Type and place of what is mounted. `/dev` first: it has the results channel.
const MOUNTS: &[(&str, &str)] = &[
    ("devtmpfs", "/dev"),
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("tmpfs", "/tmp"),
    ("debugfs", "/sys/kernel/debug"),
    ("tracefs", "/sys/kernel/tracing"),
];

/// Mounts the kernel's file systems and an empty `/tmp`.
pub(crate) fn mount_all() -> Result<()> {
    // Sockets that the VMM makes as root are for device processes without privileges.
    umask(Mode::empty());
    for (kind, place) in MOUNTS {
        fs::create_dir_all(place).with_context(|| format!("mkdir {place}"))?;
        mount(*kind, *place, *kind, MountFlags::empty(), None)
            .with_context(|| format!("mount {kind} on {place}"))?;
    }
    symlink("/proc/self/fd", "/dev/fd").context("symlink /dev/fd")
}

/// The places of what is mounted but not below another one of them.
pub(crate) fn mounted() -> impl Iterator<Item = &'static str> {
    let places = MOUNTS.iter().map(|&(_, place)| place);
    places.filter(|place| place.rfind('/') == Some(0))
}

/// Keeps all programs, and so guests, off the first CPU.
pub(crate) fn spare_first_cpu() -> Result<()> {
    let mut cpus = sched_getaffinity(None).context("which CPUs there are")?;
    cpus.unset(0);
    sched_setaffinity(None, &cpus).context("leave the first CPU")
}

/// Loads the modules of the lab's list, in its order.
pub(crate) fn load_modules(results: &Results) -> Result<()> {
    let list = format!("{MODULES}/order");
    let names = fs::read_to_string(&list).with_context(|| list.clone())?;
    for name in names.lines() {
        results.step(&format!("loading {name}"))?;
        load_module(name)?;
    }
    Ok(())
}

/// Loads one module.
pub(crate) fn load_module(name: &str) -> Result<()> {
    let path = format!("{MODULES}/{name}");
    let file = File::open(&path).with_context(|| path.clone())?;
    finit_module(&file, c"", 0).with_context(|| format!("loading {path}"))
}

/// A VM without CPUs, to be kept for as long as L1 is up; none where KVM's modules are not loaded.
///
/// KVM patches the scheduler's code whenever the first VM comes or the last one goes
/// (`preempt_notifier_key`). With several CPUs under TCG, one of them has been seen to run into the
/// breakpoint of such a patch after it was complete, which the kernel does not survive.
///
/// # Errors
///
/// KVM does not make one.
pub(crate) fn idle_vm() -> Result<Option<VmFd>> {
    if !fs::exists(KVM)? {
        return Ok(None);
    }
    let kvm = Kvm::new().context(KVM)?;
    kvm.create_vm().context("KVM_CREATE_VM").map(Some)
}
