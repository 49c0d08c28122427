// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The file that shows the counters, and the program that shows the file.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use ioregion_wire::uapi::KVM_IOREGION_MAX;
use libc::{EIO, ENOENT, EWOULDBLOCK};
use module_tests::verdict::Skip;
use rawguest::{Machine, Width};

use super::{fixture, mixed, path_of, Line, SIZE};
use crate::channel::{self, Transport};
use crate::check::{check_eq, expect_errno};
use crate::guest::{counting_writes, expect_halt};
use crate::region::{deassign, mmio, posted, set, MMIO};
use crate::suite::{tests, Context};

tests!(
    "counters_file",
    Ioregion,
    [
        each_region_has_its_own,
        as_many_lines_as_regions,
        file_comes_and_goes_with_the_vm,
        open_file_pins_the_module,
        shunt_top_shows_them,
    ]
);

fn each_region_has_its_own(_: &Context) -> Result<()> {
    let program = counting_writes(Width::Long, MMIO, 4);
    let (machine, mut vcpu, _device) = fixture(Transport::Ring, &program, |end| {
        posted(mmio(MMIO, SIZE, end))
    })?;
    let (end, _other_device) = channel::open(Transport::Seqpacket)?;
    let other = mmio(MMIO - SIZE, SIZE, &end);
    set(machine.fd(), &other)?;
    let (_bystander, _vcpu, _its_device) =
        fixture(Transport::Ring, &program, |end| mmio(MMIO, SIZE, end))?;
    expect_halt(&vcpu.run()?)?;
    let lines = Line::all(machine.fd())?;
    check_eq!(lines.len(), 2, "lines");
    lines[0].check(&[])?;
    lines[1].check(&[("writes", 4), ("posted", 4)])?;
    for (line, start, channel) in [
        (&lines[0], other.guest_paddr, "frames"),
        (&lines[1], MMIO, "ring"),
    ] {
        check_eq!(line.word("start")?, format!("{start:#x}"), "start");
        check_eq!(line.word("size")?, format!("{SIZE:#x}"), "size");
        check_eq!(line.word("channel")?, channel, "channel");
        check_eq!(line.word("bus")?, "mmio", "bus");
    }
    deassign(machine.fd(), &other)?;
    Line::only(machine.fd())?.check(&[("writes", 4), ("posted", 4)])
}

fn as_many_lines_as_regions(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let (end, _device) = channel::open_on(machine.fd(), Transport::Ring)?;
    for number in 0..KVM_IOREGION_MAX as u64 {
        set(machine.fd(), &mmio(MMIO + number * SIZE, SIZE, &end))?;
    }
    let lines = Line::all(machine.fd())?;
    check_eq!(lines.len(), KVM_IOREGION_MAX, "lines");
    for (line, number) in lines.iter().zip(0..) {
        let start = MMIO + number * SIZE;
        check_eq!(line.word("start")?, format!("{start:#x}"), "start");
        line.check(&[])?;
    }
    Ok(())
}

/// Opens the file of a VM and lets go of the VM.
fn orphan() -> Result<(File, PathBuf)> {
    let (machine, vcpu, device) = fixture(Transport::Ring, &mixed(), |end| mmio(MMIO, SIZE, end))?;
    let path = path_of(machine.fd())?;
    let open = File::open(&path).with_context(|| path.display().to_string())?;
    drop((machine, vcpu, device));
    Ok((open, path))
}

fn file_comes_and_goes_with_the_vm(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let path = path_of(machine.fd())?;
    expect_errno(File::open(&path), ENOENT, "open without a region")?;
    let (end, _device) = channel::open(Transport::Seqpacket)?;
    let region = mmio(MMIO, SIZE, &end);
    set(machine.fd(), &region)?;
    Line::only(machine.fd())?.check(&[])?;
    deassign(machine.fd(), &region)?;
    check_eq!(Line::all(machine.fd())?.len(), 0, "lines without a region");
    let (mut open, path) = orphan()?;
    expect_errno(File::open(path), ENOENT, "open without the VM")?;
    let read = open.read_to_string(&mut String::new());
    expect_errno(read, EIO, "read without the VM")
}

fn open_file_pins_the_module(_: &Context) -> Result<()> {
    // SAFETY: geteuid has no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return Err(Skip("not root".into()).into());
    }
    let (_open, _) = orphan()?;
    // SAFETY: the kernel reads the name, which ends.
    let result = unsafe {
        libc::syscall(
            libc::SYS_delete_module,
            c"ioregion".as_ptr(),
            libc::O_NONBLOCK,
        )
    };
    let result = match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    expect_errno(result, EWOULDBLOCK, "unload with an open file")
}

fn shunt_top_shows_them(_: &Context) -> Result<()> {
    const PROGRAM: &str = "/bin/shunt-top";
    if !Path::new(PROGRAM).exists() {
        return Err(Skip(format!("there is no {PROGRAM}")).into());
    }
    let program = counting_writes(Width::Long, MMIO, 6);
    let (machine, mut vcpu, _device) = fixture(Transport::Ring, &program, |end| {
        posted(mmio(MMIO, SIZE, end))
    })?;
    expect_halt(&vcpu.run()?)?;
    let output = Command::new(PROGRAM).arg("--once").output()?;
    let text = String::from_utf8(output.stdout)?;
    let name = path_of(machine.fd())?;
    let vm = name.parent().and_then(Path::file_name).context("a name")?;
    let rows = text.lines().map(|line| line.split_whitespace().collect());
    let row: Option<Vec<&str>> = rows.into_iter().find(|row: &Vec<_>| vm == row[0]);
    let row = row.with_context(|| format!("no {vm:?} in {text}"))?;
    let command = fs::read_to_string("/proc/self/comm")?;
    let start = format!("{MMIO:#x}");
    let want = [
        command.trim_end(),
        "mmio",
        &start,
        "0x1000",
        "ring",
        "0",
        "6",
        "6",
        "0",
        "0",
        "0",
        "0",
        "0",
        "-",
        "-",
    ];
    check_eq!(row[1..], want, "row of shunt-top");
    Ok(())
}
