// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A line of the file `ioregion`, as Documentation/observability.md describes it.

use std::collections::HashMap;
use std::fmt::Debug;
use std::str::FromStr;

use anyhow::{anyhow, Context, Result};
use ioregion_dispatch::counters::BUCKETS;

/// Which region: as long as a VM has it, no other one of the VM has the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    /// `mmio` or `pio`.
    pub(crate) bus: String,
    /// First address or port.
    pub(crate) start: u64,
    /// Bytes; 0 for a doorbell.
    pub(crate) size: u64,
}

/// The counters, since the region was set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) posted: u64,
    pub(crate) ruled: u64,
    pub(crate) spun: u64,
    pub(crate) slept: u64,
    pub(crate) failed: u64,
    pub(crate) timed_out: u64,
    /// Waits by the logarithm of their nanoseconds.
    pub(crate) waits: [u64; BUCKETS],
}

/// A region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) place: Place,
    /// `ring` or `frames`.
    pub(crate) channel: String,
    pub(crate) counters: Counters,
}

impl FromStr for Region {
    type Err = anyhow::Error;

    /// Words that are not known are ignored: a later module may have more.
    fn from_str(line: &str) -> Result<Self> {
        let words = Words(line.split(' ').filter_map(|w| w.split_once('=')).collect());
        Ok(Self {
            place: Place {
                bus: words.text("bus")?.to_owned(),
                start: words.hexadecimal("start")?,
                size: words.hexadecimal("size")?,
            },
            channel: words.text("channel")?.to_owned(),
            counters: Counters {
                reads: words.number("reads")?,
                writes: words.number("writes")?,
                posted: words.number("posted")?,
                ruled: words.number("ruled")?,
                spun: words.number("spun")?,
                slept: words.number("slept")?,
                failed: words.number("failed")?,
                timed_out: words.number("timed_out")?,
                waits: waits(words.text("waits")?)?,
            },
        })
    }
}

struct Words<'a>(HashMap<&'a str, &'a str>);

impl<'a> Words<'a> {
    fn text(&self, key: &str) -> Result<&'a str> {
        let found = self.0.get(key).copied();
        found.with_context(|| format!("no word {key}="))
    }

    fn number(&self, key: &str) -> Result<u64> {
        let text = self.text(key)?;
        text.parse().with_context(|| format!("{key}={text}"))
    }

    fn hexadecimal(&self, key: &str) -> Result<u64> {
        let text = self.text(key)?;
        let digits = text.strip_prefix("0x").unwrap_or(text);
        u64::from_str_radix(digits, 16).with_context(|| format!("{key}={text}"))
    }
}

fn waits(text: &str) -> Result<[u64; BUCKETS]> {
    let mut waits = [0; BUCKETS];
    for bucket in text.split(',').filter(|bucket| !bucket.is_empty()) {
        let bad = || anyhow!("waits={text}");
        let (log2, count) = bucket.split_once(':').ok_or_else(bad)?;
        let log2: usize = log2.parse().ok().ok_or_else(bad)?;
        *waits.get_mut(log2).ok_or_else(bad)? = count.parse().ok().ok_or_else(bad)?;
    }
    Ok(waits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "bus=mmio start=0xd0000000 size=0x1000 channel=ring user_data=0x7 reads=12 \
         writes=9 posted=5 ruled=4 spun=3 slept=2 failed=1 timed_out=0 later=1 waits=9:3,31:2";

    #[test]
    fn a_line_is_read() {
        let region: Region = LINE.parse().unwrap();
        let place = Place {
            bus: "mmio".to_owned(),
            start: 0xd000_0000,
            size: 0x1000,
        };
        let mut waits = [0; BUCKETS];
        (waits[9], waits[31]) = (3, 2);
        let counters = Counters {
            reads: 12,
            writes: 9,
            posted: 5,
            ruled: 4,
            spun: 3,
            slept: 2,
            failed: 1,
            timed_out: 0,
            waits,
        };
        let channel = "ring".to_owned();
        let want = Region {
            place,
            channel,
            counters,
        };
        assert_eq!(region, want);
    }

    #[test]
    fn no_waits_are_no_buckets() {
        assert_eq!(waits("").unwrap(), [0; BUCKETS]);
    }

    #[test]
    fn a_line_that_lacks_or_garbles_a_word_is_an_error() {
        for (from, to) in [
            ("reads=12 ", ""),
            ("reads=12", "reads=-1"),
            ("start=0x", "start=0y"),
            ("9:3", "9-3"),
            ("9:3", "32:3"),
        ] {
            let line = LINE.replace(from, to);
            assert_ne!(line, LINE);
            assert!(line.parse::<Region>().is_err(), "{line}");
        }
    }
}
