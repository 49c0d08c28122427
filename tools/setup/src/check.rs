// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The checks that need no virtual machine: each a function that looks at the checkout
//! and says what it found.

mod crates;
mod kbuild;
mod rust;
mod series;
mod text;
mod tracked;

pub(crate) use rust::format_kernel_code;

use crate::cache::Cache;
use crate::checkout::Checkout;
use crate::layers::Tally;
use anyhow::Result;

/// What a check is given.
pub(crate) struct Subject<'a> {
    checkout: &'a Checkout,
    cache: &'a Cache,
}

/// What a check found: nothing, or lines that each name a place and a fault.
type Findings = Vec<String>;

type Check = (&'static str, fn(&Subject) -> Result<Findings>);

const CHECKS: [Check; 13] = [
    ("rustfmt, Cargo", rust::cargo_format),
    ("rustfmt, kernel code", rust::kernel_format),
    ("clippy, Cargo", rust::cargo_clippy),
    ("clippy, Kbuild", kbuild::clippy),
    ("checkpatch on the series", series::checkpatch),
    (
        "pure crates and drivers forbid unsafe code",
        text::forbid_unsafe,
    ),
    ("no C bindings in drivers", text::no_bindings_in_drivers),
    (
        "pure crates depend on core and zerocopy only",
        crates::pure_dependencies,
    ),
    ("nothing depends on tools", crates::nothing_needs_tools),
    ("every source file names its licence", text::licences),
    (
        "no path or package host of one machine",
        text::no_machine_names,
    ),
    ("files have at most 500 lines", text::file_lengths),
    ("names say what a file provides", text::telling_names),
];

/// Runs every check and prints a line for each and a sum.
///
/// # Errors
///
/// The result cannot be recorded. A check that cannot be carried out counts as failed.
pub(crate) fn all(checkout: &Checkout, cache: &Cache) -> Result<bool> {
    let tally = tally(checkout, cache);
    println!("{tally}");
    Ok(tally.failed == 0)
}

/// Runs every check and prints a line for each.
pub(crate) fn tally(checkout: &Checkout, cache: &Cache) -> Tally {
    let subject = Subject { checkout, cache };
    let mut tally = Tally::default();
    for (name, check) in CHECKS {
        let findings = check(&subject).unwrap_or_else(|error| vec![format!("{error:#}")]);
        if findings.is_empty() {
            tally.passed += 1;
            println!("ok    {name}");
        } else {
            tally.failed += 1;
            println!("FAIL  {name}");
        }
        for finding in findings {
            println!("      {}", finding.replace('\n', "\n      "));
        }
    }
    tally
}
