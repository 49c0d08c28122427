// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What is printed: a JSON object per line, as the lab reads them.

use serde::Serialize;

use crate::case::{Case, Load, Whose};
use crate::compared::Compared;
use crate::samples::Summary;

/// One figure.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    suite: &'static str,
    case: String,
    metric: String,
    unit: &'static str,
    value: f64,
    /// Another run may give another value.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    varies: bool,
}

/// What is measured, and in which unit.
#[derive(Clone, Copy)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
}

/// A count that is the same in every run.
pub(crate) fn count(case: Case, metric: Metric, value: f64) -> Row {
    Row {
        suite: "ring",
        case: case.to_string(),
        metric: metric.name.to_owned(),
        unit: metric.unit,
        value: rounded(value),
        varies: false,
    }
}

/// The least that was measured of each ring, and how many times ours the kernel's is.
pub(crate) fn compared(load: Load, metric: Metric, compared: &Compared) -> Vec<Row> {
    let least = |whose| Row {
        varies: true,
        ..count(Case { load, whose }, metric, compared.of(whose).minimum)
    };
    let ratio = |suffix, value| Row {
        metric: format!("ratio-{}{suffix}", metric.name),
        unit: "1",
        value: rounded(value),
        ..least(Whose::Ours)
    };
    let Summary {
        minimum,
        percentile10,
    } = compared.ratio();
    vec![
        least(Whose::Ours),
        least(Whose::Kernels),
        ratio("", minimum),
        ratio("-p10", percentile10),
    ]
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Format;

    const LOAD: Load = Load {
        format: Format::Split,
        batch: 4,
    };

    #[test]
    fn a_count_is_a_line_for_the_lab() {
        let (load, whose) = (LOAD, Whose::Kernels);
        let (name, unit) = ("instructions", "instructions/buffer");
        let row = count(Case { load, whose }, Metric { name, unit }, 590.599);
        let text = serde_json::to_string(&row).unwrap();
        let wanted = r#"{"suite":"ring","case":"c-split-b4","metric":"instructions","unit":"instructions/buffer","value":590.6}"#;
        assert_eq!(text, wanted);
    }

    #[test]
    fn a_ratio_is_one_of_our_ring() {
        let cost = |whose| if whose == Whose::Ours { 2.0 } else { 5.0 };
        let both = Compared::new(|whose| Summary::of(&[cost(whose)]));
        let (name, unit) = ("cycles", "cycles/buffer");
        let rows = compared(LOAD, Metric { name, unit }, &both);
        let find = |case: &str, metric| {
            let mut rows = rows.iter();
            let row = rows.find(|row| row.case == case && row.metric == metric);
            row.map(|row| (row.value, row.varies))
        };
        assert_eq!(find("c-split-b4", "cycles"), Some((5.0, true)));
        assert_eq!(find("rust-split-b4", "ratio-cycles"), Some((2.5, true)));
        assert_eq!(find("c-split-b4", "ratio-cycles"), None);
    }
}
