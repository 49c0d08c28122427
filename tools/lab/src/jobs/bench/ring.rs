// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The suite `ring`: our virtqueues beside the kernel's, natively, on this very machine. See
//! `tools/ring_bench`.

use std::process::{Command, Stdio};

use anyhow::{ensure, Context, Result};

use super::{parse, Lab, Row};
use crate::chart::{Chart, Form, Panel, Style};
use crate::out;
use crate::progress::Step;

const FORMATS: [(&str, &str); 3] = [
    ("split", "#c0392b"),
    ("packed", "#2471a3"),
    ("packed-in-order", "#1e8449"),
];
const BATCHES: [&str; 5] = ["1", "4", "16", "32", "64"];

/// Most instructions of our driver per buffer.
const MOST_INSTRUCTIONS: f64 = 300.0;

/// Runs it: the rows, and which promises are broken. Draws `ring.svg` beside the results.
pub(super) fn measure(lab: &Lab) -> Result<(Vec<Row>, Vec<String>)> {
    let step = Step::start("bench of the rings");
    let output = Command::new("cargo")
        .args(["run", "--release", "--quiet", "--package", "ring_bench"])
        .arg("--manifest-path")
        .arg(lab.places.source("tools/Cargo.toml"))
        .stderr(Stdio::inherit())
        .output()
        .context("starting cargo")?;
    ensure!(output.status.success(), "the bench of the rings failed");
    let lines: Vec<String> = String::from_utf8(output.stdout)?
        .lines()
        .map(str::to_owned)
        .collect();
    let rows = parse(&lines)?;
    let drawing = lab.places.out("bench")?.join("ring.svg");
    out::write(&drawing, &chart(&rows)?.svg())?;
    step.done();
    let broken = broken(&rows)?;
    Ok((rows, broken))
}

/// What our ring takes more of than it may.
fn broken(rows: &[Row]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (format, _) in FORMATS {
        for batch in BATCHES {
            let case = format!("{format}-b{batch}");
            let instructions = value(rows, "rust", format, batch, "instructions")?;
            if instructions > MOST_INSTRUCTIONS {
                found.push(format!("rust-{case}: {instructions} instructions"));
            }
            let of = |whose| value(rows, whose, format, batch, "line-transfers");
            let (ours, kernels) = (of("rust")?, of("c")?);
            if ours > kernels {
                found.push(format!(
                    "{case}: {ours} line transfers, the kernel's {kernels}"
                ));
            }
        }
    }
    Ok(found)
}

/// Request processing, with the split ring of VIRTIO 1.0 and the packed one of 1.1, with and
/// without batching.
fn chart(rows: &[Row]) -> Result<Chart> {
    let whose = [("rust", "virtio_ring", false), ("c", "Linux", true)];
    let pairs = FORMATS.into_iter().flat_map(|f| whose.map(|w| (f, w)));
    let style = |((format, colour), (_, name, is_dashed)): (_, (_, &str, _))| Style {
        name: format!("{format}, {name}"),
        colour,
        is_dashed,
    };
    let panel = |title: &str, metric| {
        let line = |((format, _), (whose, ..)): (_, (_, _, _))| {
            let values = BATCHES.map(|batch| value(rows, whose, format, batch, metric));
            values.into_iter().collect::<Result<Vec<f64>>>()
        };
        let lines = pairs.clone().map(line).collect::<Result<_>>()?;
        anyhow::Ok(Panel {
            title: title.to_owned(),
            form: Form::Lines,
            lines,
        })
    };
    let mut panels = vec![panel("cache-line transfers", "line-transfers")?];
    // A machine may have one core.
    if rows.iter().any(|row| row.metric == "two-cores") {
        panels.push(panel("ns on two cores, of one run", "two-cores")?);
    }
    Ok(Chart {
        title: "Request processing, per buffer of three descriptors".to_owned(),
        axis: "buffers in a batch",
        places: BATCHES.map(str::to_owned).to_vec(),
        styles: pairs.clone().map(style).collect(),
        panels,
    })
}

fn value(rows: &[Row], whose: &str, format: &str, batch: &str, metric: &str) -> Result<f64> {
    let case = format!("{whose}-{format}-b{batch}");
    let mut rows = rows.iter();
    let row = rows.find(|row| row.case == case && row.metric == metric);
    Ok(row.with_context(|| format!("no {metric} of {case}"))?.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: [&str; 3] = ["instructions", "line-transfers", "two-cores"];

    /// As much as is allowed of everything.
    fn rows() -> Vec<Row> {
        let mut rows = Vec::new();
        for (format, _) in FORMATS {
            for batch in BATCHES {
                for whose in ["rust", "c"] {
                    rows.extend(METRICS.map(|metric| Row {
                        suite: "ring".to_owned(),
                        case: format!("{whose}-{format}-b{batch}"),
                        metric: metric.to_owned(),
                        unit: String::new(),
                        value: MOST_INSTRUCTIONS,
                        command: String::new(),
                        varies: false,
                    }));
                }
            }
        }
        rows
    }

    fn with_more(case: &str, metric: &str) -> Vec<Row> {
        let mut rows = rows();
        let row = |row: &&mut Row| row.case == case && row.metric == metric;
        rows.iter_mut().find(row).unwrap().value += 1.0;
        rows
    }

    #[test]
    fn what_is_too_much_breaks_a_promise() {
        let broken = |case, metric| broken(&with_more(case, metric)).unwrap().len();
        assert_eq!(super::broken(&rows()).unwrap(), [""; 0]);
        assert_eq!(broken("rust-packed-in-order-b32", "instructions"), 1);
        assert_eq!(broken("rust-split-b1", "instructions"), 1);
        assert_eq!(broken("c-split-b1", "instructions"), 0);
        assert_eq!(broken("rust-split-b1", "line-transfers"), 1);
        assert_eq!(broken("c-split-b1", "line-transfers"), 0);
    }

    #[test]
    fn a_case_that_is_missing_is_an_error() {
        let mut rows = rows();
        rows.retain(|row| row.case != "c-packed-b16");
        assert!(broken(&rows).is_err());
        assert!(chart(&rows).is_err());
    }

    #[test]
    fn what_needs_two_cores_may_be_missing() {
        let mut rows = rows();
        assert_eq!(chart(&rows).unwrap().panels.len(), 2);
        rows.retain(|row| row.metric != "two-cores");
        let chart = chart(&rows).unwrap();
        assert_eq!(chart.panels.len(), 1);
        assert_eq!(chart.panels[0].lines.len(), chart.styles.len());
    }
}
