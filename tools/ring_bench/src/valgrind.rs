// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! This program once more, with valgrind watching what [`crate::played`] does.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{ensure, Context, Result};

use crate::case::{Case, Whose};
use crate::played::BUFFERS;
use crate::trace::Trace;

const NO_VALGRIND: &str = "valgrind cannot be started: is it installed?";

/// The functions of a driver that are counted, with all that they call.
const fn counted(whose: Whose) -> [&'static str; 2] {
    match whose {
        Whose::Ours => [
            "<ring_bench::ours::Ours as ring_bench::driver::Driver>::offer",
            "<ring_bench::ours::Ours as ring_bench::driver::Driver>::collect",
        ],
        Whose::Kernels => ["driver_offer", "driver_collect"],
    }
}

/// Instructions of the driver per buffer, of each case: what callgrind counts.
///
/// # Errors
///
/// There is no valgrind, or it failed.
pub(crate) fn instructions() -> Result<Vec<f64>> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("count");
    let functions = [Whose::Ours, Whose::Kernels].map(counted).concat();
    let toggle = |function: &&str| format!("--toggle-collect={function}");
    let mut options: Vec<String> = functions.iter().map(toggle).collect();
    options.extend([
        format!("--callgrind-out-file={}", file.display()),
        "--zero-before=*::count_begins".to_owned(),
        "--dump-before=*::count_ends".to_owned(),
    ]);
    let output = watched("callgrind", &options)?.output();
    let output = output.context(NO_VALGRIND)?;
    let says = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "callgrind: {says}");
    // One file for each case, in turn, numbered from 1 on.
    let count = |(number, case): (usize, Case)| {
        let text = fs::read_to_string(format!("{}.{number}", file.display()))?;
        total(&text, case.whose).with_context(|| format!("callgrind did not count {case}"))
    };
    (1..).zip(Case::all()).map(count).collect()
}

/// The instructions in one of callgrind's files, per buffer, if the functions are in it.
fn total(text: &str, whose: Whose) -> Option<f64> {
    for name in counted(whose) {
        let end = format!(") {name}");
        text.lines().find(|line| line.ends_with(&end))?;
    }
    let mut lines = text.lines();
    let total = lines.find_map(|line| line.strip_prefix("totals: "))?;
    Some(total.trim().parse::<f64>().ok()? / BUFFERS as f64)
}

/// Cache-line transfers per buffer, of each case: lackey traces every access.
///
/// # Errors
///
/// There is no valgrind, it failed, or the trace is not what we expect.
pub(crate) fn transfers() -> Result<Vec<f64>> {
    let options = ["--trace-mem=yes", "--log-fd=1"].map(str::to_owned);
    let mut lackey = watched("lackey", &options)?;
    let child = lackey.stdout(Stdio::piped()).spawn();
    let mut child = child.context(NO_VALGRIND)?;
    let lines = BufReader::new(child.stdout.take().context("no stdout")?);
    let mut trace = Trace::default();
    for line in lines.lines() {
        trace.line(&line?)?;
    }
    ensure!(child.wait()?.success(), "lackey failed");
    let counts = trace.counts();
    ensure!(
        counts.len() == Case::all().count(),
        "a trace with {counts:?}"
    );
    let per_buffer = |&count: &u64| count as f64 / BUFFERS as f64;
    Ok(counts.iter().map(per_buffer).collect())
}

/// This program under one of valgrind's tools, with options of that tool.
fn watched(tool: &str, options: &[String]) -> Result<Command> {
    let mut command = Command::new("valgrind");
    command
        .arg(format!("--tool={tool}"))
        .args(options)
        .arg(env::current_exe().context("where this program is")?)
        .arg("--play");
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_is_per_buffer_and_of_the_drivers_functions() {
        let text = "events: Ir\nfn=(7) driver_offer\ncfn=(8) driver_collect\n\ntotals: 76800\n";
        assert_eq!(total(text, Whose::Kernels), Some(300.0));
        assert_eq!(total(text, Whose::Ours), None);
        assert_eq!(total(&text.replace("totals", ""), Whose::Kernels), None);
    }
}
