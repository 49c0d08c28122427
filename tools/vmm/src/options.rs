// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The command line of `shunt-vmm`.

use std::path::PathBuf;

use clap::Parser;

use crate::{boot::mp_table::MAX_CPUS, disk::spec::DiskSpec};

/// Boots a Linux guest under KVM, with a serial console on stdin and stdout.
#[derive(Debug, Parser)]
#[command(name = "shunt-vmm", version)]
pub(crate) struct Options {
    /// The guest's kernel: an ELF image (vmlinux, boots fastest) or a bzImage
    #[arg(long, value_name = "FILE")]
    pub(crate) kernel: PathBuf,

    /// The guest's initial RAM disk
    #[arg(long, value_name = "FILE")]
    pub(crate) initrd: Option<PathBuf>,

    /// Kernel command line; what the machine itself needs stands before it
    #[arg(long, value_name = "TEXT", default_value = "console=ttyS0 panic=-1")]
    pub(crate) cmdline: String,

    /// Guest RAM in MiB
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(32..=1 << 20))]
    pub(crate) memory: u64,

    /// Number of vCPUs
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_CPUS)))]
    pub(crate) cpus: u8,

    /// A virtio-blk disk (repeatable; see below)
    #[arg(long = "disk", value_name = "SPEC")]
    pub(crate) disks: Vec<DiskSpec>,

    /// Write what was counted to this file, as JSON, when the guest has ended
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}
