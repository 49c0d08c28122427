// SPDX-License-Identifier: GPL-2.0-only

//! Commands to a device process as frames, and its replies in the same order.
//!
//! All reads and writes are non-blocking and happen with the channel locked; all sleeping
//! happens unlocked, on the file and on [`FrameChannel::changes`] at once. So a vCPU that waits for
//! a hung device keeps nobody else from using the channel, from removing the region, or from
//! seeing that the channel broke.

use super::{
    stopped,
    Caller,
    Stop, //
};
use crate::region::Region;
use ioregion_dispatch::{
    reassembly::{
        Boundaries,
        Reassembly, //
    },
    replies::{
        Replies,
        Slot,
        Ticket, //
    },
};
use ioregion_wire::frame::{
    Command,
    Reply,
    FRAME_SIZE, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};
use kvm_ext::{
    Changes,
    PeerFile, //
};

/// The order of commands and replies behind one reply file.
#[pin_data]
pub(crate) struct FrameChannel {
    /// `None` if no command ever expects a reply.
    replies: Option<PeerFile>,
    #[pin]
    state: Mutex<State>,
    /// Changes of `state` that a waiting vCPU has to know of.
    changes: Changes,
}

struct State {
    in_flight: Replies,
    slots: KVec<Slot>,
    incoming: Reassembly,
    /// The peer is gone or does not keep to the protocol; nothing is sent or received any more.
    broken: Option<Error>,
}

impl FrameChannel {
    pub(crate) fn new(replies: Option<PeerFile>) -> Result<Arc<Self>> {
        let boundaries = match &replies {
            Some(file) if file.keeps_messages() => Boundaries::Kept,
            _ => Boundaries::Lost,
        };
        let changes = Changes::new()?;
        let channel = pin_init!(Self {
            replies,
            state <- new_mutex!(State {
                in_flight: Replies::new(),
                slots: KVec::new(),
                incoming: Reassembly::new(boundaries),
                broken: None,
            }),
            changes,
        });
        Arc::pin_init(channel, GFP_KERNEL_ACCOUNT)
    }

    /// Whether this is the channel whose replies come from `file`.
    pub(crate) fn replies_come_from(&self, file: &PeerFile) -> bool {
        self.replies
            .as_ref()
            .is_some_and(|own| own.is_same_file(file))
    }

    /// Makes a change that waiting vCPUs have to know of.
    pub(super) fn change(&self, change: impl FnOnce()) {
        let _state = self.state.lock();
        change();
        self.changes.announce();
    }

    /// Sends a command of `region` through its own `file`. Yields the ticket for its reply, if
    /// it expects one.
    pub(super) fn send(
        &self,
        region: &Region,
        file: &PeerFile,
        command: &Command,
        caller: &mut Caller<'_>,
    ) -> Result<Option<Ticket>, Stop> {
        loop {
            let seen = {
                let mut state = self.state.lock();
                self.check(&state, region)?;
                if let Some(ticket) = self.try_send(&mut state, file, command)? {
                    return Ok(ticket);
                }
                self.changes.count()
            };
            self.wait(file, seen, caller)?;
        }
    }

    /// Receives the reply for a ticket of `region`, and files other vCPUs' replies that come
    /// before it.
    // Apart from what waits for a ring, which has less to do.
    #[inline(never)]
    pub(super) fn receive(
        &self,
        region: &Region,
        ticket: Ticket,
        caller: &mut Caller<'_>,
    ) -> Result<Reply, Stop> {
        let file = self.replies.as_ref().ok_or(Stop::Failed(EPROTO))?;
        // The device has hardly answered yet: look before the first sleep, do not read.
        let mut ready = !caller.may_wait;
        loop {
            let seen = {
                let mut state = self.state.lock();
                let state = &mut *state;
                loop {
                    if let Some(reply) = state.in_flight.take(&mut state.slots, ticket) {
                        return Ok(reply);
                    }
                    self.check(state, region)?;
                    if !ready || !self.try_receive(state, file)? {
                        break;
                    }
                }
                self.changes.count()
            };
            self.wait(file, seen, caller)?;
            ready = true;
        }
    }

    /// Drops the reply for a ticket when it comes.
    pub(super) fn abandon(&self, ticket: Ticket) {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.in_flight.abandon(&mut state.slots, ticket);
    }

    fn check(&self, state: &State, region: &Region) -> Result<(), Stop> {
        if region.is_removed() {
            return Err(Stop::Failed(ECANCELED));
        }
        match state.broken {
            Some(error) => Err(Stop::Failed(error)),
            None => Ok(()),
        }
    }

    /// `None` if there is no room.
    fn try_send(
        &self,
        state: &mut State,
        file: &PeerFile,
        command: &Command,
    ) -> Result<Option<Option<Ticket>>, Stop> {
        if command.expects_reply {
            self.expect_silence(state)?;
            if !state.in_flight.has_room(&state.slots) {
                let pushed = state.slots.push(Slot::default(), GFP_KERNEL_ACCOUNT);
                pushed.map_err(|e| Stop::Failed(e.into()))?;
            }
        }
        match file.write(&command.encode()) {
            Ok(FRAME_SIZE) if command.expects_reply => {
                Ok(Some(state.in_flight.send(&mut state.slots)))
            }
            Ok(FRAME_SIZE) => Ok(Some(None)),
            // Pipes and Unix sockets take a frame whole or not at all.
            Ok(_) => Err(self.fail(state, EIO)),
            Err(EAGAIN) => Ok(None),
            Err(error) => Err(self.fail(state, error)),
        }
    }

    /// With no command in flight, all that the peer can have sent is its end, or what nobody
    /// asked for.
    fn expect_silence(&self, state: &mut State) -> Result<(), Stop> {
        match &self.replies {
            Some(file) if state.in_flight.is_idle() && file.is_readable() => {
                match self.try_receive(state, file)? {
                    true => Err(self.fail(state, EPROTO)),
                    false => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Reads once. `false` if nothing is there.
    fn try_receive(&self, state: &mut State, file: &PeerFile) -> Result<bool, Stop> {
        let n = match file.read(state.incoming.space()) {
            Ok(0) => return Err(self.fail(state, EPIPE)),
            Ok(n) => n,
            Err(EAGAIN) => return Ok(false),
            Err(error) => return Err(self.fail(state, error)),
        };
        let Ok(frame) = state.incoming.received(n) else {
            return Err(self.fail(state, EPROTO));
        };
        if let Some(frame) = frame {
            let reply = Reply::decode(&frame);
            if state.in_flight.receive(&mut state.slots, reply).is_err() {
                return Err(self.fail(state, EPROTO));
            }
            self.changes.announce();
        }
        Ok(true)
    }

    /// Breaks the channel, for everybody.
    fn fail(&self, state: &mut State, error: Error) -> Stop {
        let error = match error {
            // How a socket says that the peer closed it with commands unread.
            ECONNRESET => EPIPE,
            other => other,
        };
        state.broken = Some(error);
        self.changes.announce();
        Stop::Failed(error)
    }

    fn wait(&self, file: &PeerFile, seen: u32, caller: &mut Caller<'_>) -> Result<(), Stop> {
        caller.check_may_wait()?;
        caller.patience.sleeps();
        let waited = file.wait(&self.changes, seen, caller.deadline);
        waited.map_err(stopped)
    }
}
