// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `lab test`: the kernel selftests, and every guest scenario as a test.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use l1::job::Job;
use l1::scenario::Scenario;
use serde::Serialize;

use super::{exitless, vfio_user, virtio_fe, Lab};
use crate::boot::{boot, Outcome};
use crate::bpftrace;
use crate::ktap::{self, Test, Verdict};
use crate::out;
use crate::qemu::Machine;

/// Seconds for all selftests.
const SELFTESTS_LIMIT: u64 = 600;

/// Parts of the program `hostile` that attack for the given time; seconds for the end of one,
/// and for the boot and the other parts.
const ATTACKS: u64 = 3;
const ATTACK_ENDS: u64 = 60;
const OTHER_PARTS: u64 = 120;

/// Guests boot the kernel that is under test.
pub(super) const TOO_BIG: &str = "a kernel with sanitizers does not fit a guest's memory and time";

/// Which tests.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only selftests, or only guests
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Seconds for which each hostile process or device attacks [default: 10, with a debug kernel 120]
    #[arg(long)]
    hostile_seconds: Option<u64>,
    /// What all choices of the hostile processes come from
    #[arg(long, default_value_t = 1)]
    hostile_seed: u64,
    /// Guests with virtio_fe for each way to dispatch with each kind of ring, not only some
    #[arg(long)]
    matrix: bool,
    /// Of the machines with virtio devices, or with one to assign, only this one
    #[arg(long)]
    machine: Option<String>,
}

/// A part of the tests.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The program `selftests` in L1, with one CPU and with two
    Selftests,
    /// The program `hostile` in L1: device processes and VMMs that attack the module
    Hostile,
    /// Guests in every dispatch mode, with and without kills
    Guests,
    /// A guest of QEMU's, which is a client of our vfio-user server
    VfioUser,
    /// The program `fe_tests` in L1, on virtio devices of QEMU's
    VirtioFe,
    /// The program `irq_tests` in L1, on a device that is assigned to a guest
    Exitless,
    /// The same in Bochs, which has VMX; only if asked for
    Bochs,
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

/// What a kernel can be asked for. One that checks itself is many times as slow.
#[derive(Clone, Copy)]
struct Pace {
    /// Times all limits.
    slower: u64,
    /// Seconds of an attack.
    attack: u64,
}

impl Pace {
    fn of(lab: &Lab) -> Result<Self> {
        let path = lab.places.kernel("build/.config")?;
        let config = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(match config.lines().any(|line| line == "CONFIG_KASAN=y") {
            true => Self {
                slower: 5,
                attack: 120,
            },
            false => Self {
                slower: 1,
                attack: 10,
            },
        })
    }

    fn checks_itself(self) -> bool {
        self.slower > 1
    }

    fn limit(self, seconds: u64) -> Duration {
        Duration::from_secs(self.slower * seconds)
    }
}

