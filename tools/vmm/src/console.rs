// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The main thread's loop: carries stdin to the guest's serial port and watches for the end.
//!
//! A terminal on stdin is in raw mode while the loop runs, so control characters go to the
//! guest; `Ctrl-A x` ends the VMM, `Ctrl-A Ctrl-A` is a `Ctrl-A` for the guest.

use std::{
    io::{self, IsTerminal, Stdin},
    os::{fd::AsRawFd, unix::net::UnixStream},
};

use anyhow::{Context, Result};
use rustix::termios::{tcgetattr, tcsetattr, LocalModes, OptionalActions, Termios};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    low_level::pipe,
};
use vmm_sys_util::eventfd::EventFd;

use crate::{
    legacy::SerialPort,
    readiness,
    stop::{Outcome, Stop},
};

const CTRL_A: u8 = 1;

/// Puts the terminal back as it was when dropped.
struct RawMode<'a> {
    stdin: &'a Stdin,
    before: Termios,
}

impl<'a> RawMode<'a> {
    fn enter(stdin: &'a Stdin) -> Result<Option<Self>> {
        if !stdin.is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(stdin).context("cannot read the terminal's settings")?;
        let mut raw = before.clone();
        raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        tcsetattr(stdin, OptionalActions::Now, &raw).context("cannot set the terminal to raw")?;
        Ok(Some(Self { stdin, before }))
    }
}

impl Drop for RawMode<'_> {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(self.stdin, OptionalActions::Now, &self.before) {
            eprintln!("shunt-vmm: cannot restore the terminal: {error}");
        }
    }
}

/// What the user typed, with the escape key taken out.
#[derive(Default)]
struct Input {
    after_escape: bool,
    /// Bytes that the serial port has not taken yet.
    pending: Vec<u8>,
}

impl Input {
    /// Takes typed bytes; answers whether the user asked for the end.
    fn type_in(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            match (self.after_escape, *byte) {
                (true, b'x') => return true,
                (false, CTRL_A) => {
                    self.after_escape = true;
                    continue;
                }
                (_, other) => self.pending.push(other),
            }
            self.after_escape = false;
        }
        false
    }
}

/// The main loop's event sources.
pub(crate) struct Console<'a> {
    port: &'a SerialPort,
    drained: EventFd,
    signals: UnixStream,
    stop: &'a Stop,
    input: Input,
    /// Stdin, until it ends.
    stdin: Option<Stdin>,
}

impl<'a> Console<'a> {
    /// A console on stdin for `port`.
    ///
    /// # Errors
    ///
    /// When signal handlers or descriptors cannot be had.
    pub(crate) fn new(port: &'a SerialPort, stop: &'a Stop) -> Result<Self> {
        let (signals, writer) = UnixStream::pair().context("cannot create the signal pipe")?;
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            pipe::register(signal, writer.try_clone()?)
                .with_context(|| format!("cannot handle signal {signal}"))?;
        }
        Ok(Self {
            drained: port.drained()?,
            port,
            signals,
            stop,
            input: Input::default(),
            stdin: Some(io::stdin()),
        })
    }

    /// Runs until the machine stops.
    ///
    /// # Errors
    ///
    /// When polling, the terminal or stdin fails.
    pub(crate) fn run(&mut self) -> Result<()> {
        let terminal = io::stdin();
        let _raw_mode = RawMode::enter(&terminal)?;
        while self.stop.outcome().is_none() {
            self.wait_and_serve()?;
        }
        Ok(())
    }

    fn wait_and_serve(&mut self) -> Result<()> {
        // More input only when the guest has taken the last.
        let stdin = self
            .stdin
            .as_ref()
            .filter(|_| self.input.pending.is_empty());
        let input: &dyn AsRawFd = match stdin {
            Some(stdin) => stdin,
            None => self.stop.event(),
        };
        let [_, signal, drained, input] =
            readiness::wait([self.stop.event(), &self.signals, &self.drained, input])?;
        if signal {
            self.stop.request(Outcome::Terminated("a signal"));
        }
        if drained {
            self.drained
                .read()
                .context("cannot read the console eventfd")?;
        }
        if input && stdin.is_some() {
            self.read_stdin()?;
        }
        self.feed()
    }

    fn read_stdin(&mut self) -> Result<()> {
        let Some(stdin) = &self.stdin else {
            return Ok(());
        };
        let mut bytes = [0; 256];
        let count = rustix::io::read(stdin, &mut bytes).context("cannot read stdin")?;
        if count == 0 {
            self.stdin = None;
        }
        if self.input.type_in(&bytes[..count]) {
            self.stop.request(Outcome::Terminated("Ctrl-A x"));
        }
        Ok(())
    }

    fn feed(&mut self) -> Result<()> {
        if !self.input.pending.is_empty() {
            let taken = self.port.input(&self.input.pending)?;
            self.input.pending.drain(..taken);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctrl_a_is_an_escape() {
        for (typed, passed, ends) in [
            (&b"ls\r"[..], &b"ls\r"[..], false),
            (b"a\x01xb", b"a", true),
            (b"\x01\x01x", b"\x01x", false),
            (b"\x01q", b"q", false),
        ] {
            let mut input = Input::default();
            assert_eq!(input.type_in(typed), ends, "{typed:?}");
            assert_eq!(input.pending, passed, "{typed:?}");
        }
    }

    #[test]
    fn the_escape_works_across_reads() {
        let mut input = Input::default();
        assert!(!input.type_in(b"\x01"));
        assert!(input.type_in(b"x"));
    }
}
