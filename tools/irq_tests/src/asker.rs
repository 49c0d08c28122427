// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Interrupts on demand, on whatever machine the device is: in L1, or in a guest that it is assigned to.
//! Its driver there is `edu.ko`.

use std::arch::x86_64::_rdtsc;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead};
use std::ptr::{null_mut, NonNull};
use std::str::FromStr;

use anyhow::{Context, Result};
use rustix::mm::{mmap, munmap, MapFlags, ProtFlags};

use crate::edu::{self, RAISE, STATUS};
use crate::host::handled;
use crate::pci;

/// What the driver calls its interrupt in `/proc/interrupts`, and what the kernel its timer's.
const OURS: &str = "edu";
pub(crate) const TIMER: &str = "LOC";

/// Bytes of registers that are mapped.
const SIZE: usize = 4096;

/// What begins a line that is meant for L1.
const MARK: &str = "@shunt ";

/// A line of L1's that is no number: the driver is to set the interrupt up anew.
pub(crate) const ANEW: &str = "anew";

/// The device with its driver.
pub(crate) struct Asker(NonNull<u8>);

/// What became of a number of interrupts, in digits of one length, so that each answer takes the
/// guest's console the same exits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    /// Interrupts of the device that its driver has seen.
    pub(crate) seen: u64,
    /// Interrupts of the timer meanwhile.
    pub(crate) ticks: u64,
    /// By how much the time-stamp counter went on meanwhile.
    pub(crate) timestamps: u64,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seen,
            ticks,
            timestamps,
        } = self;
        write!(f, "{MARK}{seen:010} {ticks:010} {timestamps:020}")
    }
}

impl FromStr for Answer {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let rest = line.strip_prefix(MARK).context("not for us")?;
        let mut numbers = rest.split_whitespace().map(str::parse);
        let mut next = || Ok::<_, anyhow::Error>(numbers.next().context("no number")??);
        Ok(Self {
            seen: next()?,
            ticks: next()?,
            timestamps: next()?,
        })
    }
}

impl Asker {
    /// Gives the first such device to its driver, which is loaded.
    pub(crate) fn find() -> Result<Self> {
        let path = pci::find(edu::ID.0, edu::ID.1, 0)?;
        pci::give(&path, OURS)?;
        let path = path.join("resource0");
        let file = File::options().read(true).write(true).open(&path);
        let file = file.with_context(|| path.display().to_string())?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: It takes the place of no other memory.
        let address = unsafe { mmap(null_mut(), SIZE, protection, MapFlags::SHARED, &file, 0) };
        let address = NonNull::new(address.context("mmap")?.cast());
        Ok(Self(address.context("mapped at 0")?))
    }

    /// Has the device raise so many interrupts, each when the driver has taken back the last one.
    pub(crate) fn ask(&self, count: u32) -> Result<Answer> {
        let (seen, ticks) = (handled(OURS)?, handled(TIMER)?);
        let begin = timestamp();
        for _ in 0..count {
            self.raise();
            while self.is_raised() {}
        }
        let timestamps = timestamp() - begin;
        Ok(Answer {
            seen: handled(OURS)? - seen,
            ticks: handled(TIMER)? - ticks,
            timestamps,
        })
    }

    fn raise(&self) {
        // SAFETY: The register is in the mapping, and aligned.
        unsafe { self.0.add(RAISE as usize).cast::<u32>().write_volatile(1) };
    }

    fn is_raised(&self) -> bool {
        // SAFETY: The register is in the mapping, and aligned.
        unsafe { self.0.add(STATUS as usize).cast::<u32>().read_volatile() != 0 }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        // SAFETY: We have mapped it, and nobody uses it any more. What is mapped can be unmapped.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), SIZE) };
    }
}

/// Answers each line of standard input, which is a number of interrupts or [`ANEW`], until its end.
pub(crate) fn answer() -> Result<()> {
    let mut asker = Asker::find()?;
    println!("{}", Answer::default());
    for line in io::stdin().lock().lines() {
        match line?.trim() {
            ANEW => {
                pci::take_back(&pci::find(edu::ID.0, edu::ID.1, 0)?)?;
                asker = Asker::find()?;
                println!("{}", Answer::default());
            }
            count => println!(
                "{}",
                asker.ask(count.parse().context("how many interrupts")?)?
            ),
        }
    }
    Ok(())
}

/// The time-stamp counter, which counts instructions under `-icount`.
pub(crate) fn timestamp() -> u64 {
    // SAFETY: Every x86-64 processor has the instruction.
    unsafe { _rdtsc() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_survives_the_console() {
        let answer = Answer {
            seen: 1000,
            ticks: 3,
            timestamps: 598_000,
        };
        let line = answer.to_string();
        assert_eq!(line.parse::<Answer>().unwrap(), answer);
        assert_eq!(line.len(), Answer::default().to_string().len());
        assert!("Linux version 7.3".parse::<Answer>().is_err());
    }
}
