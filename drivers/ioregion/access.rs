// SPDX-License-Identifier: GPL-2.0-only

//! One guest access on its way through a region, piece by piece.

use crate::{
    channel::{
        Caller,
        Channel,
        Stop,
        Ticket, //
    },
    failure,
    observation::{
        self,
        Course,
        Patience, //
    },
    region::Region,
    rules::Effect,
    table::Entry,
    vm::Vm, //
};
use ioregion_dispatch::pieces;
use ioregion_wire::frame::{
    Command,
    Operation,
    Width, //
};
use kernel::prelude::*;
use kvm_ext::{
    Deadline,
    Io,
    IoOutcome,
    ReadSide, //
};

/// What a vCPU keeps between accesses, and while one is interrupted.
#[derive(Default)]
pub(crate) struct Vcpu {
    prior: Prior,
    patience: Patience,
}

/// What is known of the access that [`handle`] is called for next.
#[derive(Default)]
enum Prior {
    #[default]
    Nothing,
    /// [`attempt`] found no region for it.
    Unclaimed { addr: u64, is_write: bool },
    /// [`attempt`] refused it.
    Refused,
    /// It has begun, and was interrupted, or sent by [`attempt`].
    Begun(Access),
}

/// An access that has begun. It survives signals: a vCPU keeps it until it is complete.
pub(crate) struct Access {
    entry: Entry,
    addr: u64,
    is_write: bool,
    /// Bytes that are complete.
    done: usize,
    sent: Option<Sent>,
    /// When the device has failed to take and answer the next piece.
    deadline: Option<Deadline>,
}

/// The piece after the bytes that are complete has been sent, and its answer is due.
#[derive(Clone, Copy)]
struct Sent {
    ticket: Ticket,
    bytes: usize,
}

/// A command, and how many of the access's bytes it covers.
pub(crate) struct Piece {
    pub(crate) command: Command,
    pub(crate) bytes: usize,
}

/// What is to be done for the next bytes of an access.
enum Step {
    /// So many have been done by a rule.
    Done(usize),
    Send(Piece),
}

/// How far an attempt came.
enum Attempt {
    Complete,
    Sent(Sent),
    Refused,
}

/// Handles an access without an exit, if a rule does or its channel may answer at once. Refuses
/// everything after one that it did not complete, until [`handle`] is called.
#[inline]
pub(crate) fn attempt(vm: &Vm, vcpu: &mut Vcpu, io: &mut Io<'_>, side: &ReadSide<'_>) -> bool {
    match vcpu.prior {
        Prior::Nothing => {}
        Prior::Refused | Prior::Begun(_) => return false,
        Prior::Unclaimed { .. } => {
            vcpu.prior = Prior::Refused;
            return false;
        }
    }
    let Some(entry) = vm.find_without_exit(io, side) else {
        let (addr, is_write) = (io.addr(), io.is_write());
        vcpu.prior = Prior::Unclaimed { addr, is_write };
        return false;
    };
    vcpu.prior = match attempt_whole(entry, &mut vcpu.patience, io) {
        Attempt::Complete => return true,
        Attempt::Refused => Prior::Refused,
        Attempt::Sent(sent) => Prior::Begun(Access::begin(entry.clone(), io, Some(sent))),
    };
    false
}

#[inline(always)]
fn attempt_whole(entry: &Entry, patience: &mut Patience, io: &mut Io<'_>) -> Attempt {
    let region = &*entry.region;
    let piece = match entry.step(io, 0) {
        Some(Step::Done(_)) => {
            observation::ruled_at_once(region, io);
            return Attempt::Complete;
        }
        Some(Step::Send(piece)) => piece,
        None => return Attempt::Refused,
    };
    let Channel::Ring(ring) = region.channel() else {
        return Attempt::Refused;
    };
    // What an access of several pieces has read would be lost with this attempt.
    if piece.bytes != io.total_size() {
        return Attempt::Refused;
    }
    let Ok(posted) = ring.post(region, &piece.command, io.vcpu_index()) else {
        return Attempt::Refused;
    };
    let Some(ticket) = posted.ticket() else {
        observation::posted_at_once(region, io);
        return Attempt::Complete;
    };
    let course = Course::sent(region, io);
    match ring.answer_to(&posted, io.vcpu_index(), patience) {
        Some(data) => {
            piece.store(io, 0, data);
            course.completed(region, io, patience);
            Attempt::Complete
        }
        None => Attempt::Sent(Sent {
            ticket,
            bytes: piece.bytes,
        }),
    }
}

