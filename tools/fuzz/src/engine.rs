// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Building libFuzzer around the targets, and running it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{bail, ensure, Context, Result};
use fuzz_targets::corpus::MAX_INPUT;

/// Makes the compiler count edges and tell what is compared, as libFuzzer wants it.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    // One unit per crate: else the linker drops the counters of some.
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Coverflow-checks",
];

/// Seconds after which an input counts as a hang.
const HANG: u32 = 10;

/// The program.
pub(crate) struct Engine {
    program: PathBuf,
}

impl Engine {
    /// Compiles it, if it is not up to date.
    ///
    /// # Errors
    ///
    /// The compiler, or a C++ compiler, is missing or not content.
    pub(crate) fn build(root: &Path) -> Result<Self> {
        let directory = root.join("out/fuzz/target");
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        let directory = directory.canonicalize().context("out/fuzz/target")?;
        let host = host()?;
        let status = Command::new("cargo")
            .args(["build", "--release", "--quiet", "--package", "fuzz"])
            .args(["--bin", "fuzz-engine", "--features", "engine"])
            // With a target, what runs at build time is not instrumented.
            .args(["--target", &host])
            .arg("--manifest-path")
            .arg(root.join("tools/Cargo.toml"))
            .arg("--target-dir")
            .arg(&directory)
            .env("RUSTFLAGS", COVERAGE.join(" "))
            .status()
            .context("starting cargo")?;
        ensure!(status.success(), "cargo cannot build the engine: {status}");
        Ok(Self {
            program: directory.join(host).join("release/fuzz-engine"),
        })
    }

    /// Fuzzes a target, with the inputs in `corpora`; new ones go into the first. What breaks a
    /// promise is left in `place`. Tells how many runs there were.
    ///
    /// # Errors
    ///
    /// A promise is broken; the error says which, and the input as a line of a corpus.
    pub(crate) fn fuzz(
        &self,
        target: &str,
        place: &Path,
        corpora: &[&Path],
        seconds: u64,
    ) -> Result<String> {
        let artifact = place.join("culprit");
        let _ = fs::remove_file(&artifact);
        let mut command = self.command(target);
        command
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={MAX_INPUT}"))
            .arg(format!("-timeout={HANG}"))
            .arg(format!("-exact_artifact_path={}", artifact.display()))
            .arg("-print_final_stats=1")
            .args(corpora);
        let output = command.output().context("starting the engine")?;
        let log = words(&output);
        fs::write(place.join("log"), &log).with_context(|| place.display().to_string())?;
        if !output.status.success() {
            bail!("{}\n{}", broken_promise(&log), culprit(&artifact));
        }
        let runs = statistic(&log, "number_of_executed_units");
        let pace = statistic(&log, "average_exec_per_sec");
        Ok(format!("{runs} runs in {seconds} s, {pace}/s"))
    }

    /// Adds to `corpus` the inputs of `others` that reach more than it does.
    ///
    /// # Errors
    ///
    /// The engine fails.
    pub(crate) fn merge(&self, target: &str, corpus: &Path, others: &Path) -> Result<()> {
        self.finish(self.command(target).arg("-merge=1").arg(corpus).arg(others))
    }

    /// Puts into `fewest`, which is empty, the fewest inputs that reach what all of `corpora` do.
    ///
    /// # Errors
    ///
    /// The engine fails.
    pub(crate) fn minimise(&self, target: &str, fewest: &Path, corpora: &[&Path]) -> Result<()> {
        let mut command = self.command(target);
        self.finish(command.arg("-set_cover_merge=1").arg(fewest).args(corpora))
    }

    fn command(&self, target: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env("FUZZ_TARGET", target);
        command
    }

    fn finish(&self, command: &mut Command) -> Result<()> {
        let output = command.output().context("starting the engine")?;
        ensure!(output.status.success(), "merging: {}", words(&output));
        Ok(())
    }
}

/// The platform that the compiler builds for when it is not told.
fn host() -> Result<String> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("starting rustc")?;
    let text = words(&output);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names no host")
}

fn words(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// What the target panicked with, else the engine's own complaint.
fn broken_promise(log: &str) -> &str {
    let mut lines = log.lines();
    let panic = lines.find(|line| line.contains(" panicked at "));
    let message = panic.and_then(|_| lines.next());
    let complaint = || log.lines().find(|line| line.contains("ERROR: libFuzzer"));
    message.or_else(complaint).unwrap_or("the engine failed")
}

fn culprit(artifact: &Path) -> String {
    match fs::read(artifact) {
        Ok(bytes) => format!("the input is {}", crate::saved::line(&bytes)),
        Err(_) => "there is no input to it".to_owned(),
    }
}

/// A number that libFuzzer tells at its end: `stat::name: 5`.
fn statistic<'a>(log: &'a str, name: &str) -> &'a str {
    let line = log
        .lines()
        .filter_map(|line| line.strip_prefix("stat::"))
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map_or("?", str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_broke_is_told_in_its_own_words() {
        let log = "#1 INITED\nthread 'x' (7) panicked at a.rs:1:2:\nspecs: its bus\nnote: more";
        assert_eq!(broken_promise(log), "specs: its bus");
        let hang = "#1\n==5== ERROR: libFuzzer: timeout after 10 seconds";
        assert!(broken_promise(hang).ends_with("timeout after 10 seconds"));
    }

    #[test]
    fn statistics_are_read() {
        let log = "Done\nstat::number_of_executed_units: 123\nstat::average_exec_per_sec:     4";
        assert_eq!(statistic(log, "average_exec_per_sec"), "4");
        assert_eq!(statistic(log, "number_of_executed_units"), "123");
        assert_eq!(statistic("", "average_exec_per_sec"), "?");
    }
}
