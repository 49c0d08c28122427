// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Both ends of a session, over a real socket.

use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use ioregion_ring::consumer::BadChannel;
use ioregion_ring::layout::{MAGIC, MAGIC_AT, SLOTS_AT, VCPUS_AT};
use ioregion_wire::uapi::IOREGION_CHANNEL_DEVICE_AREA;
use shunt::channel::{pair, ChannelEnd, Transport};
use shunt::device::Device;
use shunt::memory::allocate;
use shunt::ring_channel::RingError;
use shunt::serve::{serve, ServeError};
use shunt::session::{Session, SessionError};
use shunt::state::StatePage;
use shunt::vmm::{DeviceProcess, Listener, Resources};
use shunt::{Command, Operation, Width};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

/// Registers are guest memory: offset is address. A write interrupts.
struct Memory {
    memory: GuestMemoryMmap,
    interrupt: EventFd,
}

impl Device for Memory {
    fn read(&mut self, offset: u64, _: Width) -> u64 {
        self.memory.read_obj(GuestAddress(offset)).unwrap()
    }

    fn write(&mut self, offset: u64, _: Width, value: u64) {
        self.memory.write_obj(value, GuestAddress(offset)).unwrap();
        self.interrupt.write(1).unwrap();
    }
}

/// The VMM's part.
struct Vmm {
    directory: tempfile::TempDir,
    listener: Listener,
    memory: GuestMemoryMmap,
    state: StatePage,
    interrupt: EventFd,
}

const HOLE: u64 = 0x1_0000_0000;

impl Vmm {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            listener: Listener::bind(&directory.path().join("socket")).unwrap(),
            directory,
            memory: allocate(&[(GuestAddress(0), 0x2000), (GuestAddress(HOLE), 0x1000)]).unwrap(),
            state: StatePage::create().unwrap(),
            interrupt: EventFd::new(0).unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn attach(&self) -> std::io::Result<DeviceProcess> {
        self.attach_with(None)
    }

    fn attach_with(&self, kvm_channel: Option<ChannelEnd>) -> std::io::Result<DeviceProcess> {
        let lent = Resources {
            memory: &self.memory,
            state: &self.state,
            interrupt: &self.interrupt,
            vectors: &[],
            events: &[],
        };
        self.listener.accept()?.attach(&lent, kvm_channel)
    }
}

fn device(path: PathBuf) -> JoinHandle<Result<(), ServeError>> {
    std::thread::spawn(move || {
        let session = Session::connect(&path).unwrap();
        let mut device = Memory {
            memory: session.memory.clone(),
            interrupt: session.interrupt.try_clone().unwrap(),
        };
        serve(session, &mut device)
    })
}

fn command(offset: u64, operation: Operation) -> Command {
    Command {
        operation,
        width: Width::Quad,
        expects_reply: true,
        user_data: 0,
        offset,
    }
}

#[test]
fn the_device_shares_memory_interrupt_and_state() {
    let vmm = Vmm::new();
    let device = device(vmm.path());
    let process = vmm.attach().unwrap();
    for address in [0x1008, HOLE + 8] {
        vmm.memory
            .write_obj(address + 1, GuestAddress(address))
            .unwrap();
        let reply = process.access(&command(address, Operation::Read)).unwrap();
        assert_eq!(reply.data, address + 1);
        process
            .access(&command(address, Operation::Write(5)))
            .unwrap();
        assert_eq!(
            vmm.memory.read_obj::<u64>(GuestAddress(address)).unwrap(),
            5
        );
    }
    assert_eq!(vmm.interrupt.read().unwrap(), 2);
    assert_eq!(vmm.state.counters().values().register_reads.vmm, 2);
    drop(process);
    device.join().unwrap().unwrap();
}

/// What the VMM sees of a process that died.
fn assert_gone(error: &std::io::Error) {
    let is_gone = matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
    );
    assert!(is_gone, "{error}");
}

#[test]
fn a_hang_up_frees_everyone() {
    let vmm = Vmm::new();
    let device = device(vmm.path());
    let process = vmm.attach().unwrap();
    process.access(&command(0, Operation::Read)).unwrap();
    process.hang_up().unwrap();
    process.wait_hangup().unwrap();
    device.join().unwrap().unwrap();
    let error = process.access(&command(0, Operation::Read)).unwrap_err();
    assert!(
        matches!(
            error.kind(),
            ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof
        ),
        "{error}"
    );
}

#[test]
fn a_process_that_dies_is_noticed() {
    let vmm = Vmm::new();
    let path = vmm.path();
    let device = std::thread::spawn(move || drop(Session::connect(&path).unwrap()));
    let process = vmm.attach().unwrap();
    process.wait_hangup().unwrap();
    device.join().unwrap();
    let error = process.access(&command(0, Operation::Read)).unwrap_err();
    assert_gone(&error);
}