/// Handles an access at an exit. What it does for a sent one is one function for the compiler, down
/// to the sleep: calls would cost as much as the rest.
#[inline]
pub(crate) fn handle(vm: &Vm, vcpu: &mut Vcpu, io: &mut Io<'_>) -> IoOutcome {
    let Vcpu { prior, patience } = vcpu;
    if !prior.has_begun(io) {
        // An access that was given up has left its wait behind.
        patience.end();
        prior.begin(vm, io);
    }
    let Prior::Begun(access) = prior else {
        return IoOutcome::ToUserspace;
    };
    let mut course = Course::new(io);
    let outcome = match access.advance(io, patience, &mut course) {
        Ok(()) => {
            course.completed(access.region(), io, patience);
            IoOutcome::Completed
        }
        Err(Stop::Interrupted) => return IoOutcome::Interrupted,
        Err(Stop::Failed(error)) => {
            course.failed(access.region(), io, patience, error);
            failure::describe(access, io, error);
            IoOutcome::ToUserspace
        }
    };
    *prior = Prior::Nothing;
    outcome
}

impl Prior {
    /// Whether it is the begun access that KVM asks about: one that was interrupted, or that
    /// [`attempt`] sent just before. An exception may have undone that in between.
    fn has_begun(&self, io: &Io<'_>) -> bool {
        match self {
            Self::Begun(access) => io.is_resumed() || is_mmio(io, access.addr, access.is_write),
            _ => false,
        }
    }

    /// Begins the access that KVM asks about, if it is one of a region.
    #[inline(never)]
    fn begin(&mut self, vm: &Vm, io: &Io<'_>) {
        let entry = match self.is_unclaimed(io) {
            true => None,
            false => vm.find(io),
        };
        *self = match entry {
            Some(entry) => Self::Begun(Access::begin(entry, io, None)),
            None => Self::Nothing,
        };
    }

    fn is_unclaimed(&self, io: &Io<'_>) -> bool {
        match *self {
            Self::Unclaimed { addr, is_write } => is_mmio(io, addr, is_write),
            _ => false,
        }
    }
}

fn is_mmio(io: &Io<'_>, addr: u64, is_write: bool) -> bool {
    !io.is_pio() && (addr, is_write) == (io.addr(), io.is_write())
}

impl Entry {
    /// What is to be done for the bytes of an access from `at` on. A rule is for a whole access,
    /// and for a whole element of a string I/O instruction.
    #[inline(always)]
    fn step(&self, io: &mut Io<'_>, at: usize) -> Option<Step> {
        let mut piece = self.region.piece(io, at)?;
        let Some(rules) = &self.rules else {
            return Some(Step::Send(piece));
        };
        if piece.bytes != io.element_size() {
            return Some(Step::Send(piece));
        }
        let Command {
            operation,
            width,
            offset,
            ..
        } = piece.command;
        match rules.apply(offset, width, operation) {
            None => {}
            Some(Effect::Post) => piece.command.expects_reply = false,
            Some(Effect::Complete(data)) => {
                piece.store(io, at, data);
                return Some(Step::Done(piece.bytes));
            }
        }
        Some(Step::Send(piece))
    }
}

impl Region {
    /// The piece of an access that starts at `at`. Elements of a string I/O instruction all go
    /// to the same port.
    #[inline(always)]
    fn piece(&self, io: &Io<'_>, at: usize) -> Option<Piece> {
        let in_element = at % io.element_size();
        let (addr, left) = (
            io.addr().wrapping_add(in_element as u64),
            io.element_size() - in_element,
        );
        let (width, bytes) = match self.is_doorbell() {
            true => (Width::Byte, left),
            false => pieces::first(addr, left).map(|width| (width, width.bytes()))?,
        };
        let operation = match io.is_write() {
            true => Operation::Write(io.load(at, bytes)),
            false => Operation::Read,
        };
        Some(Piece {
            command: self.command(addr, width, operation),
            bytes,
        })
    }
}

