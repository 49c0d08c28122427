// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Kernel selftests of ioregion.ko, in KTAP.
//!
//! Every test is a guest of a few instructions ([`rawguest`]), a device that the test plays
//! itself, and what `include/uapi/linux/ioregion.h` promises about the two. Each runs in a
//! process of its own, so that a hang in the kernel costs one test and not the run.

mod autopsy;
mod cases;
mod channel;
mod check;
mod expect;
mod guest;
mod process;
mod random;
mod region;
mod ring;
mod rules;
mod runner;
mod scene;
mod script;
mod stage;
mod suite;
mod tasks;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use suite::Context;

/// Selftests of ioregion.ko. Results are KTAP on standard output; the exit status is not zero
/// when a test failed.
#[derive(Parser)]
struct Options {
    /// Run only tests whose name contains one of these.
    filters: Vec<String>,
    /// Print the names of the tests and stop.
    #[arg(long)]
    list: bool,
    /// Seconds after which a test counts as hung, on an ordinary kernel.
    #[arg(long, default_value_t = 60)]
    timeout: u64,
    /// How many times as slow this kernel is: tests have as many times as long, and what repeats
    /// something thousands of times does so as many times less often.
    #[arg(long, default_value_t = 1)]
    slower: u32,
    /// The module file, for the tests that load and unload it.
    #[arg(long)]
    module: Option<PathBuf>,
    /// Run one test in this process.
    #[arg(long, hide = true)]
    only: Option<String>,
    /// Play a device on standard input and output.
    #[arg(long, hide = true)]
    device: Option<process::Death>,
    /// That device's standard input is a channel in shared memory.
    #[arg(long, hide = true)]
    ring: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(death) = options.device {
        return process::play(death, options.ring);
    }
    let context = Context {
        module: options.module,
        slower: options.slower,
    };
    if let Some(name) = options.only {
        return runner::run_here(&name, &context);
    }
    let tests = suite::select(&options.filters);
    if options.list {
        tests.iter().for_each(|test| println!("{}", test.name));
        return ExitCode::SUCCESS;
    }
    if tests.is_empty() {
        eprintln!("no test's name contains {}", options.filters.join(" or "));
        return ExitCode::FAILURE;
    }
    let timeout = Duration::from_secs(options.timeout) * context.slower;
    runner::run_all(&tests, &context, timeout)
}
