// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `lab bench`: instructions per access, and what a request asks of whom, exact and the same on
//! every machine; and our virtqueues beside the kernel's.

mod counts;
mod front_end;
mod interrupts;
mod load;
mod ring;
mod shares;
mod symbols;
mod traffic;

use std::time::Duration;

use anyhow::{ensure, Context, Result};
use clap::Args;
use comfy_table::{presets, CellAlignment, Table};
use l1::job::Job;
use serde::{Deserialize, Serialize};

use super::{verdict, Lab};
use crate::boot::boot;
use crate::out;
use crate::qemu::Machine;

const LIMIT: Duration = Duration::from_secs(300);

/// What the figures are not, beside each table.
const CAVEAT: &str = "Counts, the same on every machine; not time. What an exit, a mitigation or \
     the wake-up of another CPU costs on hardware is not in them. In the suite ring, cycles and \
     two-cores are times, of this run on this machine, and their ratios are for reading.";

/// How to measure.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Measure twice, and fail when any row differs that does not vary by its nature
    #[arg(long)]
    twice: bool,
    /// Only one part
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// With --only front-ends: only one machine, such as pci-split
    #[arg(long)]
    machine: Option<String>,
}

/// A part of the measurements.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Instructions per access
    Accesses,
    /// What a request of a Linux guest asks of whom
    Loads,
    /// What an interrupt of an assigned device costs
    Interrupts,
    /// Our virtqueues beside the kernel's
    Rings,
    /// virtio_fe.ko beside the kernel's own drivers
    FrontEnds,
}

/// What the bench program prints of one case, a JSON object per line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    suite: String,
    case: String,
    metric: String,
    unit: String,
    value: f64,
    /// How to measure it again.
    #[serde(default)]
    command: String,
    /// Another run may give another value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    varies: bool,
}

/// Measures, writes `out/bench/results.json` and prints a table.
///
/// # Errors
///
/// L1 cannot be booted, or the bench program did not print rows.
pub(crate) fn run(lab: &Lab, arguments: &Arguments) -> Result<bool> {
    let (rows, mut failures) = measure(lab, arguments)?;
    if arguments.twice {
        let (again, more) = measure(lab, arguments)?;
        failures.extend(more);
        failures.extend(differences(&rows, &again));
    }
    let path = lab.places.out("bench")?.join("results.json");
    out::write(
        &path,
        &format!("{}\n", serde_json::to_string_pretty(&rows)?),
    )?;
    for suite in suites(&rows) {
        println!("{}", table(&suite));
    }
    println!("{CAVEAT}");
    Ok(verdict(&failures))
}

/// The rows of all suites, or of one part of them, and what was wrong.
fn measure(lab: &Lab, arguments: &Arguments) -> Result<(Vec<Row>, Vec<String>)> {
    let wants = |part| arguments.only.is_none_or(|only| only == part);
    let (mut rows, mut failures) = (Vec::new(), Vec::new());
    if wants(Part::Accesses) {
        (rows, failures) = accesses(lab)?;
    }
    if wants(Part::Loads) {
        let (more, broken) = load::measure(lab)?;
        rows.extend(more);
        failures.extend(broken);
    }
    if wants(Part::Interrupts) {
        let (more, broken) = interrupts::measure(lab)?;
        rows.extend(more);
        failures.extend(broken);
    }
    if wants(Part::Rings) {
        let (more, broken) = ring::measure(lab)?;
        rows.extend(more);
        failures.extend(broken);
    }
    if wants(Part::FrontEnds) {
        let (more, broken) = front_end::measure(lab, arguments.machine.as_deref())?;
        rows.extend(more);
        failures.extend(broken);
    }
    Ok((rows, failures))
}

/// One deterministic boot for the bench program: its rows and what was wrong.
fn accesses(lab: &Lab) -> Result<(Vec<Row>, Vec<String>)> {
    let directory = lab.places.out("bench")?;
    let job = Job::Program(vec!["/bin/bench".to_owned()]);
    let machine = Machine {
        deterministic: true,
        ..lab.machine(&job, 1, &directory)
    };
    let outcome = boot(&machine, "bench", LIMIT)?;
    let rows = parse(outcome.stream("bench"))?;
    let mut failures = outcome.failures.clone();
    if rows.is_empty() {
        failures.push("the bench program printed no row".to_owned());
    }
    if !outcome.succeeded() && failures.is_empty() {
        failures.extend_from_slice(outcome.stream("bench.stderr"));
        failures.push("the bench program failed".to_owned());
    }
    Ok((rows, failures))
}

