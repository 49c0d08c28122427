// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Objects that nobody in the kernel refers to any more, where the kernel can tell.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{bail, Context, Result};

use crate::results::Results;

const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";

/// kmemleak does not report what is younger (`MSECS_MIN_AGE` in mm/kmemleak.c).
const AGE: Duration = Duration::from_secs(5);

/// How each report begins.
const REPORT: &str = "unreferenced object";

/// Looks for them, if the kernel has kmemleak.
///
/// # Errors
///
/// There are some; it has the first.
pub(crate) fn expect_none(results: &Results) -> Result<()> {
    if !Path::new(KMEMLEAK).exists() {
        return Ok(());
    }
    results.step("looking for lost objects")?;
    thread::sleep(AGE);
    // What was on some stack during one scan, or has changed since, is not during both.
    for _ in 0..2 {
        fs::write(KMEMLEAK, "scan").context(KMEMLEAK)?;
    }
    let text = fs::read_to_string(KMEMLEAK).context(KMEMLEAK)?;
    match complaint(&text) {
        None => Ok(()),
        Some(complaint) => bail!(complaint),
    }
}

/// How many reports there are, and the first of them.
fn complaint(text: &str) -> Option<String> {
    let mut reports = text.split(REPORT).skip(1);
    let first = reports.next()?.trim();
    Some(format!("{} objects lost: {first}", 1 + reports.count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_objects_are_counted() {
        let text = "unreferenced object 0x1 (size 8):\n  backtrace:\n    a [ioregion]\n\
                    unreferenced object 0x2 (size 8):\n    b\n";
        let want = "2 objects lost: 0x1 (size 8):\n  backtrace:\n    a [ioregion]";
        assert_eq!(complaint(text).as_deref(), Some(want));
        assert_eq!(complaint(""), None);
    }
}
