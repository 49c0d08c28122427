// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Running other programs: what they print, whether they worked, why not.

use crate::progress::Step;
use anyhow::{anyhow, bail, Context, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How many lines of a log are shown when the program that wrote it fails.
const TAIL: usize = 40;

/// Runs a program to its end and returns what it wrote to standard output.
///
/// # Errors
///
/// It cannot be started, or it fails: the error then holds its standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = describe(command);
    let output = command
        .output()
        .with_context(|| format!("cannot start `{name}`"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        bail!(
            "`{name}` failed ({}):\n{}",
            output.status,
            reason.trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program with both its outputs appended to `log`, and hands each line of its
/// standard output to `each`.
///
/// # Errors
///
/// It cannot be started, or it fails: the error then ends with the tail of the log.
pub(crate) fn logged(command: &mut Command, log: &Path, mut each: impl FnMut(&str)) -> Result<()> {
    let name = describe(command);
    let mut file = append(log)?;
    writeln!(file, "$ {name}")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(file.try_clone().context("cannot share the log file")?)
        .spawn()
        .with_context(|| format!("cannot start `{name}`"))?;
    let stdout = child
        .stdout
        .take()
        .ok_or_else(|| anyhow!("`{name}` has no standard output"))?;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.with_context(|| format!("cannot read from `{name}`"))?;
        let line = String::from_utf8_lossy(&line);
        writeln!(file, "{line}")?;
        each(&line);
    }
    let status = child.wait()?;
    if !status.success() {
        bail!(
            "`{name}` failed ({status}); the end of {}:\n{}",
            log.display(),
            tail(log)
        );
    }
    Ok(())
}

/// Like [`logged`], with each line of output as one advance of a step.
///
/// # Errors
///
/// Those of [`logged`].
pub(crate) fn stepped(command: &mut Command, log: &Path, step: &Step) -> Result<()> {
    logged(command, log, |line| step.advance(line))
}

/// Where a program of this name lies on `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    // Some of the tools we need are for the administrator, whose directories need not
    // be on the path of everybody.
    let search = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&search)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

fn append(log: &Path) -> Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))
}

fn describe(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_a_failing_program_is_an_error_with_its_words() {
        let error = output(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("why") && text.contains("3"), "{text}");
    }

    #[test]
    fn logged_keeps_both_outputs_and_hands_lines_on() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut seen = Vec::new();
        let result = logged(
            Command::new("sh").args(["-c", "echo one; echo two >&2; exit 1"]),
            &log,
            |line| seen.push(line.to_string()),
        );
        assert_eq!(seen, ["one"]);
        let text = result.unwrap_err().to_string();
        assert!(text.contains("one") && text.contains("two"), "{text}");
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-here").is_none());
    }
}
