// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the user can ask for, a module each.

pub(crate) mod bench;
pub(crate) mod exec;
pub(crate) mod interactive;
pub(crate) mod run;
pub(crate) mod test;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use l1::job::Job;
use l1::scenario::{Report, Scenario, SCENARIOS};

use crate::boot::boot;
use crate::images::{self, Images};
use crate::out::{self, Places};
use crate::qemu::{self, Accelerator, Console, Machine};
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
            images: &self.images,
            job,
            cpus,
            deterministic: false,
            accelerator: self.accelerator,
            console: Console::File,
            directory,
        }
    }

    /// Boots the guests of these scenarios, as many CPUs at a time as they ask for, with
    /// logs and `report.json` in the directory `name`.
    ///
    /// # Errors
    ///
    /// L1 cannot be booted or a result cannot be written.
    pub(crate) fn guests(&self, name: &str, scenarios: &[&Scenario]) -> Result<Guests> {
        let mut guests = Guests::default();
        for cpus in [1, 2] {
            let alike = scenarios.iter().filter(|scenario| scenario.cpus == cpus);
            let alike: Vec<&Scenario> = alike.copied().collect();
            if alike.is_empty() {
                continue;
            }
            let directory = self.places.out(&format!("{name}/{cpus}cpu"))?;
            let names = alike.iter().map(|scenario| scenario.name.to_owned());
            let job = Job::Scenarios(names.collect());
            let limit = GUEST * alike.len() as u32;
            let outcome = boot(&self.machine(&job, cpus, &directory), "guests", limit)?;
            guests
                .reports
                .extend(report::judge(&alike, &outcome, self.images.files));
            guests.failures.extend(outcome.failures);
        }
        let json = serde_json::to_string_pretty(&guests.reports)?;
        let path = self.places.out(name)?.join("report.json");
        out::write(&path, &format!("{json}\n"))?;
        Ok(guests)
    }
}

/// What became of a set of guests.
#[derive(Default)]
pub(crate) struct Guests {
    /// A report for each.
    pub(crate) reports: Vec<Report>,
    /// What was wrong with the L1s that they ran in.
    pub(crate) failures: Vec<String>,
}

/// The scenario of this name.
///
/// # Errors
///
/// There is none; the message names those that there are.
fn find(name: &str) -> Result<&'static Scenario> {
    Scenario::find(name).with_context(|| {
        let known: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
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
