// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Memory that the client reads and writes for the device: `DMA_READ` and `DMA_WRITE`, the only
//! commands that go from the server to the client.
//!
//! They are sent and not waited for: while its answer is awaited the client may have commands of
//! its own, and some clients answer only after those are answered.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use shunt::pci::{Direction, Range, Transfer};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};
use zerocopy::FromBytes;

use crate::connection::{Connection, Message};
use crate::request::bytes_of;
use crate::session_error::BadAnswer;
use crate::wire::{self, Command, DmaAccess, Header};

/// Most bytes under way at a time. A client may not have to wait for room in the socket to answer:
/// QEMU 11.1.3 sends what there is room for of an answer, and forgets the rest.
const WINDOW: u64 = 64 << 10;

/// Most messages of one transfer: 4 GiB of the largest ones.
const MAX_MESSAGES: usize = 1 << 16;

/// The messages of one transfer.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    /// What was sent and is not answered yet, by message id.
    pending: BTreeMap<u16, (Command, DmaAccess)>,
    /// What is to be sent yet.
    later: VecDeque<(Command, DmaAccess)>,
    next_id: u16,
    /// The device's number for the transfer.
    number: u64,
    has_failed: bool,
}

/// What became of [`Transfers::begin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// Its messages are sent.
    Sent,
    /// Some of the last transfer's are not answered yet.
    Busy,
    /// It would be too many, or for memory that is not lent.
    Impossible,
}

impl Transfers {
    /// Sends a transfer's first messages.
    pub(crate) fn begin(
        &mut self,
        client: &Connection,
        transfer: &Transfer<'_>,
        most: u64,
        memory: &GuestMemoryMmap,
    ) -> io::Result<Begun> {
        if self.outcome().is_none() {
            return Ok(Begun::Busy);
        }
        let is_there = |r: &Range| memory.check_range(GuestAddress(r.address), r.length as usize);
        let is_long = pieces(transfer.ranges, most).nth(MAX_MESSAGES).is_some();
        if is_long || !transfer.ranges.iter().all(is_there) {
            return Ok(Begun::Impossible);
        }
        let command = match transfer.direction {
            Direction::Fetch => Command::DmaRead,
            Direction::WriteBack => Command::DmaWrite,
        };
        let messages = pieces(transfer.ranges, most).map(|access| (command, access));
        self.later = messages.collect();
        self.number = transfer.number;
        self.has_failed = false;
        self.go_on(client, memory)?;
        Ok(Begun::Sent)
    }

    /// Sends what may be under way now.
    pub(crate) fn go_on(
        &mut self,
        client: &Connection,
        memory: &GuestMemoryMmap,
    ) -> io::Result<()> {
        while let Some(&(command, access)) = self.later.front() {
            let under_way: u64 = self.pending.values().map(|(_, access)| access.count).sum();
            if under_way > 0 && under_way + access.count > WINDOW {
                return Ok(());
            }
            self.later.pop_front();
            let mut data = Vec::new();
            if command == Command::DmaWrite {
                data.resize(access.count as usize, 0);
                let place = GuestAddress(access.address);
                if memory.read_slice(&mut data, place).is_err() {
                    // It was taken back meanwhile.
                    self.fail();
                    return Ok(());
                }
            }
            self.send(client, command, access, &data)?;
        }
        Ok(())
    }

    fn fail(&mut self) {
        self.has_failed = true;
        self.later.clear();
    }

    fn send(
        &mut self,
        client: &Connection,
        command: Command,
        access: DmaAccess,
        data: &[u8],
    ) -> io::Result<()> {
        self.next_id = self.next_id.wrapping_add(1);
        let header = Header {
            id: self.next_id,
            command: command as u16,
            flags: wire::TYPE_COMMAND,
            ..Header::default()
        };
        let mut payload = bytes_of(&access);
        payload.extend_from_slice(data);
        client.send(header, &payload, &[])?;
        self.pending.insert(self.next_id, (command, access));
        Ok(())
    }

