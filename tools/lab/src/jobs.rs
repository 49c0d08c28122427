// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the user can ask for, a module each.

pub(crate) mod bench;
pub(crate) mod eval;
pub(crate) mod exec;
mod exitless;
pub(crate) mod interactive;
pub(crate) mod run;
pub(crate) mod test;
mod vfio_user;
mod virtio_fe;

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use l1::job::Job;
use l1::scenario::{Report, Scenario};

use crate::boot::boot;
use crate::images::{self, Images};
use crate::out::{self, Places};
use crate::qemu::{self, Accelerator, Console, Hardware, Machine, Program};
use crate::report;

/// A KVM that works boots L1 in a second or two.
const TRIAL: Duration = Duration::from_secs(20);

/// A guest takes five seconds or so, on a busy machine many times that; L1 itself gives
/// up on a guest that hangs.
const GUEST: Duration = Duration::from_secs(150);

/// Everything that a job starts from.
pub(crate) struct Lab {
    pub(crate) places: Places,
    pub(crate) images: Images,
    accelerator: Accelerator,
}

impl Lab {
    /// Checks QEMU, makes the images, and chooses the accelerator.
    ///
    /// # Errors
    ///
    /// Something needed is missing; the message names it.
    pub(crate) fn prepare(places: Places, wish: Accelerator) -> Result<Self> {
        qemu::check_version()?;
        let images = images::build(&places)?;
        let mut lab = Self {
            places,
            images,
            accelerator: wish,
        };
        if wish == Accelerator::Auto {
            lab.accelerator = lab.try_kvm()?;
        }
        Ok(lab)
    }

    /// An existing /dev/kvm proves nothing: only a boot that comes to its end does.
    fn try_kvm(&self) -> Result<Accelerator> {
        let directory = self.places.out("lab/kvm-trial")?;
        let job = Job::Program(vec!["/bin/true".to_owned()]);
        let machine = Machine {
            accelerator: Accelerator::Kvm,
            ..self.machine(&job, 1, &directory)
        };
        let outcome = boot(&machine, "trial of /dev/kvm", TRIAL)?;
        if outcome.succeeded() && outcome.failures.is_empty() {
            return Ok(Accelerator::Kvm);
        }
        eprintln!("/dev/kvm cannot run L1, so TCG does");
        Ok(Accelerator::Tcg)
    }

    /// An L1 for `job` with its logs in `directory`.
    pub(crate) fn machine<'a>(
        &'a self,
        job: &'a Job,
        cpus: u32,
        directory: &'a Path,
    ) -> Machine<'a> {
        Machine {
            qemu: &Program::System,
            hardware: Hardware::PLAIN,
            images: &self.images,
            job,
            cpus,
            has_guests: true,
            deterministic: false,
            accelerator: self.accelerator,
            console: Console::File,
            directory,
        }
    }

    /// Boots the guests of these scenarios, side by side in as many L1s as this machine has
    /// CPUs for, with logs and `report.json` in the directory `name`.
    ///
    /// # Errors
    ///
    /// L1 cannot be booted or a result cannot be written.
    pub(crate) fn guests(&self, name: &str, scenarios: &[&'static Scenario]) -> Result<Guests> {
        let mut guests = Guests::default();
        for (cpus, group) in groups(scenarios, parallelism()) {
            guests.take(self.shares(name, cpus, &group)?);
        }
        let place = |report: &Report| scenarios.iter().position(|s| s.name == report.scenario);
        guests.reports.sort_by_key(place);
        let json = serde_json::to_string_pretty(&guests.reports)?;
        let path = self.places.out(name)?.join("report.json");
        out::write(&path, &format!("{json}\n"))?;
        Ok(guests)
    }

    /// One L1 for each share of the scenarios, all at the same time.
    fn shares(&self, name: &str, cpus: u32, shares: &[Share]) -> Result<Guests> {
        thread::scope(|scope| {
            let start = |(number, share): (usize, &'_ Share)| {
                let share = share.clone();
                scope.spawn(move || {
                    let directory = self.places.out(&format!("{name}/{cpus}cpu-{number}"))?;
                    self.share(&directory, cpus, &share)
                })
            };
            let threads: Vec<_> = shares.iter().enumerate().map(start).collect();
            let mut guests = Guests::default();
            for thread in threads {
                match thread.join() {
                    Ok(result) => guests.take(result?),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok(guests)
        })
    }

    fn share(&self, directory: &Path, cpus: u32, share: &Share) -> Result<Guests> {
        let names: Vec<String> = share.iter().map(|s| s.name.to_owned()).collect();
        let title = format!("guests {}", names.join(", "));
        let job = Job::Scenarios(names);
        let limit = GUEST * share.len() as u32;
        let outcome = boot(&self.machine(&job, cpus, directory), &title, limit)?;
        Ok(Guests {
            reports: report::judge(share, &outcome, self.images.files),
            failures: outcome.failures,
        })
    }
}

/// Scenarios that one L1 runs one after the other.
type Share = Vec<&'static Scenario>;

/// How many processors this machine has.
fn parallelism() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The scenarios by CPUs, those dealt out to as many L1s as `processors` can run at once.
fn groups(scenarios: &[&'static Scenario], processors: usize) -> BTreeMap<u32, Vec<Share>> {
    let mut by_cpus: BTreeMap<u32, Share> = BTreeMap::new();
    for scenario in scenarios {
        by_cpus.entry(scenario.cpus).or_default().push(scenario);
    }
    let deal = |(cpus, all): (u32, Share)| {
        let hands = (processors / cpus as usize).clamp(1, all.len());
        let mut shares = vec![Share::new(); hands];
        for (number, scenario) in all.into_iter().enumerate() {
            shares[number % hands].push(scenario);
        }
        (cpus, shares)
    };
    by_cpus.into_iter().map(deal).collect()
}

/// What became of a set of guests.
#[derive(Default)]
pub(crate) struct Guests {
    /// A report for each.
    pub(crate) reports: Vec<Report>,
    /// What was wrong with the L1s that they ran in.
    pub(crate) failures: Vec<String>,
}

impl Guests {
    fn take(&mut self, other: Self) {
        self.reports.extend(other.reports);
        self.failures.extend(other.failures);
    }
}

/// The scenario of this name.
///
/// # Errors
///
/// There is none; the message names those that there are.
fn find(name: &str) -> Result<&'static Scenario> {
    Scenario::all()
        .find(|scenario| scenario.name == name)
        .with_context(|| {
            let known: Vec<&str> = Scenario::all().map(|scenario| scenario.name).collect();
            format!("no scenario {name:?}; there are {}", known.join(", "))
        })
}

/// Says why a job failed; whether it did not.
pub(crate) fn verdict(failures: &[String]) -> bool {
    for failure in failures {
        eprintln!("lab: {failure}");
    }
    failures.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_dealt_once() {
        let all: Vec<&'static Scenario> = Scenario::all().collect();
        for processors in [1, 2, 3, 64] {
            let mut dealt: Vec<&str> = Vec::new();
            for (cpus, shares) in groups(&all, processors) {
                assert!(shares.len() == 1 || shares.len() * cpus as usize <= processors);
                assert!(shares.iter().all(|share| !share.is_empty()));
                let flat = shares.iter().flatten();
                dealt.extend(flat.inspect(|s| assert_eq!(s.cpus, cpus)).map(|s| s.name));
            }
            dealt.sort_unstable();
            let mut names: Vec<&str> = all.iter().map(|scenario| scenario.name).collect();
            names.sort_unstable();
            assert_eq!(dealt, names);
        }
    }
}
