// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Transmit descriptors: sections 3.3.3, 3.3.6 and 3.3.7.
//!
//! ```text
//! legacy    0 address  | 8 length, checksum's place, command  | 12 status, checksum's start, VLAN tag
//! data      0 address  | 8 length (20 bits), type, command    | 12 status, options, VLAN tag
//! context   0 IP: start, place, end  4 TCP: start, place, end | 8 length, command | 12 status, header
//!           length (8 bits), segment size
//! ```

use virtio_spec::net::{gso, header_flag, Header};
use vm_memory::{Bytes, GuestAddress};
use zerocopy::IntoBytes;

use super::{E1000, TCTL, TDBAL, TRANSMITTED};
use crate::{Wire, HEADER};

const ENABLE: u32 = 1 << 1;

const EXTENDED: u32 = 1 << 29;
const DATA: u32 = 1 << 20;
const END: u32 = 1 << 24;
const REPORT: u32 = 1 << 27;
/// Of data: cut it into segments.
const CUT: u32 = 1 << 26;
/// Of a context: IP version 4.
const IPV4: u32 = 1 << 25;
const SUM_TCP: u8 = 1 << 1;
const DONE: u32 = 1;

/// What the last context descriptor said, and what is to be done with the frame.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Context {
    ip_start: u8,
    ip_checksum: u8,
    tcp_start: u8,
    tcp_checksum: u8,
    header: u8,
    segment: u16,
    is_ipv4: bool,
    /// Of this frame: its TCP or UDP checksum is to be made.
    sums: bool,
    /// It is to be cut.
    cuts: bool,
    /// It has a part that could not be read.
    is_lost: bool,
}

impl<W: Wire> E1000<W> {
    /// Takes so many descriptors; whether there are more.
    pub(super) fn transmit(&mut self, batch: usize) -> bool {
        for _ in 0..batch {
            let enabled = self.get(TCTL) & ENABLE != 0;
            let Some(at) = self.head(TDBAL).filter(|_| enabled) else {
                return false;
            };
            let mut descriptor = [0; 16];
            // What cannot be read is nothing.
            let _ = self.memory.read_slice(&mut descriptor, GuestAddress(at));
            let word =
                |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| descriptor[at + byte]));
            let command = word(8);
            match command & EXTENDED != 0 && command & DATA == 0 {
                true => self.context = Context::of(&descriptor, command),
                false => self.take(word(0), word(4), command, word(12)),
            }
            if command & REPORT != 0 {
                let _ = self
                    .memory
                    .write_obj(word(12) | DONE, GuestAddress(at + 12));
                self.cause(TRANSMITTED);
            }
            self.advance(TDBAL);
        }
        true
    }

    /// A part of a frame.
    fn take(&mut self, low: u32, high: u32, command: u32, upper: u32) {
        let address = GuestAddress(u64::from(high) << 32 | u64::from(low));
        let length = match command & EXTENDED {
            0 => command & 0xffff,
            _ => command & 0xf_ffff,
        };
        if self.frames.sent.len() == HEADER {
            let is_extended = command & EXTENDED != 0;
            self.context.sums = is_extended && (upper >> 8) as u8 & SUM_TCP != 0;
            self.context.cuts = is_extended && command & CUT != 0;
        }
        let memory = &self.memory;
        let room = self.frames.room(length as usize);
        let read = room.is_some_and(|room| memory.read_slice(room, address).is_ok());
        self.context.is_lost |= !read;
        if command & END != 0 {
            self.end_frame();
        }
    }

    fn end_frame(&mut self) {
        let is_lost = std::mem::take(&mut self.context.is_lost);
        let done = self.context.finish(&mut self.frames.sent);
        if is_lost || done.is_none() || self.frames.sent.len() == HEADER {
            log::debug!("a frame that cannot be sent");
            return self.frames.forget();
        }
        self.frames.send(self.state.counters());
    }
}

