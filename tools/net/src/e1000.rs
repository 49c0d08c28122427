// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A network interface of type 82540EM, with the registers that Linux' driver e1000 uses: Intel's
//! PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual (317453), chapter 13.
//!
//! What there is: descriptor rings with checksums and TCP segments left to the wire, the EEPROM, a
//! PHY whose link is up, interrupts by pin. What there is not: I/O ports (by which the driver resets
//! it; it also takes everything off the rings by hand), filters of addresses, statistics, delays of
//! interrupts, VLAN tags. A frame that has no descriptor waits.

mod eeprom;
mod phy;
mod receive;
mod transmit;

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;

use shunt::device::Device;
use shunt::state::StatePage;
use shunt::virtio_bus::Slot;
use shunt::Width;
use vm_memory::GuestMemoryMmap;

use crate::frames::Frames;
use crate::microwire::Microwire;
use crate::pin::{Pin, RESAMPLE};
use crate::Wire;
use phy::Phy;
use transmit::Context;

/// Bytes of the registers.
pub const SIZE: u64 = 0x2_0000;

const CTRL: usize = 0x0000;
const STATUS: usize = 0x0008;
const EECD: usize = 0x0010;
const MDIC: usize = 0x0020;
const ICR: usize = 0x00c0;
const ICS: usize = 0x00c8;
const IMS: usize = 0x00d0;
const IMC: usize = 0x00d8;
const RCTL: usize = 0x0100;
const TCTL: usize = 0x0400;
const RDBAL: usize = 0x2800;
const TDBAL: usize = 0x3800;
/// Tail of the receive ring.
pub const RDT: usize = RDBAL + 0x18;
/// Tail of the transmit ring.
pub const TDT: usize = TDBAL + 0x18;

const CTRL_RESET: u32 = 1 << 26;
/// Full duplex, link up, 1000 Mb/s.
const STATUS_UP: u32 = 0x83;

/// Interrupt causes.
const TRANSMITTED: u32 = 1 << 0;
const RECEIVED: u32 = 1 << 7;

/// Frames of one direction between two looks at what else there is to do.
const BATCH: usize = 8;

/// The interface.
#[derive(Debug)]
pub struct E1000<W> {
    frames: Frames<W>,
    memory: GuestMemoryMmap,
    state: StatePage,
    pin: Pin,
    /// By place.
    registers: Box<[u32]>,
    eeprom: Microwire,
    phy: Phy,
    context: Context,
    /// There may be frames to receive.
    kicked: bool,
}

impl<W: Wire> E1000<W> {
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
            registers: vec![0; SIZE as usize / 4].into(),
            eeprom: eeprom::with_address(mac),
            phy: Phy::default(),
            context: Context::default(),
            kicked: false,
        };
        device.reset();
        Ok(device)
    }

    fn reset(&mut self) {
        self.registers.fill(0);
        self.set(STATUS, STATUS_UP);
        self.set(EECD, eeprom::PRESENT);
        self.frames.forget();
        self.context = Context::default();
    }

    fn get(&self, register: usize) -> u32 {
        self.registers[register / 4]
    }

    fn set(&mut self, register: usize, value: u32) {
        self.registers[register / 4] = value;
    }

    fn cause(&mut self, causes: u32) {
        self.registers[ICR / 4] |= causes;
    }

    /// The address of a descriptor of the ring whose registers begin there, if there is such a ring.
    fn descriptor(&self, ring: usize, index: u32) -> Option<u64> {
        let base = u64::from(self.get(ring + 4)) << 32 | u64::from(self.get(ring) & !0xf);
        let length = self.get(ring + 8);
        (index < length / 16).then(|| base + u64::from(index) * 16)
    }

    /// The head goes on by one.
    fn advance(&mut self, ring: usize) {
        let entries = (self.get(ring + 8) / 16).max(1);
        let next = (self.get(ring + 0x10) + 1) % entries;
        self.set(ring + 0x10, next);
    }

    /// The descriptor at the head, unless that is where the tail is.
    fn head(&self, ring: usize) -> Option<u64> {
        let head = self.get(ring + 0x10);
        if head == self.get(ring + 0x18) {
            return None;
        }
        self.descriptor(ring, head)
    }

    fn read_register(&mut self, register: usize) -> u32 {
        let value = self.get(register);
        match register {
            // Reading acknowledges.
            ICR => self.set(ICR, 0),
            EECD => return eeprom::read(value, &self.eeprom),
            IMC => return 0,
            _ => {}
        }
        value
    }

    fn write_register(&mut self, register: usize, value: u32) {
        match register {
            CTRL if value & CTRL_RESET != 0 => return self.reset(),
            STATUS => return,
            EECD => self.eeprom.set(eeprom::lines(value)),
            MDIC => {
                let done = self.phy.access(value);
                return self.set(MDIC, done);
            }
            ICR => return self.set(ICR, self.get(ICR) & !value),
            ICS => return self.cause(value),
            IMS => return self.set(IMS, self.get(IMS) | value),
            IMC => return self.set(IMS, self.get(IMS) & !value),
            RDT | TDT => {
                let counter = &self.state.counters().notify_register;
                counter.fetch_add(1, Ordering::Relaxed);
                self.kicked = true;
            }
            RCTL => self.kicked = true,
            _ => {}
        }
        self.set(register, value);
    }

    fn update_pin(&mut self) {
        if self.pin.want(self.get(ICR) & self.get(IMS) != 0) {
            let counter = &self.state.counters().interrupts;
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn count_bad_access(&self) {
        let counter = &self.state.counters().bad_accesses;
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The register at `offset`, if the access is of the only kind that registers take.
fn aligned(offset: u64, width: Width) -> Option<usize> {
    let is_register = width == Width::Long && offset % 4 == 0 && offset < SIZE;
    is_register.then_some(offset as usize)
}

impl<W: Wire> Device for E1000<W> {
    fn read(&mut self, offset: u64, width: Width) -> u64 {
        match aligned(offset, width) {
            Some(register) => self.read_register(register).into(),
            None => {
                self.count_bad_access();
                0
            }
        }
    }

    fn write(&mut self, offset: u64, width: Width, value: u64) {
        match aligned(offset, width) {
            Some(register) => self.write_register(register, value as u32),
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
        let transmits = self.transmit(BATCH);
        let receives = std::mem::take(&mut self.kicked) && self.receive(BATCH);
        self.kicked |= receives;
        self.update_pin();
        transmits || receives
    }
}
