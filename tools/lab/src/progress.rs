// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Shows the user which step runs and how long each one took.

use std::borrow::Cow;
use std::io::{stderr, IsTerminal};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// The steps that run now, a spinner for each.
static RUNNING: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A step of the work: a spinner on a terminal, and one line when it is done.
pub(crate) struct Step {
    name: Cow<'static, str>,
    start: Instant,
    bar: ProgressBar,
}

impl Step {
    /// Shows that `name` runs.
    pub(crate) fn start(name: impl Into<Cow<'static, str>>) -> Self {
        let name = name.into();
        let bar = if stderr().is_terminal() {
            let bar = RUNNING.add(ProgressBar::new_spinner());
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {elapsed:>4} {prefix}: {msg}")
            {
                bar.set_style(style);
            }
            bar.set_prefix(name.clone().into_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        } else {
            ProgressBar::hidden()
        };
        let start = Instant::now();
        Self { name, start, bar }
    }

    /// What the step does right now.
    pub(crate) fn now(&self, what: impl Into<Cow<'static, str>>) {
        self.bar.set_message(what);
    }

    /// The step is over.
    pub(crate) fn done(self) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.bar.finish_and_clear();
        print(&format!("{seconds:7.1} s  {}", self.name));
    }
}

/// Prints a line above the spinners.
pub(crate) fn print(line: &str) {
    RUNNING.suspend(|| eprintln!("{line}"));
}
