// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! libFuzzer around one target, which the environment names.

#![no_main]

use std::sync::LazyLock;

use fuzz_targets::outcome::Digest;
use fuzz_targets::{Target, TARGETS};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let wanted = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let mut targets = TARGETS.iter();
    targets
        .find(|target| target.name == wanted)
        .unwrap_or_else(|| panic!("FUZZ_TARGET={wanted} names no target"))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = TARGET.run(bytes, &mut Digest::default()) {
        panic!("{}: {}", TARGET.name, broken.0);
    }
});
