// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The tracepoints, read through tracefs, and the bpftrace scripts that use them.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context as _, Result};
use libc::EPIPE;
use module_tests::trace_buffer::TraceBuffer;
use module_tests::verdict::Skip;
use rawguest::{Asm, Mem, Reg, Width};

use super::access::{commands, VALUE};
use super::counters::{fixture, set_doorbell};
use crate::channel::{Transport, TRANSPORTS};
use crate::check::check_eq;
use crate::guest::{counting_writes, expect_halt, read_once, sum_of_reads, write_once};
use crate::region::{mmio, pio, posted, MMIO, PORT};
use crate::stage::while_running;
use crate::suite::{tests, Context};
use vmm_sys_util::eventfd::EventFd;

tests!(
    "trace",
    Ioregion,
    [
        reads_and_writes,
        posted_writes,
        port_access,
        wait_is_as_long_as_it_was,
        failure,
        rule,
        one_pair_for_an_access_of_several_pieces,
        script_latency,
        script_hot,
    ]
);

const SIZE: u64 = 0x1000;
/// How long bpftrace may take to see a signal.
const PATIENCE: Duration = Duration::from_secs(3);
const SCRIPTS: &str = "/share/bpftrace";

/// A trace buffer of our own, with the events of ioregion on.
struct Trace(TraceBuffer);

impl Trace {
    fn start() -> Result<Self> {
        TraceBuffer::start("ioregion").map(Self)
    }

    /// The events so far: name and fields.
    fn events(&self) -> Result<Vec<String>> {
        let text = self.0.text()?;
        let event = |line: &str| line.find("ioregion_").map(|at| line[at..].to_owned());
        Ok(text.lines().filter_map(event).collect())
    }

    /// The events so far, but for how the waits went: that depends on who is quicker.
    fn events_without_waits(&self) -> Result<Vec<String>> {
        let cut = |event: String| match event.split_once(" how=") {
            Some((head, _)) => head.to_owned(),
            None => event,
        };
        Ok(self.events()?.into_iter().map(cut).collect())
    }
}

/// The value of a field of an event.
fn field<'a>(event: &'a str, key: &str) -> Result<&'a str> {
    let mut words = event.split(' ').filter_map(|word| word.split_once('='));
    let found = words.find(|(name, _)| *name == key);
    Ok(found.with_context(|| format!("no {key} in {event}"))?.1)
}

fn by(transport: Transport) -> &'static str {
    match transport {
        Transport::Ring => "ring",
        _ => "frames",
    }
}

fn reads_and_writes(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let mut program = Asm::long();
        program
            .mov(Reg::Bx, MMIO + 0x20)
            .load(Width::Long, Reg::Ax, Mem::At(Reg::Bx))
            .mov(Reg::Ax, 0x1234)
            .store(Width::Word, Mem::At(Reg::Bx), Reg::Ax)
            .halt();
        let (_machine, mut vcpu, mut device) =
            fixture(transport, &program, |end| mmio(MMIO, SIZE, end))?;
        let trace = Trace::start()?;
        commands(&mut vcpu, &mut device)?;
        let by = by(transport);
        let access = format!("vcpu=0 bus=mmio region={MMIO:#x} addr={:#x}", MMIO + 0x20);
        let value = VALUE as u32;
        let want = [
            format!("ioregion_dispatch: {access} size=4 kind=read data=0x0 by={by}"),
            format!("ioregion_complete: {access} kind=read data={value:#x}"),
            format!("ioregion_dispatch: {access} size=2 kind=write data=0x1234 by={by}"),
            format!("ioregion_complete: {access} kind=write data=0x1234"),
        ];
        check_eq!(trace.events_without_waits()?, want, "events, {transport:?}");
    }
    Ok(())
}

fn posted_writes(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let program = write_once(Width::Long, MMIO, 0x55);
        let (_machine, mut vcpu, _device) =
            fixture(transport, &program, |end| posted(mmio(MMIO, SIZE, end)))?;
        let trace = Trace::start()?;
        expect_halt(&vcpu.run()?)?;
        let by = by(transport);
        let access = format!("vcpu=0 bus=mmio region={MMIO:#x} addr={MMIO:#x}");
        let want = [
            format!("ioregion_dispatch: {access} size=4 kind=posted data=0x55 by={by}"),
            format!(
                "ioregion_complete: {access} kind=posted data=0x55 how=at-once wait_ns=0 error=0"
            ),
        ];
        check_eq!(trace.events()?, want, "events, {transport:?}");
    }
    Ok(())
}

