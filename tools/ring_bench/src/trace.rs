// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What lackey's trace of a play means to the ring's cache lines.

use anyhow::{Context, Result};

use crate::lines::{Agent, Lines};
use crate::played::{Mark, Places, SAYS};

/// A trace that has been read so far.
#[derive(Default)]
pub(crate) struct Trace {
    /// Of the case that is played.
    places: Option<Places>,
    lines: Lines,
    turn: Agent,
    /// Transfers since the count began.
    counting: Option<u64>,
    counts: Vec<u64>,
}

/// An access to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Access {
    is_write: bool,
    address: u64,
    bytes: u64,
}

impl Access {
    /// Reads ` L 1fff000678,8`, a load; `S` is a store, and `M` both at once, which takes the line
    /// as a store does. `None`: the line is not about data.
    fn parse(line: &str) -> Option<Result<Self>> {
        let is_write = match line.get(..3)? {
            " L " => false,
            " S " | " M " => true,
            _ => return None,
        };
        let read = || {
            let (address, bytes) = line[3..].split_once(',')?;
            Some(Self {
                is_write,
                address: u64::from_str_radix(address, 16).ok()?,
                bytes: bytes.parse().ok().filter(|bytes| *bytes > 0)?,
            })
        };
        Some(read().with_context(|| format!("lackey's {line:?}")))
    }
}

impl Trace {
    /// Reads the next line, of lackey's or of the play's.
    ///
    /// # Errors
    ///
    /// It is neither.
    pub(crate) fn line(&mut self, line: &str) -> Result<()> {
        if let Some(places) = line.strip_prefix(SAYS) {
            self.places = Some(serde_json::from_str(places)?);
            self.lines = Lines::default();
            return Ok(());
        }
        match Access::parse(line) {
            Some(access) => self.access(access?),
            None => Ok(()),
        }
    }

    fn access(&mut self, access: Access) -> Result<()> {
        let Some(places) = &self.places else {
            return Ok(());
        };
        if let Some(mark) = Mark::at(access.address, places.marks) {
            return self.mark(mark);
        }
        let is_inside = |&(start, bytes): &_| (start..start + bytes).contains(&access.address);
        if !places.areas.iter().any(is_inside) {
            return Ok(());
        }
        let Access {
            is_write,
            address,
            bytes,
        } = access;
        let transfers = self.lines.access(self.turn, is_write, address, bytes);
        if let Some(count) = &mut self.counting {
            *count += transfers;
        }
        Ok(())
    }

    fn mark(&mut self, mark: Mark) -> Result<()> {
        match mark {
            Mark::Driver => self.turn = Agent::Driver,
            Mark::Device => self.turn = Agent::Device,
            Mark::Begin => self.counting = Some(0),
            Mark::End => {
                let count = self.counting.take();
                self.counts
                    .push(count.context("an end without a beginning")?);
            }
        }
        Ok(())
    }

    /// Transfers of each case, in turn.
    pub(crate) fn counts(self) -> Vec<u64> {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASE: &str = r#"@ {"marks":256,"areas":[[4096,64],[8192,64],[12288,64]]}"#;
    const DRIVER: &str = " S 100,8";
    const DEVICE: &str = " S 108,8";
    const BEGIN: &str = " S 110,8";
    const END: &str = " S 118,8";

    fn counts(lines: &[&str]) -> Result<Vec<u64>> {
        let mut trace = Trace::default();
        lines.iter().try_for_each(|line| trace.line(line))?;
        Ok(trace.counts())
    }

    #[test]
    fn only_what_is_inside_the_ring_and_between_the_marks_counts() {
        let lines = [
            "==1== Lackey, an example Valgrind tool",
            " S 1000,8",
            CASE,
            DRIVER,
            " S 1000,8",
            BEGIN,
            "I  0401ab70,3",
            " S 1008,8",
            " S 7000,8",
            DEVICE,
            " L 1000,2",
            " M 3020,4",
            DRIVER,
            " L 3020,4",
            " L 2000,2",
            END,
            " S 1000,8",
        ];
        assert_eq!(counts(&lines).unwrap(), [4]);
    }

    #[test]
    fn each_case_has_a_count() {
        let case = [CASE, BEGIN, DRIVER, " L 1000,8", DEVICE, " L 1000,8", END];
        assert_eq!(counts(&[case, case].concat()).unwrap(), [2, 2]);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for line in [" L 1000", " S xyz,8", " M 1000,0", "@ []"] {
            assert!(counts(&[line]).is_err(), "{line}");
        }
        assert!(counts(&[CASE, END]).is_err());
    }
}
