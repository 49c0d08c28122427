// SPDX-License-Identifier: GPL-2.0-only

//! The saved inputs of the fuzz targets, run inside of a kernel.
//!
//! Loading it runs every target of `fuzz_targets` over its corpus. The log then has a line
//! for each, with the digest of what the target saw; userspace, which compiles the same files,
//! must come to the same digests:
//!
//! ```text
//! fuzz_vectors: frames: 22 inputs, digest 0123456789abcdef
//! ```
//!
//! If an input breaks a promise, the log says which, and the module is not loaded.

#![forbid(unsafe_code)]

use fuzz_targets::{
    corpus::{
        replay,
        Flaw, //
    },
    Target,
    TARGETS, //
};
use kernel::prelude::*;

module! {
    type: Vectors,
    name: "fuzz_vectors",
    authors: ["Shunt developers"],
    description: "Fuzz targets of the pure crates, over their saved inputs",
    license: "GPL",
}

struct Vectors;

impl kernel::Module for Vectors {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        TARGETS.iter().try_for_each(run)?;
        Ok(Self)
    }
}

/// # Errors
///
/// `EILSEQ`: the corpus has a line that is no input. `EPROTO`: a promise is broken.
fn run(target: &Target) -> Result {
    match replay(target) {
        Ok(summary) => {
            pr_info!(
                "{}: {} inputs, digest {:016x}\n",
                target.name,
                summary.inputs,
                summary.digest.value()
            );
            Ok(())
        }
        Err(failure) => {
            pr_err!(
                "{}, line {}: {:?}\n",
                target.name,
                failure.line,
                failure.flaw
            );
            Err(match failure.flaw {
                Flaw::Line => EILSEQ,
                Flaw::Broken(_) => EPROTO,
            })
        }
    }
}
