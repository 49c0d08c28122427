// SPDX-License-Identifier: GPL-2.0-only

//! One guest access on its way through a region, piece by piece.

use crate::{
    channel::{
        Caller,
        Stop,
        Ticket, //
    },
    failure,
    region::Region,
    vm::Vm, //
};
use ioregion_dispatch::{
    pieces,
    spin::Spin, //
};
use ioregion_wire::frame::{
    Command,
    Operation,
    Width, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};
use kvm_ext::{
    Io,
    IoOutcome, //
};

/// What a vCPU keeps between accesses, and while one is interrupted.
#[derive(Default)]
pub(crate) struct Vcpu {
    begun: Option<Access>,
    spin: Spin,
}

/// An access that has begun. It survives signals: a vCPU keeps it until it is complete.
pub(crate) struct Access {
    region: Arc<Region>,
    addr: u64,
    is_write: bool,
    /// Bytes that are complete.
    done: usize,
    /// The next piece has been sent, and its answer is due.
    ticket: Option<Ticket>,
}

/// The next command of an access, and how many of its bytes that covers.
pub(crate) struct Piece {
    pub(crate) command: Command,
    pub(crate) bytes: usize,
}

/// Handles an access without an exit, if its channel may answer at once. One that does not is
/// kept begun, which also makes everything refused until [`handle`] is called.
pub(crate) fn attempt(vm: &Vm, vcpu: &mut Vcpu, io: &mut Io<'_>) -> bool {
    if vcpu.begun.is_some() {
        return false;
    }
    let Some(mut access) = Access::begin(vm, io).filter(Access::is_fast) else {
        return false;
    };
    let mut caller = Caller::of(io, &mut vcpu.spin);
    // What an access of several pieces has read would be lost with this attempt.
    let whole = access
        .next_piece(io)
        .filter(|piece| piece.bytes == io.total_size());
    let is_complete = whole.is_some_and(|piece| access.exchange(&piece, io, &mut caller).is_ok());
    if !is_complete {
        vcpu.begun = Some(access);
    }
    is_complete
}

/// Handles an access at an exit.
pub(crate) fn handle(vm: &Vm, vcpu: &mut Vcpu, io: &mut Io<'_>) -> IoOutcome {
    let begun = vcpu.begun.take().filter(|access| access.is_of(io));
    let Some(mut access) = begun.or_else(|| Access::begin(vm, io)) else {
        return IoOutcome::ToUserspace;
    };
    match access.advance(io, &mut vcpu.spin) {
        Ok(()) => IoOutcome::Completed,
        Err(Stop::Interrupted) => {
            vcpu.begun = Some(access);
            IoOutcome::Interrupted
        }
        Err(Stop::Failed(error)) => {
            failure::describe(&access, io, error);
            IoOutcome::ToUserspace
        }
    }
}

impl Access {
    fn begin(vm: &Vm, io: &Io<'_>) -> Option<Self> {
        Some(Self {
            region: vm.find(io)?,
            addr: io.addr(),
            is_write: io.is_write(),
            done: 0,
            ticket: None,
        })
    }

    fn is_fast(&self) -> bool {
        self.region.channel().is_fast()
    }

    /// Whether this is the access that KVM asks about: the one that was interrupted, or that
    /// [`attempt`] began just before. An exception may have undone one in between.
    fn is_of(&self, io: &Io<'_>) -> bool {
        io.is_resumed()
            || (self.is_fast()
                && !io.is_pio()
                && (self.addr, self.is_write) == (io.addr(), io.is_write()))
    }

    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    pub(crate) fn done(&self) -> usize {
        self.done
    }

    /// The device may have seen the next piece.
    pub(crate) fn is_sent(&self) -> bool {
        self.ticket.is_some()
    }

    /// The piece that starts after the bytes that are complete. Elements of a string I/O
    /// instruction all go to the same port.
    pub(crate) fn next_piece(&self, io: &Io<'_>) -> Option<Piece> {
        let at = self.done % io.element_size();
        let (addr, left) = (io.addr() + at as u64, io.element_size() - at);
        let (width, bytes) = match self.region.is_doorbell() {
            true => (Width::Byte, left),
            false => pieces::first(addr, left).map(|width| (width, width.bytes()))?,
        };
        let operation = match io.is_write() {
            true => Operation::Write(io.load(self.done, bytes)),
            false => Operation::Read,
        };
        Some(Piece {
            command: self.region.command(addr, width, operation),
            bytes,
        })
    }

    fn advance(&mut self, io: &mut Io<'_>, spin: &mut Spin) -> Result<(), Stop> {
        let mut caller = Caller::of(io, spin);
        while self.done < io.total_size() {
            let piece = self.next_piece(io).ok_or(Stop::Failed(EINVAL))?;
            self.exchange(&piece, io, &mut caller)?;
            self.done += piece.bytes;
        }
        Ok(())
    }

    /// Sends a piece, unless that is done, and receives its answer, if there is to be one.
    fn exchange(
        &mut self,
        piece: &Piece,
        io: &mut Io<'_>,
        caller: &mut Caller<'_>,
    ) -> Result<(), Stop> {
        let channel = self.region.channel();
        if self.ticket.is_none() {
            self.ticket = channel.send(&self.region, &piece.command, caller)?;
        }
        let Some(ticket) = self.ticket else {
            return Ok(());
        };
        let reply = channel.receive(&self.region, ticket, caller)?;
        self.ticket = None;
        if piece.command.operation == Operation::Read {
            io.store(self.done, piece.bytes, reply.data);
        }
        Ok(())
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.region.channel().abandon(ticket);
        }
    }
}
