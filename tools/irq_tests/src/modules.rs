// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The kernel's modules for assigned devices, and ours.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::system::{delete_module, finit_module};

/// In an order in which each finds what it depends on.
const VFIO: [&str; 6] = [
    "iommu_amdv1",
    "iommufd",
    "vfio",
    "vfio_iommu_type1",
    "vfio-pci-core",
    "vfio-pci",
];

const VIRTIO_NET: [&str; 3] = ["failover", "net_failover", "virtio_net"];

/// Loads the kernel's, which are neighbours of exitless.ko, `ours`.
pub(crate) fn load_vfio(ours: &Path) -> Result<()> {
    VFIO.iter().try_for_each(|name| load_neighbour(ours, name))
}

/// Loads the device's driver.
pub(crate) fn load_driver(ours: &Path) -> Result<()> {
    load_neighbour(ours, "edu")
}

/// Loads the module of this name, which is a neighbour of exitless.ko.
pub(crate) fn load_neighbour(ours: &Path, name: &str) -> Result<()> {
    load(&ours.with_file_name(format!("{name}.ko")))
}

/// Loads the kernel's driver of virtio's network devices, and what that needs.
pub(crate) fn load_virtio_net(ours: &Path) -> Result<()> {
    for name in VIRTIO_NET {
        load(&ours.with_file_name(format!("{name}.ko")))?;
    }
    Ok(())
}

/// Loads a module.
pub(crate) fn load(path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    finit_module(&file, c"", 0).with_context(|| format!("loading {}", path.display()))
}

/// The error of unloading exitless.ko, if there is one.
pub(crate) fn unload() -> Result<(), Errno> {
    delete_module(c"exitless", OFlags::NONBLOCK.bits() as i32)
}