impl Piece {
    /// Stores what a read of this piece yields.
    #[inline]
    fn store(&self, io: &mut Io<'_>, at: usize, data: u64) {
        if self.command.operation == Operation::Read {
            io.store(at, self.bytes, data);
        }
    }
}

impl Access {
    fn begin(entry: Entry, io: &Io<'_>, sent: Option<Sent>) -> Self {
        Self {
            entry,
            addr: io.addr(),
            is_write: io.is_write(),
            done: 0,
            sent,
            deadline: None,
        }
    }

    pub(crate) fn region(&self) -> &Region {
        &self.entry.region
    }

    pub(crate) fn done(&self) -> usize {
        self.done
    }

    /// The device may have seen the next piece.
    pub(crate) fn is_sent(&self) -> bool {
        self.sent.is_some()
    }

    /// The piece after the bytes that are complete.
    pub(crate) fn next_piece(&self, io: &Io<'_>) -> Option<Piece> {
        self.region().piece(io, self.done)
    }

    #[inline]
    fn advance(
        &mut self,
        io: &mut Io<'_>,
        patience: &mut Patience,
        course: &mut Course,
    ) -> Result<(), Stop> {
        while self.done < io.total_size() {
            if let Some(sent) = self.sent {
                course.is_ruled = false;
                self.receive(sent, io, patience)?;
                continue;
            }
            self.take_step(io, patience, course)?;
        }
        Ok(())
    }

    /// Does the next bytes by a rule, or sends them.
    #[inline(never)]
    fn take_step(
        &mut self,
        io: &mut Io<'_>,
        patience: &mut Patience,
        course: &mut Course,
    ) -> Result<(), Stop> {
        let step = self.entry.step(io, self.done);
        if let Some(Step::Send(piece)) = &step {
            course.goes_to_device(&piece.command);
        }
        if self.is_fresh() {
            course.dispatched(self.region(), io);
        }
        match step {
            Some(Step::Done(bytes)) => self.complete(bytes),
            Some(Step::Send(piece)) => self.send(&piece, io, patience)?,
            None => return Err(Stop::Failed(EINVAL)),
        }
        Ok(())
    }

    /// Nothing has been done for it, or tried.
    fn is_fresh(&self) -> bool {
        self.done == 0 && self.deadline.is_none()
    }

    fn send(&mut self, piece: &Piece, io: &Io<'_>, patience: &mut Patience) -> Result<(), Stop> {
        let mut caller = Caller::new(io, patience, self.deadline());
        let region = self.region();
        match region.channel().send(region, &piece.command, &mut caller)? {
            Some(ticket) => {
                self.sent = Some(Sent {
                    ticket,
                    bytes: piece.bytes,
                });
            }
            None => self.complete(piece.bytes),
        }
        Ok(())
    }

    #[inline]
    fn receive(
        &mut self,
        sent: Sent,
        io: &mut Io<'_>,
        patience: &mut Patience,
    ) -> Result<(), Stop> {
        let mut caller = Caller::new(io, patience, self.deadline());
        let region = self.region();
        let reply = region.channel().receive(region, sent.ticket, &mut caller)?;
        if !io.is_write() {
            io.store(self.done, sent.bytes, reply.data);
        }
        self.complete(sent.bytes);
        Ok(())
    }

    fn complete(&mut self, bytes: usize) {
        self.done += bytes;
        self.sent = None;
        self.deadline = None;
    }

    fn deadline(&mut self) -> Deadline {
        let region = &self.entry.region;
        *self.deadline.get_or_insert_with(|| region.deadline())
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        if let Some(sent) = self.sent {
            self.region().channel().abandon(sent.ticket);
        }
    }
}
