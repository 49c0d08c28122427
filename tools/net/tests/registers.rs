// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Frames between a driver of an e1000 or an rtl8139 and a wire that is a socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{socketpair, AddressFamily, SocketFlags, SocketType};
use shunt::device::Device;
use shunt::pci::bar;
use shunt::state::StatePage;
use shunt::virtio_bus::Slot;
use shunt::Width;
use shunt_net::{e1000, rtl8139, Wire};
use virtio_spec::features::Features;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const HEADER: usize = 12;
const MEMORY: usize = 1 << 20;
const RING: u64 = 0x1000;
const BUFFERS: u64 = 0x10000;

struct Socket(OwnedFd);

impl Wire for Socket {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn set_offloads(&self, _: Features) -> io::Result<()> {
        Ok(())
    }

    fn set_in_use(&self, _: bool) -> io::Result<()> {
        Ok(())
    }
}

struct Rig {
    device: Box<dyn Device>,
    memory: GuestMemoryMmap,
    line: EventFd,
    far_end: OwnedFd,
    /// Where the registers begin.
    start: u64,
}

impl Rig {
    fn new(start: u64, device: impl Fn(Socket, Slot) -> Box<dyn Device>) -> Self {
        let kind = SocketType::SEQPACKET;
        let (near, far_end) =
            socketpair(AddressFamily::UNIX, kind, SocketFlags::NONBLOCK, None).unwrap();
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).unwrap();
        let line = EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let slot = Slot {
            memory: memory.clone(),
            state: StatePage::create().unwrap(),
            interrupt: line.try_clone().unwrap(),
            vectors: Vec::new(),
        };
        Self {
            device: device(Socket(near), slot),
            memory,
            line,
            far_end,
            start,
        }
    }

    fn e1000() -> Self {
        Self::new(0, |wire, slot| {
            Box::new(e1000::E1000::new(wire, MAC, slot).unwrap())
        })
    }

    fn rtl8139() -> Self {
        Self::new(bar(rtl8139::BAR), |wire, slot| {
            Box::new(rtl8139::Rtl8139::new(wire, MAC, slot).unwrap())
        })
    }

    fn write(&mut self, register: u64, width: Width, value: u64) {
        self.device.write(self.start + register, width, value);
    }

    fn long(&mut self, register: u64, value: u64) {
        self.write(register, Width::Long, value);
    }

    fn read(&mut self, register: u64, width: Width) -> u64 {
        self.device.read(self.start + register, width)
    }

    fn work(&mut self) {
        while self.device.work() {}
    }

    fn bring(&mut self, frame: &[u8]) {
        let packet = [&[0; HEADER][..], frame].concat();
        rustix::io::write(&self.far_end, &packet).unwrap();
        self.device.input_ready();
        self.work();
    }

    /// The next frame that the device sent.
    fn sent(&self) -> Option<Vec<u8>> {
        let mut packet = [0; 4096];
        let length = rustix::io::read(&self.far_end, &mut packet[..]).ok()?;
        Some(packet[HEADER..length].to_vec())
    }
}

fn frame(number: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| number ^ at as u8).collect()
}

#[test]
fn an_rtl8139_sends_in_the_order_of_its_buffers() {
    let mut rig = Rig::rtl8139();
    rig.write(0x37, Width::Byte, 0b1100);
    let mut number = 0;
    // The driver goes on with the buffer after the last one, as many as it likes at once.
    for together in [3, 3, 1, 4] {
        let first = number;
        for _ in 0..together {
            let (buffer, address) = (number % 4, BUFFERS + (number % 4) * 0x1000);
            let bytes = frame(number as u8, 60);
            rig.memory
                .write_slice(&bytes, GuestAddress(address))
                .unwrap();
            rig.long(0x20 + 4 * buffer, address);
            rig.long(0x10 + 4 * buffer, 60);
            number += 1;
        }
        rig.work();
        for number in first..number {
            assert_eq!(rig.sent().unwrap(), frame(number as u8, 60), "{number}");
        }
    }
    assert_eq!(
        rig.read(0x10, Width::Long),
        0xa03c,
        "sent, and the driver's"
    );
}

