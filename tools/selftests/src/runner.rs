// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Runs each test in a process of its own, under a watchdog, and reports in KTAP.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use module_tests::verdict::Skip;

use crate::autopsy;
use crate::suite::{self, Context, Test};

/// Exit status of a process whose test is skipped, as in the kernel's kselftest.
const EXIT_SKIP: u8 = 4;
/// How long a killed process may take to go.
const GRACE: Duration = Duration::from_secs(5);

enum Verdict {
    Passed,
    Skipped(String),
    Failed(String),
}

/// Runs the tests one after the other; failure when one of them failed.
pub(crate) fn run_all(tests: &[&Test], context: &Context, timeout: Duration) -> ExitCode {
    println!("KTAP version 1");
    println!("1..{}", tests.len());
    let mut failed = 0;
    for (test, number) in tests.iter().zip(1..) {
        match run_in_child(test, context, timeout) {
            Ok(Verdict::Passed) => println!("ok {number} {}", test.name),
            Ok(Verdict::Skipped(reason)) => println!("ok {number} {} # SKIP {reason}", test.name),
            Ok(Verdict::Failed(reason)) => {
                println!("# {}: {reason}", test.name);
                println!("not ok {number} {}", test.name);
                failed += 1;
            }
            Err(error) => {
                println!("# {}: {error:#}", test.name);
                println!("not ok {number} {}", test.name);
                failed += 1;
            }
        }
        // A reader on the other side of a serial line sees each result when it is there; one
        // that has gone away shall not stop the run.
        let _ = std::io::stdout().flush();
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs one test in this process; the parent reads the status and standard error.
pub(crate) fn run_here(name: &str, context: &Context) -> ExitCode {
    let Some(test) = suite::all().find(|test| test.name == name) else {
        eprintln!("there is no test {name}");
        return ExitCode::FAILURE;
    };
    // Rust ignores SIGPIPE. A test shall die of one that KVM raises in its threads.
    // SAFETY: the default action of a signal needs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    match test.attempt(context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            if error.is::<Skip>() {
                ExitCode::from(EXIT_SKIP)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn run_in_child(test: &Test, context: &Context, timeout: Duration) -> Result<Verdict> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--only", test.name]);
    command.args(["--slower", &context.slower.to_string()]);
    if let Some(module) = &context.module {
        command.arg("--module").arg(module);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start a process for the test")?;
    let lines = read_lines(&mut child)?;
    match collect(&lines, Instant::now() + timeout) {
        (said, true) => Ok(judge(child.wait().context("wait")?, said)),
        (said, false) => {
            said.iter().for_each(|line| println!("# {line}"));
            println!("# {}: hung for {} s", test.name, timeout.as_secs());
            autopsy::print(child.id());
            end(&mut child, &lines)
        }
    }
}

/// Lines of the child's standard error; the channel closes when the child has ended.
fn read_lines(child: &mut Child) -> Result<Receiver<String>> {
    let stderr = child.stderr.take().context("standard error is a pipe")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(stderr).lines().map_while(Result::ok);
        lines
            .take_while(|line| sender.send(line.clone()).is_ok())
            .for_each(drop);
    });
    Ok(receiver)
}

/// What the child says until it ends (true) or the deadline passes (false).
fn collect(lines: &Receiver<String>, deadline: Instant) -> (Vec<String>, bool) {
    let mut said = Vec::new();
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => said.push(line),
            Err(RecvTimeoutError::Disconnected) => return (said, true),
            Err(RecvTimeoutError::Timeout) => return (said, false),
        }
    }
}

fn judge(status: ExitStatus, mut said: Vec<String>) -> Verdict {
    let last = said.pop().unwrap_or_default();
    if status.success() {
        return Verdict::Passed;
    }
    if status.code() == Some(EXIT_SKIP.into()) {
        return Verdict::Skipped(last);
    }
    said.iter().for_each(|line| println!("# {line}"));
    match status.signal() {
        Some(signal) => Verdict::Failed(format!("{last} (killed by signal {signal})")),
        None => Verdict::Failed(last),
    }
}

/// Kills a hung test. A task that the kernel does not let go is left behind.
fn end(child: &mut Child, lines: &Receiver<String>) -> Result<Verdict> {
    child.kill().context("kill")?;
    if collect(lines, Instant::now() + GRACE).1 {
        child.wait().context("wait")?;
        return Ok(Verdict::Failed("watchdog".into()));
    }
    autopsy::print(child.id());
    Ok(Verdict::Failed("watchdog; cannot be killed".into()))
}
