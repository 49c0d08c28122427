// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Attacks on ioregion.ko, in KTAP: device processes that write into every shared field and send
//! what they like, and VMMs that call what they like.
//!
//! All choices come from a seed; how the threads interleave does not. `Documentation/lab.md`
//! says how to run it for minutes, under a kernel with KASAN and lock checking.

mod attacker;
mod leaks;
mod part;
mod regions;
mod scene;
mod stopped;
mod supervisor;
mod sys;
mod tally;
mod vmm;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use attacker::Role;
use part::{Settings, PARTS};

/// Hostile device processes and VMMs. Results are KTAP on standard output; the exit status is
/// not zero when a part failed.
#[derive(Parser)]
struct Options {
    /// Run only parts whose name contains one of these
    filters: Vec<String>,
    /// What all choices come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds for which each part attacks
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Seconds after which a part counts as hung, besides those
    #[arg(long, default_value_t = 60)]
    patience: u64,
    /// The module file, for the part that unloads and loads it
    #[arg(long)]
    module: Option<PathBuf>,
    /// Run one part in this process
    #[arg(long, hide = true)]
    only: Option<String>,
    /// Be an attacker
    #[arg(long, hide = true)]
    play: Option<Role>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(role) = options.play {
        return match attacker::play(role, options.seed) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let settings = Settings {
        seed: options.seed,
        time: Duration::from_secs(options.seconds),
        module: options.module,
    };
    if let Some(name) = options.only {
        return supervisor::run_here(&name, &settings);
    }
    let wanted = |name: &str| {
        let filters = &options.filters;
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
    };
    let parts: Vec<_> = PARTS.iter().filter(|part| wanted(part.name)).collect();
    let patience = Duration::from_secs(options.seconds + options.patience);
    supervisor::run_all(&parts, &settings, patience)
}
