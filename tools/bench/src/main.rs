// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Counts instructions per guest access in the lab.
//!
//! The clock is QEMU's `-icount shift=0`: one instruction of L1, of its guest or of its
//! processes is one tick. With one CPU, all that an access costs anybody is in the difference
//! of two readings, and two runs are identical. Counts are not time: what an exit or a wake-up
//! of another CPU costs on hardware is not in them.

mod calibration;
mod case;
mod cases;
mod clock;
mod companion;
mod dispatch;
mod guest;
mod module;
mod polled;
mod report;
mod ruled;
mod sample;
mod scheduling;
mod stage;
mod switches;
mod vmm;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use case::Case;
use cases::CASES;
use module::Module;
use report::Report;
use scheduling::Scheduling;

/// Instructions per guest access, as one JSON object per line on standard output. The exit
/// status is not zero when a case failed.
#[derive(Parser)]
struct Options {
    /// Measure only cases whose name contains this; may be given several times.
    #[arg(long, allow_hyphen_values = true)]
    filter: Vec<String>,
    /// Print the names and descriptions of the cases and stop.
    #[arg(long)]
    list: bool,
    /// Print a table, with each case's control and description, instead of JSON.
    #[arg(long)]
    table: bool,
    /// The module file, for the cases that need the module loaded or not loaded.
    #[arg(long, default_value = "/lib/modules/ioregion.ko")]
    module: PathBuf,
    /// Be the other process of a measurement.
    #[arg(long, hide = true)]
    companion: Option<companion::Role>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.companion {
        Some(role) => companion::play(role).map(|()| true),
        None => run(&options),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every case could be measured.
fn run(options: &Options) -> Result<bool> {
    let cases: Vec<&Case> = CASES
        .iter()
        .filter(|case| is_wanted(case, &options.filter))
        .collect();
    if options.list {
        for case in cases {
            println!("{}: {}", case.name, case.description);
        }
        return Ok(true);
    }
    clock::check()?;
    let module = Module::new(&options.module)?;
    let scheduling = Scheduling::fix()?;
    let report = measure(&cases, &module);
    let restored = module.restore().and(scheduling.restore());
    if options.table {
        println!("{}", report.table());
    } else {
        print!("{}", report.json_lines()?);
    }
    restored?;
    Ok(report.is_complete())
}

fn is_wanted(case: &Case, filters: &[String]) -> bool {
    filters.is_empty() || filters.iter().any(|text| case.name.contains(text.as_str()))
}

fn measure(cases: &[&'static Case], module: &Module) -> Report {
    let mut report = Report::default();
    for case in cases {
        match case.measure(module) {
            Ok(figures) => report.add(case, figures),
            Err(error) => {
                eprintln!("bench: {}: {error:#}", case.name);
                report.miss();
            }
        }
    }
    report
}
