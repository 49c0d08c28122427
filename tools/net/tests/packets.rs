// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Packets between a driver and a wire that is a socket, with every kind of ring.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{socketpair, AddressFamily, SocketFlags, SocketType};
use shunt::device::Device;
use shunt::guest_area::GuestArea;
use shunt::state::StatePage;
use shunt::virtio_mmio::VirtioMmio;
use shunt::Width;
use shunt_net::{Net, Wire};
use virtio_ring::driver::{Ring, Settings, Slot};
use virtio_ring::memory::Areas;
use virtio_ring::segment::Segment;
use virtio_spec::features::Features;
use virtio_spec::net::feature::MRG_RXBUF;
use virtio_spec::{mmio, packed, split};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

const RECEIVE: u32 = 0;
const TRANSMIT: u32 = 1;
const SIZE: u16 = 16;
const MEMORY: usize = 1 << 20;
const HEADER: usize = 12;
/// A receive buffer.
const BUFFER: usize = 1000;
const BUFFERS: u64 = 0x40000;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

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

type Queue = Ring<GuestArea, Vec<Slot<u64>>>;

struct Rig {
    device: VirtioMmio<Net<Socket>>,
    memory: GuestMemoryMmap,
    interrupt: EventFd,
    far_end: OwnedFd,
    queues: [Queue; 2],
}

/// Rings of queue 0 and 1: a page for each area.
fn areas(memory: &GuestMemoryMmap, features: Features, queue: u32) -> (Areas<GuestArea>, [u64; 3]) {
    let bytes = match features.has(Features::RING_PACKED) {
        true => [packed::descriptor_area(SIZE), packed::EVENT, packed::EVENT],
        false => [
            split::descriptor_area(SIZE),
            split::driver_area(SIZE),
            split::device_area(SIZE),
        ],
    };
    let places = [1, 2, 3].map(|page| (u64::from(queue) * 4 + page) << 12);
    let area = |which: usize| GuestArea::new(memory, places[which], bytes[which], 16).unwrap();
    let areas = Areas {
        descriptors: area(0),
        driver: area(1),
        device: area(2),
    };
    (areas, places)
}

impl Rig {
    /// A device that the driver has started with these features.
    fn new(features: Features) -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).unwrap();
        let kind = SocketType::SEQPACKET;
        let (near, far_end) =
            socketpair(AddressFamily::UNIX, kind, SocketFlags::NONBLOCK, None).unwrap();
        let interrupt = EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let net = Net::new(vec![Socket(near)], MAC)
            .unwrap()
            .offering(features);
        let line = interrupt.try_clone().unwrap();
        let state = StatePage::create().unwrap();
        let device = VirtioMmio::new(net, memory.clone(), state, line);
        let features = features.with(Features::VERSION_1);
        let queues = [RECEIVE, TRANSMIT].map(|queue| {
            let (areas, _) = areas(&memory, features, queue);
            let slots = (0..SIZE).map(|_| Slot::new()).collect();
            let settings = Settings {
                queue: queue as u16,
                size: SIZE,
                features,
            };
            Ring::new(settings, areas, slots).unwrap()
        });
        let mut rig = Self {
            device,
            memory,
            interrupt,
            far_end,
            queues,
        };
        rig.start(features);
        rig
    }

    fn write(&mut self, register: usize, value: u32) {
        self.device
            .write(register as u64, Width::Long, value.into());
    }

    fn start(&mut self, features: Features) {
        self.write(mmio::STATUS, 3);
        for (half, value) in [(0, features.bits()), (1, features.bits() >> 32)] {
            self.write(mmio::DRIVER_FEATURES_SEL, half);
            self.write(mmio::DRIVER_FEATURES, value as u32);
        }
        self.write(mmio::STATUS, 11);
        for queue in [RECEIVE, TRANSMIT] {
            let (_, places) = areas(&self.memory, features, queue);
            self.write(mmio::QUEUE_SEL, queue);
            self.write(mmio::QUEUE_NUM, SIZE.into());
            self.write(mmio::QUEUE_DESC_LOW, places[0] as u32);
            self.write(mmio::QUEUE_DRIVER_LOW, places[1] as u32);
            self.write(mmio::QUEUE_DEVICE_LOW, places[2] as u32);
            self.write(mmio::QUEUE_READY, 1);
        }
        self.write(mmio::STATUS, 15);
        let status = self.device.read(mmio::STATUS as u64, Width::Long);
        assert_eq!(status, 15, "refused");
    }

    /// Gives the device these receive buffers.
    fn offer(&mut self, buffers: std::ops::Range<u64>) {
        for number in buffers {
            let address = BUFFERS + number * 0x1000;
            let segment = Segment {
                address,
                length: BUFFER as u32,
            };
            let ring = &mut self.queues[RECEIVE as usize];
            ring.add(&[], &[segment], address).unwrap();
        }
        let _ = self.queues[RECEIVE as usize].publish();
        self.write(mmio::QUEUE_NOTIFY, RECEIVE);
        self.work();
    }

    fn work(&mut self) {
        while self.device.work() {}
    }

    /// Has the wire bring a packet.
    fn bring(&mut self, packet: &[u8]) {
        rustix::io::write(&self.far_end, packet).unwrap();
        self.device.input_ready();
        self.work();
    }

    /// What came in so many buffers: the header's count of them, and the rest.
    fn received(&mut self) -> Option<(u16, Vec<u8>)> {
        let mut packet = self.buffer()?;
        let number = u16::from_le_bytes([packet[10], packet[11]]);
        for _ in 1..number {
            packet.extend(self.buffer().expect("a packet without its end"));
        }
        assert!(!self.queues[RECEIVE as usize].enable_interrupts());
        Some((number, packet.split_off(HEADER)))
    }

    fn buffer(&mut self) -> Option<Vec<u8>> {
        let used = self.queues[RECEIVE as usize].pop().unwrap()?;
        let mut bytes = vec![0; used.length as usize];
        let place = GuestAddress(used.token);
        self.memory.read_slice(&mut bytes, place).unwrap();
        Some(bytes)
    }
}

