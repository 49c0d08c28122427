// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A network interface of type RTL8139C, with the registers that Linux' driver 8139too uses: Realtek's
//! RTL8139C datasheet, section 5.
//!
//! What there is: four transmit buffers, the receive ring, the EEPROM, a PHY whose link is up,
//! interrupts by pin. What there is not: filters of addresses, counters, the timer, early interrupts.
//! A frame that has no room waits.

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;

use shunt::device::Device;
use shunt::pci::bar;
use shunt::state::StatePage;
use shunt::virtio_bus::Slot;
use shunt::Width;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::frames::Frames;
use crate::microwire::{Lines, Microwire, WORDS};
use crate::pin::{Pin, RESAMPLE};
use crate::Wire;

/// Bytes of the registers.
pub const SIZE: u64 = 0x100;
/// The BAR with the registers as memory.
pub const BAR: usize = 1;

/// Status of the first transmit buffer; each has 4 bytes.
pub const TRANSMIT_STATUS: usize = 0x10;
/// Transmit buffers.
pub const TRANSMIT_BUFFERS: usize = 4;
const TRANSMIT_ADDRESS: usize = 0x20;
const RECEIVE_ADDRESS: usize = 0x30;
const COMMAND: usize = 0x37;
const READ_POINTER: usize = 0x38;
const WRITE_POINTER: usize = 0x3a;
const INTERRUPT_MASK: usize = 0x3c;
const INTERRUPT_STATUS: usize = 0x3e;
const TRANSMIT_CONFIG: usize = 0x40;
const RECEIVE_CONFIG: usize = 0x44;
const EEPROM: usize = 0x50;
const PHY_CONTROL: usize = 0x62;
const PHY_STATUS: usize = 0x64;
const ADVERTISED: usize = 0x66;
const PARTNER: usize = 0x68;

const RESET: u8 = 1 << 4;
const RECEIVES: u8 = 1 << 3;
const TRANSMITS: u8 = 1 << 2;
const IS_EMPTY: u8 = 1 << 0;

/// Interrupt causes.
const RECEIVED: u16 = 1 << 0;
const TRANSMITTED: u16 = 1 << 2;

/// Of a transmit buffer: the driver's; sent.
const OWN: u32 = 1 << 13;
const SENT: u32 = 1 << 15;
const LENGTH: u32 = 0x1fff;

/// Of the receive configuration: which frames are taken. Before it is written there is no ring.
const ACCEPT: u32 = 0xf;

/// What tells an RTL8139C.
const VERSION: u32 = 0x7400_0000;
const VERSION_BITS: u32 = 0x7cc0_0000;

/// Before each frame in the ring: its status, which says that it is right.
const RIGHT: u16 = 1;
/// The driver's pointer is that much behind what it has read.
const LAG: u16 = 16;
const CHECKSUM: usize = 4;

/// Frames between two looks at what else there is to do.
const BATCH: usize = 8;

/// The interface.
#[derive(Debug)]
pub struct Rtl8139<W> {
    frames: Frames<W>,
    memory: GuestMemoryMmap,
    state: StatePage,
    pin: Pin,
    mac: [u8; 6],
    registers: [u8; SIZE as usize],
    eeprom: Microwire,
    /// Which of the transmit buffers is sent next.
    next_buffer: usize,
    /// There may be frames to receive.
    kicked: bool,
}

impl<W: Wire> Rtl8139<W> {
    /// An interface with this address.
    ///
    /// # Errors
    ///
    /// The wire cannot do without offloads.
    pub fn new(wire: W, mac: [u8; 6], slot: Slot) -> std::io::Result<Self> {
        let mut device = Self {
            frames: Frames::new(wire)?,
            memory: slot.memory,
            state: slot.state,
            pin: Pin::new(slot.interrupt),
            mac,
            registers: [0; SIZE as usize],
            eeprom: Microwire::new(words(mac)),
            next_buffer: 0,
            kicked: false,
        };
        device.reset();
        Ok(device)
    }

