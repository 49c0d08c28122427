// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Line and bar charts as SVG: panels side by side, above them what the lines or bars are.

use std::fmt::Write;

/// Width and height of a panel's plane, and what is left free around it.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 280.0;
const MARGIN: f64 = 60.0;
const HEAD: f64 = 110.0;

/// Most lines on the plane that help to read values, above the one at the bottom.
const STEPS: f64 = 5.0;

/// How a line looks, in every panel.
pub(crate) struct Style {
    pub(crate) name: String,
    pub(crate) colour: &'static str,
    pub(crate) is_dashed: bool,
}

/// How a panel shows its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Lines over an axis from 0.
    Lines,
    /// Lines over powers of ten.
    Powers,
    /// Bars side by side, one of each line at each place.
    Bars,
}

/// A value for each place of the axis and each line.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) form: Form,
    /// A line each, as many as there are styles; as many values as there are places.
    pub(crate) lines: Vec<Vec<f64>>,
}

/// What all panels have in common.
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) axis: &'static str,
    pub(crate) places: Vec<String>,
    pub(crate) styles: Vec<Style>,
    pub(crate) panels: Vec<Panel>,
}

impl Chart {
    /// The chart as a file.
    pub(crate) fn svg(&self) -> String {
        let width = self.panels.len() as f64 * (WIDTH + MARGIN) + MARGIN;
        let height = HEAD + HEIGHT + MARGIN;
        let mut svg = Svg::default();
        svg.text(MARGIN, 24.0, "start", &self.title);
        for (number, style) in self.styles.iter().enumerate() {
            let (column, row) = ((number / 2) as f64, (number % 2) as f64);
            let (x, y) = (MARGIN + 180.0 * column, 44.0 + 18.0 * row);
            svg.line(&[(x, y), (x + 30.0, y)], style);
            svg.text(x + 36.0, y + 4.0, "start", &style.name);
        }
        for (number, panel) in self.panels.iter().enumerate() {
            let left = MARGIN + number as f64 * (WIDTH + MARGIN);
            self.panel(&mut svg, left, panel);
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
            svg.0
        )
    }

    fn panel(&self, svg: &mut Svg, left: f64, panel: &Panel) {
        let bottom = HEAD + HEIGHT;
        let scale = Scale::of(panel);
        let y = |value: f64| bottom - HEIGHT * scale.height(value);
        svg.text(left, HEAD - 12.0, "start", &panel.title);
        for value in scale.values() {
            svg.rule(left, y(value));
            svg.text(left - 6.0, y(value) + 4.0, "end", &value.to_string());
        }
        let x = |place: usize| left + WIDTH * (place as f64 + 0.5) / self.places.len() as f64;
        for (place, name) in self.places.iter().enumerate() {
            svg.text(x(place), bottom + 18.0, "middle", name);
        }
        svg.text(left + WIDTH / 2.0, bottom + 40.0, "middle", self.axis);
        let width = 0.8 * WIDTH / self.places.len() as f64 / panel.lines.len() as f64;
        for (number, (values, style)) in panel.lines.iter().zip(&self.styles).enumerate() {
            let point = |(place, value): (usize, &f64)| (x(place), y(*value));
            let points: Vec<(f64, f64)> = values.iter().enumerate().map(point).collect();
            if panel.form != Form::Bars {
                svg.line(&points, style);
                continue;
            }
            let first = width * panel.lines.len() as f64 / 2.0;
            for (x, y) in points {
                let left = x - first + width * number as f64;
                svg.bar((left, y), (width, bottom - y), style);
            }
        }
    }
}

/// Which values are at the bottom and at the top of a panel.
enum Scale {
    /// From 0, so many steps of the same size.
    Even(f64, u32),
    /// From one power of ten to another.
    Powers(i32, i32),
}

impl Scale {
    fn of(panel: &Panel) -> Self {
        if panel.form != Form::Powers {
            let (step, steps) = scale(panel);
            return Self::Even(step, steps);
        }
        let values = || panel.lines.iter().flatten().filter(|value| **value > 0.0);
        let least = values().copied().fold(f64::INFINITY, f64::min);
        let most = values().copied().fold(1.0, f64::max);
        let low = least.min(most).log10().floor() as i32;
        Self::Powers(low, (most.log10().ceil() as i32).max(low + 1))
    }

