// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Boots L1 with one job, follows its events, and judges how the boot went.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use l1::event::Event;
use l1::scenario::Report;
use wait_timeout::ChildExt;

use crate::klog;
use crate::progress::{print, Step};

/// How often we look for new events, for the user's eyes only.
const GLANCE: Duration = Duration::from_millis(100);

/// How many lines of the log are shown of an L1 that died.
const LAST_WORDS: usize = 15;

/// An L1, whatever emulates it.
pub(crate) trait Emulated {
    /// What emulates it.
    fn emulator(&self) -> &'static str;

    /// CPUs for programs.
    fn cpus(&self) -> u32;

    /// The directory of its logs.
    fn directory(&self) -> &Path;

    /// The command that starts it, and that ends well when L1 powers off.
    ///
    /// # Errors
    ///
    /// A file of its own cannot be written.
    fn command(&self) -> Result<Command>;

    /// The file that L1's console is written to.
    fn log(&self) -> PathBuf {
        self.directory().join("l1.log")
    }

    /// The file that L1's events are written to.
    fn results(&self) -> PathBuf {
        self.directory().join("results.jsonl")
    }

    /// The file for what the emulator itself says. QEMU's TCG always complains that it lacks some
    /// features of the processor's model, so this is only worth reading after a failure.
    fn emulator_log(&self) -> PathBuf {
        let name = self.emulator().to_lowercase();
        self.directory().join(format!("{name}.log"))
    }
}

/// What came out of a boot.
#[derive(Default)]
pub(crate) struct Outcome {
    /// What the job's programs wrote, by stream.
    pub(crate) lines: BTreeMap<String, Vec<String>>,
    /// What became of each guest.
    pub(crate) reports: Vec<Report>,
    /// What was wrong with L1 itself, or with the job as a whole.
    pub(crate) failures: Vec<String>,
    /// The end marker: the job's status and reason.
    end: Option<(i32, Option<String>)>,
}

