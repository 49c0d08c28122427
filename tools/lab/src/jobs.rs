// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the user can ask for, a module each.

pub(crate) mod bench;
pub(crate) mod exec;
pub(crate) mod interactive;
pub(crate) mod run;
pub(crate) mod test;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use l1::job::Job;

use crate::boot::{boot, Outcome};
use crate::images::{self, Images};
use crate::out::Places;
use crate::qemu::{self, Accelerator, Console, Machine};

/// A KVM that works boots L1 in a second or two.
const TRIAL: Duration = Duration::from_secs(20);

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

    /// Boots one L1 with two CPUs for `job` and follows it to its end.
    pub(crate) fn boot(
        &self,
        job: &Job,
        name: &str,
        directory: &Path,
        limit: Duration,
    ) -> Result<Outcome> {
        boot(&self.machine(job, 2, directory), name, limit)
    }
}

/// Says why a job failed; whether it did not.
pub(crate) fn verdict(failures: &[String]) -> bool {
    for failure in failures {
        eprintln!("lab: {failure}");
    }
    failures.is_empty()
}
