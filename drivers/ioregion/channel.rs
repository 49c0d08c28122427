// SPDX-License-Identifier: GPL-2.0-only

//! A channel: accesses to a device process, and its answers.
//!
//! - [`frames`]: commands and replies over a socket or two pipes.
//! - [`ring`]: a ring and completion lines in shared memory.

mod frames;
mod ring;

use crate::{
    observation::Patience,
    region::Region, //
};
use ioregion_dispatch::replies;
use ioregion_wire::frame::{
    Command,
    Reply, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kvm_ext::{
    Deadline,
    Io,
    PeerFile, //
};

pub(crate) use frames::FrameChannel;
pub(crate) use ring::RingChannel;

/// Why an access does not go on.
pub(crate) enum Stop {
    /// A signal came, or the caller may not wait: go on later.
    Interrupted,
    /// The device did not complete it, and will not.
    Failed(Error),
}

/// Names a command whose answer is due.
#[derive(Clone, Copy)]
pub(crate) enum Ticket {
    Reply(replies::Ticket),
    Completion {
        request: u64,
        /// The changes of the channel that were known when the command was sent.
        seen: u32,
    },
}

/// The vCPU that makes an access.
pub(crate) struct Caller<'a> {
    pub(crate) index: usize,
    pub(crate) patience: &'a mut Patience,
    /// It may sleep.
    pub(crate) may_wait: bool,
    /// Until then.
    pub(crate) deadline: Deadline,
}

impl<'a> Caller<'a> {
    #[inline]
    pub(crate) fn new(io: &Io<'_>, patience: &'a mut Patience, deadline: Deadline) -> Self {
        Self {
            index: io.vcpu_index(),
            patience,
            may_wait: io.may_wait(),
            deadline,
        }
    }

    /// To be asked before a sleep, which notices the deadline itself.
    fn check_may_wait(&self) -> Result<(), Stop> {
        match self.may_wait {
            true => Ok(()),
            false if self.deadline.is_over() => Err(Stop::Failed(ETIMEDOUT)),
            false => Err(Stop::Interrupted),
        }
    }
}

/// Why a wait was in vain.
fn stopped(error: Error) -> Stop {
    match error {
        EINTR => Stop::Interrupted,
        other => Stop::Failed(other),
    }
}

/// Where the accesses of a region go.
pub(crate) enum Channel {
    /// Commands have a file of their own; regions with one reply file share the order.
    Frames {
        commands: PeerFile,
        order: Arc<FrameChannel>,
    },
    Ring(Arc<RingChannel>),
}

impl Channel {
    /// Sends a command of `region`, whose channel this is. Yields the ticket for its answer, if
    /// it expects one.
    pub(crate) fn send(
        &self,
        region: &Region,
        command: &Command,
        caller: &mut Caller<'_>,
    ) -> Result<Option<Ticket>, Stop> {
        match self {
            Self::Frames { commands, order } => order
                .send(region, commands, command, caller)
                .map(|ticket| ticket.map(Ticket::Reply)),
            Self::Ring(ring) => ring.send(region, command, caller),
        }
    }

    /// Receives the answer for a ticket of this channel.
    #[inline(always)]
    pub(crate) fn receive(
        &self,
        region: &Region,
        ticket: Ticket,
        caller: &mut Caller<'_>,
    ) -> Result<Reply, Stop> {
        match (self, ticket) {
            (Self::Frames { order, .. }, Ticket::Reply(ticket)) => {
                order.receive(region, ticket, caller)
            }
            (Self::Ring(ring), Ticket::Completion { request, seen }) => {
                ring.receive(region, request, seen, caller)
            }
            _ => Err(Stop::Failed(EINVAL)),
        }
    }

    /// Drops the answer for a ticket when it comes.
    pub(crate) fn abandon(&self, ticket: Ticket) {
        // A completion that nobody waits for is ignored anyway: the next request has a number of
        // its own.
        if let (Self::Frames { order, .. }, Ticket::Reply(ticket)) = (self, ticket) {
            order.abandon(ticket);
        }
    }

    /// Makes a change that waiting vCPUs have to know of.
    pub(crate) fn change(&self, change: impl FnOnce()) {
        match self {
            Self::Frames { order, .. } => order.change(change),
            Self::Ring(ring) => ring.change(change),
        }
    }
}
