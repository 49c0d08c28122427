// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `shunt-top`: what the guests of this machine do to their ioregions, and how it is handled.
//!
//! [`vms`] reads the module's files, [`rates`] compares two looks at them, [`table`] makes text of
//! that, [`screen`] shows it live.
#![forbid(unsafe_code)]

mod line;
mod rates;
mod screen;
mod table;
mod vms;

use std::io::{stdout, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;

use rates::Row;
use screen::Screen;

/// Shows accesses per second to the ioregions of all VMs, and how long vCPUs waited.
///
/// WRITES counts posted ones, too. RULED were handled by a rule, SPUN and SLEPT were waited for,
/// FAILED and TIMEOUT went to the VMM. P50 and P99 are upper bounds of the waits of half, and of 99
/// in 100, of those that were waited for. `q` ends the live view.
#[derive(Parser)]
#[command(name = "shunt-top", version)]
struct Options {
    /// Print the counts since the regions were set, once
    #[arg(long, conflicts_with_all = ["batch", "count"])]
    once: bool,
    /// Print a table after each interval, without a live view; so it is if the output is no terminal
    #[arg(long)]
    batch: bool,
    /// Seconds between two looks
    #[arg(long, short, default_value_t = 1.0, value_parser = seconds)]
    delay: f64,
    /// End after so many tables
    #[arg(long, short = 'n')]
    count: Option<u64>,
    /// KVM's directory in debugfs
    #[arg(long, default_value = vms::DIRECTORY)]
    directory: PathBuf,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.01..=3600.0).contains(&value) => Ok(value),
        _ => Err("want 0.01 to 3600 seconds".to_owned()),
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shunt-top: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let rows = look(options)?;
    if options.once {
        print(&text(&rows, 1.0));
        return Ok(());
    }
    let pace = Pace {
        delay: Duration::from_secs_f64(options.delay),
        left: options.count,
    };
    match options.batch || !stdout().is_terminal() {
        true => batch(options, pace, rows),
        false => live(options, pace, rows),
    }
}

fn look(options: &Options) -> Result<Vec<Row>> {
    Ok(rates::totals(&vms::read(&options.directory)?))
}

/// How often, and how many times.
struct Pace {
    delay: Duration,
    left: Option<u64>,
}

impl Pace {
    fn is_over(&mut self) -> bool {
        let is_over = self.left == Some(0);
        self.left = self.left.map(|left| left.saturating_sub(1));
        is_over
    }
}

fn batch(options: &Options, mut pace: Pace, mut before: Vec<Row>) -> Result<()> {
    let mut then = Instant::now();
    while !pace.is_over() {
        thread::sleep(pace.delay);
        let (rows, now) = (look(options)?, Instant::now());
        let seconds = (now - then).as_secs_f64();
        print(&text(&rates::since(&before, &rows), seconds));
        (before, then) = (rows, now);
    }
    Ok(())
}

fn live(options: &Options, mut pace: Pace, mut before: Vec<Row>) -> Result<()> {
    let mut screen = Screen::enter()?;
    screen.draw(&text(&before, f64::INFINITY))?;
    let mut then = Instant::now();
    while !pace.is_over() && screen.wait(pace.delay)? {
        let (rows, now) = (look(options)?, Instant::now());
        let seconds = (now - then).as_secs_f64();
        screen.draw(&text(&rates::since(&before, &rows), seconds))?;
        (before, then) = (rows, now);
    }
    Ok(())
}

fn text(rows: &[Row], seconds: f64) -> String {
    match rows {
        [] => "no VM has an ioregion\n".to_owned(),
        _ => format!("{}\n", table::render(rows, seconds)),
    }
}

/// A reader that has seen enough and closes the pipe ends us, not with a panic.
fn print(text: &str) {
    use std::io::Write;
    let mut output = stdout().lock();
    if output.write_all(text.as_bytes()).is_err() || output.flush().is_err() {
        std::process::exit(0);
    }
}
