// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A small VMM on the rust-vmm crates: a Linux guest with a serial console and virtio-mmio
//! disks, whose registers are dispatched in the VMM, by the VMM to a device process, or by KVM
//! to a device process; and PCI devices of the host's.
//!
//! [`machine`] puts the parts together; [`vcpu`] and [`bus`] are the way of an access that
//! leaves KVM.

mod assigned;
mod boot;
mod bus;
mod console;
mod cpuid;
mod disk;
mod layout;
mod legacy;
mod machine;
mod marks;
mod memory;
mod options;
mod pairs;
mod pci;
mod readiness;
mod report;
mod routes;
mod stop;
mod vcpu;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match machine::run(&options::Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shunt-vmm: {error:#}");
            ExitCode::FAILURE
        }
    }
}
