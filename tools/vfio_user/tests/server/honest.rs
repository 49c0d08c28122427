// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a client may expect.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use rustix::io::Errno;
use shunt::pci::CONFIG_SIZE;
use shunt::{Command as Access, Operation, Reply, Width};
use vfio_user::server::Server;
use vfio_user::wire::*;
use zerocopy::{FromBytes, IntoBytes};

use crate::rig::*;

#[test]
fn a_driver_gets_its_request_done() {
    let rig = Rig::new(1);
    let mut client = rig.client();
    let (fd, events) = lend(&mut client);
    start(&mut client);
    client.write(REGION_BAR0, 0x3004, &[1, 0]).unwrap();
    wait(&events[2]);
    assert_eq!(byte(&fd, BUFFER), b'.');
    drop(client);
    let counters = rig.end().remove(0).unwrap();
    assert_eq!((counters.requests, counters.notify_register), (1, 1));
    assert_eq!(counters.register_writes.vmm, 12);
    assert_eq!(counters.register_writes.kvm, 0);
}

#[test]
fn registers_and_doorbells_go_past_the_client() {
    let rig = Rig::new(1);
    let mut client = rig.client();
    let (fd, events) = lend(&mut client);
    start(&mut client);
    let (parts, fds) = client.io_fds(REGION_BAR0).unwrap();
    let commands = client.commands;

    let registers = parts
        .iter()
        .find(|part| part.kind == IO_FD_IOREGIONFD)
        .unwrap();
    assert_eq!((registers.offset, registers.size), (0, 0x3000));
    let channel = std::fs::File::from(fds[registers.fd_index as usize].try_clone().unwrap());
    let status = Access {
        operation: Operation::Read,
        width: Width::Byte,
        expects_reply: true,
        user_data: registers.data,
        offset: 0x14,
    };
    (&channel).write_all(&status.encode()).unwrap();
    let mut frame = [0; 32];
    (&channel).read_exact(&mut frame).unwrap();
    assert_eq!(Reply::decode(&frame).data, 15);

    let doorbells: Vec<_> = parts
        .iter()
        .filter(|part| part.kind == IO_FD_IOEVENTFD)
        .collect();
    let places: BTreeSet<_> = doorbells.iter().map(|part| part.offset).collect();
    assert_eq!(places, BTreeSet::from([0x3000, 0x3004]));
    let second = doorbells.iter().find(|part| part.offset == 0x3004).unwrap();
    rustix::io::write(&fds[second.fd_index as usize], &1u64.to_ne_bytes()).unwrap();
    wait(&events[2]);
    assert_eq!(byte(&fd, BUFFER), b'.');
    assert_eq!(client.commands, commands);
    drop(client);
    let counters = rig.end().remove(0).unwrap();
    assert_eq!(
        (counters.register_reads.kvm, counters.notify_eventfd),
        (1, 1)
    );
}

#[test]
fn the_device_says_what_it_is() {
    let rig = Rig::new(1);
    let mut client = rig.client();
    let mut whole = [0; CONFIG_SIZE];
    client.read(REGION_CONFIG, 0, &mut whole).unwrap();
    assert_eq!(whole[..4], 0x1042_1af4u32.to_le_bytes());
    for (index, size) in [(0, 0x4000), (1, 0x1000), (2, 0), (6, 0), (7, 256), (8, 0)] {
        let wanted = RegionInfo {
            argsz: 32,
            index,
            ..RegionInfo::default()
        };
        let answer = client.call(Command::DeviceGetRegionInfo, wanted.as_bytes(), &[]);
        let info = RegionInfo::read_from_bytes(&answer.unwrap().payload).unwrap();
        assert_eq!(info.size, size, "region {index}");
        assert_eq!(
            info.flags,
            if size == 0 {
                0
            } else {
                REGION_READ | REGION_WRITE
            }
        );
    }
    drop(client);
    rig.end().remove(0).unwrap();
}

