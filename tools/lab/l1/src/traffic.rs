// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A guest that reflects frames: one load after the other, and what each side has counted.

use std::io::Write;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;
use std::{fs, io};

use anyhow::{anyhow, bail, ensure, Context, Result};
use l1::event::Event;
use l1::scenario::{Scenario, COUNTERS_MARK};
use l1::series::{GuestCounts, HostCounts, Measured, Series};
use shunt_traffic::link::{number, Link};
use shunt_traffic::load::{self, Load, Outcome, Pace};
use shunt_traffic::precedence;

use crate::guest::{self, Devices, Place};
use crate::results::Results;
use crate::tap::{self, Tap};

/// Streams of the results.
const MEASURED: &str = "series";
const VMM: &str = "series.vmm-report";

/// A guest that says nothing for so long says nothing more.
const GUEST_TIME: Duration = Duration::from_secs(60);

/// Frames under way while the capacity is measured: the guest is never without one.
const WINDOW: u64 = 32;

/// On the one CPU of an L1 whose clock counts instructions, who has something to do must not wait for the
/// guest's time to be over. The sender stands for another machine; the device would have a CPU of its own.
const SENDER: i32 = 20;
const DEVICE: i32 = 10;

/// One line of the guest's console, or of the VMM.
enum Said {
    Guest(String),
    Vmm(String),
}

/// Measures a series; 0.
pub(crate) fn run(series: &Series, results: &Results) -> Result<i32> {
    let scenario = series.scenario().map_err(|error| anyhow!(error))?;
    let place = Place::create(&scenario)?;
    let tap = Tap::wanted_by(&scenario)?;
    let mut devices = Devices::new(&scenario, &place)?;
    let mut vmm = guest::vmm(&scenario, &place, scenario.task.word())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting shunt-vmm")?;
    let measured = watch(&scenario, &mut vmm, &mut devices, series, results);
    if measured.is_err() {
        vmm.kill().context("killing the VMM")?;
    }
    let status = vmm.wait().context("waiting for the VMM")?;
    measured?;
    devices.finish()?;
    ensure!(status.success(), "the VMM ended with {status}");
    let report = fs::read_to_string(place.report()).context("the VMM's report")?;
    let report: serde_json::Value = serde_json::from_str(&report).context("the VMM's report")?;
    send(results, VMM, &report)?;
    drop(tap);
    place.remove()?;
    Ok(0)
}

/// Follows both outputs of the VMM, and measures.
fn watch(
    scenario: &Scenario,
    vmm: &mut Child,
    devices: &mut Devices,
    series: &Series,
    results: &Results,
) -> Result<()> {
    let console = vmm.stdout.take().context("no stdout")?;
    let words = vmm.stderr.take().context("no stderr")?;
    let keyboard = vmm.stdin.take().context("no stdin")?;
    let (tell, said) = mpsc::channel();
    thread::scope(|scope| {
        let told = tell.clone();
        scope.spawn(move || {
            results.forward(console, "series.console", |line| {
                // The receiver is gone only when the guest was given up.
                let _ = told.send(Said::Guest(line.to_owned()));
            })
        });
        scope.spawn(move || {
            results.forward(words, "series.vmm", |line| {
                let _ = tell.send(Said::Vmm(line.to_owned()));
            })
        });
        let mut guest = Guest {
            keyboard,
            said,
            vmm: vmm.id(),
            is_remote: scenario.is_remote(),
            devices,
        };
        let outcome = guest.measure(series, results);
        if outcome.is_err() {
            // Ends both outputs, and with them the threads of this scope.
            vmm.kill().context("killing the VMM")?;
        }
        outcome
    })
}

/// A guest that is talked to.
struct Guest<'a> {
    keyboard: ChildStdin,
    said: Receiver<Said>,
    /// The VMM's process.
    vmm: u32,
    is_remote: bool,
    devices: &'a mut Devices,
}

