// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A run: frames out, frames back, until all have come or nothing more comes.

use std::io;
use std::num::NonZeroU64;
use std::os::fd::AsFd;

use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::Errno;
use rustix::time::{clock_gettime, ClockId, Timespec};
use serde::{Deserialize, Serialize};

use crate::frame::{self, Stamp, SHORTEST};
use crate::link::Link;
use crate::tally::{Tallied, Tally};

/// A frame that has not come back so long after the last event never will: no queue of a guest's or of
/// ours is as long.
const PATIENCE: u64 = 300_000_000;

/// Longer than any frame of ours.
const LONGEST: usize = 2048;

/// When frames go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// One every so many nanoseconds, whatever has come back.
    Every(u64),
    /// So many are under way at any time: how fast that goes is the guest's capacity.
    Window(u64),
}

/// What goes out.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Tells its frames from those of other loads.
    pub run: u32,
    /// Bytes of each frame, without the frame check sequence.
    pub size: usize,
    /// How many.
    pub frames: usize,
    /// When.
    pub pace: Pace,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Frames that were to be sent.
    pub sent: u64,
    /// Those of them that the interface did not take.
    pub refused: u64,
    /// Frames back that the kernel had no room for.
    pub overruns: u64,
    /// From the first frame's sending to the last one's return, or to its sending if it was lost.
    pub nanoseconds: u64,
    /// The frames that came back.
    pub back: Tallied,
}

/// Nanoseconds of a clock that only goes forward.
fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Sends a load to `guest` and waits for what comes back.
///
/// # Errors
///
/// `InvalidInput`: the frames are too short or too long; those of the link.
pub fn run(link: &Link, guest: [u8; 6], load: Load) -> io::Result<Outcome> {
    if !(SHORTEST..=LONGEST).contains(&load.size) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    // What others lost is not this load's.
    link.overruns()?;
    let mut run = Run::new(link, guest, load);
    while !run.is_over() {
        run.send()?;
        if !run.receive()? {
            run.wait()?;
        }
    }
    run.finish()
}

struct Run<'a> {
    link: &'a Link,
    guest: [u8; 6],
    load: Load,
    buffer: Vec<u8>,
    tally: Tally,
    start: u64,
    sent: u64,
    refused: u64,
    /// When a frame last went out or came back.
    active: u64,
}

impl<'a> Run<'a> {
    fn new(link: &'a Link, guest: [u8; 6], load: Load) -> Self {
        let start = now();
        Self {
            link,
            guest,
            load,
            buffer: vec![0; LONGEST],
            tally: Tally::new(load.run, load.frames),
            start,
            sent: 0,
            refused: 0,
            active: start,
        }
    }

    /// When the next frame is due, if its time is known.
    fn due(&self) -> Option<u64> {
        if self.sent == self.load.frames as u64 {
            return None;
        }
        match self.load.pace {
            Pace::Every(interval) => Some(self.start + interval * self.sent),
            Pace::Window(frames) => {
                (self.sent - self.refused - self.tally.received() < frames).then_some(self.start)
            }
        }
    }

    fn send(&mut self) -> io::Result<()> {
        while self.due().is_some_and(|due| due <= now()) {
            let frame = &mut self.buffer[..self.load.size];
            let stamp = Stamp {
                run: self.load.run,
                sequence: self.sent,
                sent: now(),
            };
            frame::write(frame, self.guest, self.link.address(), stamp);
            if !self.link.send(frame)? {
                self.refused += 1;
            }
            self.sent += 1;
            self.active = stamp.sent;
        }
        Ok(())
    }

    /// Takes what has come; whether there was any.
    fn receive(&mut self) -> io::Result<bool> {
        let before = self.active;
        while let Some(length) = self.link.receive(&mut self.buffer)? {
            let received = frame::read(&self.buffer[..length], self.load.size);
            self.active = now();
            self.tally.note(received, self.active);
            // A frame that is due must not wait for all that has come.
            if self.due().is_some_and(|due| due <= self.active) {
                break;
            }
        }
        Ok(self.active != before)
    }

    fn wait(&self) -> io::Result<()> {
        let until = self.due().unwrap_or(self.active + PATIENCE);
        let rest = until.saturating_sub(now());
        let timeout = Timespec {
            tv_sec: (rest / 1_000_000_000) as i64,
            tv_nsec: (rest % 1_000_000_000) as i64,
        };
        let mut fds = [PollFd::from_borrowed_fd(self.link.as_fd(), PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn is_over(&self) -> bool {
        let all_out = self.sent == self.load.frames as u64;
        let all_back = self.tally.received() == self.sent - self.refused;
        (all_out && all_back) || now() > self.active + PATIENCE
    }

    fn finish(self) -> io::Result<Outcome> {
        Ok(Outcome {
            sent: self.sent,
            refused: self.refused,
            overruns: self.link.overruns()?,
            nanoseconds: self.active - self.start,
            back: self.tally.finish(),
        })
    }
}
