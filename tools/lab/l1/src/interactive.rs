// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The jobs with a person at the console.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use l1::scenario::Scenario;
use rustix::termios::{tcgetattr, tcsetattr, OptionalActions};

use crate::guest::{self, Devices, Place};
use crate::results::Results;
use crate::tap::Tap;

const CONSOLE: &str = "/dev/ttyS0";

const HINT: &str = "
This is L1. Leave with `exit`; Ctrl-A X ends QEMU. To try:
  (sleep 1; shunt-blk --connect /tmp/disk.sock --image /images/root.ext4) &
  shunt-vmm --kernel /images/vmlinux --memory 128 \\
      --cmdline 'console=ttyS0 panic=-1 root=/dev/vda rw init=/init shunt.guest=shell' \\
      --disk socket=/tmp/disk.sock,dispatch=ioregion --report /tmp/report.json
  selftests          bench          dmesg | tail          lsmod
";

fn console() -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(CONSOLE)
        .context(CONSOLE)
}

/// A shell with job control on the console; its exit status.
pub(crate) fn shell() -> Result<i32> {
    println!("{HINT}");
    let status = Command::new("/bin/setsid")
        .args(["-c", "/bin/sh"])
        .envs([("PATH", "/bin:/sbin"), ("HOME", "/tmp"), ("PS1", "L1# ")])
        .stdin(console()?)
        .stdout(console()?)
        .stderr(console()?)
        .status()
        .context("starting the shell")?;
    status.code().with_context(|| format!("shell: {status}"))
}

/// Boots a guest whose console is ours; the VMM's exit status.
pub(crate) fn guest(name: &str, results: &Results) -> Result<i32> {
    let scenario = Scenario::find(name).with_context(|| format!("no scenario {name}"))?;
    let place = Place::create(scenario)?;
    let _tap = Tap::wanted_by(scenario)?;
    let mut devices = Devices::new(scenario, &place)?;
    let console = console()?;
    let mut termios = tcgetattr(&console).context(CONSOLE)?;
    termios.make_raw();
    tcsetattr(&console, OptionalActions::Now, &termios).context(CONSOLE)?;
    let mut vmm = guest::vmm(scenario, &place, "shell")
        .stdin(console.try_clone()?)
        .stdout(console)
        .stderr(Stdio::piped())
        .spawn()
        .context("starting shunt-vmm")?;
    for line in BufReader::new(vmm.stderr.take().context("no stderr")?).lines() {
        let line = line.context("reading the VMM's messages")?;
        results.step(&line)?;
        if scenario.is_remote() && guest::is_listening(&line) {
            devices.start()?;
        }
    }
    let status = vmm.wait()?;
    devices.finish()?;
    status
        .code()
        .with_context(|| format!("shunt-vmm: {status}"))
}
