// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The modules' code as the kernel's build sees it, with clippy and no warning allowed.

use super::{Findings, Subject};
use crate::{cache, modules};
use anyhow::Result;

pub(super) fn clippy(subject: &Subject) -> Result<Findings> {
    let directory = subject.checkout.path("out/clippy");
    // Warnings come when something is compiled, so everything is compiled.
    cache::fresh_dir(&directory)?;
    let strict = ["CLIPPY=1", "KRUSTFLAGS=-Dwarnings", "KCFLAGS=-Werror"];
    let places = [subject.checkout.root(), &directory];
    modules::make(subject.checkout, subject.cache, places, &strict, |_| ())?;
    Ok(vec![])
}