/// A packet with an empty header.
fn packet(length: usize) -> Vec<u8> {
    let bytes = (0..length).map(|at| (at % 251) as u8);
    [0; HEADER].into_iter().chain(bytes).collect()
}

fn on_every_ring(test: impl Fn(Features)) {
    let order = Features::IN_ORDER;
    for ring in [
        Features::default(),
        order,
        Features::RING_PACKED,
        Features::RING_PACKED.with(order),
    ] {
        test(ring.with(MRG_RXBUF));
        test(ring.with(MRG_RXBUF).with(Features::EVENT_IDX));
    }
}

#[test]
fn a_packet_takes_the_buffers_that_it_needs() {
    on_every_ring(|features| {
        let mut rig = Rig::new(features);
        rig.offer(0..8);
        for length in [1, BUFFER - HEADER, BUFFER - HEADER + 1, 3 * BUFFER] {
            let sent = packet(length);
            rig.bring(&sent);
            assert!(rig.interrupt.read().is_ok(), "{features:?} {length}");
            let (buffers, received) = rig.received().unwrap();
            assert_eq!(usize::from(buffers), sent.len().div_ceil(BUFFER));
            assert!(received == sent[HEADER..], "{features:?} {length}");
        }
        assert!(rig.received().is_none());
    });
}

#[test]
fn a_packet_waits_until_there_are_buffers_enough() {
    on_every_ring(|features| {
        let mut rig = Rig::new(features);
        let sent = packet(3 * BUFFER);
        rig.bring(&sent);
        rig.offer(0..2);
        assert!(rig.received().is_none());
        assert!(rig.interrupt.read().is_err());
        rig.offer(2..4);
        let (buffers, received) = rig.received().unwrap();
        assert_eq!(buffers, 4);
        assert!(received == sent[HEADER..], "{features:?}");
    });
}

#[test]
fn without_merged_buffers_a_packet_that_does_not_fit_is_lost() {
    let mut rig = Rig::new(Features::default());
    rig.offer(0..2);
    rig.bring(&packet(BUFFER));
    assert_eq!(rig.buffer(), Some(vec![]));
    let sent = packet(BUFFER - HEADER);
    rig.bring(&sent);
    let received = rig.buffer().expect("the device has stopped");
    assert!(received[HEADER..] == sent[HEADER..]);
}

#[test]
fn a_packet_is_sent_whole() {
    on_every_ring(|features| {
        let mut rig = Rig::new(features);
        let sent = packet(3000);
        rig.memory
            .write_slice(&sent, GuestAddress(BUFFERS))
            .unwrap();
        let segment = |from: usize, to: usize| Segment {
            address: BUFFERS + from as u64,
            length: (to - from) as u32,
        };
        let pieces = [
            segment(0, HEADER),
            segment(HEADER, 100),
            segment(100, sent.len()),
        ];
        let ring = &mut rig.queues[TRANSMIT as usize];
        ring.add(&pieces, &[], 7).unwrap();
        let _ = ring.publish();
        rig.write(mmio::QUEUE_NOTIFY, TRANSMIT);
        rig.work();
        let mut bytes = vec![0; 4000];
        let length = rustix::io::read(&rig.far_end, &mut bytes[..]).unwrap();
        assert!(bytes[..length] == sent, "{features:?}");
        let used = rig.queues[TRANSMIT as usize].pop().unwrap().unwrap();
        assert_eq!((used.token, used.length), (7, 0));
    });
}

#[test]
fn the_address_is_where_the_driver_looks() {
    let mut rig = Rig::new(MRG_RXBUF);
    let mac = [0, 1, 2, 3, 4, 5].map(|at| {
        let place = mmio::CONFIG as u64 + at;
        rig.device.read(place, Width::Byte) as u8
    });
    assert_eq!(mac, MAC);
}
