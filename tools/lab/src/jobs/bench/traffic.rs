// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What becomes of the figures of an assigned network interface, and of interrupts of Linux guests: what
//! they must be at least, and a chart.

use super::Row;
use crate::chart::{Chart, Form, Panel, Style};

const OF_BARE_METAL: &str = "percent-of-bare-metal";

/// Part of bare metal that traffic has with interrupts that are delivered directly, at least.
const LEAST_PERCENT: f64 = 97.0;

/// An interrupt's instructions, of those on bare metal, at most.
const MOST: f64 = 1.08;

/// Work, and what the chart calls it.
const WORKS: [(&str, &str); 3] = [
    ("rr64", "request, response"),
    ("burst1400", "bursts"),
    ("stream", "TCP stream"),
];

/// How interrupts are delivered, and the colour of that.
const WAYS: [(&str, &str); 3] = [
    ("exitless", "#1b7837"),
    ("delivery-only", "#2166ac"),
    ("stock", "#b2182b"),
];

/// Which figures are worse than was promised.
pub(super) fn broken(rows: &[Row]) -> Vec<String> {
    let of_traffic = rows.iter().filter(|row| {
        let is_promised = row.case.ends_with("-exitless") && row.metric == OF_BARE_METAL;
        is_promised && row.value < LEAST_PERCENT
    });
    let words = |row: &Row| format!("{}: {} % of bare metal", row.case, row.value);
    let mut found: Vec<String> = of_traffic.map(words).collect();
    let instructions = |case| value(rows, case, "instructions");
    if let (Some(bare), Some(guest)) = (
        instructions("linux-baremetal"),
        instructions("linux-exitless"),
    ) {
        if guest > MOST * bare {
            found.push(format!(
                "linux-exitless: {guest} instructions, {bare} on bare metal"
            ));
        }
    }
    found
}

/// Traffic by work and way. A way without all figures has no line: QEMU may have killed the guest.
pub(super) fn chart(rows: &[Row]) -> Chart {
    let mut styles = Vec::new();
    let mut lines = Vec::new();
    for (way, colour) in WAYS {
        let value = |(work, _)| value(rows, &format!("nic-{work}-{way}"), OF_BARE_METAL);
        if let Some(line) = WORKS.into_iter().map(value).collect() {
            lines.push(line);
            styles.push(Style {
                name: way.to_owned(),
                colour,
                is_dashed: false,
            });
        }
    }
    Chart {
        title: "Traffic of an assigned network interface in a Linux guest".to_owned(),
        axis: "work",
        places: WORKS.map(|(_, name)| name.to_owned()).to_vec(),
        styles,
        panels: vec![Panel {
            title: "% of bare metal, by instructions".to_owned(),
            form: Form::Bars,
            lines,
        }],
    }
}

fn value(rows: &[Row], case: &str, metric: &str) -> Option<f64> {
    let mut rows = rows.iter();
    let row = rows.find(|row| row.case == case && row.metric == metric)?;
    Some(row.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(case: &str, metric: &str, value: f64) -> Row {
        Row {
            suite: "irq".to_owned(),
            case: case.to_owned(),
            metric: metric.to_owned(),
            unit: "1".to_owned(),
            value,
            command: String::new(),
            varies: false,
        }
    }

    fn traffic(ways: &[&str], value: f64) -> Vec<Row> {
        let of_way =
            |way| WORKS.map(|(work, _)| row(&format!("nic-{work}-{way}"), OF_BARE_METAL, value));
        ways.iter().flat_map(of_way).collect()
    }

    #[test]
    fn only_direct_delivery_must_be_nearly_bare_metal() {
        assert_eq!(broken(&traffic(&["exitless"], 97.0)), [""; 0]);
        assert_eq!(broken(&traffic(&["exitless"], 96.9)).len(), 3);
        assert_eq!(broken(&traffic(&["stock", "delivery-only"], 60.0)), [""; 0]);
    }

    #[test]
    fn an_interrupt_may_take_a_little_more_in_a_guest() {
        let found = |guest| {
            let bare = row("linux-baremetal", "instructions", 500.0);
            broken(&[bare, row("linux-exitless", "instructions", guest)]).len()
        };
        assert_eq!([found(540.0), found(541.0)], [0, 1]);
    }

    #[test]
    fn a_way_without_figures_has_no_line() {
        let styles = |ways: &[&str]| chart(&traffic(ways, 90.0)).styles.len();
        assert_eq!(styles(&["exitless", "delivery-only", "stock"]), 3);
        assert_eq!(styles(&["exitless", "delivery-only"]), 2);
    }
}
