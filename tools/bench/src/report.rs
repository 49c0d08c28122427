// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What is printed.

use anyhow::Result;
use comfy_table::{presets, CellAlignment, Table};
use serde::Serialize;

use crate::case::{Case, Suite};
use crate::sample::Figures;

/// The figures of all cases so far.
#[derive(Default)]
pub(crate) struct Report {
    measured: Vec<(&'static Case, Figures)>,
    missed: usize,
}

/// One line of output.
#[derive(Serialize)]
struct Row {
    suite: &'static str,
    case: &'static str,
    metric: &'static str,
    unit: String,
    value: f64,
}

impl Report {
    /// A case was measured.
    pub(crate) fn add(&mut self, case: &'static Case, figures: Figures) {
        self.measured.push((case, figures));
    }

    /// A case could not be measured.
    pub(crate) fn miss(&mut self) {
        self.missed += 1;
    }

    /// Every case was measured.
    pub(crate) fn is_complete(&self) -> bool {
        self.missed == 0
    }

    /// A JSON object per line.
    pub(crate) fn json_lines(&self) -> Result<String> {
        let mut lines = String::new();
        for (case, figures) in &self.measured {
            for row in rows(case, figures) {
                lines += &serde_json::to_string(&row)?;
                lines.push('\n');
            }
        }
        Ok(lines)
    }

    /// A line per case, for people.
    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED).set_header([
            "case",
            "instructions",
            "switches",
            "exits",
            "more than",
            "by",
            "what is measured",
        ]);
        for (case, figures) in &self.measured {
            table.add_row(self.line(case, figures));
        }
        for column in [1, 2, 3, 5] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    fn line(&self, case: &Case, figures: &Figures) -> [String; 7] {
        let control = case.control.and_then(|name| {
            self.measured
                .iter()
                .find(|(other, _)| other.name == name)
                .map(|(_, control)| figures.instructions - control.instructions)
        });
        [
            case.name.to_owned(),
            format!("{:.1}", rounded(figures.instructions, 10.0)),
            format!("{:.2}", rounded(figures.switches, 100.0)),
            format!("{:.2}", rounded(figures.exits, 100.0)),
            case.control.unwrap_or("").to_owned(),
            control.map(|by| format!("{by:.1}")).unwrap_or_default(),
            case.description.to_owned(),
        ]
    }
}

/// Instructions with one decimal. The counts with two: a few switches are the timer's.
fn rows(case: &Case, figures: &Figures) -> Vec<Row> {
    let row = |metric, value: f64, scale: f64| Row {
        suite: case.suite.name(),
        case: case.name,
        metric,
        unit: format!("{metric}/{}", case.per),
        value: rounded(value, scale),
    };
    let mut rows = vec![
        row("instructions", figures.instructions, 10.0),
        row("switches", figures.switches, 100.0),
    ];
    if case.suite == Suite::Dispatch {
        rows.push(row("exits", figures.exits, 100.0));
    }
    rows
}

/// Rounded to one in `scale`, and 0 without a sign.
fn rounded(value: f64, scale: f64) -> f64 {
    (value * scale).round() / scale + 0.0
}
