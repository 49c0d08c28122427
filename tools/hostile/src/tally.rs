// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What VMMs were told.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{ensure, Result};

/// What a VMM may be told of a device that attacks.
const EXPECTED: [(i32, &str); 4] = [
    (libc::EPIPE, "EPIPE"),
    (libc::EPROTO, "EPROTO"),
    (libc::ECANCELED, "ECANCELED"),
    (libc::ETIMEDOUT, "ETIMEDOUT"),
];

/// How many accesses failed, by errno.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally(BTreeMap<i32, u64>);

impl Tally {
    /// Counts a failure.
    ///
    /// # Errors
    ///
    /// It is not one that `Documentation/failures.md` has.
    pub(crate) fn count(&mut self, errno: i32) -> Result<()> {
        ensure!(
            EXPECTED.iter().any(|(expected, _)| *expected == errno),
            "a failure with errno {errno}"
        );
        *self.0.entry(errno).or_default() += 1;
        Ok(())
    }

    /// Adds up.
    pub(crate) fn add(&mut self, other: &Self) {
        for (errno, count) in &other.0 {
            *self.0.entry(*errno).or_default() += count;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (errno, name) in EXPECTED {
            if let Some(count) = self.0.get(&errno) {
                write!(f, " {name} {count}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_documented_failures_count() {
        let mut tally = Tally::default();
        tally.count(libc::EPIPE).unwrap();
        tally.count(libc::EPIPE).unwrap();
        assert!(tally.count(libc::EFAULT).is_err());
        let mut sum = Tally::default();
        sum.add(&tally);
        assert_eq!(sum.to_string(), " EPIPE 2");
    }
}
