// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What step we are at, how far it is, and how long it has taken.
//!
//! On a terminal a step is a line that redraws itself; elsewhere (a log file, a CI job)
//! it is a line at the beginning, one now and then, and one at the end.

use indicatif::{ProgressBar, ProgressStyle};
use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often a step reports where it is when there is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(15);

/// One step of the set-up, from its announcement to its end.
pub(crate) struct Step {
    name: String,
    bar: Option<ProgressBar>,
    started: Instant,
    reported: Cell<Instant>,
    count: Cell<u64>,
    total: Option<u64>,
}

impl Step {
    /// Announces a step. `total` is the expected number of advances, when known.
    pub(crate) fn begin(name: &str, total: Option<u64>) -> Self {
        let now = Instant::now();
        let bar = std::io::stderr()
            .is_terminal()
            .then(|| drawn_bar(name, total));
        if bar.is_none() {
            eprintln!("setup: {name} ...");
        }
        Self {
            name: name.to_string(),
            bar,
            started: now,
            reported: Cell::new(now),
            count: Cell::new(0),
            total,
        }
    }

    /// Counts one more piece of work, which `detail` describes.
    pub(crate) fn advance(&self, detail: &str) {
        self.reach(self.count.get() + 1, detail);
    }

    /// Sets how many pieces of work are done.
    pub(crate) fn reach(&self, count: u64, detail: &str) {
        self.count.set(count);
        match &self.bar {
            Some(bar) => {
                // The total is an expectation; never show more than all of it.
                bar.set_position(self.total.map_or(count, |total| count.min(total)));
                bar.set_message(detail.trim().to_string());
            }
            None if self.reported.get().elapsed() >= PLAIN_INTERVAL => {
                self.reported.set(Instant::now());
                eprintln!("setup: {}: {}", self.name, self.position());
            }
            None => {}
        }
    }

    /// How many pieces of work were counted.
    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    /// Ends the step well; `note` says what came out of it.
    pub(crate) fn done(self, note: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let seconds = self.started.elapsed().as_secs_f64();
        eprintln!("setup: {}: {note} ({})", self.name, human(seconds));
    }

    fn position(&self) -> String {
        let elapsed = human(self.started.elapsed().as_secs_f64());
        match self.total {
            Some(total) if total > 0 => {
                let count = self.count.get().min(total);
                format!(
                    "{count} of about {total} ({}%), {elapsed}",
                    count * 100 / total
                )
            }
            _ => format!("{}, {elapsed}", self.count.get()),
        }
    }
}

fn drawn_bar(name: &str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{prefix} [{bar:30}] {percent:>3}% {elapsed} {wide_msg}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{prefix} {spinner} {elapsed} {wide_msg}",
        ),
    };
    // A template that does not parse costs the layout, not the step.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(format!("setup: {name}"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn human(seconds: f64) -> String {
    if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        let whole = seconds as u64;
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(human(0.04), "0.0 s");
        assert_eq!(human(59.94), "59.9 s");
        assert_eq!(human(60.0), "1 min 00 s");
        assert_eq!(human(3_725.0), "62 min 05 s");
    }

    #[test]
    fn position_never_exceeds_the_expected_total() {
        let step = Step::begin("test", Some(10));
        step.reach(25, "");
        assert!(step.position().starts_with("10 of about 10 (100%)"));
    }
}