fn port_access(_: &Context) -> Result<()> {
    let mut program = Asm::long();
    program
        .mov(Reg::Dx, u64::from(PORT) + 2)
        .mov(Reg::Ax, 0x77)
        .port_out(Width::Byte)
        .halt();
    let (_machine, mut vcpu, mut device) =
        fixture(Transport::Stream, &program, |end| pio(PORT, 8, end))?;
    let trace = Trace::start()?;
    commands(&mut vcpu, &mut device)?;
    let access = format!("vcpu=0 bus=pio region={PORT:#x} addr={:#x}", PORT + 2);
    let want = [
        format!("ioregion_dispatch: {access} size=1 kind=write data=0x77 by=frames"),
        format!("ioregion_complete: {access} kind=write data=0x77"),
    ];
    check_eq!(trace.events_without_waits()?, want, "events");
    Ok(())
}

fn wait_is_as_long_as_it_was(_: &Context) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(20);
    for transport in TRANSPORTS {
        let program = read_once(Width::Long, MMIO);
        let (_machine, mut vcpu, mut device) =
            fixture(transport, &program, |end| mmio(MMIO, SIZE, end))?;
        let trace = Trace::start()?;
        let began = Instant::now();
        let (exit, ()) = while_running(&mut vcpu, |running| {
            device.command()?;
            running.wait_until_asleep()?;
            // It is a duration that is tested.
            thread::sleep(PAUSE);
            device.reply(1)
        })?;
        let most = began.elapsed();
        expect_halt(&exit)?;
        let events = trace.events()?;
        let last = events.last().context("no event")?;
        check_eq!(field(last, "how")?, "slept", "{last}");
        let wait = Duration::from_nanos(field(last, "wait_ns")?.parse()?);
        ensure!(
            (PAUSE..=most).contains(&wait),
            "{last}: want {PAUSE:?} to {most:?}, {transport:?}"
        );
    }
    Ok(())
}

fn failure(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let program = write_once(Width::Long, MMIO, 0x99);
        let (_machine, mut vcpu, device) =
            fixture(transport, &program, |end| mmio(MMIO, SIZE, end))?;
        drop(device);
        let trace = Trace::start()?;
        vcpu.run()?;
        let events = trace.events()?;
        check_eq!(events.len(), 2, "events {events:?}");
        let last = &events[1];
        ensure!(last.starts_with("ioregion_complete: "), "{last}");
        check_eq!(field(last, "how")?, "failed", "{last}");
        check_eq!(field(last, "error")?, EPIPE.to_string(), "{last}");
        check_eq!(field(last, "data")?, "0x99", "{last}");
    }
    Ok(())
}

fn rule(_: &Context) -> Result<()> {
    let eventfd = EventFd::new(0)?;
    for transport in TRANSPORTS {
        let program = write_once(Width::Long, MMIO + 0x50, 0x31);
        let (machine, mut vcpu, _device) =
            fixture(transport, &program, |end| mmio(MMIO, SIZE, end))?;
        set_doorbell(machine.fd(), 0x50, Some(&eventfd))?;
        let trace = Trace::start()?;
        expect_halt(&vcpu.run()?)?;
        let access = format!("vcpu=0 bus=mmio region={MMIO:#x} addr={:#x}", MMIO + 0x50);
        let want = [
            format!("ioregion_dispatch: {access} size=4 kind=write data=0x31 by=rule"),
            format!("ioregion_complete: {access} kind=write data=0x31 how=ruled wait_ns=0 error=0"),
        ];
        check_eq!(trace.events()?, want, "events, {transport:?}");
    }
    Ok(())
}

/// Three bytes before the end of a page, and five after: pieces of 1 and 2, 4 and 1 bytes.
fn one_pair_for_an_access_of_several_pieces(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let program = read_once(Width::Quad, MMIO + SIZE - 3);
        let (_machine, mut vcpu, mut device) =
            fixture(transport, &program, |end| mmio(MMIO, 2 * SIZE, end))?;
        let trace = Trace::start()?;
        let log = commands(&mut vcpu, &mut device)?;
        check_eq!(log.len(), 4, "commands");
        let events = trace.events()?;
        let sizes: Result<Vec<&str>> = events
            .iter()
            .filter(|event| event.starts_with("ioregion_dispatch"))
            .map(|event| field(event, "size"))
            .collect();
        check_eq!(sizes?, ["3", "5"], "sizes");
        check_eq!(events.len(), 4, "events {events:?}");
    }
    Ok(())
}

