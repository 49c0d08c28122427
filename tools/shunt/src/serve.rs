// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The serve loop of a device process.
//!
//! One thread, one `epoll`: each ready channel gets one read per turn, so that no channel can
//! starve another; a channel in shared memory gets some more accesses, which cost no system call.
//! A device's own work comes after the replies, a bounded part per turn.

mod drain;
mod served_channel;
mod served_rings;

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use ioregion_wire::frame::BadCommand;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;

use crate::counters::{add, Origin};
use crate::device::{perform, Device};
use crate::ring_channel::RingError;
use crate::session::Session;
use crate::state::StatePage;

use drain::Drain;
use served_rings::ServedRings;

pub use served_channel::ServedChannel;

/// Why a session ended other than by the VMM's hanging up.
#[derive(Debug)]
pub enum ServeError {
    /// Waiting, or reading or writing a channel, failed.
    Io(io::Error),
    /// A channel carried something that is no command.
    BadCommand {
        /// Whose channel it was.
        origin: Origin,
        /// What is wrong with it.
        cause: BadCommand,
    },
    /// A message channel carried a message of another length than a command's.
    MessageLength {
        /// Whose channel it was.
        origin: Origin,
        /// Bytes of the message; a longer one counts as one byte too long.
        length: usize,
    },
    /// A channel in shared memory is unusable.
    Ring {
        /// Whose channel it was.
        origin: Origin,
        /// Why.
        cause: RingError,
    },
    /// The VMM sent something else than a request to drain over the session socket.
    UnexpectedMessage,
}

impl std::fmt::Display for ServeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(e) => write!(f, "cannot serve: {e}"),
            Self::BadCommand { origin, cause } => {
                write!(f, "bad command on the channel from {origin:?}: {cause:?}")
            }
            Self::MessageLength { origin, length } => {
                write!(
                    f,
                    "a message of {length} bytes on the channel from {origin:?}"
                )
            }
            Self::Ring { origin, cause } => {
                write!(f, "on the channel from {origin:?}: {cause}")
            }
            Self::UnexpectedMessage => {
                write!(f, "the VMM sent a message that is no request to drain")
            }
        }
    }
}

impl std::error::Error for ServeError {}

impl From<io::Error> for ServeError {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// Serves `device` over all channels and events of `session` until the VMM hangs up.
///
/// # Errors
///
/// See [`ServeError`]; each ends the session.
pub fn serve(session: Session, device: &mut dyn Device) -> Result<(), ServeError> {
    let mut server = Server::new(session)?;
    if let Some(input) = device.input() {
        let events = EventSet::IN | EventSet::EDGE_TRIGGERED;
        watch(&server.epoll, input.as_raw_fd(), events, Source::Input)?;
    }
    let mut ready = [EpollEvent::default(); 16];
    loop {
        server.serve_rings(device)?;
        let more = device.work();
        let count = server.wait(more, &mut ready)?;
        if !more && server.is_idle(&ready[..count]) {
            server.drain.answer()?;
        }
        for event in &ready[..count] {
            match Source::from_token(event.data()) {
                Source::Session if server.drain.take_request()? => {}
                Source::Session => return Ok(()),
                Source::Input => device.input_ready(),
                Source::Event(index) => server.take_event(index, device)?,
                Source::Channel(index) => server.serve_channel(index, device)?,
                Source::Ring(index) if !event.event_set().contains(EventSet::IN) => {
                    server.rings.close(index);
                }
                Source::Ring(_) => {}
            }
        }
    }
}

/// What became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Session,
    /// The device's own.
    Input,
    Event(usize),
    Channel(usize),
    /// Readable: an access is there, and is served in turn.
    Ring(usize),
}

impl Source {
    fn token(self) -> u64 {
        match self {
            Self::Session => 0,
            Self::Input => 1 << 2,
            Self::Event(index) => 1 | (index as u64) << 2,
            Self::Channel(index) => 2 | (index as u64) << 2,
            Self::Ring(index) => 3 | (index as u64) << 2,
        }
    }

    fn from_token(token: u64) -> Self {
        let index = (token >> 2) as usize;
        match token & 3 {
            0 if index == 0 => Self::Session,
            0 => Self::Input,
            1 => Self::Event(index),
            2 => Self::Channel(index),
            _ => Self::Ring(index),
        }
    }
}

struct Server {
    epoll: Epoll,
    drain: Drain,
    events: Vec<EventFd>,
    /// `None`: its other end hung up.
    channels: Vec<Option<ServedChannel>>,
    rings: ServedRings,
    state: StatePage,
}

