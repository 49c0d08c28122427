// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The other process of a measurement: the device, or whoever takes the CPU.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use anyhow::{bail, ensure, Context, Result};
use clap::ValueEnum;
use ioregion_wire::frame::{Command as Frame, Reply, FRAME_SIZE};
use rustix::process::{set_parent_process_death_signal, Signal};
use shunt::channel::Endpoint;
use shunt::ring_channel::RingChannel;

/// What the process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Reads commands from standard input and answers on standard output, with the number of
    /// commands that came before.
    Device,
    /// Serves the channel in shared memory on standard input, likewise.
    RingDevice,
    /// Yields the CPU for ever.
    Yield,
}

/// The process, as its parent sees it. Dropping it kills it.
pub(crate) struct Companion(Child);

impl Companion {
    /// Starts a device behind its end of a channel.
    pub(crate) fn device(end: &Endpoint) -> Result<Self> {
        let stdio = |fd: io::Result<OwnedFd>| fd.map(Stdio::from).context("dup");
        let commands = stdio(end.read_fd().try_clone_to_owned())?;
        let replies = stdio(end.write_fd().try_clone_to_owned())?;
        Self::start(Role::Device, commands, replies)
    }

    /// Starts a device behind a channel in shared memory.
    pub(crate) fn ring_device(channel: OwnedFd) -> Result<Self> {
        Self::start(Role::RingDevice, channel.into(), Stdio::null())
    }

    /// Starts a process that yields.
    pub(crate) fn yielding() -> Result<Self> {
        Self::start(Role::Yield, Stdio::null(), Stdio::null())
    }

    fn start(role: Role, stdin: Stdio, stdout: Stdio) -> Result<Self> {
        let name = role.to_possible_value().context("the role has a name")?;
        let child = Command::new("/proc/self/exe")
            .args(["--companion", name.get_name()])
            .stdin(stdin)
            .stdout(stdout)
            .spawn()
            .context("start the other process")?;
        Ok(Self(child))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        // Both fail only when the process has ended and been waited for, which is what we want.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Is the other process.
pub(crate) fn play(role: Role) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("parent death signal")?;
    match role {
        Role::Device => answer(),
        Role::RingDevice => answer_ring(),
        Role::Yield => loop {
            rustix::thread::sched_yield();
        },
    }
}

/// The least that a device does: one read and, if asked for, one write per command.
fn answer() -> Result<()> {
    let (commands, replies) = (io::stdin(), io::stdout());
    let mut frame = [0; FRAME_SIZE];
    for count in 0.. {
        match rustix::io::read(&commands, &mut frame).context("read a command")? {
            0 => break,
            FRAME_SIZE => {}
            len => bail!("a command of {len} bytes"),
        }
        let command = Frame::decode(&frame).map_err(|bad| anyhow::anyhow!("{bad:?}"))?;
        if command.expects_reply {
            let reply = Reply { data: count }.encode();
            let len = rustix::io::write(&replies, &reply).context("write a reply")?;
            ensure!(len == FRAME_SIZE, "wrote {len} bytes of a reply");
        }
    }
    Ok(())
}

/// The library's device over a channel in shared memory.
fn answer_ring() -> Result<()> {
    let channel = io::stdin().as_fd().try_clone_to_owned().context("dup")?;
    let mut count = 0;
    let perform = |_: &Frame| {
        let reply = Reply { data: count };
        count += 1;
        reply
    };
    RingChannel::open(channel)?.serve(perform)?;
    Ok(())
}