#[test]
fn an_rtl8139_fills_its_ring_and_waits_for_the_driver() {
    let mut rig = Rig::rtl8139();
    rig.long(0x30, RING);
    rig.write(0x37, Width::Byte, 0b1100);
    // Frames to us and to all; a ring of 8 KiB.
    rig.long(0x44, 0b1010);
    rig.write(0x3c, Width::Word, 1);
    for number in 0..6 {
        rig.bring(&frame(number, 1500));
    }
    assert_eq!(rig.line.read().unwrap(), 1);
    // Five frames of 1508 bytes each, with header and checksum.
    assert_eq!(rig.read(0x3a, Width::Word), 5 * 1508);
    let mut head = [0; 4];
    rig.memory
        .read_slice(&mut head, GuestAddress(RING + 1508))
        .unwrap();
    assert_eq!(head, [1, 0, 0xe0, 5]);
    assert_eq!(rig.read(0x37, Width::Byte) & 1, 0, "not empty");
    // The driver has read all of them.
    rig.write(0x38, Width::Word, 5 * 1508 - 16);
    assert_eq!(rig.read(0x37, Width::Byte) & 1, 1, "empty");
    rig.work();
    assert_eq!(rig.read(0x3a, Width::Word), 6 * 1508 % 8192);
    // There is one left, so that the line rises again.
    rig.write(0x3e, Width::Word, 1);
    rig.device.notified(0);
    rig.work();
    assert_eq!(rig.line.read().unwrap(), 1);
    // Acknowledged when all are read, it rises no more.
    rig.write(0x38, Width::Word, 6 * 1508 % 8192 - 16);
    rig.write(0x3e, Width::Word, 1);
    rig.device.notified(0);
    rig.work();
    assert!(rig.line.read().is_err());
}

/// Address, and the two words behind it.
fn descriptor(rig: &Rig, ring: u64, index: u64, words: (u64, u64)) {
    let at = GuestAddress(ring + 16 * index);
    rig.memory.write_obj([words.0, words.1], at).unwrap();
}

#[test]
fn an_e1000_sends_a_frame_of_several_descriptors() {
    let mut rig = Rig::e1000();
    rig.long(0x3800, RING);
    rig.long(0x3808, 8 * 16);
    rig.long(0x0400, 2);
    rig.long(0x00d0, 1);
    let bytes = frame(9, 100);
    rig.memory
        .write_slice(&bytes, GuestAddress(BUFFERS))
        .unwrap();
    descriptor(&rig, RING, 0, (BUFFERS, 40));
    // End of the frame, and a report.
    descriptor(&rig, RING, 1, (BUFFERS + 40, 60 | 9 << 24));
    rig.long(e1000::TDT as u64, 2);
    rig.work();
    assert_eq!(rig.sent().unwrap(), bytes);
    assert_eq!(rig.line.read().unwrap(), 1);
    let done: u32 = rig.memory.read_obj(GuestAddress(RING + 28)).unwrap();
    assert_eq!(done, 1);
    assert_eq!(rig.read(0x00c0, Width::Long), 1, "the cause, once");
    assert_eq!(rig.read(0x00c0, Width::Long), 0);
}

#[test]
fn an_e1000_receives_what_it_has_descriptors_for() {
    let mut rig = Rig::e1000();
    rig.long(0x2800, RING);
    rig.long(0x2808, 8 * 16);
    rig.long(0x0100, 2);
    rig.bring(&frame(1, 100));
    assert_eq!(rig.read(0x2810, Width::Long), 0, "no descriptor");
    for index in 0..8 {
        descriptor(&rig, RING, index, (BUFFERS + 0x1000 * index, 0));
    }
    rig.long(e1000::RDT as u64, 7);
    rig.work();
    rig.bring(&frame(2, 3000));
    assert_eq!(
        rig.read(0x2810, Width::Long),
        3,
        "one, and two of 2048 bytes"
    );
    let back = |index: u64| {
        let at = GuestAddress(RING + 16 * index + 8);
        rig.memory.read_obj::<u64>(at).unwrap()
    };
    // Length, with the checksum at the end; done, end of the frame.
    assert_eq!(back(0), 104 | 7 << 32);
    assert_eq!([back(1), back(2)], [2048 | 5 << 32, 956 | 7 << 32]);
    let mut bytes = vec![0; 952];
    rig.memory
        .read_slice(&mut bytes, GuestAddress(BUFFERS + 0x2000))
        .unwrap();
    assert_eq!(bytes, frame(2, 3000)[2048..]);
}