impl Outcome {
    /// The lines of one stream.
    pub(crate) fn stream(&self, name: &str) -> &[String] {
        self.lines.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether the job came to its end with status 0.
    pub(crate) fn succeeded(&self) -> bool {
        self.end == Some((0, None))
    }

    fn take(&mut self, event: Event, step: &Step) {
        match event {
            Event::Up => step.now("L1 is up"),
            Event::Step { text } => step.now(text),
            Event::Line { stream, text } => {
                step.now(format!("{stream}: {text}"));
                self.lines.entry(stream).or_default().push(text);
            }
            Event::Scenario(mut report) => {
                let console = self
                    .stream(&format!("{}.console", report.scenario))
                    .join("\n");
                report.failures.extend(klog::complaint("L2", &console));
                let verdict = report.failures.first().map_or("ok", String::as_str);
                print(&format!(
                    "{:9.1} s  {}: {verdict}",
                    report.seconds, report.scenario
                ));
                self.reports.push(*report);
            }
            Event::End { status, reason } => self.end = Some((status, reason)),
        }
    }

    fn judge(&mut self, emulator: &str, ended: Option<ExitStatus>, limit: Duration, log: &str) {
        self.failures.extend(klog::complaint("L1", log));
        match (ended, &self.end) {
            (_, Some((_, Some(reason)))) => self.failures.push(format!("L1: {reason}")),
            (Some(status), Some(_)) if status.success() => (),
            (Some(status), Some(_)) => self.failures.push(format!("{emulator}: {status}")),
            (ended, None) => {
                let how = match ended {
                    Some(status) => format!("L1 died ({emulator}: {status})"),
                    None => format!("L1 was killed after {} s", limit.as_secs()),
                };
                let words = klog::last_lines(log, LAST_WORDS);
                self.failures
                    .push(format!("{how}; its last lines:\n{words}"));
            }
            (None, Some(_)) => self.failures.push("L1 did not power off".to_owned()),
        }
    }
}

/// Why the job of a machine that has ended failed, if L1 said so.
///
/// # Errors
///
/// The results channel holds something else than events.
pub(crate) fn reason(machine: &dyn Emulated) -> Result<Option<String>> {
    let events = Events::open(&machine.results())?.new_ones()?;
    Ok(events.into_iter().find_map(|event| match event {
        Event::End { reason, .. } => reason,
        _ => None,
    }))
}

/// Boots the machine; after `limit` it is killed.
///
/// # Errors
///
/// The emulator cannot be started, or a log cannot be written. All else is in the [`Outcome`].
pub(crate) fn boot(machine: &dyn Emulated, name: &str, limit: Duration) -> Result<Outcome> {
    boot_and_listen(machine, name, limit, |_| Ok(()))
}

/// As [`boot`]; each line that a program in L1 writes is listened to while the machine runs.
///
/// # Errors
///
/// Those of [`boot`]. What comes of a line is in the [`Outcome`], too.
pub(crate) fn boot_and_listen(
    machine: &dyn Emulated,
    name: &str,
    limit: Duration,
    mut listen: impl FnMut(&str) -> Result<()>,
) -> Result<Outcome> {
    let step = Step::start(format!("{name} (L1 with {} CPU)", machine.cpus()));
    for old in [machine.log(), machine.results()] {
        fs::write(&old, "").with_context(|| old.display().to_string())?;
    }
    let mut outcome = Outcome::default();
    let mut events = Events::open(&machine.results())?;
    let deadline = Instant::now() + limit;
    let emulator = machine.emulator();
    let process = machine.command()?.spawn();
    let mut process = Process(process.with_context(|| format!("starting {emulator}"))?);
    let ended = loop {
        let ended = process.0.wait_timeout(GLANCE).context("waiting for it")?;
        for event in events.new_ones()? {
            if let Event::Line { text, .. } = &event {
                let error = listen(text).err();
                outcome
                    .failures
                    .extend(error.map(|error| format!("{error:#}")));
            }
            outcome.take(event, &step);
        }
        if ended.is_some() || Instant::now() >= deadline {
            break ended;
        }
    };
    drop(process);
    step.done();
    outcome.judge(emulator, ended, limit, &text(&machine.log())?);
    if outcome.end.is_none() {
        let words = klog::last_lines(&text(&machine.emulator_log())?, 3).to_owned();
        outcome
            .failures
            .push(format!("{emulator}'s last lines:\n{words}"));
    }
    write_streams(&outcome, machine.directory())?;
    Ok(outcome)
}

fn text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// An emulator that does not outlive our interest in it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Neither can fail for a child that is ours, be it dead or alive.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Each stream as a file of its own.
fn write_streams(outcome: &Outcome, directory: &Path) -> Result<()> {
    for (stream, lines) in &outcome.lines {
        let path: PathBuf = directory.join(format!("{stream}.log"));
        let mut file = File::create(&path).with_context(|| path.display().to_string())?;
        for line in lines {
            writeln!(file, "{line}").with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// The results channel, read while QEMU writes it.
struct Events {
    file: File,
    bytes: Vec<u8>,
}

impl Events {
    fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            file: File::open(path).with_context(|| path.display().to_string())?,
            bytes: Vec::new(),
        })
    }

    /// The events that arrived whole since the last call.
    fn new_ones(&mut self) -> Result<Vec<Event>> {
        self.file
            .read_to_end(&mut self.bytes)
            .context("results channel")?;
        let whole = self.bytes.iter().rposition(|&byte| byte == b'\n');
        let rest = self.bytes.split_off(whole.map_or(0, |end| end + 1));
        let lines = std::mem::replace(&mut self.bytes, rest);
        String::from_utf8_lossy(&lines)
            .lines()
            .map(|line| Event::parse(line).with_context(|| format!("results channel: {line:?}")))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    const LIMIT: Duration = Duration::from_secs(60);

    fn judged(ended: Option<i32>, end: Option<(i32, Option<String>)>, log: &str) -> Outcome {
        let mut outcome = Outcome {
            end,
            ..Outcome::default()
        };
        outcome.judge("QEMU", ended.map(ExitStatus::from_raw), LIMIT, log);
        outcome
    }

    #[test]
    fn a_clean_boot_has_no_failures() {
        let outcome = judged(Some(0), Some((0, None)), "Linux version\n");
        assert!(outcome.succeeded());
        assert_eq!(outcome.failures, [""; 0]);
    }

    #[test]
    fn a_boot_without_its_end_shows_the_last_lines() {
        for (ended, how) in [(Some(0), "died"), (None, "killed after 60 s")] {
            let outcome = judged(ended, None, "first\nlast words\n");
            assert!(!outcome.succeeded());
            assert_eq!(outcome.failures.len(), 1);
            assert!(outcome.failures[0].contains(how));
            assert!(outcome.failures[0].contains("last words"));
        }
    }

    #[test]
    fn a_warning_fails_a_boot_that_came_to_its_end() {
        let outcome = judged(
            Some(0),
            Some((0, None)),
            "WARNING: CPU: 0 PID: 1 at x.c:1\n",
        );
        assert_eq!(outcome.failures.len(), 1);
    }

    #[test]
    fn an_event_is_read_once_and_only_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("results");
        let mut writer = File::create(&path).unwrap();
        let mut events = Events::open(&path).unwrap();
        let line = Event::Up.line().unwrap();
        let (head, tail) = line.split_at(5);
        writer.write_all(head.as_bytes()).unwrap();
        assert_eq!(events.new_ones().unwrap(), []);
        writer.write_all(tail.as_bytes()).unwrap();
        assert_eq!(events.new_ones().unwrap(), [Event::Up]);
        assert_eq!(events.new_ones().unwrap(), []);
    }

    #[test]
    fn a_torn_event_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("results");
        fs::write(&path, "{\"event\":\n").unwrap();
        assert!(Events::open(&path).unwrap().new_ones().is_err());
    }
}
