// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Gets what the machine lacks: packages, bindgen, the patched kernel, the modules.
//!
//! Each subcommand brings one thing into being and does nothing when it is there
//! already. What is expensive lives in a cache outside the checkout, so a second
//! clone finds it. The crate also holds the checks that need no virtual machine and
//! the sum over all test layers.

mod apt;
mod bindgen;
mod cache;
mod check;
mod checkout;
mod command;
mod host;
mod kernel;
mod layers;
mod modules;
mod progress;
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
    Host,
    /// Get, patch, configure and build the kernel; link it as out/kernel
    Kernel {
        /// Build the variant with sanitizers and lock checking
        #[arg(long)]
        debug: bool,
        /// Ask the package archive for a newer source although one is cached
        #[arg(long)]
        refresh: bool,
    },
    /// Build the out-of-tree modules into out/modules
    Modules,
    /// Check formatting, lints, the patch series and the layer fences
    Check,
    /// Format the Rust code that Cargo does not know
    Format,
    /// Run every test layer and sum up
    Test,
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
        Action::Host => host::prepare(&cache).map(|()| true),
        Action::Kernel { debug, refresh } => {
            kernel::prepare(&checkout, &cache, kernel::Wish { debug, refresh }).map(|()| true)
        }
        Action::Modules => modules::build(&checkout, &cache).map(|()| true),
        Action::Check => check::all(&checkout, &cache),
        Action::Format => check::format_kernel_code(&checkout).map(|()| true),
        Action::Test => layers::all(&checkout, &cache),
        Action::Purge => Ok(true),
    }
}