#[test]
fn a_process_is_drained_and_serves_on() {
    let vmm = Vmm::new();
    let device = device(vmm.path());
    let process = vmm.attach().unwrap();
    for _ in 0..3 {
        process.drain().unwrap();
        process.access(&command(0, Operation::Read)).unwrap();
    }
    drop(process);
    device.join().unwrap().unwrap();
}

#[test]
fn a_process_that_dies_is_not_drained() {
    let vmm = Vmm::new();
    let path = vmm.path();
    let device = std::thread::spawn(move || drop(Session::connect(&path).unwrap()));
    let process = vmm.attach().unwrap();
    device.join().unwrap();
    let error = process.drain().unwrap_err();
    assert_gone(&error);
}

#[test]
fn a_process_that_hangs_is_given_up_in_time() {
    let vmm = Vmm::new();
    let path = vmm.path();
    // It never serves.
    let device = std::thread::spawn(move || Session::connect(&path).unwrap());
    let process = vmm.attach().unwrap();
    process.set_timeout(Some(Duration::from_millis(1))).unwrap();
    let error = process.access(&command(0, Operation::Read)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    drop(device.join().unwrap());
}

#[test]
fn shadow_registers_are_shared_and_outlive_a_process() {
    let vmm = Vmm::new();
    for life in 1..3 {
        let path = vmm.path();
        let device = std::thread::spawn(move || {
            let session = Session::connect(&path).unwrap();
            session.state.shadow().fetch_or(0x60, Width::Long, life)
        });
        vmm.attach().unwrap().wait_hangup().unwrap();
        assert_eq!(device.join().unwrap(), life - 1);
    }
    assert_eq!(vmm.state.shadow().load(0x60, Width::Long), 3);
}

#[test]
fn a_channel_in_shared_memory_comes_with_the_session() {
    let vmm = Vmm::new();
    let file = tempfile::tempfile().unwrap();
    file.set_len(IOREGION_CHANNEL_DEVICE_AREA + 2 * 4096)
        .unwrap();
    let connect = || {
        let path = vmm.path();
        let device = std::thread::spawn(move || Session::connect(&path).map(drop));
        let end = ChannelEnd::Ring(file.try_clone().unwrap().into());
        vmm.attach_with(Some(end)).unwrap().wait_hangup().unwrap();
        device.join().unwrap()
    };
    assert!(matches!(
        connect(),
        Err(SessionError::Ring(RingError::NoChannel(BadChannel::Magic(
            0
        ))))
    ));
    for (at, word) in [(MAGIC_AT, MAGIC), (SLOTS_AT, 4), (VCPUS_AT, 1)] {
        file.write_all_at(&word.to_ne_bytes(), at as u64).unwrap();
    }
    connect().unwrap();
}

#[test]
fn a_vmm_that_hangs_up_before_it_attaches_is_an_error() {
    let vmm = Vmm::new();
    let path = vmm.path();
    let device = std::thread::spawn(move || Session::connect(&path));
    drop(vmm.listener.accept().unwrap());
    assert!(matches!(
        device.join().unwrap(),
        Err(SessionError::Receive(_))
    ));
}

#[test]
fn a_stale_socket_is_replaced_and_nothing_else() {
    let vmm = Vmm::new();
    let path = vmm.path();
    let second = Listener::bind(&path).unwrap();
    drop(second);
    assert!(!path.exists());
    std::fs::write(&path, "precious").unwrap();
    assert_eq!(
        Listener::bind(&path).unwrap_err().kind(),
        ErrorKind::AddrInUse
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn memory_that_cannot_be_shared_is_refused() {
    let mut vmm = Vmm::new();
    vmm.memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x1000)]).unwrap();
    let path = vmm.path();
    let device = std::thread::spawn(move || Session::connect(&path));
    assert_eq!(vmm.attach().unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(device.join().unwrap().is_err());
}

#[test]
fn nobody_resizes_what_is_shared() {
    let vmm = Vmm::new();
    assert!(vmm.state.file().set_len(0).is_err());
    assert!(vmm.state.file().set_len(1 << 20).is_err());
}

#[test]
fn a_state_page_is_recognised() {
    let page = StatePage::create().unwrap();
    StatePage::from_file(page.file().try_clone().unwrap()).unwrap();
    let file = tempfile::tempfile().unwrap();
    for (size, want) in [
        (100, "the state page has 100 bytes, fewer than 8192"),
        (8192, "no state page: it begins with 0x0, not 0x61747374"),
    ] {
        file.set_len(size).unwrap();
        let error = StatePage::from_file(file.try_clone().unwrap())
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(want), "{error}");
    }
}

#[test]
fn channels_are_what_they_are_called() {
    for (transport, single) in [
        (Transport::Seqpacket, true),
        (Transport::Stream, true),
        (Transport::Pipe, false),
    ] {
        let (kvm_end, device_end) = pair(transport).unwrap();
        assert_eq!(
            (kvm_end.is_single(), device_end.is_single()),
            (single, single)
        );
        let same = kvm_end.read_fd().as_raw_fd() == kvm_end.write_fd().as_raw_fd();
        assert_eq!(same, single);
    }
}