fn parse(lines: &[String]) -> Result<Vec<Row>> {
    let row = |line: &String| {
        let mut row: Row = serde_json::from_str(line).with_context(|| format!("row {line:?}"))?;
        ensure!(row.value.is_finite(), "row {line:?}");
        row.command = "make bench".to_owned();
        Ok(row)
    };
    lines.iter().map(row).collect()
}

/// What differs between two measurements of the same.
fn differences(first: &[Row], second: &[Row]) -> Vec<String> {
    let mut found = Vec::new();
    if first.len() != second.len() {
        found.push(format!("{} rows, then {}", first.len(), second.len()));
    }
    for (a, b) in first.iter().zip(second) {
        let is_same = Row {
            value: b.value,
            ..a.clone()
        } == *b
            && (a.varies || a.value == b.value);
        if !is_same {
            found.push(format!(
                "{} {}: {}, then {} {}",
                a.case, a.metric, a.value, b.case, b.value
            ));
        }
    }
    found
}

/// The rows by suite.
fn suites(rows: &[Row]) -> Vec<Vec<Row>> {
    let of_a_suite = rows.chunk_by(|a, b| a.suite == b.suite);
    of_a_suite.map(<[Row]>::to_vec).collect()
}

/// A row for each case, a column for each metric.
fn table(rows: &[Row]) -> Table {
    let mut metrics: Vec<&str> = Vec::new();
    let mut cases: Vec<(&str, &str)> = Vec::new();
    for row in rows {
        if !metrics.contains(&row.metric.as_str()) {
            metrics.push(&row.metric);
        }
        if !cases.contains(&(&row.suite, &row.case)) {
            cases.push((&row.suite, &row.case));
        }
    }
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_FULL_CONDENSED)
        .set_header(["suite", "case"].iter().chain(&metrics));
    for (suite, case) in cases {
        let value = |metric: &&str| {
            let mut rows = rows.iter();
            let row = rows.find(|r| r.suite == suite && r.case == case && r.metric == *metric);
            row.map_or_else(String::new, |row| row.value.to_string())
        };
        let values = metrics.iter().map(value);
        table.add_row(
            [suite.to_owned(), case.to_owned()]
                .into_iter()
                .chain(values),
        );
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"suite":"dispatch","case":"floor-read","metric":"instructions","unit":"1","value":3404}"#;

    fn rows() -> Vec<Row> {
        parse(&[LINE.to_owned()]).unwrap()
    }

    #[test]
    fn a_row_gets_its_command() {
        let rows = rows();
        assert_eq!(
            (rows[0].value, rows[0].command.as_str()),
            (3404.0, "make bench")
        );
        assert!(parse(&["{}".to_owned()]).is_err());
    }

    #[test]
    fn the_metrics_of_a_case_share_a_row() {
        let exits = LINE.replace("instructions", "exits").replace("3404", "1");
        let other = exits.replace("floor-read", "exit-read");
        let rows = parse(&[LINE.to_owned(), exits, other]).unwrap();
        let text = table(&rows).to_string();
        let floor = text.lines().find(|line| line.contains("floor-read"));
        assert!(floor.is_some_and(|line| line.contains("3404") && line.contains(" 1 ")));
        assert_eq!(text.matches("floor-read").count(), 1);
        assert_eq!(text.matches("exit-read").count(), 1);
    }

    #[test]
    fn any_difference_is_found() {
        assert_eq!(differences(&rows(), &rows()), [""; 0]);
        let mut other = rows();
        other[0].value += 1.0;
        assert_eq!(differences(&rows(), &other).len(), 1);
        let mut varying = rows();
        varying[0].varies = true;
        other[0].varies = true;
        assert_eq!(differences(&varying, &other), [""; 0]);
        other.clear();
        assert_eq!(differences(&rows(), &other).len(), 1);
    }
}
