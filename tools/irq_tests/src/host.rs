// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The host's own interrupts, of which a guest must neither keep nor add one: `/proc/interrupts`.

use std::fs;
use std::io::ErrorKind;
use std::thread;

use anyhow::{ensure, Context, Result};

use crate::scene::{cpus, pin, unpin};

/// The timers of local APICs.
const TICKS: &str = "LOC";
/// Spurious interrupts, and errors that local APICs have seen. The kernel has no line for either until
/// there is one.
const SPURIOUS: &str = "SPU";
const ERRORS: &str = "ERR";

/// Ticks that a CPU has to see.
const ENOUGH: u64 = 3;

/// What must not come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Strays {
    spurious: u64,
    errors: u64,
}

impl Strays {
    /// Those until now.
    pub(crate) fn now() -> Result<Self> {
        Ok(Self {
            spurious: counts(SPURIOUS)?.iter().sum(),
            errors: counts(ERRORS)?.iter().sum(),
        })
    }

    /// None has come since then, and on each CPU the timer still ticks.
    pub(crate) fn expect_no_more(self) -> Result<()> {
        for &cpu in cpus() {
            ticks_on(cpu)?;
        }
        let now = Self::now()?;
        ensure!(now == self, "{self:?} before, {now:?} since");
        Ok(())
    }
}

/// Whether the processor itself ends direct runs that last too long: Intel's can.
pub(crate) fn ends_long_runs() -> Result<bool> {
    match fs::read_to_string("/sys/module/kvm_intel/parameters/preemption_timer") {
        Ok(text) => Ok(text.trim() == "Y"),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context("kvm_intel's preemption_timer"),
    }
}

/// Returns when the CPU has seen some ticks more. It is kept busy: one that idles needs none.
fn ticks_on(cpu: usize) -> Result<()> {
    pin(None, cpu)?;
    let ticks = || counts(TICKS)?.get(cpu).copied().context("no such CPU");
    let enough = ticks()? + ENOUGH;
    while ticks()? < enough {
        thread::yield_now();
    }
    unpin(None)
}

/// How many interrupts of this name all CPUs have handled.
pub(crate) fn handled(name: &str) -> Result<u64> {
    let counts = counts(name)?;
    ensure!(!counts.is_empty(), "no interrupt is called {name}");
    Ok(counts.iter().sum())
}

/// How many interrupts of each vector of a PCI device all CPUs have handled.
pub(crate) fn vectors(device: &str) -> Result<Vec<u64>> {
    let (cpus, lines) = lines_of(device)?;
    let sum = |line: &String| {
        let counts = line.split_whitespace().skip(1).take(cpus);
        counts.map(|count| Ok(count.parse::<u64>()?)).sum()
    };
    lines.iter().map(sum).collect()
}

/// Has the first CPU handle the interrupts of a PCI device.
pub(crate) fn give_to_first_cpu(device: &str) -> Result<()> {
    for line in lines_of(device)?.1 {
        let number = line.split(':').next().unwrap_or_default().trim();
        let path = format!("/proc/irq/{number}/smp_affinity_list");
        fs::write(&path, "0").context(path)?;
    }
    Ok(())
}

/// The number of CPUs, and the lines of the device's vectors.
fn lines_of(device: &str) -> Result<(usize, Vec<String>)> {
    let text = fs::read_to_string("/proc/interrupts").context("/proc/interrupts")?;
    let chip = format!("-{device}");
    let is_its = |line: &&str| line.split_whitespace().any(|word| word.ends_with(&chip));
    let mut lines = text.lines();
    let cpus = lines.next().unwrap_or_default().split_whitespace().count();
    Ok((cpus, lines.filter(is_its).map(str::to_owned).collect()))
}

/// How many each CPU has; all are online. Errors have one number only. None if there is no line.
fn counts(name: &str) -> Result<Vec<u64>> {
    let text = fs::read_to_string("/proc/interrupts").context("/proc/interrupts")?;
    let is_named = |line: &&str| {
        let mut words = line.split_whitespace();
        words.next() == Some(&format!("{name}:")) || words.last() == Some(name)
    };
    let line = text.lines().find(is_named).unwrap_or_default();
    let counts = line.split_whitespace().skip(1);
    Ok(counts.map_while(|word| word.parse().ok()).collect())
}
