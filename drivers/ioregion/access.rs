// SPDX-License-Identifier: GPL-2.0-only

//! One guest access on its way through a region, piece by piece.

use crate::{
    channel::Stop,
    failure,
    region::Region,
    vm::Vm, //
};
use ioregion_dispatch::{
    pieces,
    replies::Ticket, //
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

/// An access that has begun. It survives signals: a vCPU keeps it until it is complete.
pub(crate) struct Access {
    region: Arc<Region>,
    /// Bytes that are complete.
    done: usize,
    /// The next piece has been sent, and its reply is due.
    ticket: Option<Ticket>,
}

/// The next command of an access, and how many of its bytes that covers.
pub(crate) struct Piece {
    pub(crate) command: Command,
    pub(crate) bytes: usize,
}

/// Handles an access of a vCPU. `begun` is where the vCPU keeps one that is interrupted.
pub(crate) fn handle(vm: &Vm, begun: &mut Option<Access>, io: &mut Io<'_>) -> IoOutcome {
    let resumed = begun.take().filter(|_| io.is_resumed());
    let Some(mut access) = resumed.or_else(|| Access::begin(vm, io)) else {
        return IoOutcome::ToUserspace;
    };
    match access.advance(io) {
        Ok(()) => IoOutcome::Completed,
        Err(Stop::Interrupted) => {
            *begun = Some(access);
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
            done: 0,
            ticket: None,
        })
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
        let value = io.load(self.done, bytes);
        Some(Piece {
            command: self.region.command(addr, width, io.is_write(), value),
            bytes,
        })
    }

    fn advance(&mut self, io: &mut Io<'_>) -> Result<(), Stop> {
        while self.done < io.total_size() {
            let piece = self.next_piece(io).ok_or(Stop::Failed(EINVAL))?;
            self.exchange(&piece, io)?;
            self.done += piece.bytes;
        }
        Ok(())
    }

    /// Sends a piece, unless that is done, and receives its reply, if there is to be one.
    fn exchange(&mut self, piece: &Piece, io: &mut Io<'_>) -> Result<(), Stop> {
        let channel = self.region.channel();
        if self.ticket.is_none() {
            self.ticket = channel.send(&self.region, &piece.command, io.may_wait())?;
        }
        let Some(ticket) = self.ticket else {
            return Ok(());
        };
        let reply = channel.receive(&self.region, ticket, io.may_wait())?;
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
