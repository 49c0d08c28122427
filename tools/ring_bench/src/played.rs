// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The process that valgrind watches: all cases, one after the other, driver and device by turns.
//!
//! It tells what it does by stores that a trace shows, and by functions that a count can begin
//! and end at.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::device::Device;
use crate::driver;

/// Buffers that a count is of, after as many that warm up. With three descriptors each and a
/// queue of 256, both formats are then where they began.
pub(crate) const BUFFERS: usize = 256;

/// What begins when it is stored to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Mark {
    Driver,
    Device,
    Begin,
    End,
}

static MARKS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

impl Mark {
    /// The one that a store to `address` is, if the first one is at `first`.
    pub(crate) fn at(address: u64, first: u64) -> Option<Self> {
        let all = [Self::Driver, Self::Device, Self::Begin, Self::End];
        let place = |mark: &Self| first + (*mark as usize * size_of::<AtomicU64>()) as u64;
        all.into_iter().find(|mark| place(mark) == address)
    }

    #[inline(always)]
    fn set(self) {
        MARKS[self as usize].store(1, Ordering::Relaxed);
    }
}

/// What a case says first, on a line that begins with [`SAYS`].
#[derive(Serialize, Deserialize)]
pub(crate) struct Places {
    /// Address of the first mark.
    pub(crate) marks: u64,
    /// Start and length of each of the ring's areas.
    pub(crate) areas: [(u64, u64); 3],
}

pub(crate) const SAYS: &str = "@ ";

/// Plays all cases.
///
/// # Errors
///
/// The places cannot be told.
pub(crate) fn play() -> Result<()> {
    Case::all().try_for_each(play_one)
}

fn play_one(case: Case) -> Result<()> {
    let (mut driver, areas) = driver::start(case);
    let places = Places {
        marks: MARKS.as_ptr() as u64,
        areas: [&areas.descriptors, &areas.driver, &areas.device].map(|area| area.span()),
    };
    println!("{SAYS}{}", serde_json::to_string(&places)?);
    let mut device = Device::new(case.load.format, areas);
    let mut play = || {
        for _ in 0..BUFFERS / case.load.batch {
            Mark::Driver.set();
            driver.offer(case.load.batch);
            Mark::Device.set();
            assert_eq!(device.serve(), case.load.batch);
            Mark::Driver.set();
            assert_eq!(driver.collect(case.load.batch), case.load.batch);
        }
    };
    play();
    count_begins();
    play();
    count_ends();
    Ok(())
}

#[inline(never)]
fn count_begins() {
    Mark::Begin.set();
}

#[inline(never)]
fn count_ends() {
    Mark::End.set();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_rings_come_around_with_our_device() {
        Case::all().for_each(|case| play_one(case).unwrap());
    }

    #[test]
    fn a_mark_is_known_by_its_address() {
        let end = Mark::at(256 + 3 * 8, 256);
        assert_eq!((end, Mark::at(255, 256)), (Some(Mark::End), None));
    }
}
