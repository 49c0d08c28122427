// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Which command a reply answers.
//!
//! Several vCPUs may have commands in flight on one channel. The protocol has no request ids:
//! replies come in the order of the commands. So each command draws a ticket when it is sent,
//! and the reply that arrives belongs to the oldest ticket that has none. Whichever vCPU
//! receives it leaves it here for its owner. A vCPU that gives up takes its slot back: the reply,
//! when it comes, finds none and is dropped.

use ioregion_wire::frame::Reply;

/// Names one command that expects a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Place for one command in flight.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slot(Option<(u64, State)>);

#[derive(Clone, Copy, Debug)]
enum State {
    Awaited,
    Answered(Reply),
}

/// No command is waiting for the reply that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsolicited;

/// The commands in flight on a channel. Slots come from the caller with each call: always the
/// same ones, to which it may append empty ones.
#[derive(Debug, Default)]
pub struct Replies {
    sent: u64,
    received: u64,
}

impl Replies {
    /// Nothing in flight.
    pub const fn new() -> Self {
        Self {
            sent: 0,
            received: 0,
        }
    }

    /// Whether no reply is due.
    #[inline]
    pub const fn is_idle(&self) -> bool {
        self.sent == self.received
    }

    /// Whether [`Self::send`] would find a slot.
    pub fn has_room(&self, slots: &[Slot]) -> bool {
        slots.iter().any(|slot| slot.0.is_none())
    }

    /// Draws the ticket of a command that is being sent.
    ///
    /// `None` if no slot is free.
    pub fn send(&mut self, slots: &mut [Slot]) -> Option<Ticket> {
        let slot = slots.iter_mut().find(|slot| slot.0.is_none())?;
        let ticket = self.sent;
        slot.0 = Some((ticket, State::Awaited));
        self.sent += 1;
        Some(Ticket(ticket))
    }

    /// Files a reply that arrived under the oldest ticket without one.
    ///
    /// # Errors
    ///
    /// [`Unsolicited`] if no reply is due.
    pub fn receive(&mut self, slots: &mut [Slot], reply: Reply) -> Result<(), Unsolicited> {
        if self.is_idle() {
            return Err(Unsolicited);
        }
        let due = self.received;
        self.received += 1;
        if let Some(slot) = slot_of(slots, due) {
            slot.0 = Some((due, State::Answered(reply)));
        }
        Ok(())
    }

    /// The reply to a command, once it is there. The ticket is used up by it.
    pub fn take(&mut self, slots: &mut [Slot], ticket: Ticket) -> Option<Reply> {
        let slot = slot_of(slots, ticket.0)?;
        match slot.0 {
            Some((_, State::Answered(reply))) => {
                slot.0 = None;
                Some(reply)
            }
            _ => None,
        }
    }

    /// Gives a ticket up: its reply is dropped.
    pub fn abandon(&mut self, slots: &mut [Slot], ticket: Ticket) {
        if let Some(slot) = slot_of(slots, ticket.0) {
            slot.0 = None;
        }
    }
}

fn slot_of(slots: &mut [Slot], ticket: u64) -> Option<&mut Slot> {
    slots
        .iter_mut()
        .find(|slot| matches!(slot.0, Some((id, _)) if id == ticket))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn an_abandoned_reply_goes_to_nobody() {
        let (mut replies, mut slots) = (Replies::new(), [Slot::default(); 2]);
        let first = replies.send(&mut slots).unwrap();
        let second = replies.send(&mut slots).unwrap();
        assert!(!replies.has_room(&slots));
        replies.abandon(&mut slots, first);
        assert!(
            replies.has_room(&slots),
            "a device that never answers keeps slots"
        );
        replies.receive(&mut slots, Reply { data: 1 }).unwrap();
        replies.receive(&mut slots, Reply { data: 2 }).unwrap();
        assert_eq!(replies.take(&mut slots, first), None);
        assert_eq!(replies.take(&mut slots, second), Some(Reply { data: 2 }));
        let nobody = replies.receive(&mut slots, Reply { data: 3 });
        assert_eq!(nobody, Err(Unsolicited));
        assert!(replies.is_idle());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Send,
        Receive,
        Take(usize),
        Abandon(usize),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Send),
            3 => Just(Step::Receive),
            2 => (0usize..4).prop_map(Step::Take),
            1 => (0usize..4).prop_map(Step::Abandon),
        ]
    }

    proptest! {
        /// The device answers each command with a number of its own; whoever takes a reply must
        /// get the number of its own command, and slots must never leak.
        #[test]
        fn every_taker_gets_its_own_reply(steps in prop::collection::vec(any_step(), 0..200)) {
            let (mut replies, mut slots) = (Replies::new(), [Slot::default(); 4]);
            let mut wire = VecDeque::new();
            let mut held: Vec<(Ticket, u64)> = Vec::new();
            let mut number = 0;
            for step in steps {
                match step {
                    Step::Send => {
                        if let Some(ticket) = replies.send(&mut slots) {
                            number += 1;
                            wire.push_back(number);
                            held.push((ticket, number));
                        }
                    }
                    Step::Receive => {
                        let due = wire.pop_front();
                        let got = replies.receive(&mut slots, Reply { data: due.unwrap_or(0) });
                        prop_assert_eq!(got.is_ok(), due.is_some());
                    }
                    Step::Take(i) if i < held.len() => {
                        if let Some(reply) = replies.take(&mut slots, held[i].0) {
                            prop_assert_eq!(reply.data, held[i].1);
                            held.remove(i);
                        }
                    }
                    Step::Abandon(i) if i < held.len() => {
                        replies.abandon(&mut slots, held.remove(i).0);
                    }
                    _ => {}
                }
            }
            while let Some(due) = wire.pop_front() {
                replies.receive(&mut slots, Reply { data: due }).unwrap();
            }
            for (ticket, number) in held {
                prop_assert_eq!(replies.take(&mut slots, ticket).map(|r| r.data), Some(number));
            }
            prop_assert!(slots.iter().all(|slot| slot.0.is_none()));
        }
    }
}
