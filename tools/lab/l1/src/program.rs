// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The job that is one program.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result};

use crate::results::Results;

/// Runs `words` and sends its output, as the streams `name` and `name.stderr`; its exit status.
pub(crate) fn run(words: &[String], results: &Results) -> Result<i32> {
    let [program, arguments @ ..] = words else {
        anyhow::bail!("no program named");
    };
    results.step(&format!("running {}", words.join(" ")))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {program}"))?;
    let name = Path::new(program).file_name().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| -> Result<()> {
        let errors = stderr.map(|pipe| {
            let stream = format!("{name}.stderr");
            scope.spawn(move || results.forward(pipe, &stream, |_| ()))
        });
        if let Some(pipe) = stdout {
            results.forward(pipe, &name, |_| ())?;
        }
        match errors.map(thread::ScopedJoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    })?;
    let status = child
        .wait()
        .with_context(|| format!("waiting for {program}"))?;
    status
        .code()
        .with_context(|| format!("{program}: {status}"))
}
