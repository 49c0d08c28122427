// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Runs each part in a process of its own, under a watchdog, and reports in KTAP.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use module_tests::verdict::Skip;

use crate::part::{Part, Settings, PARTS};

/// Exit status of a part that is skipped, as in the kernel's kselftest.
const EXIT_SKIP: u8 = 4;

/// Runs the parts one after the other; failure when one of them failed.
pub(crate) fn run_all(parts: &[&Part], settings: &Settings, patience: Duration) -> ExitCode {
    println!("KTAP version 1");
    println!("1..{}", parts.len());
    println!(
        "# seed {}, {} s each",
        settings.seed,
        settings.time.as_secs()
    );
    let mut all_ok = true;
    for (part, number) in parts.iter().zip(1..) {
        let (name, is_ok, says) = match watch(part, settings, patience) {
            Ok((status, says)) => (part.name, status.code(), says),
            Err(error) => (part.name, None, format!("{error:#}")),
        };
        says.lines().for_each(|line| println!("# {name}: {line}"));
        match is_ok {
            Some(0) => println!("ok {number} {name}"),
            Some(code) if code == i32::from(EXIT_SKIP) => {
                println!("ok {number} {name} # SKIP {}", says.trim());
            }
            _ => {
                println!("not ok {number} {name}");
                all_ok = false;
            }
        }
    }
    match all_ok {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Runs one part in this process; the parent reads the status and standard error.
pub(crate) fn run_here(name: &str, settings: &Settings) -> ExitCode {
    let Some(part) = PARTS.iter().find(|part| part.name == name) else {
        eprintln!("there is no part {name}");
        return ExitCode::FAILURE;
    };
    match (part.run)(settings) {
        Ok(says) => {
            eprint!("{says}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            match error.is::<Skip>() {
                true => ExitCode::from(EXIT_SKIP),
                false => ExitCode::FAILURE,
            }
        }
    }
}

/// What a part says until it ends.
///
/// # Errors
///
/// It does not end in time.
fn watch(part: &Part, settings: &Settings, patience: Duration) -> Result<(ExitStatus, String)> {
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["--only", part.name])
        .args(["--seed", &settings.seed.to_string()])
        .args(["--seconds", &settings.time.as_secs().to_string()]);
    if let Some(module) = &settings.module {
        command.arg("--module").arg(module);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("start a process for the part")?;
    let mut stderr = child.stderr.take().context("standard error is a pipe")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut says = String::new();
        let result = stderr.read_to_string(&mut says).map(|_| says);
        let _ = sender.send(result);
    });
    match receiver.recv_timeout(patience) {
        Ok(says) => Ok((child.wait().context("wait")?, says.context("read")?)),
        Err(RecvTimeoutError::Timeout) => Err(hung(&mut child, patience)),
        Err(RecvTimeoutError::Disconnected) => anyhow::bail!("the reader died"),
    }
}

/// Prints what every thread of every process does, which shows who waits for whom.
fn hung(child: &mut Child, patience: Duration) -> anyhow::Error {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    // Threads of the kernel run no program.
    for process in processes.filter(|process| process.path().join("exe").read_link().is_ok()) {
        let tasks = fs::read_dir(process.path().join("task"));
        for task in tasks.into_iter().flatten().flatten() {
            let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let (path, name) = (task.path(), read("comm"));
            println!(
                "# {} {}: {}",
                path.display(),
                name.trim(),
                read("syscall").trim()
            );
            read("stack")
                .lines()
                .for_each(|line| println!("#   {line}"));
        }
    }
    // What it has started dies with it, by PR_SET_PDEATHSIG.
    let killed = child.kill();
    anyhow::anyhow!("hung for {} s; kill: {killed:?}", patience.as_secs())
}
