// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `lab eval`: load, latency and loss of network devices behind every way to dispatch.
//!
//! ```text
//! matrix (TOML) ──► guests ──► raw results, one file each ──► rows ──► summary, plots, report
//!                     skipped when its file is there already
//! ```

mod loss;
mod matrix;
mod measure;
mod plots;
mod report;
mod row;

use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result};
use clap::Args;

use super::{parallelism, Lab};
use crate::out;
use crate::progress::print;
use matrix::{Guest, Matrix};
use row::Row;

/// What is measured.
#[derive(Args)]
pub(crate) struct Arguments {
    /// `reduced`, `full`, `faults`, or a file like those in tools/lab/eval
    #[arg(long, default_value = "reduced")]
    matrix: String,
    /// Measure again what has been measured
    #[arg(long)]
    again: bool,
}

/// Measures what has not been measured yet, and writes everything to a directory of the matrix' name in
/// `out/eval`.
///
/// # Errors
///
/// The matrix makes no sense, or a result cannot be written.
pub(crate) fn run(lab: &Lab, arguments: &Arguments) -> Result<bool> {
    let path = match arguments.matrix.as_str() {
        name @ ("reduced" | "full" | "faults") => {
            lab.places.source(&format!("tools/lab/eval/{name}.toml"))
        }
        file => PathBuf::from(file),
    };
    let matrix = Matrix::read(&path)?;
    let name = path.file_stem().context("a matrix without a name")?;
    let place = format!("eval/{}", name.to_string_lossy());
    let (rows, failures) = measure_all(lab, &matrix.guests(), &place, arguments.again)?;
    failures.iter().for_each(|failure| print(failure));
    let directory = lab.places.out(&place)?;
    let summary = serde_json::to_string_pretty(&rows)?;
    out::write(&directory.join("summary.json"), &format!("{summary}\n"))?;
    let plots = plots::draw(&rows);
    for (name, svg) in &plots {
        out::write(&directory.join(format!("{name}.svg")), svg)?;
    }
    let report = directory.join("report.html");
    out::write(&report, &report::html(&matrix, &rows, &plots))?;
    print(&format!("the report is {}", report.display()));
    Ok(failures.is_empty())
}

/// As many guests at a time as this machine has processors for: their rows in the matrix' order, and
/// what was wrong.
fn measure_all(
    lab: &Lab,
    guests: &[Guest],
    place: &str,
    again: bool,
) -> Result<(Vec<Row>, Vec<String>)> {
    let queue = Mutex::new(guests.iter().enumerate());
    let done = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        loop {
            let next = queue.lock().ok().and_then(|mut queue| queue.next());
            let Some((number, guest)) = next else {
                return Ok(());
            };
            let measured = measure::guest(lab, guest, place, again);
            let rows = measured.with_context(|| guest.name.clone());
            if let Ok(mut done) = done.lock() {
                done.push((number, rows));
            }
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..parallelism()).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })?;
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(number, _)| *number);
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    for (_, result) in done {
        match result {
            Ok(more) => rows.extend(more),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    Ok((rows, failures))
}