impl Server {
    fn new(session: Session) -> Result<Self, ServeError> {
        let epoll = Epoll::new()?;
        let hangup = EventSet::IN | EventSet::READ_HANG_UP;
        watch(&epoll, session.socket.as_raw_fd(), hangup, Source::Session)?;
        for (index, event) in session.events.iter().enumerate() {
            watch(
                &epoll,
                event.as_raw_fd(),
                EventSet::IN,
                Source::Event(index),
            )?;
        }
        let mut channels = Vec::new();
        for (index, (origin, endpoint)) in session.channels.into_iter().enumerate() {
            let channel = ServedChannel::new(origin, endpoint)?;
            watch(
                &epoll,
                channel.read_fd(),
                EventSet::IN,
                Source::Channel(index),
            )?;
            channels.push(Some(channel));
        }
        let rings = ServedRings::new(session.rings);
        for (index, fd) in rings.fds().enumerate() {
            watch(&epoll, fd, EventSet::IN, Source::Ring(index))?;
        }
        Ok(Self {
            epoll,
            drain: Drain::new(session.socket),
            events: session.events,
            channels,
            rings,
            state: session.state,
        })
    }

    /// Waits for events; returns at once when there is `more` to do without any.
    fn wait(&mut self, more: bool, ready: &mut [EpollEvent]) -> io::Result<usize> {
        let may_sleep = !more && !self.is_draining() && self.rings.may_sleep();
        let timeout = if may_sleep { -1 } else { 0 };
        let count = match self.epoll.wait(timeout, ready) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(0),
            other => other,
        };
        self.rings.wake_up();
        if let (true, Ok(1..)) = (may_sleep, &count) {
            self.count_wake_up(Source::from_token(ready[0].data()));
        }
        count
    }

    /// Somebody waits until there is nothing to do. While a reply cannot be written, there is.
    fn is_draining(&self) -> bool {
        let mut channels = self.channels.iter().flatten();
        self.drain.is_requested() && !channels.any(ServedChannel::is_blocked)
    }

    /// These events and the rings bring nothing to do. (A ring may be empty again.)
    fn is_idle(&self, ready: &[EpollEvent]) -> bool {
        let is_ring =
            |event: &EpollEvent| matches!(Source::from_token(event.data()), Source::Ring(_));
        ready.iter().all(is_ring) && !self.rings.is_ready()
    }

    fn count_wake_up(&self, source: Source) {
        let counters = self.state.counters();
        match source {
            Source::Session | Source::Input => {}
            Source::Event(_) => add(&counters.woken_by_event, 1),
            Source::Channel(_) | Source::Ring(_) => add(&counters.woken_by_access, 1),
        }
    }

    fn serve_rings(&mut self, device: &mut dyn Device) -> Result<(), ServeError> {
        let counters = self.state.counters();
        self.rings
            .serve(|origin, command| perform(device, command, origin, counters))
    }

    fn take_event(&self, index: usize, device: &mut dyn Device) -> Result<(), ServeError> {
        match self.events[index].read() {
            Ok(_) => device.notified(index),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }

    fn serve_channel(&mut self, index: usize, device: &mut dyn Device) -> Result<(), ServeError> {
        let Some(channel) = &mut self.channels[index] else {
            return Ok(());
        };
        let was_blocked = channel.is_blocked();
        if !was_blocked {
            let origin = channel.origin();
            let counters = self.state.counters();
            channel.receive(|command| perform(device, command, origin, counters))?;
        }
        channel.send()?;
        let is_blocked = channel.is_blocked();
        if channel.is_closed() {
            // Closing its descriptors takes them out of the epoll set.
            self.channels[index] = None;
        } else if was_blocked != is_blocked {
            self.watch_blocked(index, is_blocked)?;
        }
        Ok(())
    }

    /// While a reply cannot be written, waits for that alone: a hang-up of the other descriptor
    /// would else be reported again and again.
    fn watch_blocked(&self, index: usize, blocked: bool) -> Result<(), ServeError> {
        let Some(channel) = &self.channels[index] else {
            return Ok(());
        };
        let (read, write) = (channel.read_fd(), channel.write_fd());
        let (old, new, events) = if blocked {
            (read, write, EventSet::OUT)
        } else {
            (write, read, EventSet::IN)
        };
        self.epoll
            .ctl(ControlOperation::Delete, old, EpollEvent::default())?;
        watch(&self.epoll, new, events, Source::Channel(index))
    }
}

fn watch(epoll: &Epoll, fd: RawFd, events: EventSet, source: Source) -> Result<(), ServeError> {
    let event = EpollEvent::new(events, source.token());
    Ok(epoll.ctl(ControlOperation::Add, fd, event)?)
}

#[cfg(test)]
mod tests;