impl Guest<'_> {
    /// All loads, from the first count to the end of the guest.
    fn measure(&mut self, series: &Series, results: &Results) -> Result<()> {
        self.hear("progress reflecting")?;
        precedence::give(std::process::id(), SENDER).context("the sender's precedence")?;
        match self.devices.process() {
            Some(process) => {
                precedence::give(process, DEVICE).context("the device's precedence")?
            }
            None => give_all_but_vcpus(self.vmm).context("the VMM's precedence")?,
        }
        let link = Link::open(tap::NAME).context("the sender")?;
        let first = self.count(0)?;
        let mut meter = Meter {
            before: (host_counts()?, first),
            link,
            guest: shunt_net::MAC,
            number: 0,
        };
        for &size in &series.sizes {
            let frames = series.frames;
            let full = meter.load(self, size, frames, None, Pace::Window(WINDOW))?;
            send(results, MEASURED, &full)?;
            let each = capacity(&full.outcome)?;
            for &rate in &series.rates {
                let pace = Pace::Every(each * 100 / rate);
                let measured = meter.load(self, size, frames, Some(rate), pace)?;
                send(results, MEASURED, &measured)?;
            }
        }
        writeln!(self.keyboard, "end").context("the guest's console")?;
        Ok(())
    }

    /// What the guest has counted. The VMM notes its own counters at the answer.
    fn count(&mut self, load: u32) -> Result<GuestCounts> {
        writeln!(self.keyboard, "count {load}").context("the guest's console")?;
        let json = self.hear(&format!("counted {COUNTERS_MARK} {load}"))?;
        serde_json::from_str(&json).context("the guest's counters")
    }

    /// Waits until the guest says this; what it says after that.
    fn hear(&mut self, message: &str) -> Result<String> {
        loop {
            let said = self.said.recv_timeout(GUEST_TIME);
            match said.with_context(|| format!("the guest never said {message:?}"))? {
                Said::Guest(line) => {
                    let Some(line) = line.strip_prefix("@shunt ") else {
                        continue;
                    };
                    if let Some(rest) = line.strip_prefix(message) {
                        return Ok(rest.trim().to_owned());
                    }
                    ensure!(!line.starts_with("failed"), "the guest: {line}");
                }
                Said::Vmm(line) if self.is_remote && guest::is_listening(&line) => {
                    self.devices.start()?;
                }
                Said::Vmm(_) => {}
            }
        }
    }
}

/// Sends loads, and knows what was counted before each.
struct Meter {
    before: (HostCounts, GuestCounts),
    link: Link,
    guest: [u8; 6],
    number: u32,
}

impl Meter {
    fn load(
        &mut self,
        guest: &mut Guest<'_>,
        size: usize,
        frames: usize,
        rate: Option<u64>,
        pace: Pace,
    ) -> Result<Measured> {
        self.number += 1;
        let load = Load {
            run: self.number,
            size,
            frames,
            pace,
        };
        let outcome = load::run(&self.link, self.guest, load).context("the sender")?;
        // The guest answers when everybody else is done.
        let answer = guest.count(self.number)?;
        let now = (host_counts()?, answer);
        let before = std::mem::replace(&mut self.before, now);
        Ok(Measured {
            load: self.number,
            size,
            rate,
            interval: match pace {
                Pace::Every(interval) => Some(interval),
                Pace::Window(_) => None,
            },
            outcome,
            host: now.0.since(before.0),
            guest: now.1.since(before.1),
        })
    }
}

/// The precedence of a device to a VMM that has the device in itself: to its threads that run no guest.
fn give_all_but_vcpus(vmm: u32) -> Result<()> {
    for thread in fs::read_dir(format!("/proc/{vmm}/task"))? {
        let thread = thread?.path();
        if fs::read_to_string(thread.join("comm"))?.starts_with("vcpu") {
            continue;
        }
        let id = thread.file_name().context("a thread without a number")?;
        precedence::give(id.to_string_lossy().parse()?, DEVICE)?;
    }
    Ok(())
}

/// Nanoseconds that the guest takes for a frame when it always has one.
fn capacity(full: &Outcome) -> Result<u64> {
    if full.back.received != full.sent {
        bail!("frames are lost when {WINDOW} are under way: {full:?}");
    }
    Ok(full.nanoseconds / full.sent)
}

fn host_counts() -> io::Result<HostCounts> {
    let count = |name: &str| number(tap::NAME, &format!("statistics/{name}"));
    Ok(HostCounts {
        tx_packets: count("tx_packets")?,
        tx_dropped: count("tx_dropped")?,
        rx_packets: count("rx_packets")?,
        rx_dropped: count("rx_dropped")?,
    })
}

fn send(results: &Results, stream: &str, value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string(value)?;
    let stream = stream.to_owned();
    results.send(&Event::Line { stream, text })
}
