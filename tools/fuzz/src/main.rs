// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Runs the fuzz targets of the pure crates, guided by coverage, and keeps what is new.
//!
//! The engine is libFuzzer, from the crate `libfuzzer-sys`. It is compiled with the compiler in
//! use: the coverage that it needs is in LLVM, and its flags are stable. No sanitizer is
//! needed, as there is no unsafe code in what is fuzzed; overflows and failed assertions are
//! found because both are checked.
//!
//! Inputs lie in `out/fuzz/<target>`; those that reach something new are appended to the
//! target's saved corpus, which every `cargo test` replays.

mod engine;
mod saved;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{ensure, Context, Result};
use clap::Parser;
use engine::Engine;
use fuzz_targets::{Target, TARGETS};

/// Runs the fuzz targets of the pure crates, guided by coverage.
#[derive(Parser)]
struct Options {
    /// Run only the targets of these names.
    targets: Vec<String>,
    /// Seconds in all, shared by the targets.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Replace each saved corpus by the fewest inputs that reach as much.
    #[arg(long)]
    minimise: bool,
    /// Top of the checkout.
    #[arg(long, default_value = ".")]
    root: PathBuf,
}

fn main() -> ExitCode {
    match fuzz(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fuzz: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Fuzzes each target in turn. Says whether all kept their promises.
fn fuzz(options: &Options) -> Result<bool> {
    let targets = select(&options.targets)?;
    let engine = Engine::build(&options.root)?;
    let seconds = (options.seconds / targets.len() as u64).max(1);
    let mut all_hold = true;
    for target in targets {
        let place = options.root.join("out/fuzz").join(target.name);
        let corpus = saved::path(&options.root, target.name);
        let result = fuzz_target(&engine, target, &place, &corpus, seconds, options.minimise);
        let report = result.unwrap_or_else(|error| {
            all_hold = false;
            format!("FAILED {error:#}")
        });
        println!("{:18} {report}", target.name);
    }
    Ok(all_hold)
}

fn select(names: &[String]) -> Result<Vec<&'static Target>> {
    for name in names {
        let is_known = TARGETS.iter().any(|target| target.name == name);
        ensure!(is_known, "there is no target {name}");
    }
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let targets = TARGETS.iter();
    Ok(targets.filter(|target| is_wanted(target.name)).collect())
}

/// Fuzzes one target and saves what is new. Tells how much that is.
fn fuzz_target(
    engine: &Engine,
    target: &Target,
    place: &Path,
    corpus: &Path,
    seconds: u64,
    minimise: bool,
) -> Result<String> {
    let (old, found) = (saved::fresh(&place.join("saved"))?, place.join("found"));
    std::fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
    let before = saved::unpack(corpus, &old)?;
    let stats = engine.fuzz(target.name, place, &[&found, &old], seconds)?;
    let after = if minimise {
        let fewest = saved::fresh(&place.join("fewest"))?;
        engine.minimise(target.name, &fewest, &[&old, &found])?;
        saved::replace(corpus, &fewest)?
    } else {
        engine.merge(target.name, &old, &found)?;
        saved::append(corpus, &old)?
    };
    Ok(format!(
        "{stats}; saved inputs: {before} before, {after} now"
    ))
}