impl Context {
    fn of(descriptor: &[u8; 16], command: u32) -> Self {
        Self {
            ip_start: descriptor[0],
            ip_checksum: descriptor[1],
            tcp_start: descriptor[4],
            tcp_checksum: descriptor[5],
            header: descriptor[13],
            segment: u16::from_le_bytes([descriptor[14], descriptor[15]]),
            is_ipv4: command & IPV4 != 0,
            ..Self::default()
        }
    }

    /// Says in the header before the frame what the wire is to do. None for what there cannot be.
    fn finish(&self, packet: &mut [u8]) -> Option<()> {
        let (header, frame) = packet.split_at_mut(HEADER);
        let mut offloads = Header::default();
        if self.sums {
            let start = u16::from(self.tcp_start);
            offloads.flags = header_flag::NEEDS_CSUM;
            offloads.csum_start = start.into();
            offloads.csum_offset = u16::from(self.tcp_checksum).checked_sub(start)?.into();
        }
        if self.cuts {
            offloads.gso_type = match self.is_ipv4 {
                true => gso::TCPV4,
                false => gso::TCPV6,
            };
            offloads.hdr_len = u16::from(self.header).into();
            offloads.gso_size = self.segment.into();
            self.complete_headers(frame)?;
        }
        header.copy_from_slice(offloads.as_bytes());
        Some(())
    }

    /// A driver leaves the lengths of what is to be cut to the device: in the IP header, and in the
    /// sum of the pseudo header. The wire wants them as of the whole.
    fn complete_headers(&self, frame: &mut [u8]) -> Option<()> {
        let (ip, tcp) = (usize::from(self.ip_start), usize::from(self.tcp_start));
        let tcp_length = u16::try_from(frame.len().checked_sub(tcp)?).ok()?;
        let place = usize::from(self.tcp_checksum);
        let sum = frame.get_mut(place..place + 2)?;
        let pseudo = u16::from_be_bytes([sum[0], sum[1]]);
        sum.copy_from_slice(&add(pseudo, tcp_length).to_be_bytes());
        let all = frame.len().checked_sub(ip)?;
        if !self.is_ipv4 {
            let payload = u16::try_from(all.checked_sub(40)?).ok()?;
            frame
                .get_mut(ip + 4..ip + 6)?
                .copy_from_slice(&payload.to_be_bytes());
            return Some(());
        }
        let all = u16::try_from(all).ok()?;
        frame
            .get_mut(ip + 2..ip + 4)?
            .copy_from_slice(&all.to_be_bytes());
        let place = usize::from(self.ip_checksum);
        frame.get_mut(place..place + 2)?.fill(0);
        let checksum = !frame.get(ip..tcp)?.chunks(2).fold(0, |sum, pair| {
            add(
                sum,
                u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]),
            )
        });
        frame
            .get_mut(place..place + 2)?
            .copy_from_slice(&checksum.to_be_bytes());
        Some(())
    }
}

/// One's complement, as RFC 1071 has it.
fn add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u16::from(carry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_to_be_cut_has_the_lengths_of_the_whole() {
        let context = Context {
            ip_start: 14,
            ip_checksum: 24,
            tcp_start: 34,
            tcp_checksum: 50,
            header: 54,
            segment: 1448,
            is_ipv4: true,
            sums: true,
            cuts: true,
            is_lost: false,
        };
        let mut packet = vec![0; HEADER + 54 + 5000];
        packet[HEADER + 14] = 0x45;
        packet[HEADER + 50..HEADER + 52].copy_from_slice(&[0xff, 0xf0]);
        context.finish(&mut packet).unwrap();
        let frame = &packet[HEADER..];
        assert_eq!(frame[16..18], 5040u16.to_be_bytes());
        assert_eq!(frame[50..52], add(0xfff0, 5020).to_be_bytes());
        let sum = frame[14..34]
            .chunks(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        assert_eq!(sum.fold(0, add), 0xffff, "the IP header's checksum");
        assert_eq!(packet[..10], [1, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0]);
        assert!(context.finish(&mut packet[..HEADER + 30]).is_none());
    }
}
