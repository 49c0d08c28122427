// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Attackers: processes of their own, which end by themselves or are killed.
//!
//! An attacker has standard input and output for the channel, and says on standard error how
//! far it is: a dot for each act. Everything else it says there is why it failed, for instance
//! because the kernel let it do what it must not.

mod acts;
mod frames;
mod ring;

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};

use anyhow::{ensure, Context, Result};
use clap::ValueEnum;
use fastrand::Rng;
use shunt::channel::{ChannelEnd, Transport};

use crate::regions::descriptors;
use crate::scene::Way;
use crate::{stopped, sys, vmm};

/// Acts of an attacker that is not killed.
pub(crate) const ACTS: u32 = 400;

/// What an attacker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// A device with a channel in shared memory.
    Ring,
    /// A device with sockets.
    Sockets,
    /// A device with pipes.
    Pipes,
    /// A device whose copy of a command never ends.
    Stopped,
    /// A VMM.
    Vmm,
}

/// A running attacker.
pub(crate) struct Attacker(Child);

impl Attacker {
    /// Starts a device process with `end`, of which the caller keeps nothing.
    pub(crate) fn device(way: Way, end: &ChannelEnd, rng: &mut Rng) -> Result<Self> {
        let role = match way {
            Way::Ring => Role::Ring,
            Way::Frames(Transport::Pipe) => Role::Pipes,
            Way::Frames(_) => Role::Sockets,
        };
        Self::spawn(role, Some(end), rng.u64(..))
    }

    /// The same in a role that leaves nothing to chance.
    pub(crate) fn start(role: Role, end: &ChannelEnd) -> Result<Self> {
        Self::spawn(role, Some(end), 0)
    }

    /// Starts a VMM.
    pub(crate) fn vmm(rng: &mut Rng) -> Result<Self> {
        Self::spawn(Role::Vmm, None, rng.u64(..))
    }

    fn spawn(role: Role, end: Option<&ChannelEnd>, seed: u64) -> Result<Self> {
        let name = role.to_possible_value().context("a role has a name")?;
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["--play", name.get_name(), "--seed"])
            .arg(seed.to_string())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if let Some(end) = end {
            let (reads, writes) = descriptors(end);
            command
                .stdin(reads.try_clone_to_owned().context("dup")?)
                .stdout(writes.try_clone_to_owned().context("dup")?);
        }
        command.spawn().map(Self).context("start an attacker")
    }

    /// Returns when it has reported an act.
    pub(crate) fn wait_for_act(&mut self) -> Result<()> {
        let said = self.0.stderr.as_mut().context("standard error is a pipe")?;
        let mut byte = [0];
        said.read_exact(&mut byte).context("the attacker is gone")?;
        ensure!(byte == *b".", "the attacker says {byte:?}");
        Ok(())
    }

    /// Kills it, and waits for its end.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.0.kill().context("kill")?;
        self.0.wait().map(drop).context("wait")
    }

    /// Returns when nothing of the attacker is left: killed after some of its acts, or ended.
    pub(crate) fn end(mut self, rng: &mut Rng) -> Result<()> {
        let killed_after = rng.bool().then(|| rng.u32(1..ACTS));
        let mut said = self.0.stderr.take().context("standard error is a pipe")?;
        let group = self.0.id() as libc::pid_t;
        let (mut acts, mut words, mut byte) = (0, Vec::new(), [0]);
        while killed_after.is_none_or(|acts_at_most| acts < acts_at_most) {
            match said.read(&mut byte).context("read from an attacker")? {
                0 => break,
                _ if byte == *b"." => acts += 1,
                _ => words.push(byte[0]),
            }
        }
        if killed_after.is_some_and(|acts_at_most| acts >= acts_at_most) {
            sys::kill_group(group);
        }
        let status = self.0.wait().context("wait for an attacker")?;
        // What it has forked.
        sys::kill_group(group);
        let was_killed = killed_after.is_some() && status.signal() == Some(libc::SIGKILL);
        ensure!(
            status.success() || was_killed,
            "an attacker ended with {status}: {}",
            String::from_utf8_lossy(&words)
        );
        Ok(())
    }
}

/// The attacker itself.
pub(crate) fn play(role: Role, seed: u64) -> Result<()> {
    sys::die_with_parent();
    let rng = Rng::with_seed(seed);
    match role {
        Role::Ring => ring::play(rng),
        Role::Sockets => frames::play(rng, frames::Files::Socket),
        Role::Pipes => frames::play(rng, frames::Files::Pipes),
        Role::Stopped => stopped::play(),
        Role::Vmm => vmm::play(rng),
    }
}

/// Tells the parent of an act. One that is gone does not stop the attacker.
pub(crate) fn report_act() {
    let _ = std::io::stderr().write_all(b".");
}
