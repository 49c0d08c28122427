// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! All test layers and their sum.
//!
//! | layer | what runs | who counts |
//! |---|---|---|
//! | build | the machine, the kernel and the modules are made ready | one for each |
//! | check | [`crate::check`] | the number of checks |
//! | native | `cargo test` over the workspace | its `test result:` lines |
//! | miri | [`crate::miri`], where there is Miri | its `test result:` lines |
//! | lab | `lab test` in virtual machines | the lab, in `out/test/lab.json` |

use crate::cache::Cache;
use crate::checkout::Checkout;
use crate::command::logged;
use crate::kernel::Wish;
use crate::progress::Step;
use crate::{check, host, kernel, miri, modules, recent_qemu};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

/// How many tests ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Did what was expected.
    pub(crate) passed: u64,
    /// Did not, or could not be carried out.
    pub(crate) failed: u64,
    /// Lacked something on this machine.
    pub(crate) skipped: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Makes a layer that ended badly count as a failure even if it counted none itself.
    fn with_end(mut self, ended_well: bool) -> Self {
        if !ended_well && self.failed == 0 {
            self.failed = 1;
        }
        self
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(out, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// Runs every layer, whatever becomes of the others, and prints the sum as the last line.
/// Each layer's tally stays in `out/test/<layer>.json`.
///
/// # Errors
///
/// The results cannot be recorded.
pub(crate) fn all(checkout: &Checkout, cache: &Cache, wish: &Wish) -> Result<bool> {
    let directory = checkout.path("out/test");
    crate::cache::fresh_dir(&directory)?;
    let mut sum = Tally::default();
    let layers: [(&str, &dyn Fn() -> Result<Tally>); 5] = [
        ("build", &|| Ok(build(checkout, cache, wish))),
        ("check", &|| Ok(check::tally(checkout, cache))),
        ("native", &|| {
            Ok(native(checkout, &directory.join("native.log")))
        }),
        ("miri", &|| {
            miri::tally(checkout, &directory.join("miri.log"))
        }),
        ("lab", &|| {
            get_recent_qemu(checkout, cache);
            lab(checkout, &directory.join("lab.json"))
        }),
    ];
    for (name, run) in layers {
        let tally = run().unwrap_or_else(|error| {
            eprintln!("setup: {name}: {error:#}");
            Tally::default().with_end(false)
        });
        fs::write(
            directory.join(format!("{name}.json")),
            serde_json::to_string(&tally)?,
        )?;
        println!("{name}: {tally}");
        sum.add(tally);
    }
    println!("{sum}");
    Ok(sum.failed == 0)
}

/// What the other layers need. They run even if this fails and say what they miss.
fn build(checkout: &Checkout, cache: &Cache, wish: &Wish) -> Tally {
    let mut tally = Tally::default();
    for result in [
        host::prepare(cache, wish.debug),
        kernel::prepare(checkout, cache, wish),
        modules::build(checkout, cache),
    ] {
        match result {
            Ok(()) => tally.passed += 1,
            Err(error) => {
                tally.failed += 1;
                eprintln!("setup: {error:#}");
            }
        }
    }
    tally
}

/// The pure crates and userspace, tested as ordinary programs.
fn native(checkout: &Checkout, log: &Path) -> Tally {
    let step = Step::begin("test pure crates and userspace", None);
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(checkout.workspace())
        .args(["test", "--workspace", "--no-fail-fast"]);
    count_tests(&mut cargo, log, step)
}

/// Runs a `cargo test` to its end and counts.
pub(crate) fn count_tests(cargo: &mut Command, log: &Path, step: Step) -> Tally {
    let mut tally = Tally::default();
    let result = logged(cargo, log, |line| {
        step.advance(line);
        tally.add(tally_of_line(line).unwrap_or_default());
    });
    step.done(&tally.to_string());
    if let Err(error) = &result {
        eprintln!("setup: {error:#}");
    }
    tally.with_end(result.is_ok())
}

/// Reads `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; ...`.
fn tally_of_line(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |what: &str| {
        let field = counts
            .split("; ")
            .find_map(|field| field.strip_suffix(what));
        field.and_then(|number| number.trim().parse().ok())
    };
    Some(Tally {
        passed: count("passed")?,
        failed: count("failed")?,
        skipped: count("ignored")?,
    })
}

/// What some tests of the lab need, which it skips where it cannot be had.
fn get_recent_qemu(checkout: &Checkout, cache: &Cache) {
    if let Err(error) = recent_qemu::prepare(checkout, cache) {
        eprintln!("setup: no QEMU from 10.1 on: {error:#}");
    }
}

/// The selftests and jobs in virtual machines. The lab, a program that lies beside this
/// one, leaves its tally in `result`.
fn lab(checkout: &Checkout, result: &Path) -> Result<Tally> {
    let program = std::env::current_exe()
        .context("this program does not know where it lies")?
        .with_file_name("lab");
    let status = Command::new(&program)
        .current_dir(checkout.root())
        .arg("test")
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let text = fs::read_to_string(result)
        .with_context(|| format!("the lab left no result in {}", result.display()))?;
    let tally: Tally = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a tally", result.display()))?;
    Ok(tally.with_end(status.success()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "test result: ok. 40 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.04s";
    const BAD: &str =
        "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s";

    #[test]
    fn results_of_cargo_are_read_and_summed() {
        let mut sum = Tally::default();
        for line in [GOOD, BAD, "running 3 tests", "test a ... ok"] {
            sum.add(tally_of_line(line).unwrap_or_default());
        }
        assert_eq!(sum.to_string(), "43 passed, 1 failed, 2 skipped");
    }

    #[test]
    fn a_layer_that_ends_badly_has_a_failure() {
        let good = tally_of_line(GOOD).unwrap();
        assert_eq!(good.with_end(true).failed, 0);
        assert_eq!(good.with_end(false).failed, 1);
        assert_eq!(tally_of_line(BAD).unwrap().with_end(false).failed, 1);
    }
}
