// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The rows as charts.

use super::row::Row;
use crate::chart::{Chart, Form, Panel, Style};

/// A colour for each mode; there is no ninth one.
const COLOURS: [&str; 8] = [
    "#d62728", "#ff7f0e", "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#17becf", "#7f7f7f",
];

/// A name, and a file.
pub(super) type Plot = (String, String);

/// What a panel shows of a row.
type Value = fn(&Row) -> f64;

/// Charts of all rows: two for each interface and ring over rates, one over sizes.
pub(super) fn draw(rows: &[Row]) -> Vec<Plot> {
    let mut plots = Vec::new();
    for (interface, ring) in unique(rows, |row| (row.interface.clone(), row.ring.clone())) {
        let ours: Vec<&Row> = rows
            .iter()
            .filter(|row| row.interface == interface && row.ring == ring)
            .collect();
        let title = |what: &str| format!("{what}: {interface}, {ring} ring");
        let name = |what: &str| format!("{what}-{interface}-{ring}");
        let over = |what, form, value, unit| over_rates(&ours, title(what), form, value, unit);
        plots.extend([
            (
                name("load-latency"),
                over("Load and latency", Form::Powers, microseconds, "median µs"),
            ),
            (
                name("load-loss"),
                over("Load and loss", Form::Lines, Row::loss_percent, "% lost"),
            ),
            (name("cost"), costs(&ours, title("Cost of a frame"))),
        ]);
    }
    plots
}

fn microseconds(row: &Row) -> f64 {
    row.median as f64 / 1000.0
}

/// A line for each mode, a panel for each size.
fn over_rates(rows: &[&Row], title: String, form: Form, value: Value, unit: &str) -> String {
    let rates = unique(rows, |row| row.rate);
    let rates: Vec<u64> = rates.into_iter().flatten().collect();
    let modes = unique(rows, |row| row.mode.clone());
    let panel = |size: usize| Panel {
        title: format!("{unit}, frames of {size} bytes"),
        form,
        lines: modes
            .iter()
            .map(|mode| {
                let of = |rate: &u64| find(rows, mode, size, Some(*rate)).map_or(0.0, value);
                rates.iter().map(of).collect()
            })
            .collect(),
    };
    Chart {
        title,
        axis: "rate, in % of the capacity",
        places: rates.iter().map(u64::to_string).collect(),
        styles: styles(&modes),
        panels: unique(rows, |row| row.size)
            .into_iter()
            .map(panel)
            .collect(),
    }
    .svg()
}

/// A bar for each mode, at each size.
fn costs(rows: &[&Row], title: String) -> String {
    let sizes = unique(rows, |row| row.size);
    let modes = unique(rows, |row| row.mode.clone());
    let least = unique(rows, |row| row.rate).into_iter().flatten().min();
    let panel = |title: &str, rate: Option<u64>, value: Value| Panel {
        title: title.to_owned(),
        form: Form::Bars,
        lines: modes
            .iter()
            .map(|mode| {
                let of = |size: &usize| find(rows, mode, *size, rate).map_or(0.0, value);
                sizes.iter().map(of).collect()
            })
            .collect(),
    };
    let panels = vec![
        panel("frames per ms, at most", None, |row| {
            1e6 * row.received as f64 / row.nanoseconds as f64
        }),
        panel(
            "accesses that the device handles, at the lowest rate",
            least,
            |row| row.per_frame(row.accesses),
        ),
        panel("exits to the VMM, at the lowest rate", least, |row| {
            row.per_frame(row.exits)
        }),
    ];
    Chart {
        title,
        axis: "bytes of a frame",
        places: sizes.iter().map(usize::to_string).collect(),
        styles: styles(&modes),
        panels,
    }
    .svg()
}

fn styles(modes: &[String]) -> Vec<Style> {
    let style = |(number, mode): (usize, &String)| Style {
        name: mode.clone(),
        colour: COLOURS[number % COLOURS.len()],
        is_dashed: number >= COLOURS.len(),
    };
    modes.iter().enumerate().map(style).collect()
}

fn find<'a>(rows: &[&'a Row], mode: &str, size: usize, rate: Option<u64>) -> Option<&'a Row> {
    let mut rows = rows.iter();
    let is_it = |row: &&&Row| row.mode == mode && row.size == size && row.rate == rate;
    rows.find(is_it).copied()
}

/// The values that rows have, in the order in which they first come.
fn unique<R: std::borrow::Borrow<Row>, T: PartialEq>(
    rows: &[R],
    value: impl Fn(&Row) -> T,
) -> Vec<T> {
    let mut values = Vec::new();
    for row in rows {
        let value = value(row.borrow());
        if !values.contains(&value) {
            values.push(value);
        }
    }
    values
}
