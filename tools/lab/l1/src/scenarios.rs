// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Boots a guest for each scenario, kills its device process where the scenario
//! says so, and checks what is left.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use l1::event::Event;
use l1::image;
use l1::scenario::{GuestReport, Kill, Report, Scenario, Task};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use crate::guest::{self, Devices, Place};
use crate::results::Results;
use crate::tap::Tap;

/// A guest that has not ended by then never will.
const GUEST_TIME: Duration = Duration::from_secs(120);

/// The lab's list of the root image's files.
const MANIFEST: &str = "/images/files.sha256";

/// What the guest's init puts before each line meant for us.
const MARK: &str = "@shunt ";

/// One line of the VMM.
enum Seen {
    /// Of the guest's console.
    Console(String),
    /// Of the VMM itself.
    Vmm(String),
}

/// Runs the named scenarios one after the other; 0 when none failed.
pub(crate) fn run(names: &[String], results: &Results) -> Result<i32> {
    let mut status = 0;
    for name in names {
        let scenario = Scenario::find(name).with_context(|| format!("no scenario {name}"))?;
        let report = judge(scenario, results)?;
        if !report.failures.is_empty() {
            status = 1;
        }
        results.send(&Event::Scenario(Box::new(report)))?;
    }
    Ok(status)
}

/// One scenario from the copy of the image to the check of it.
fn judge(scenario: &Scenario, results: &Results) -> Result<Report> {
    results.step(&format!("guest {}", scenario.name))?;
    let place = Place::create(scenario)?;
    let tap = Tap::wanted_by(scenario)?;
    let mut attempt = Attempt::new(scenario, &place)?;
    let outcome = attempt.boot(&place, results);
    let Attempt {
        devices,
        mut report,
        ..
    } = attempt;
    report.device_processes = devices.started;
    report
        .failures
        .extend(outcome.err().map(|e| format!("{e:#}")));
    if scenario.is_remote() {
        let log = File::open(place.device_log()).context("device log")?;
        results.forward(log, &format!("{}.device", scenario.name), |_| ())?;
    }
    drop(tap);
    if let Some(guest) = &report.guest {
        results.step(&format!("checking the image of {}", scenario.name))?;
        match image::check(&place.image(), &place.dump(), Path::new(MANIFEST), guest) {
            Ok(found) => report.image = Some(found),
            Err(error) => report.failures.push(format!("image: {error:#}")),
        }
    }
    place.remove()?;
    Ok(report)
}

/// The life of one guest.
struct Attempt<'a> {
    scenario: &'a Scenario,
    devices: Devices,
    /// The kills that are yet to come.
    kills: &'a [Kill],
    /// Device processes that serve the VMM, or did.
    connected: u32,
    /// Where the guest has come to.
    stages: HashSet<String>,
    /// What the VMM said last: the reason, should it fail.
    last_words: String,
    report: Report,
}

impl<'a> Attempt<'a> {
    fn new(scenario: &'a Scenario, place: &Place) -> Result<Self> {
        Ok(Self {
            scenario,
            devices: Devices::new(scenario, place)?,
            kills: scenario.kills,
            connected: 0,
            stages: HashSet::new(),
            last_words: String::new(),
            report: Report {
                scenario: scenario.name.to_owned(),
                ..Report::default()
            },
        })
    }

    /// From the VMM's start to the end of everything that serves the guest.
    fn boot(&mut self, place: &Place, results: &Results) -> Result<()> {
        let start = Instant::now();
        let mut vmm = guest::vmm(self.scenario, place, self.scenario.task.word())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting shunt-vmm")?;
        let watched = self.watch(&mut vmm, results);
        if watched.is_err() {
            vmm.kill().context("killing the VMM")?;
        }
        let status = vmm.wait().context("waiting for the VMM")?;
        self.report.seconds = start.elapsed().as_secs_f64();
        let finished = self.devices.finish();
        watched?;
        ensure!(
            status.success(),
            "the VMM ended with {status}: {}",
            self.last_words
        );
        finished?;
        let json = fs::read_to_string(place.report()).context("the VMM's report")?;
        self.report.vmm = Some(serde_json::from_str(&json).context("the VMM's report")?);
        ensure!(
            match self.scenario.task {
                Task::Files => self.report.guest.is_some(),
                Task::Packets => self.report.packets.is_some(),
                Task::Bytes => self.report.bytes.is_some(),
                Task::Load | Task::Reflection => true,
            },
            "the guest ended without a report"
        );
        if let Some(next) = self.kills.first() {
            bail!("the guest never came to {next:?}, where its device was to be killed");
        }
        Ok(())
    }

