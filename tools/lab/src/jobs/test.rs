// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `lab test`: the kernel selftests, and every guest scenario as a test.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use l1::job::Job;
use l1::scenario::{Scenario, SCENARIOS};
use serde::Serialize;

use super::Lab;
use crate::boot::{boot, Outcome};
use crate::ktap::{self, Test, Verdict};
use crate::out;

const SELFTESTS_LIMIT: Duration = Duration::from_secs(600);

/// Which tests.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only selftests, or only guests
    #[arg(long, value_enum)]
    only: Option<Part>,
}

/// A part of the tests.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The program `selftests` in L1, with one CPU and with two
    Selftests,
    /// Guests in every dispatch mode, with and without kills
    Guests,
}

/// How many tests ended how; `make test` adds up the files of all parts.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Counts {
    fn of(tests: &[Test]) -> Self {
        let mut counts = Self::default();
        for test in tests {
            match test.verdict {
                Verdict::Passed => counts.passed += 1,
                Verdict::Failed(_) => counts.failed += 1,
                Verdict::Skipped(_) => counts.skipped += 1,
            }
        }
        counts
    }
}

/// Runs the tests, prints a line for each and the counts last.
///
/// # Errors
///
/// L1 cannot be booted or a result cannot be written.
pub(crate) fn run(lab: &Lab, arguments: &Arguments) -> Result<bool> {
    let wanted = |part| arguments.only.is_none_or(|only| only == part);
    let mut tests = Vec::new();
    if wanted(Part::Selftests) {
        for cpus in [2, 1] {
            tests.append(&mut selftests(lab, cpus)?);
        }
    }
    if wanted(Part::Guests) {
        tests.append(&mut guests(lab)?);
    }
    tests.iter().for_each(print);
    let counts = Counts::of(&tests);
    let path = lab.places.out("test")?.join("lab.json");
    out::write(&path, &serde_json::to_string(&counts)?)?;
    let Counts {
        passed,
        failed,
        skipped,
    } = counts;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(failed == 0 && passed > 0)
}

fn selftests(lab: &Lab, cpus: u32) -> Result<Vec<Test>> {
    let name = format!("selftests-{cpus}cpu");
    let directory = lab.places.out(&format!("test/{name}"))?;
    let words = ["/bin/selftests", "--module", "/lib/modules/ioregion.ko"];
    let job = Job::Program(words.map(str::to_owned).to_vec());
    let outcome = boot(&lab.machine(&job, cpus, &directory), &name, SELFTESTS_LIMIT)?;
    let mut tests = ktap::parse("output", outcome.stream("selftests"));
    tests.push(whole("boot", &outcome, &tests));
    for test in &mut tests {
        test.name = format!("{name}.{}", test.name);
    }
    Ok(tests)
}

fn guests(lab: &Lab) -> Result<Vec<Test>> {
    let scenarios: Vec<&Scenario> = SCENARIOS.iter().collect();
    let guests = lab.guests("test/guests", &scenarios)?;
    let tests = guests.reports.iter();
    let tests = tests.map(|report| test(&format!("guest.{}", report.scenario), &report.failures));
    let boot = test("guest.boot", &guests.failures);
    Ok(tests.chain([boot]).collect())
}

fn test(name: &str, failures: &[String]) -> Test {
    let verdict = if failures.is_empty() {
        Verdict::Passed
    } else {
        Verdict::Failed(failures.join("; "))
    };
    let name = name.to_owned();
    Test { name, verdict }
}

/// The boot itself as a test: its end, its kernel log, and a status that its tests explain.
fn whole(name: &str, outcome: &Outcome, tests: &[Test]) -> Test {
    let mut failures = outcome.failures.clone();
    if !outcome.succeeded() && failures.is_empty() && Counts::of(tests).failed == 0 {
        failures.push("the job failed although none of its tests did".to_owned());
    }
    test(name, &failures)
}

fn print(test: &Test) {
    let name = &test.name;
    match &test.verdict {
        Verdict::Passed => println!("ok      {name}"),
        Verdict::Skipped(reason) => println!("skipped {name}: {reason}"),
        Verdict::Failed(reason) => println!("FAILED  {name}: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_is_counted_once() {
        let verdicts = [
            Verdict::Passed,
            Verdict::Failed(String::new()),
            Verdict::Passed,
            Verdict::Skipped(String::new()),
        ];
        let tests = verdicts.map(|verdict| Test {
            name: String::new(),
            verdict,
        });
        let expected = Counts {
            passed: 2,
            failed: 1,
            skipped: 1,
        };
        assert_eq!(Counts::of(&tests), expected);
    }
}
