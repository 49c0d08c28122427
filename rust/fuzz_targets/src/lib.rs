// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the pure crates promise for any input at all.
//!
//! A [`Target`] is a function of bytes: it makes of them a use of one crate, with a naive model
//! beside it, and says which promise was [`Broken`]. What the crate answered goes into a
//! [`Digest`]. The same function, from the same file, is
//!
//! - replayed over its saved corpus by `cargo test`, and there under Miri;
//! - driven by a coverage-guided fuzzer, which adds to the corpus (`tools/fuzz`);
//! - run over the corpus inside of a kernel (`drivers/fuzz_vectors`), where the digest must
//!   be the one that userspace computes.
//!
//! - [`input`]: values out of bytes.
//! - [`outcome`]: broken promises, and digests.
//! - [`corpus`]: the saved inputs.
//! - [`wire`], [`dispatch`], [`rules`], [`ring`] and [`virtqueue`]: the targets, by crate.

#![cfg_attr(not(any(test, CONFIG_RUST)), no_std)]
#![forbid(unsafe_code)]

pub mod corpus;
pub mod dispatch;
pub mod input;
pub mod outcome;
pub mod ring;
pub mod rules;
pub mod virtqueue;
pub mod wire;

use corpus::Corpus;
use input::Input;
use outcome::{
    Broken,
    Digest, //
};

/// A use of one crate, made of bytes.
pub struct Target {
    /// What it is called.
    pub name: &'static str,
    /// Uses the crate as the input says and checks all that it promises.
    pub run: fn(&mut Input<'_>, &mut Digest) -> Result<(), Broken>,
    /// Saved inputs.
    pub corpus: Corpus,
}

impl Target {
    /// Runs it on one input. What it saw goes into `seen`.
    ///
    /// # Errors
    ///
    /// The promise that does not hold.
    pub fn run(&self, bytes: &[u8], seen: &mut Digest) -> Result<(), Broken> {
        (self.run)(&mut Input::new(bytes), seen)
    }
}

/// A target whose corpus is a file of its name.
macro_rules! target {
    ($name:literal, $run:path) => {
        Target {
            name: $name,
            run: $run,
            corpus: Corpus::new(include_str!(concat!("../corpus/", $name, ".hex"))),
        }
    };
}

/// All targets.
pub static TARGETS: [Target; 13] = [
    target!("frames", wire::frames),
    target!("structures", wire::structures),
    target!("specs", dispatch::specs::run),
    target!("regions", dispatch::regions::run),
    target!("pieces", dispatch::pieces::run),
    target!("replies", dispatch::replies::run),
    target!("streams", dispatch::streams::run),
    target!("rules", rules::run),
    target!("ring_order", ring::order::run),
    target!("ring_lying_device", ring::lying_device::run),
    target!("ring_lying_kernel", ring::lying_kernel::run),
    target!("virtqueue_lying_device", virtqueue::lying_device::run),
    target!("virtqueue_lying_driver", virtqueue::lying_driver::run),
];
