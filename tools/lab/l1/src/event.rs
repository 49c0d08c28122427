// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The results channel: one JSON object per line, from L1 to the lab.

use serde::{Deserialize, Serialize};

use crate::scenario::Report;

/// One message of L1's init.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// L1's userspace runs.
    Up,
    /// What L1 does now, for the user's eyes.
    Step {
        /// A short phrase.
        text: String,
    },
    /// A line that a program wrote.
    Line {
        /// Which program, and which of its outputs: `selftests`, `exit.console`.
        stream: String,
        /// The line without its end.
        text: String,
    },
    /// A guest scenario ended.
    Scenario(Box<Report>),
    /// The job is over: the last message. Without it, L1 died.
    End {
        /// 0 when the job succeeded.
        status: i32,
        /// Why it did not.
        reason: Option<String>,
    },
}

impl Event {
    /// The event of a received line.
    ///
    /// # Errors
    ///
    /// The line is not an event.
    pub fn parse(line: &str) -> serde_json::Result<Self> {
        serde_json::from_str(line.trim_end())
    }

    /// The line to send, with its end.
    ///
    /// # Errors
    ///
    /// A report holds something that JSON cannot.
    pub fn line(&self) -> serde_json::Result<String> {
        serde_json::to_string(self).map(|json| json + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_survives_the_channel() {
        let event = Event::Line {
            stream: "selftests".into(),
            text: "ok 1 \"quoted\"\ttab".into(),
        };
        let line = event.line().unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        // The tty may have turned the end into CR LF.
        assert_eq!(Event::parse(&line.replace('\n', "\r\n")).unwrap(), event);
    }

    #[test]
    fn a_torn_line_is_an_error() {
        let line = Event::Up.line().unwrap();
        assert!(Event::parse(&line[..line.len() - 3]).is_err());
    }
}
