// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What L1 is to do, as one word of its kernel command line.

use std::fmt;
use std::str::FromStr;

use crate::series::Series;

/// The kernel parameter that carries the job.
pub const PARAMETER: &str = "shunt.job=";

/// The kernel parameter that names, by its serial number, the disk of virtio_fe.ko's that L1's root
/// file system is on. Without it, that is the initramfs.
pub const ROOT: &str = "shunt.root=";

/// The kernel parameter of an L1 that runs programs on all CPUs but the first.
pub const SPARE: &str = "shunt.spare_cpu";

/// One job of L1. Its text form has no blanks: words are separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Runs a program; its output is sent line by line.
    Program(Vec<String>),
    /// Boots a guest for each of these scenarios, one after the other.
    Scenarios(Vec<String>),
    /// Boots a guest that reflects frames, and sends it some.
    Series(Series),
    /// A shell on the console.
    Shell,
    /// Boots a guest for this scenario, its console on ours.
    Guest(String),
}

impl Job {
    /// The job that a kernel command line names.
    ///
    /// # Errors
    ///
    /// There is none, or it is not one of [`Job`].
    pub fn from_cmdline(cmdline: &str) -> Result<Self, String> {
        cmdline
            .split_whitespace()
            .find_map(|word| word.strip_prefix(PARAMETER))
            .ok_or_else(|| format!("no {PARAMETER} in the kernel command line: {cmdline}"))?
            .parse()
    }
}

impl FromStr for Job {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let words = || rest.split(',').map(str::to_owned).collect();
        match (kind, rest) {
            ("shell", "") => Ok(Self::Shell),
            ("program", r) if !r.is_empty() => Ok(Self::Program(words())),
            ("scenarios", r) if !r.is_empty() => Ok(Self::Scenarios(words())),
            ("series", r) => r.parse().map(Self::Series),
            ("guest", r) if !r.is_empty() => Ok(Self::Guest(r.to_owned())),
            _ => Err(format!("not a job: {text:?}")),
        }
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program(words) => write!(f, "program:{}", words.join(",")),
            Self::Scenarios(names) => write!(f, "scenarios:{}", names.join(",")),
            Self::Series(series) => write!(f, "series:{series}"),
            Self::Shell => write!(f, "shell"),
            Self::Guest(name) => write!(f, "guest:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_survive_the_command_line() {
        for job in [
            Job::Shell,
            Job::Guest("ioregion".into()),
            Job::Program(vec!["/bin/selftests".into(), "--smp".into()]),
            Job::Scenarios(vec!["exit".into(), "exit-ipc".into()]),
        ] {
            let cmdline = format!("console=ttyS0 {PARAMETER}{job} nokaslr");
            assert_eq!(Job::from_cmdline(&cmdline), Ok(job));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "shell:x", "program", "program:", "scenarios:", "reboot"] {
            assert!(text.parse::<Job>().is_err(), "{text:?}");
        }
        assert!(Job::from_cmdline("quiet").is_err());
    }
}
