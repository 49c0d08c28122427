// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Gets what the machine lacks: packages, bindgen, the patched kernel, the modules.
//!
//! Each subcommand brings one thing into being and does nothing when it is there
//! already. What is expensive lives in a cache outside the checkout, so a second
//! clone finds it. The crate also holds the checks that need no virtual machine and
//! the sum over all test layers.

mod apt;
mod bindgen;
mod bochs;
mod cache;
mod check;
mod checkout;
mod command;
mod host;
mod kernel;
mod layers;
mod mended_qemu;
mod miri;
mod modules;
mod progress;
mod recent_qemu;
mod rust_components;
mod toolchain;

use anyhow::Result;
use cache::Cache;
use checkout::Checkout;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Install packages, the Rust library source and bindgen
    Host {
        /// Also what the debug variant of the kernel is compiled with
        #[arg(long)]
        debug: bool,
    },
    /// Get, patch, configure and build the kernel; link it as out/kernel
    Kernel(kernel::Wish),
    /// Build the out-of-tree modules into out/modules
    Modules,
    /// Build the kernel's own virtio drivers, which the bench needs, into out/control
    Control,
    /// Get a QEMU from 10.1 on, for the lab's tests that need one
    RecentQemu,
    /// Build a QEMU in which guests of KVM's run under `-icount`, into out/mended-qemu
    MendedQemu,
    /// Build Bochs, which emulates VMX, for the lab's tests that need that
    Bochs,
    /// Check formatting, lints, the patch series and the layer fences
    Check,
    /// Format the Rust code that Cargo does not know
    Format,
    /// Run the tests of the pure crates under Miri, if there is one
    Miri,
    /// Build everything, run every test layer and sum up
    Test(kernel::Wish),
    /// Remove everything this tool has put into the cache
    Purge,
}

fn main() -> ExitCode {
    match dispatch(Arguments::parse().action) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("setup: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Performs one subcommand. `Ok(false)` means that it ran to its end and found failures,
/// which it has reported itself.
fn dispatch(action: Action) -> Result<bool> {
    let cache = Cache::locate()?;
    if let Action::Purge = action {
        return cache.purge().map(|()| true);
    }
    let checkout = Checkout::find()?;
    match action {
        Action::Host { debug } => host::prepare(&cache, debug).map(|()| true),
        Action::Kernel(wish) => kernel::prepare(&checkout, &cache, &wish).map(|()| true),
        Action::Modules => modules::build(&checkout, &cache).map(|()| true),
        Action::Control => modules::build_control(&checkout, &cache).map(|()| true),
        Action::RecentQemu => recent_qemu::prepare(&checkout, &cache).map(|()| true),
        Action::MendedQemu => mended_qemu::prepare(&checkout, &cache).map(|()| true),
        Action::Bochs => bochs::prepare(&checkout, &cache).map(|()| true),
        Action::Check => check::all(&checkout, &cache),
        Action::Format => check::format_kernel_code(&checkout).map(|()| true),
        Action::Miri => miri::all(&checkout),
        Action::Test(wish) => layers::all(&checkout, &cache, &wish),
        Action::Purge => Ok(true),
    }
}