    fn reset(&mut self) {
        self.registers.fill(0);
        self.next_buffer = 0;
        self.registers[..6].copy_from_slice(&self.mac);
        for buffer in 0..TRANSMIT_BUFFERS {
            self.set_long(TRANSMIT_STATUS + 4 * buffer, OWN);
        }
        self.registers[COMMAND] = IS_EMPTY;
        self.set_word(READ_POINTER, 0u16.wrapping_sub(LAG));
        self.set_long(TRANSMIT_CONFIG, VERSION);
        self.set_word(PHY_CONTROL, 0x3100);
        // Negotiation complete, link up, 100 Mb/s.
        self.set_word(PHY_STATUS, 0x782d);
        self.set_word(ADVERTISED, 0x05e1);
        self.set_word(PARTNER, 0x05e1);
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.registers[at], self.registers[at + 1]])
    }

    fn set_word(&mut self, at: usize, value: u16) {
        self.registers[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn long(&self, at: usize) -> u32 {
        u32::from_le_bytes([0, 1, 2, 3].map(|byte| self.registers[at + byte]))
    }

    fn set_long(&mut self, at: usize, value: u32) {
        self.registers[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    /// Where an access is, if it is one to the registers.
    fn place(&self, offset: u64, width: Width) -> Option<usize> {
        let within = offset.checked_sub(bar(BAR))?;
        let is_inside = width != Width::Quad && within + width.bytes() as u64 <= SIZE;
        (is_inside && within % width.bytes() as u64 == 0).then_some(within as usize)
    }

    /// A write of a whole register; all of the driver's are. The others store.
    fn write_register(&mut self, at: usize, width: Width, value: u32) {
        match at {
            COMMAND if value as u8 & RESET != 0 => self.reset(),
            COMMAND => {
                let empty = self.registers[COMMAND] & IS_EMPTY;
                self.registers[COMMAND] = value as u8 & (RECEIVES | TRANSMITS) | empty;
                self.kicked = true;
            }
            TRANSMIT_STATUS..TRANSMIT_ADDRESS => {
                let counter = &self.state.counters().notify_register;
                counter.fetch_add(1, Ordering::Relaxed);
                self.set_long(at, value);
            }
            READ_POINTER => {
                self.set_word(at, value as u16);
                self.kicked = true;
                self.update_emptiness();
            }
            INTERRUPT_STATUS => self.acknowledge(value as u16),
            TRANSMIT_CONFIG => self.set_long(at, value & !VERSION_BITS | VERSION),
            EEPROM => self.write_eeprom(value as u8),
            PHY_STATUS | PARTNER | WRITE_POINTER => {}
            _ => {
                let bytes = value.to_le_bytes();
                self.registers[at..at + width.bytes()].copy_from_slice(&bytes[..width.bytes()]);
            }
        }
    }

    /// Linux' driver acknowledges after each frame, and when it has had enough frames at once, it looks
    /// at the cause before it goes on: what says that there are frames stays as long as there are.
    fn acknowledge(&mut self, causes: u16) {
        let unread = if self.unread() == 0 { 0 } else { RECEIVED };
        let rest = self.word(INTERRUPT_STATUS) & !causes | unread;
        self.set_word(INTERRUPT_STATUS, rest);
    }

    fn write_eeprom(&mut self, value: u8) {
        self.eeprom.set(Lines {
            select: value & 8 != 0,
            clock: value & 4 != 0,
            data: value & 2 != 0,
        });
        self.registers[EEPROM] = value & !1 | u8::from(self.eeprom.output);
    }

    /// Sends what the driver has given: the buffers take turns, whichever it has written last.
    fn transmit(&mut self) {
        while self.transmit_next().is_some() {}
    }

    fn transmit_next(&mut self) -> Option<()> {
        let at = TRANSMIT_STATUS + 4 * self.next_buffer;
        let status = self.long(at);
        if self.registers[COMMAND] & TRANSMITS == 0 || status & OWN != 0 {
            return None;
        }
        let address = self.long(TRANSMIT_ADDRESS + 4 * self.next_buffer);
        let room = self.frames.room((status & LENGTH) as usize);
        let memory = &self.memory;
        let address = GuestAddress(address.into());
        if room.is_some_and(|room| memory.read_slice(room, address).is_ok()) {
            self.frames.send(self.state.counters());
        } else {
            self.frames.forget();
        }
        self.set_long(at, status | OWN | SENT);
        self.set_word(INTERRUPT_STATUS, self.word(INTERRUPT_STATUS) | TRANSMITTED);
        self.next_buffer = (self.next_buffer + 1) % TRANSMIT_BUFFERS;
        Some(())
    }

    /// Bytes of the ring.
    fn ring_size(&self) -> u16 {
        8192 << ((self.long(RECEIVE_CONFIG) >> 11) & 3).min(2)
    }

    /// Bytes in it that the driver has not read.
    fn unread(&self) -> u16 {
        let read = self.word(READ_POINTER).wrapping_add(LAG) % self.ring_size();
        (self.word(WRITE_POINTER) + self.ring_size() - read) % self.ring_size()
    }

    fn update_emptiness(&mut self) {
        let empty = if self.unread() == 0 { IS_EMPTY } else { 0 };
        self.registers[COMMAND] = self.registers[COMMAND] & !IS_EMPTY | empty;
    }

    /// Puts the next frame into the ring, if there is one and room for it.
    fn receive_one(&mut self) -> Option<()> {
        let accepts = self.long(RECEIVE_CONFIG) & ACCEPT != 0;
        if self.registers[COMMAND] & RECEIVES == 0 || !accepts {
            return None;
        }
        let (ring, unread) = (self.ring_size(), self.unread());
        let frame = self.frames.next()?;
        let mut bytes = RIGHT.to_le_bytes().to_vec();
        bytes.extend(((frame.len() + CHECKSUM) as u16).to_le_bytes());
        bytes.extend(frame);
        bytes.resize((bytes.len() + CHECKSUM).next_multiple_of(4), 0);
        // A full ring would look like an empty one.
        if usize::from(ring - unread) <= bytes.len() {
            return None;
        }
        self.put(&bytes);
        let next = usize::from(self.word(WRITE_POINTER)) + bytes.len();
        self.set_word(WRITE_POINTER, (next % usize::from(ring)) as u16);
        self.frames.take(self.state.counters());
        self.set_word(INTERRUPT_STATUS, self.word(INTERRUPT_STATUS) | RECEIVED);
        self.update_emptiness();
        Some(())
    }

    /// Writes there, and goes on at the beginning, unless the driver has room behind the end.
    fn put(&self, bytes: &[u8]) {
        let (start, write) = (self.long(RECEIVE_ADDRESS), self.word(WRITE_POINTER));
        let wraps = self.long(RECEIVE_CONFIG) & 1 << 7 == 0;
        let to_end = usize::from(self.ring_size() - write);
        let (first, second) = bytes.split_at(if wraps {
            to_end.min(bytes.len())
        } else {
            bytes.len()
        });
        let address = |offset: u16| GuestAddress(u64::from(start) + u64::from(offset));
        let written = self.memory.write_slice(first, address(write));
        if let Err(e) = written.and(self.memory.write_slice(second, address(0))) {
            log::warn!("a receive ring outside of memory: {e}");
        }
    }

    fn update_pin(&mut self) {
        let causes = self.word(INTERRUPT_STATUS) & self.word(INTERRUPT_MASK);
        if self.pin.want(causes != 0) {
            let counter = &self.state.counters().interrupts;
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count_bad_access(&self) {
        let counter = &self.state.counters().bad_accesses;
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The EEPROM: what it is, and the address.
fn words(mac: [u8; 6]) -> [u16; WORDS] {
    let mut words = [0; WORDS];
    words[0] = 0x8129;
    for (word, pair) in words[7..].iter_mut().zip(mac.chunks_exact(2)) {
        *word = u16::from_le_bytes([pair[0], pair[1]]);
    }
    words
}

impl<W: Wire> Device for Rtl8139<W> {
    fn read(&mut self, offset: u64, width: Width) -> u64 {
        let Some(at) = self.place(offset, width) else {
            self.count_bad_access();
            return 0;
        };
        let bytes = &self.registers[at..at + width.bytes()];
        bytes
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) {
        match self.place(offset, width) {
            Some(at) => self.write_register(at, width, value as u32),
            None => self.count_bad_access(),
        }
    }

    fn notified(&mut self, index: usize) {
        if index == RESAMPLE {
            self.pin.lowered();
        }
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        Some(self.frames.wire.fd())
    }

    fn input_ready(&mut self) {
        self.kicked = true;
    }

    fn work(&mut self) -> bool {
        self.transmit();
        self.kicked =
            std::mem::take(&mut self.kicked) && (0..BATCH).all(|_| self.receive_one().is_some());
        self.update_pin();
        self.kicked
    }
}