    /// Takes an answer, and hands what was read to `store`.
    pub(crate) fn take(
        &mut self,
        answer: &Message,
        store: impl FnOnce(u64, &[u8]),
    ) -> Result<(), BadAnswer> {
        let header = &answer.header;
        let sent = self.pending.remove(&header.id);
        let (command, access) = sent.ok_or(BadAnswer::Unexpected)?;
        if header.command != command as u16 {
            return Err(BadAnswer::Unexpected);
        }
        if header.flags & wire::ERROR != 0 {
            self.fail();
            return Ok(());
        }
        // The specification wants a payload for an answer to a write, and QEMU sends none.
        if command == Command::DmaRead {
            let (found, data) =
                DmaAccess::read_from_prefix(&answer.payload).map_err(|_| BadAnswer::Length)?;
            if found != access || data.len() as u64 != access.count {
                return Err(BadAnswer::Length);
            }
            store(access.address, data);
        }
        Ok(())
    }

    /// The device's number of the transfer and whether it went well, once all is answered.
    pub(crate) fn outcome(&self) -> Option<(u64, bool)> {
        let is_done = self.pending.is_empty() && self.later.is_empty();
        is_done.then_some((self.number, !self.has_failed))
    }
}

/// Cuts ranges into what one message takes.
fn pieces(ranges: &[Range], most: u64) -> impl Iterator<Item = DmaAccess> + '_ {
    let most = most.clamp(1, WINDOW);
    ranges.iter().flat_map(move |range| {
        (0..range.length.div_ceil(most)).map(move |number| DmaAccess {
            address: range.address.wrapping_add(number * most),
            count: most.min(range.length - number * most),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Received;
    use std::os::unix::net::UnixStream;

    /// Answers what the server has sent; how many bytes that was for.
    fn answer(client: &mut Connection, transfers: &mut Transfers) -> u64 {
        let mut bytes = 0;
        while let Received::Message(mut message) = client.receive().unwrap() {
            let (access, _) = DmaAccess::read_from_prefix(&message.payload).unwrap();
            bytes += access.count;
            message.header.flags = wire::TYPE_REPLY;
            message.payload.resize(16 + access.count as usize, 7);
            transfers.take(&message, |_, _| {}).unwrap();
        }
        bytes
    }

    #[test]
    fn no_more_is_under_way_than_a_socket_takes() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        let (server, client) = UnixStream::pair().unwrap();
        let (server, mut client) = (Connection::new(server), Connection::new(client));
        let range = |address, length| Range { address, length };
        let transfer = Transfer {
            number: 1,
            direction: Direction::Fetch,
            ranges: &[range(0, 100), range(0x1000, 300_000)],
        };
        let mut transfers = Transfers::default();
        let begun = transfers.begin(&server, &transfer, 1 << 20, &memory);
        assert_eq!(begun.unwrap(), Begun::Sent);
        let mut all = 0;
        while transfers.outcome().is_none() {
            let bytes = answer(&mut client, &mut transfers);
            assert!((1..=WINDOW).contains(&bytes), "{bytes}");
            all += bytes;
            transfers.go_on(&server, &memory).unwrap();
        }
        assert_eq!((transfers.outcome(), all), (Some((1, true)), 300_100));
    }

    #[test]
    fn what_cannot_be_is_not_begun() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        let (server, _client) = UnixStream::pair().unwrap();
        let server = Connection::new(server);
        for (address, length, most) in [(0, 1 << 17, 1), (1 << 20, 1, 4096), (u64::MAX, 2, 4096)] {
            let transfer = Transfer {
                number: 1,
                direction: Direction::Fetch,
                ranges: &[Range { address, length }],
            };
            let begun = Transfers::default().begin(&server, &transfer, most, &memory);
            assert_eq!(begun.unwrap(), Begun::Impossible);
        }
    }
}