/// bpftrace at work on one of the scripts.
struct Script {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Script {
    /// Returns when its probes are attached.
    fn start(name: &str) -> Result<Self> {
        let path = Path::new(SCRIPTS).join(name);
        if !path.exists() {
            let reason = format!("there is no {}: had the machine bpftrace?", path.display());
            return Err(Skip(reason).into());
        }
        let mut child = Command::new("bpftrace")
            .args(["-B", "line", "-I"])
            .arg(Path::new(SCRIPTS).join("include"))
            .arg(path)
            .stdout(Stdio::piped())
            .spawn()
            .context("start bpftrace")?;
        let output = child.stdout.take().context("standard output is a pipe")?;
        let mut script = Self {
            child,
            output: BufReader::new(output),
        };
        let mut line = String::new();
        while !line.starts_with("Tracing") {
            line.clear();
            let len = script.output.read_line(&mut line).context("bpftrace")?;
            ensure!(len > 0, "bpftrace ended: {}", script.child.wait()?);
        }
        Ok(script)
    }

    /// bpftrace 0.17 only sees a signal that wakes it from this.
    fn is_polling(&self) -> bool {
        const EPOLL_WAIT: [&str; 2] = ["232", "281"];
        let path = format!("/proc/{}/syscall", self.child.id());
        let text = fs::read_to_string(path).unwrap_or_default();
        let number = text.split(' ').next().unwrap_or_default();
        EPOLL_WAIT.contains(&number)
    }

    fn interrupt(&self) {
        let pid = self.child.id() as libc::pid_t;
        // SAFETY: the child has not been waited for, so its number is still its own.
        unsafe { libc::kill(pid, libc::SIGINT) };
    }

    /// What it has seen.
    fn finish(mut self) -> Result<String> {
        let mut interrupted: Option<Instant> = None;
        while self.child.try_wait().context("bpftrace")?.is_none() {
            let is_due = interrupted.is_none_or(|at| at.elapsed() > PATIENCE);
            if is_due && self.is_polling() {
                self.interrupt();
                interrupted = Some(Instant::now());
            }
            thread::yield_now();
        }
        let mut text = String::new();
        self.output.read_to_string(&mut text).context("bpftrace")?;
        let status = self.child.wait().context("bpftrace")?;
        ensure!(status.success(), "bpftrace: {status}, {text}");
        Ok(text)
    }
}

/// Fails the test unless one line of the text is this.
fn expect_line(text: &str, line: &str) -> Result<()> {
    ensure!(
        text.lines().any(|other| other.trim() == line),
        "no line {line:?} in {text}"
    );
    Ok(())
}

fn script_latency(_: &Context) -> Result<()> {
    let program = counting_writes(Width::Long, MMIO, 6);
    let (_one, mut writer, _device) = fixture(Transport::Ring, &program, |end| {
        posted(mmio(MMIO, SIZE, end))
    })?;
    let (_two, mut reader, mut device) =
        fixture(Transport::Seqpacket, &read_once(Width::Long, MMIO), |end| {
            mmio(MMIO, SIZE, end)
        })?;
    let script = Script::start("ioregion-latency.bt")?;
    expect_halt(&writer.run()?)?;
    let (exit, ()) = while_running(&mut reader, |running| {
        device.command()?;
        running.wait_until_asleep()?;
        device.reply(1)
    })?;
    expect_halt(&exit)?;
    let text = script.finish()?;
    let pid = std::process::id();
    expect_line(&text, &format!("@without_waiting[{pid}, {MMIO:#x}]: 6"))?;
    expect_line(&text, &format!("@slept_ns[{pid}, {MMIO:#x}]:"))?;
    let waits = text.lines().filter(|line| line.contains("|@"));
    let counts: Vec<&str> = waits
        .filter_map(|line| line.split_whitespace().nth(2))
        .collect();
    check_eq!(counts, ["1"], "waits in {text}");
    Ok(())
}

fn script_hot(_: &Context) -> Result<()> {
    let program = counting_writes(Width::Long, MMIO + 0x50, 9);
    let (_one, mut writer, _device) = fixture(Transport::Ring, &program, |end| {
        posted(mmio(MMIO, SIZE, end))
    })?;
    let program = sum_of_reads(Width::Long, MMIO + 0x60, 4);
    let (_two, mut reader, mut device) =
        fixture(Transport::Stream, &program, |end| mmio(MMIO, SIZE, end))?;
    let script = Script::start("ioregion-hot.bt")?;
    expect_halt(&writer.run()?)?;
    commands(&mut reader, &mut device)?;
    let text = script.finish()?;
    let pid = std::process::id();
    for accesses in [
        format!("@accesses[{pid}, {MMIO:#x}, 0x50, posted, ring]: 9"),
        format!("@accesses[{pid}, {MMIO:#x}, 0x60, read, frames]: 4"),
    ] {
        expect_line(&text, &accesses)?;
    }
    let lines = text.lines().filter(|line| line.starts_with('@'));
    check_eq!(lines.count(), 2, "lines of {text}");
    Ok(())
}
