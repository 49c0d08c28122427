// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Commands of several vCPUs in flight on one channel, beside a list of all of them.

use crate::{
    input::Input,
    outcome::{
        hold,
        Broken,
        Digest, //
    },
};
use ioregion_dispatch::replies::{
    Replies,
    Slot,
    Ticket, //
};
use ioregion_wire::frame::Reply;

/// Most slots: some at the start, the rest when the channel gets more vCPUs.
const SLOTS: usize = 6;
/// Commands that are told apart at a time.
const COMMANDS: usize = 64;

/// A command and what became of it.
#[derive(Clone, Copy)]
struct Command {
    ticket: Ticket,
    is_given_up: bool,
    is_taken: bool,
}

struct Channel {
    replies: Replies,
    slots: [Slot; SLOTS],
    nr_slots: usize,
    sent: [Option<Command>; COMMANDS],
    nr_sent: usize,
    nr_answered: usize,
}

/// Sends, answers, takes and gives up.
///
/// # Errors
///
/// The promise that does not hold.
pub fn run(input: &mut Input<'_>, seen: &mut Digest) -> Result<(), Broken> {
    let mut channel = Channel {
        replies: Replies::new(),
        slots: [Slot::default(); SLOTS],
        nr_slots: input.below(SLOTS),
        sent: [None; COMMANDS],
        nr_sent: 0,
        nr_answered: 0,
    };
    while !input.is_empty() {
        let (kind, which) = (input.u8(), input.below(COMMANDS));
        match kind % 8 {
            0..=2 => channel.send(seen)?,
            3..=4 => channel.receive(seen)?,
            5 => channel.take(which, seen)?,
            6 => channel.give_up(which),
            _ => channel.nr_slots = SLOTS.min(channel.nr_slots + 1),
        }
        let is_idle = channel.nr_sent == channel.nr_answered;
        hold(
            channel.replies.is_idle() == is_idle,
            "idle is: no reply is due",
        )?;
    }
    Ok(())
}

impl Channel {
    /// Slots in use: of commands that wait, and of replies that nobody took yet.
    fn used(&self) -> usize {
        let sent = self.sent.iter().flatten();
        sent.filter(|command| !command.is_taken && !command.is_given_up)
            .count()
    }

    fn send(&mut self, seen: &mut Digest) -> Result<(), Broken> {
        if self.nr_sent == COMMANDS {
            return Ok(());
        }
        let has_room = self.used() < self.nr_slots;
        let slots = &mut self.slots[..self.nr_slots];
        hold(
            self.replies.has_room(slots) == has_room,
            "room is: a free slot",
        )?;
        let ticket = self.replies.send(slots);
        hold(ticket.is_some() == has_room, "a command needs a free slot")?;
        seen.see(ticket.is_some().into());
        let Some(ticket) = ticket else {
            return Ok(());
        };
        let is_new = self
            .sent
            .iter()
            .flatten()
            .all(|other| other.ticket < ticket);
        hold(is_new, "tickets grow")?;
        self.sent[self.nr_sent] = Some(Command {
            ticket,
            is_given_up: false,
            is_taken: false,
        });
        self.nr_sent += 1;
        Ok(())
    }

    /// The device answers each command with its number.
    fn receive(&mut self, seen: &mut Digest) -> Result<(), Broken> {
        let is_due = self.nr_answered < self.nr_sent;
        let reply = Reply {
            data: self.nr_answered as u64,
        };
        let received = self
            .replies
            .receive(&mut self.slots[..self.nr_slots], reply);
        hold(
            received.is_ok() == is_due,
            "a reply that is not due is refused",
        )?;
        seen.see(is_due.into());
        self.nr_answered += usize::from(is_due);
        Ok(())
    }

    fn take(&mut self, which: usize, seen: &mut Digest) -> Result<(), Broken> {
        let Some(command) = &mut self.sent[which] else {
            return Ok(());
        };
        let slots = &mut self.slots[..self.nr_slots];
        let taken = self
            .replies
            .take(slots, command.ticket)
            .map(|reply| reply.data);
        let is_there = which < self.nr_answered && !command.is_given_up && !command.is_taken;
        let wanted = is_there.then_some(which as u64);
        hold(
            taken == wanted,
            "whoever takes a reply gets that of its own command, once",
        )?;
        command.is_taken |= is_there;
        seen.see_option(taken);
        Ok(())
    }

    /// A vCPU gives up once; it has no ticket after that.
    fn give_up(&mut self, which: usize) {
        if let Some(command) = self.sent[which]
            .as_mut()
            .filter(|command| !command.is_given_up)
        {
            self.replies
                .abandon(&mut self.slots[..self.nr_slots], command.ticket);
            command.is_given_up = true;
        }
    }
}
