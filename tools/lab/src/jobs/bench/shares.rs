// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What virtio_fe.ko may at most have of what the kernel's own drivers have.

use super::Row;

/// How much: work, metric, and our part of the kernel's figure.
const MOST: &[(&str, &str, f64)] = &[
    ("read-qd1", "driver-instructions", 0.65),
    ("read-qd32", "driver-instructions", 0.65),
    ("read-qd32", "slab-calls", 0.0),
    ("read-qd32-viommu", "maps", 0.25),
    ("read-qd32-viommu", "instructions", 0.6),
    ("write-flush", "driver-instructions", 0.65),
    ("tx18", "driver-instructions", 0.75),
    ("rx1400", "driver-instructions", 0.75),
    ("rr64", "driver-instructions", 0.75),
];

/// Which of our rows have more than that of the kernel's drivers' row, or more exits.
pub(super) fn exceeded(rows: &[Row]) -> Vec<String> {
    let ours = rows.iter().filter_map(|row| {
        let case = row.case.strip_prefix("rust-")?;
        let of_kernel = |other: &&Row| {
            other.case.strip_prefix("c-") == Some(case) && other.metric == row.metric
        };
        Some((row, rows.iter().find(of_kernel)?))
    });
    let too_much = ours.filter_map(|(ours, kernels)| {
        let most = most(ours)? * kernels.value;
        let (case, metric, value) = (&ours.case, &ours.metric, ours.value);
        (value > most).then(|| format!("{case}: {value} {metric}, more than {most}"))
    });
    too_much.collect()
}

/// Our part, if something was promised.
fn most(row: &Row) -> Option<f64> {
    if row.metric == "exits" {
        return Some(1.0);
    }
    let mut promises = MOST.iter();
    let promise = promises
        .find(|(work, metric, _)| row.case.ends_with(&format!("-{work}")) && row.metric == *metric);
    promise.map(|(_, _, part)| *part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(case: &str, metric: &str, value: f64) -> Row {
        Row {
            suite: "fe-blk".to_owned(),
            case: case.to_owned(),
            metric: metric.to_owned(),
            unit: "1".to_owned(),
            value,
            command: String::new(),
            varies: false,
        }
    }

    fn number(metric: &str, kernels: f64, ours: f64) -> usize {
        let of = |whose, value| row(&format!("{whose}-pci-split-read-qd32"), metric, value);
        exceeded(&[of("c", kernels), of("rust", ours)]).len()
    }

    #[test]
    fn what_is_more_than_promised_is_found() {
        assert_eq!(number("driver-instructions", 1000.0, 650.0), 0);
        assert_eq!(number("driver-instructions", 1000.0, 651.0), 1);
        assert_eq!(number("slab-calls", 2.0, 0.0), 0);
        assert_eq!(number("slab-calls", 2.0, 0.1), 1);
        assert_eq!(number("exits", 0.031, 0.031), 0);
        assert_eq!(number("exits", 0.031, 0.062), 1);
        assert_eq!(number("instructions", 1000.0, 2000.0), 0);
    }
}
