// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The program, on a directory that looks like KVM's.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn shunt_top(directory: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shunt-top"));
    command.arg("--directory").arg(directory).args(words);
    command
}

fn run(directory: &Path, words: &[&str]) -> Output {
    shunt_top(directory, words).output().unwrap()
}

/// The VM's file, saying that the guest has read so often.
fn set(directory: &Path, vm: &str, reads: u64) {
    let text = format!(
        "bus=mmio start=0x1000 size=0x10 channel=ring user_data=0x0 reads={reads} writes=0 \
         posted=0 ruled=0 spun=0 slept={reads} failed=0 timed_out=0 waits=10:{reads}\n"
    );
    fs::create_dir_all(directory.join(vm)).unwrap();
    // As the kernel does, show the old contents or the new ones, whole.
    let new = directory.join("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, directory.join(vm).join("ioregion")).unwrap();
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn once_prints_totals() {
    let directory = tempfile::tempdir().unwrap();
    set(directory.path(), "999999999-3", 41);
    let output = run(directory.path(), &["--once"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().map(words).collect();
    assert_eq!(lines[0][6], "READS");
    let want = ["999999999-3", "-", "mmio", "0x1000", "0x10", "ring", "41"];
    assert_eq!(lines[1][..7], want);
    assert_eq!(lines[1][14..], ["2.0us", "2.0us"]);
}

#[test]
fn batch_prints_rates_while_vms_come_and_go() {
    let directory = tempfile::tempdir().unwrap();
    set(directory.path(), "1-3", 1_000_000);
    let words_of = ["--batch", "--count", "3", "--delay", "0.3"];
    let mut child = shunt_top(directory.path(), &words_of)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert_eq!(words(&next())[0], "VM");
    let first = next();
    // Nothing has happened since the program began.
    assert_eq!(words(&first)[6], "0", "{first}");
    set(directory.path(), "1-3", 3_000_000);
    next();
    let second = next();
    let rate: u64 = words(&second)[6].parse().unwrap();
    assert!((1..=2_000_000 * 4).contains(&rate), "{second}");
    fs::remove_dir_all(directory.path().join("1-3")).unwrap();
    assert_eq!(next(), "no VM has an ioregion");
    assert!(child.wait().unwrap().success());
}

#[test]
fn no_debugfs_is_said_so() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(&directory.path().join("kvm"), &["--once"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("is KVM loaded, and debugfs mounted"),
        "{text}"
    );
}

#[test]
fn a_delay_that_makes_no_sense_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for delay in ["0", "-1", "NaN", "inf", "x"] {
        let output = run(directory.path(), &["--batch", &format!("--delay={delay}")]);
        assert_eq!(output.status.code(), Some(2), "{delay}");
    }
}
