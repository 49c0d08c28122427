// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A device in a process of its own, to be killed in a given state of the protocol.

use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, Command, ExitCode, Stdio};

use anyhow::{ensure, Context, Result};
use clap::ValueEnum;
use ioregion_wire::frame::{Command as Frame, Reply, FRAME_SIZE};

use crate::channel::{wait_until_readable, DeviceEnd};
use crate::ring::RingDevice;

/// In which state a device process waits to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Death {
    /// A command is there, and it never reads it.
    BeforeCommand,
    /// It has read the command.
    AfterCommand,
    /// It has written half of a reply.
    HalfReply,
    /// It has answered one read with its offset plus one, and never reads the next one, which is
    /// there.
    AfterReply,
}

impl Death {
    /// Whether a command is left that it does not read.
    fn leaves_a_command(self) -> bool {
        matches!(self, Self::BeforeCommand | Self::AfterReply)
    }
}

/// A running device process.
pub(crate) struct Device {
    child: Child,
    state: ChildStderr,
}

impl Device {
    /// Starts a process that takes over `end`.
    pub(crate) fn start(end: DeviceEnd, death: Death) -> Result<Self> {
        let name = death.to_possible_value().context("the state has a name")?;
        let mut command = Command::new("/proc/self/exe");
        command.args(["--device", name.get_name()]);
        match end {
            DeviceEnd::Files(files) => command
                .stdin(Stdio::from(files.commands))
                .stdout(Stdio::from(files.replies)),
            DeviceEnd::Ring(ring) => command
                .arg("--ring")
                .stdin(Stdio::from(ring.into_fd()?))
                .stdout(Stdio::null()),
        };
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .context("start a device process")?;
        // Only the process has the channel now.
        drop(command);
        let state = child.stderr.take().context("standard error is a pipe")?;
        Ok(Self { child, state })
    }

    /// Returns when the device is in its state.
    pub(crate) fn wait_until_ready(&mut self) -> Result<()> {
        let mut byte = [0];
        let len = self.state.read(&mut byte).context("device process")?;
        ensure!(
            len == 1 && byte == [b'.'],
            "the device process failed to get there"
        );
        Ok(())
    }

    /// `kill -9`, and waits until the process is gone with all its descriptors.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill().context("kill the device process")?;
        self.child.wait().context("wait for the device process")?;
        Ok(())
    }
}

/// The device process itself, whose standard input is a channel in shared memory or a file.
pub(crate) fn play(death: Death, is_ring: bool) -> ExitCode {
    // SAFETY: prctl takes integers here; the process then dies with the test.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let reached = match is_ring {
        true => reach_with_ring(death),
        false => reach_with_files(death),
    };
    match reached {
        Ok(()) => loop {
            // SAFETY: pause has no arguments.
            unsafe { libc::pause() };
        },
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn reach_with_files(death: Death) -> Result<()> {
    if death != Death::BeforeCommand {
        let mut frame = [0; FRAME_SIZE];
        io::stdin()
            .lock()
            .read_exact(&mut frame)
            .context("read a command")?;
        let command = Frame::decode(&frame).map_err(|bad| anyhow::anyhow!("{bad:?}"))?;
        let reply = Reply {
            data: command.offset + 1,
        }
        .encode();
        let sent = match death {
            Death::HalfReply => &reply[..FRAME_SIZE / 2],
            Death::AfterReply => &reply[..],
            _ => &[],
        };
        // One write makes one message of a SOCK_SEQPACKET socket.
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(sent)
            .and_then(|()| stdout.flush())
            .context("reply")?;
    }
    report_state(death)
}

/// Both areas stay mapped in the process that is killed.
fn reach_with_ring(death: Death) -> Result<()> {
    let channel = io::stdin().as_fd().try_clone_to_owned().context("dup")?;
    let mut device = RingDevice::new(channel)?;
    if death != Death::BeforeCommand {
        let command = device.next()?.context("no VM uses the channel")?;
        ensure!(death != Death::HalfReply, "an answer in memory has no half");
        if death == Death::AfterReply {
            device.reply(command.offset + 1)?;
        }
    }
    mem::forget(device);
    report_state(death)
}

fn report_state(death: Death) -> Result<()> {
    if death.leaves_a_command() {
        wait_until_readable(io::stdin().as_fd())?;
    }
    io::stderr().write_all(b".").context("report the state")
}