/// Runs the tests, prints a line for each and the counts last.
///
/// # Errors
///
/// L1 cannot be booted or a result cannot be written.
pub(crate) fn run(lab: &Lab, arguments: &Arguments) -> Result<bool> {
    let pace = Pace::of(lab)?;
    let wanted = |part| arguments.only.is_none_or(|only| only == part);
    let mut tests = Vec::new();
    if wanted(Part::Selftests) {
        for cpus in [2, 1] {
            tests.append(&mut selftests(lab, cpus, pace)?);
        }
    }
    if wanted(Part::Hostile) {
        tests.append(&mut hostile(lab, arguments, pace)?);
    }
    if wanted(Part::Guests) {
        tests.append(&mut match pace.checks_itself() {
            true => vec![skipped("guest", TOO_BIG)],
            false => guests(lab, arguments.matrix)?,
        });
    }
    if wanted(Part::VfioUser) {
        tests.append(&mut match pace.checks_itself() {
            true => vec![skipped("vfio-user", TOO_BIG)],
            false => vfio_user::tests(lab)?,
        });
    }
    if wanted(Part::VirtioFe) {
        let wish = virtio_fe::Wish {
            slower: pace.slower,
            attack: arguments.hostile_seconds.unwrap_or(pace.attack),
            only: arguments.machine.as_deref(),
        };
        tests.append(&mut virtio_fe::tests(lab, wish)?);
    }
    if wanted(Part::Exitless) {
        tests.append(&mut exitless::tests(
            lab,
            pace.slower,
            arguments.machine.as_deref(),
        )?);
    }
    if arguments.only == Some(Part::Bochs) {
        tests.append(&mut match pace.checks_itself() {
            true => vec![skipped("exitless-vmx", TOO_BIG)],
            false => exitless::vmx_tests(lab)?,
        });
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

fn selftests(lab: &Lab, cpus: u32, pace: Pace) -> Result<Vec<Test>> {
    let name = format!("selftests-{cpus}cpu");
    let words = [format!("--slower={}", pace.slower)];
    let limit = pace.limit(SELFTESTS_LIMIT);
    program(lab, &name, "selftests", &words, cpus, limit)
}

fn hostile(lab: &Lab, arguments: &Arguments, pace: Pace) -> Result<Vec<Test>> {
    let seconds = arguments.hostile_seconds.unwrap_or(pace.attack);
    let words = [
        format!("--seconds={seconds}"),
        format!("--seed={}", arguments.hostile_seed),
        format!("--patience={}", pace.slower * ATTACK_ENDS),
    ];
    let attacks = Duration::from_secs(ATTACKS * seconds);
    let limit = attacks + pace.limit(ATTACKS * ATTACK_ENDS + OTHER_PARTS);
    program(lab, "hostile", "hostile", &words, 2, limit)
}

/// A program that reports in KTAP, and its boot, as tests.
fn program(
    lab: &Lab,
    name: &str,
    program: &str,
    words: &[String],
    cpus: u32,
    limit: Duration,
) -> Result<Vec<Test>> {
    let directory = lab.places.out(&format!("test/{name}"))?;
    let path = format!("/bin/{program}");
    let mut all = [&path, "--module", "/lib/modules/ioregion.ko"]
        .map(str::to_owned)
        .to_vec();
    all.extend_from_slice(words);
    let job = Job::Program(all);
    let with_bpftrace = match program {
        "selftests" => bpftrace::images(&lab.places, &lab.images)?,
        _ => None,
    };
    let machine = Machine {
        images: with_bpftrace.as_ref().unwrap_or(&lab.images),
        ..lab.machine(&job, cpus, &directory)
    };
    let outcome = boot(&machine, name, limit)?;
    let mut tests = ktap::parse("output", outcome.stream(program));
    tests.push(whole("boot", &outcome, &tests));
    for test in &mut tests {
        test.name = format!("{name}.{}", test.name);
    }
    Ok(tests)
}

fn guests(lab: &Lab, matrix: bool) -> Result<Vec<Test>> {
    let all = Scenario::all().filter(|scenario| matrix || scenario.in_test);
    let (impossible, scenarios): (Vec<_>, Vec<_>) =
        all.partition(|scenario| scenario.cannot().is_some());
    let name = |scenario: &str| format!("guest.{scenario}");
    let skip = |scenario: &Scenario| Some(skipped(&name(scenario.name), scenario.cannot()?));
    let guests = lab.guests("test/guests", &scenarios)?;
    let tests = guests.reports.iter();
    let tests = tests.map(|report| test(&name(&report.scenario), &report.failures));
    let boot = test(&name("boot"), &guests.failures);
    let skips = impossible.into_iter().filter_map(skip);
    Ok(tests.chain(skips).chain([boot]).collect())
}

pub(super) fn skipped(name: &str, reason: &str) -> Test {
    Test {
        name: name.to_owned(),
        verdict: Verdict::Skipped(reason.to_owned()),
    }
}

pub(super) fn test(name: &str, failures: &[String]) -> Test {
    let verdict = if failures.is_empty() {
        Verdict::Passed
    } else {
        Verdict::Failed(failures.join("; "))
    };
    let name = name.to_owned();
    Test { name, verdict }
}

/// The boot itself as a test: its end, its kernel log, and a status that its tests explain.
pub(super) fn whole(name: &str, outcome: &Outcome, tests: &[Test]) -> Test {
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