#[test]
fn several_writes_in_one_message() {
    let rig = Rig::new(1);
    let mut client = rig.client();
    assert!(client.server.write_multiple);
    let mut payload = 2u64.to_ne_bytes().to_vec();
    for (offset, data) in [(0x16, 1), (0x18, 8)] {
        let write = MultiWrite {
            offset,
            region: REGION_BAR0,
            count: 2,
            data: u64::to_le_bytes(data),
        };
        payload.extend(write.as_bytes());
    }
    let answer = client
        .call(Command::RegionWriteMulti, &payload, &[])
        .unwrap();
    assert_eq!(answer.payload, 2u64.to_ne_bytes());
    assert_eq!(long(&mut client, REGION_BAR0, 0x00), 0);
    let mut size = [0; 2];
    client.read(REGION_BAR0, 0x18, &mut size).unwrap();
    assert_eq!(u16::from_le_bytes(size), 8);
    payload[8 + 12] = 9;
    let outcome = client.call(Command::RegionWriteMulti, &payload, &[]);
    assert_eq!(refused(outcome), Errno::INVAL);
    drop(client);
    rig.end().remove(0).unwrap();
}

#[test]
fn the_next_client_finds_the_device_as_the_first_did() {
    let rig = Rig::new(2);
    for _ in 0..2 {
        let mut client = rig.client();
        let mut status = [0];
        client.read(REGION_BAR0, 0x14, &mut status).unwrap();
        assert_eq!(status, [0]);
        lend(&mut client);
        start(&mut client);
        client.read(REGION_BAR0, 0x14, &mut status).unwrap();
        assert_eq!(status, [15]);
    }
    for outcome in rig.end() {
        outcome.unwrap();
    }
}

#[test]
fn a_reset_of_the_device_keeps_memory_and_events() {
    let rig = Rig::new(1);
    let mut client = rig.client();
    let (_fd, events) = lend(&mut client);
    start(&mut client);
    client.call(Command::DeviceReset, &[], &[]).unwrap();
    start(&mut client);
    client.write(REGION_BAR0, 0x3004, &[1, 0]).unwrap();
    wait(&events[2]);
    drop(client);
    rig.end().remove(0).unwrap();
}

#[test]
fn a_command_that_wants_no_answer_gets_none() {
    let rig = Rig::new(1);
    let mut socket = rig.socket();
    socket
        .write_all(&message(Command::Version, 0, VERSION))
        .unwrap();
    answer(&mut socket).unwrap();
    socket
        .write_all(&message(Command::DeviceReset, NO_REPLY, &[]))
        .unwrap();
    socket
        .write_all(&message(Command::DeviceReset, NO_REPLY, &[1]))
        .unwrap();
    let info = DeviceInfo {
        argsz: 16,
        ..DeviceInfo::default()
    };
    let wanted = message(Command::DeviceGetInfo, 0, info.as_bytes());
    socket.write_all(&wanted).unwrap();
    let found = DeviceInfo::read_from_bytes(&answer(&mut socket).unwrap()).unwrap();
    assert_eq!((found.num_regions, found.num_irqs), (REGIONS, IRQS));
    drop(socket);
    rig.end().remove(0).unwrap();
}

#[test]
fn a_message_may_come_in_pieces() {
    let rig = Rig::new(1);
    let mut socket = rig.socket();
    for byte in message(Command::Version, 0, VERSION) {
        socket.write_all(&[byte]).unwrap();
    }
    assert!(answer(&mut socket).is_some());
    drop(socket);
    rig.end().remove(0).unwrap();
}

#[test]
fn a_socket_of_a_dead_server_is_taken_over_and_that_of_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let server = Server::bind(&path).unwrap();
    assert!(Server::bind(&path).is_err());
    drop(server);
    Server::bind(&path).unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(Server::bind(&file).is_err());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn a_request_in_memory_that_cannot_be_mapped_is_done() {
    let rig = Rig::new(1);
    let mut client = rig.client();
    let events = lend_unshared(&mut client);
    start(&mut client);
    // More messages follow the interrupt: the device looks at its rings once more.
    while !is_signalled(&events[2]) {
        client.serve_next().unwrap();
    }
    assert_eq!(client.memory[BUFFER as usize], b'.');
    let index = QUEUE[2] as usize + 2;
    assert_eq!(client.memory[index..index + 2], [1, 0]);
    drop(client);
    let counters = rig.end().remove(0).unwrap();
    assert_eq!((counters.requests, counters.resets_demanded), (1, 0));
}

/// The client answers a transfer only while it waits for an answer of its own.
#[test]
fn a_transfer_does_not_hold_up_the_client() {
    let rig = Rig::new(1);
    let mut client = rig.client();
    let events = lend_unshared(&mut client);
    start(&mut client);
    while !is_signalled(&events[2]) {
        assert_eq!(long(&mut client, REGION_CONFIG, 0), 0x1042_1af4);
    }
    assert_eq!(client.memory[BUFFER as usize], b'.');
    drop(client);
    rig.end().remove(0).unwrap();
}