    /// Where a value is, from 0 at the bottom to 1 at the top.
    fn height(&self, value: f64) -> f64 {
        match *self {
            Self::Even(step, steps) => value / (step * f64::from(steps)),
            Self::Powers(low, high) => {
                let power = value.max(f64::MIN_POSITIVE).log10() - f64::from(low);
                (power / f64::from(high - low)).max(0.0)
            }
        }
    }

    /// The values that have a line.
    fn values(&self) -> Vec<f64> {
        match *self {
            Self::Even(step, steps) => (0..=steps).map(|n| step * f64::from(n)).collect(),
            Self::Powers(low, high) => (low..=high).map(|power| 10f64.powi(power)).collect(),
        }
    }
}

/// What the helping lines are apart, 1, 2 or 5 times a power of 10, and how many it takes until all
/// values fit.
fn scale(panel: &Panel) -> (f64, u32) {
    let most = panel.lines.iter().flatten().copied().fold(0.0, f64::max);
    let least = (most / STEPS).max(1e-9);
    let power = 10f64.powf(least.log10().floor());
    let factors = [1.0, 2.0, 5.0];
    let factor = factors.into_iter().find(|factor| factor * power >= least);
    let step = factor.unwrap_or(10.0) * power;
    (step, (most / step).ceil().max(1.0) as u32)
}

#[derive(Default)]
struct Svg(String);

impl Svg {
    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = writeln!(self.0, "{element}");
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, text: &str) {
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    fn rule(&mut self, x: f64, y: f64) {
        self.add(format_args!(
            "<path d=\"M{x:.1} {y:.1}h{WIDTH}\" stroke=\"#ccc\"/>"
        ));
    }

    fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), style: &Style) {
        self.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{}\"/>",
            style.colour
        ));
    }

    fn line(&mut self, points: &[(f64, f64)], style: &Style) {
        let points = points.iter().map(|(x, y)| format!("{x:.1},{y:.1} "));
        let dashes = if style.is_dashed { "6 4" } else { "none" };
        self.add(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" \
             stroke-dasharray=\"{dashes}\"/>",
            points.collect::<String>().trim_end(),
            style.colour
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: Vec<f64>) -> Chart {
        Chart {
            title: "title".to_owned(),
            axis: "axis",
            places: values.iter().map(|value| format!("at {value}")).collect(),
            styles: vec![Style {
                name: "line".to_owned(),
                colour: "#123456",
                is_dashed: false,
            }],
            panels: vec![Panel {
                title: "panel".to_owned(),
                form: Form::Lines,
                lines: vec![values],
            }],
        }
    }

    #[test]
    fn a_bar_begins_at_the_bottom() {
        let mut chart = chart(vec![5.0, 10.0]);
        chart.panels[0].form = Form::Bars;
        let svg = chart.svg();
        assert!(
            svg.contains("y=\"250.0\" width=\"160.0\" height=\"140.0\""),
            "{svg}"
        );
    }

    #[test]
    fn powers_of_ten_are_equally_far_apart() {
        let mut chart = chart(vec![20.0, 100.0, 900.0]);
        chart.panels[0].form = Form::Powers;
        let scale = Scale::of(&chart.panels[0]);
        assert_eq!(scale.values(), [10.0, 100.0, 1000.0]);
        assert!((scale.height(100.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn values_are_as_high_as_the_scale_says() {
        let chart = chart(vec![0.0, 5.0, 10.0]);
        let svg = chart.svg();
        // Of a scale up to 10, with 390 as the bottom and 110 as the top.
        assert!(
            svg.contains("points=\"126.7,390.0 260.0,250.0 393.3,110.0\""),
            "{svg}"
        );
        for text in ["title", "axis", "panel", "line", "at 5", ">10<"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn a_scale_has_round_numbers_and_room_for_all() {
        for (most, step, steps) in [
            (5.0, 1.0, 5),
            (5.1, 2.0, 3),
            (24.0, 5.0, 5),
            (26.0, 10.0, 3),
            (0.4, 0.1, 4),
            (0.0, 1e-9, 1),
        ] {
            let (found, number) = scale(&chart(vec![most]).panels[0]);
            assert!((found - step).abs() < step / 1e6, "{most}: {found}");
            assert_eq!(number, steps, "{most}");
        }
    }
}