    /// Sends on and acts on what VMM and guest print, until both outputs end.
    fn watch(&mut self, vmm: &mut Child, results: &Results) -> Result<()> {
        let console = vmm.stdout.take().context("no stdout")?;
        let words = vmm.stderr.take().context("no stderr")?;
        let (to_us, seen) = mpsc::channel();
        let (over, when_over) = mpsc::channel();
        let pid = vmm.id();
        let name = self.scenario.name;
        thread::scope(|scope| {
            let tell = to_us.clone();
            scope.spawn(move || {
                results.forward(console, &format!("{name}.console"), |line| {
                    // The receiver is gone only when the guest was given up.
                    let _ = tell.send(Seen::Console(line.to_owned()));
                })
            });
            scope.spawn(move || {
                results.forward(words, &format!("{name}.vmm"), |line| {
                    let _ = to_us.send(Seen::Vmm(line.to_owned()));
                })
            });
            let watchdog = scope.spawn(move || kill_late(pid, &when_over));
            let outcome = self.follow(&seen);
            drop(over);
            if outcome.is_err() {
                // Ends both outputs, and with them the threads of this scope.
                vmm.kill().context("killing the VMM")?;
            }
            match watchdog.join() {
                Ok(true) => bail!("the guest did not end within {GUEST_TIME:?}"),
                Ok(false) => outcome,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Acts on each line until both outputs have ended.
    fn follow(&mut self, seen: &Receiver<Seen>) -> Result<()> {
        while let Ok(line) = seen.recv() {
            match line {
                Seen::Console(line) => {
                    if let Some(message) = line.strip_prefix(MARK) {
                        self.guest_says(message)?;
                    }
                }
                Seen::Vmm(line) => {
                    if self.scenario.is_remote() && guest::is_listening(&line) {
                        self.report.device_uid = Some(self.devices.start()?);
                    }
                    if guest::is_connected(&line) {
                        self.connected += 1;
                        self.kill_if_due()?;
                    }
                    self.last_words = line;
                }
            }
        }
        Ok(())
    }

    /// A device process dies in its work: not before it is connected, even if the guest, which
    /// does not need it all the time, has come further by then.
    fn kill_if_due(&mut self) -> Result<()> {
        let [next, later @ ..] = self.kills else {
            return Ok(());
        };
        if self.stages.contains(next.stage) && self.connected == self.devices.started {
            let doing = self.devices.replace(next.crossing)?;
            self.report.kills.push(format!("{}: {doing}", next.stage));
            self.kills = later;
        }
        Ok(())
    }

    fn guest_says(&mut self, message: &str) -> Result<()> {
        match message.split_once(' ').unwrap_or((message, "")) {
            ("progress", stage) => {
                self.stages.insert(stage.to_owned());
                self.kill_if_due()?;
            }
            ("report", json) if self.scenario.task == Task::Packets => {
                let report = serde_json::from_str(json).context("the guest's report")?;
                self.report.packets = Some(report);
            }
            ("report", json) if self.scenario.task == Task::Bytes => {
                let report = serde_json::from_str(json).context("the guest's report")?;
                self.report.bytes = Some(report);
            }
            ("report", json) => {
                let report: GuestReport =
                    serde_json::from_str(json).context("the guest's report")?;
                self.report.guest = Some(report);
            }
            ("failed", reason) => self.report.failures.push(format!("guest: {reason}")),
            _ => bail!("the guest says {message:?}"),
        }
        Ok(())
    }
}

/// Kills the VMM unless it is over in time; whether it had to. That wakes whoever waits for
/// the guest, or for the device process that serves it.
fn kill_late(vmm: u32, over: &Receiver<()>) -> bool {
    let is_late = over.recv_timeout(GUEST_TIME) == Err(RecvTimeoutError::Timeout);
    if is_late {
        // Nobody has waited for the process yet, so its id is still its own.
        let _ = kill(Pid::from_raw(vmm as i32), Signal::SIGKILL);
    }
    is_late
}
