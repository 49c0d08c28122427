// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A device that sends what it likes over sockets or pipes.

use std::os::fd::{AsFd, RawFd};

use anyhow::{Context, Result};
use fastrand::Rng;
use ioregion_wire::frame::FRAME_SIZE;

use super::{acts, report_act, ACTS};
use crate::sys;

const COMMANDS: RawFd = libc::STDIN_FILENO;
const REPLIES: RawFd = libc::STDOUT_FILENO;

/// What the channel is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Files {
    Socket,
    Pipes,
}

/// Attacks until its acts are done.
pub(super) fn play(rng: Rng, files: Files) -> Result<()> {
    sys::never_block_for_long()?;
    let mut device = Device {
        rng,
        files,
        duplicates: Vec::new(),
    };
    // It would be short otherwise: the first wrong frame ends the channel.
    let patience = device.rng.u32(0..ACTS);
    for act in 0..ACTS {
        match act < patience {
            true => device.serve(),
            false => device.act()?,
        }
        report_act();
    }
    Ok(())
}

struct Device {
    rng: Rng,
    files: Files,
    duplicates: Vec<RawFd>,
}

impl Device {
    fn act(&mut self) -> Result<()> {
        match self.rng.u32(0..100) {
            0..30 => self.serve(),
            30..45 => self.send_junk(),
            45..50 => self.flood(),
            50..58 => self.hand_over().context("hand over a descriptor")?,
            58..66 => self.read_junk(),
            66..76 => self.change_file(),
            76..80 => acts::fork(&mut self.rng)?,
            80..84 => acts::duplicate(&mut self.rng, REPLIES, &mut self.duplicates),
            84..86 => self.hang_up(),
            86..90 => drop(sys::poll(COMMANDS, self.rng.i16(..))),
            _ => self.send_late(),
        }
        Ok(())
    }

    /// Answers some commands as it should, but for the data.
    fn serve(&mut self) {
        let mut frame = [0; FRAME_SIZE];
        for _ in 0..self.rng.u32(0..16) {
            // Waits at most until the timer's next signal.
            let Ok(FRAME_SIZE) = sys::read_some(COMMANDS, &mut frame) else {
                return;
            };
            let expects_reply = frame[1] & 1 << 4 != 0;
            if expects_reply {
                self.rng.fill(&mut frame);
                let _ = sys::write_some(REPLIES, &frame);
            }
        }
    }

    /// What nobody asked for, of any length, in one message or in several.
    fn send_junk(&mut self) {
        let most = [FRAME_SIZE - 1, FRAME_SIZE, 3 * FRAME_SIZE, 9000][self.rng.usize(0..4)];
        let junk = acts::bytes(&mut self.rng, most);
        let flags = [0, libc::MSG_OOB, libc::MSG_MORE, libc::MSG_EOR][self.rng.usize(0..4)];
        match self.files {
            Files::Socket => sys::send(REPLIES, &junk, &[], flags | libc::MSG_DONTWAIT),
            Files::Pipes => drop(sys::write_some(REPLIES, &junk)),
        }
    }

    /// Replies until there is no more room.
    fn flood(&mut self) {
        let _ = sys::fcntl(REPLIES, libc::F_SETFL, libc::O_NONBLOCK);
        let frame = [0xa5; FRAME_SIZE];
        while sys::write_some(REPLIES, &frame).is_ok() {}
        let _ = sys::fcntl(REPLIES, libc::F_SETFL, 0);
    }

    /// A reply with descriptors, which KVM has no use for: also of the channel itself.
    fn hand_over(&mut self) -> Result<()> {
        let channel = std::io::stdin();
        let null = std::fs::File::open("/dev/null")?;
        let descriptors = [channel.as_fd(), null.as_fd()];
        let count = self.rng.usize(0..=2);
        let frame = acts::bytes(&mut self.rng, FRAME_SIZE);
        sys::send(REPLIES, &frame, &descriptors[..count], libc::MSG_DONTWAIT);
        Ok(())
    }

    /// A command in part, or several.
    fn read_junk(&mut self) {
        let mut room = vec![0; self.rng.usize(1..100)];
        let _ = sys::read_some(COMMANDS, &mut room);
    }

    fn change_file(&mut self) {
        let fd = [COMMANDS, REPLIES][self.rng.usize(0..2)];
        let _ = match self.rng.bool() {
            true => sys::fcntl(fd, libc::F_SETPIPE_SZ, 4096 << self.rng.u32(0..6)),
            false => sys::fcntl(
                fd,
                libc::F_SETFL,
                [0, libc::O_NONBLOCK][self.rng.usize(0..2)],
            ),
        };
    }

    /// One direction, or both; not often, as it is the end.
    fn hang_up(&mut self) {
        let how = [libc::SHUT_RD, libc::SHUT_WR, libc::SHUT_RDWR][self.rng.usize(0..3)];
        match self.files {
            Files::Socket => sys::shutdown(REPLIES, how),
            Files::Pipes => sys::close([COMMANDS, REPLIES][self.rng.usize(0..2)]),
        }
    }

    /// Two replies for the next command.
    fn send_late(&mut self) {
        let frame = [0x5a; FRAME_SIZE];
        self.serve();
        let _ = sys::write_some(REPLIES, &frame);
        let _ = sys::write_some(REPLIES, &frame);
    }
}
