// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Counters at moments of the guest's choice: when it prints a line with a certain text on its
//! console (`--mark`). The line's last byte is an exit of the vCPU that prints it, so with one
//! vCPU nothing moves while the counters are noted.

use std::{
    io::{self, Stdout, Write},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use shunt::{counters::CounterValues, state::StatePage};

use crate::report::{ExitCounters, ExitCounts};

/// What was counted until a line was printed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Mark {
    /// The line.
    pub(crate) line: String,
    /// By vCPU.
    pub(crate) vcpus: Vec<ExitCounts>,
    /// By disk.
    pub(crate) disks: Vec<CounterValues>,
}

/// What marks are made of, and the marks so far.
pub(crate) struct Marks {
    text: Option<String>,
    vcpus: Vec<Arc<ExitCounters>>,
    disks: Vec<StatePage>,
    taken: Mutex<Vec<Mark>>,
}

impl Marks {
    /// Counters to note for every line with `text` in it; none without.
    pub(crate) fn new(
        text: Option<String>,
        vcpus: Vec<Arc<ExitCounters>>,
        disks: Vec<StatePage>,
    ) -> Self {
        Self {
            text,
            vcpus,
            disks,
            taken: Mutex::default(),
        }
    }

    /// The marks so far.
    pub(crate) fn taken(&self) -> Vec<Mark> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.clone()
    }

    fn line(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        if !self.text.as_ref().is_some_and(|text| line.contains(text)) {
            return;
        }
        let mark = Mark {
            line: line.trim().to_owned(),
            vcpus: self
                .vcpus
                .iter()
                .map(|counters| counters.values())
                .collect(),
            disks: self
                .disks
                .iter()
                .map(|state| state.counters().values())
                .collect(),
        };
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.push(mark);
    }
}

/// The guest's console output: on stdout, and read for marks.
pub(crate) struct ConsoleOutput {
    stdout: Stdout,
    marks: Arc<Marks>,
    line: Vec<u8>,
}

/// Longest line that is read for marks.
const LINE: usize = 256;

impl ConsoleOutput {
    /// Output that makes `marks`.
    pub(crate) fn new(marks: Arc<Marks>) -> Self {
        Self {
            stdout: io::stdout(),
            marks,
            line: Vec::with_capacity(LINE),
        }
    }

    fn look_at(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.marks.line(&self.line);
                self.line.clear();
            } else if self.line.len() < LINE {
                self.line.push(byte);
            }
        }
    }
}

impl Write for ConsoleOutput {
    /// Whoever reads a line acts after its mark.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.look_at(bytes);
        self.stdout.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_the_text_are_marks() {
        let state = StatePage::create().unwrap();
        let text = Some("@counters".to_owned());
        let marks = Arc::new(Marks::new(text, Vec::new(), vec![state.clone()]));
        let mut output = ConsoleOutput::new(Arc::clone(&marks));
        output.look_at(b"@counters 1\r\nnothing\n@coun");
        state
            .counters()
            .requests
            .store(7, std::sync::atomic::Ordering::Relaxed);
        output.look_at(b"ters 2\n@counters 3");
        let taken = marks.taken();
        let seen: Vec<_> = taken
            .iter()
            .map(|m| (m.line.as_str(), m.disks[0].requests))
            .collect();
        assert_eq!(seen, [("@counters 1", 0), ("@counters 2", 7)]);
    }

    #[test]
    fn without_a_text_nothing_is_noted() {
        let marks = Arc::new(Marks::new(None, Vec::new(), Vec::new()));
        ConsoleOutput::new(Arc::clone(&marks)).look_at(b"@counters\n\n");
        assert!(marks.taken().is_empty());
    }
}
