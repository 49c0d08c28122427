// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Rows as text.

use comfy_table::{presets, CellAlignment, ContentArrangement, Table};
use ioregion_dispatch::counters::{percentile, BUCKETS};

use crate::rates::Row;

const HEADER: [&str; 16] = [
    "VM", "COMMAND", "BUS", "START", "SIZE", "BY", "READS", "WRITES", "POSTED", "RULED", "SPUN",
    "SLEPT", "FAILED", "TIMEOUT", "P50", "P99",
];

/// How many columns on the left are names and not numbers.
const NAMES: usize = 6;

/// The table: a header, and a line for each row. Counts are divided by `seconds`.
pub(crate) fn render(rows: &[Row], seconds: f64) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(HEADER);
    for row in rows {
        table.add_row(cells(row, seconds));
    }
    for column in table.column_iter_mut().skip(NAMES) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

fn cells(row: &Row, seconds: f64) -> [String; HEADER.len()] {
    let counters = &row.counters;
    let rate = |count: u64| format!("{:.0}", count as f64 / seconds);
    let wait = |percent| match percentile(&counters.waits, percent) {
        Some(bucket) => longest(bucket),
        None => "-".to_owned(),
    };
    let command = match row.command.as_str() {
        "" => "-",
        name => name,
    };
    [
        row.vm.clone(),
        command.replace(' ', "_"),
        row.place.bus.clone(),
        format!("{:#x}", row.place.start),
        format!("{:#x}", row.place.size),
        row.channel.clone(),
        rate(counters.reads),
        rate(counters.writes),
        rate(counters.posted),
        rate(counters.ruled),
        rate(counters.spun),
        rate(counters.slept),
        rate(counters.failed),
        rate(counters.timed_out),
        wait(50),
        wait(99),
    ]
}

/// The time that no wait of a bucket exceeds.
fn longest(bucket: usize) -> String {
    if bucket + 1 >= BUCKETS {
        return format!(">{}", time(1 << bucket));
    }
    time(1 << (bucket + 1))
}

/// Nanoseconds with two significant digits or more.
fn time(ns: u64) -> String {
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| ns >= *unit) else {
        return format!("{ns}ns");
    };
    let value = ns as f64 / unit as f64;
    match value < 9.95 {
        true => format!("{value:.1}{name}"),
        false => format!("{value:.0}{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::{Counters, Place};

    fn row() -> Row {
        let mut waits = [0; BUCKETS];
        (waits[13], waits[20]) = (98, 2);
        Row {
            vm: "77-12".to_owned(),
            command: "qemu system".to_owned(),
            place: Place {
                bus: "mmio".to_owned(),
                start: 0xd000_0000,
                size: 0x200,
            },
            channel: "ring".to_owned(),
            counters: Counters {
                reads: 100,
                writes: 7,
                slept: 100,
                waits,
                ..Counters::default()
            },
        }
    }

    #[test]
    fn a_row_has_a_word_for_each_column() {
        let text = render(&[row()], 2.0);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|l| l.split_whitespace().collect())
            .collect();
        assert_eq!(lines[0], HEADER);
        let want = [
            "77-12",
            "qemu_system",
            "mmio",
            "0xd0000000",
            "0x200",
            "ring",
            "50",
            "4",
            "0",
            "0",
            "0",
            "50",
            "0",
            "0",
            "16us",
            "2.1ms",
        ];
        assert_eq!(lines[1], want);
    }

    #[test]
    fn no_wait_has_no_percentile() {
        let mut row = row();
        row.counters.waits = [0; BUCKETS];
        let text = render(&[row], 1.0);
        assert!(text.split_whitespace().rev().take(2).eq(["-", "-"]));
    }

    #[test]
    fn times_are_short() {
        for (ns, text) in [
            (1, "1ns"),
            (512, "512ns"),
            (1024, "1.0us"),
            (8192, "8.2us"),
            (16384, "16us"),
            (1 << 20, "1.0ms"),
            (1 << 30, "1.1s"),
        ] {
            assert_eq!(time(ns), text);
        }
        assert_eq!(longest(BUCKETS - 1), ">2.1s");
    }
}
