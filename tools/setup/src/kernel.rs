// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The patched kernel: obtain, patch, configure, build, keep.
//!
//! A kernel is identified by everything that goes into it ([`recipe`]). One that was
//! built whole stays in the cache and is linked into the checkout as `out/kernel`:
//!
//! | below `out/kernel/` | what it is |
//! |---|---|
//! | `bzImage` | the image QEMU boots |
//! | `vmlinux` | the same without symbols, for the guests' VMM |
//! | `modules/lib/modules/*/` | the kernel's own modules, stripped, with dependencies |
//! | `source/` | the patched source |
//! | `build/` | the build tree, for building modules against |
//! | `build.log` | what was run and what it said |

mod build;
mod config;
mod entry;
mod patches;
mod recipe;
mod seed;
mod source;

pub(crate) use config::compiler_of;
pub(crate) use entry::linked_key;
pub(crate) use patches::series;

use crate::cache::Cache;
use crate::checkout::Checkout;
use crate::toolchain::{Compiler, Toolchain};
use anyhow::Result;
use entry::Entry;
use recipe::Recipe;

/// Which kernel is wanted.
#[derive(clap::Args)]
pub(crate) struct Wish {
    /// Build the variant with sanitizers and lock checking
    #[arg(long)]
    pub(crate) debug: bool,
    /// Ask the package archive for a newer source although one is cached
    #[arg(long)]
    refresh: bool,
}

/// Makes `out/kernel` the kernel of this checkout's patches and configuration.
///
/// # Errors
///
/// There is no source, a patch does not apply, a requested configuration symbol cannot be
/// had, or the build fails. What was begun is never taken for whole later.
pub(crate) fn prepare(checkout: &Checkout, cache: &Cache, wish: &Wish) -> Result<()> {
    let source = source::obtain(cache, wish.refresh)?;
    let compiler = if wish.debug {
        Compiler::Clang
    } else {
        Compiler::Gcc
    };
    let tools = Toolchain::find(cache, compiler)?;
    let recipe = Recipe::read(checkout, &source, &tools, wish.debug)?;
    let entry = Entry::of(cache, &recipe);
    if !entry.is_complete() {
        let _lock = cache.lock()?;
        if !entry.is_complete() {
            build::build(cache, &entry, &recipe, &source, &tools)?;
            entry::prune(cache)?;
        }
    }
    entry.link(checkout)
}
