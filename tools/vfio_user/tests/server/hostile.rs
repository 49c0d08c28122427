// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a client may not do, and what becomes of it.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use proptest::prelude::*;
use rustix::io::Errno;
use rustix::net::{sendmsg, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use vfio_user::server::{BadAnswer, SessionError};
use vfio_user::wire::*;
use zerocopy::{FromBytes, IntoBytes};

use crate::rig::*;

#[test]
fn a_channel_that_carries_nonsense_is_closed_and_the_session_goes_on() {
    let rig = Rig::new(1);
    let mut client = rig.client();
    let (_, fds) = client.io_fds(REGION_BAR0).unwrap();
    let mut channel = std::fs::File::from(fds[0].try_clone().unwrap());
    channel.write_all(&[0xff; 32]).unwrap();
    let mut frame = [0; 32];
    assert_eq!(channel.read(&mut frame).unwrap(), 0);
    assert_eq!(long(&mut client, REGION_CONFIG, 0), 0x1042_1af4);
    drop(client);
    rig.end().remove(0).unwrap();
}

#[test]
fn a_client_that_takes_few_descriptors_gets_few() {
    let rig = Rig::new(1);
    let mut socket = rig.socket();
    socket
        .write_all(&message(Command::Version, 0, &[0; 4]))
        .unwrap();
    answer(&mut socket).unwrap();
    let wanted = RegionIoFds {
        argsz: 1000,
        ..RegionIoFds::default()
    };
    let wanted = message(Command::DeviceGetRegionIoFds, 0, wanted.as_bytes());
    socket.write_all(&wanted).unwrap();
    let payload = answer(&mut socket).unwrap();
    let (found, _) = RegionIoFds::read_from_prefix(&payload).unwrap();
    assert_eq!((found.count, found.argsz), (1, 16 + 40));
    drop(socket);
    rig.end().remove(0).unwrap();
}

#[test]
fn accesses_that_cannot_be_are_refused() {
    let rig = Rig::new(1);
    let mut client = rig.client();
    for (region, offset, count) in [
        (REGION_BAR0, 0, 3),
        (REGION_BAR0, 0, 16),
        (REGION_BAR0, 0x3ffe, 4),
        (REGION_BAR0, u64::MAX, 4),
        (REGION_BAR0, 0, 0),
        (2, 0, 4),
        (6, 0, 4),
        (REGIONS, 0, 4),
        (u32::MAX, 0, 4),
        (REGION_CONFIG, 255, 2),
        (REGION_CONFIG, 0, 257),
    ] {
        let mut data = vec![0; count];
        assert_eq!(
            refused(client.read(region, offset, &mut data)),
            Errno::INVAL
        );
        assert_eq!(refused(client.write(region, offset, &data)), Errno::INVAL);
    }
    assert_eq!(refused(client.io_fds(REGIONS)), Errno::INVAL);
    assert_eq!(client.io_fds(1).unwrap().0, []);
    assert_eq!(
        refused(client.call(Command::Version, &[0; 4], &[])),
        Errno::INVAL
    );
    assert_eq!(
        refused(client.call(Command::DeviceFeature, &[0; 8], &[])),
        Errno::NOTSUP
    );
    drop(client);
    rig.end().remove(0).unwrap();
}

#[test]
fn clients_without_manners_lose_their_session_and_no_more() {
    let with_size = |size: u32| {
        let mut bytes = message(Command::Version, 0, VERSION);
        bytes[4..8].copy_from_slice(&size.to_ne_bytes());
        bytes
    };
    let agreed = |then: &[u8]| [&message(Command::Version, 0, VERSION), then].concat();
    let hostile = [
        vec![],
        vec![1, 2, 3],
        with_size(0),
        with_size(15),
        with_size(u32::MAX),
        with_size(2 << 20),
        message(Command::DeviceGetInfo, 0, &[0; 16]),
        message(Command::Version, TYPE_REPLY, VERSION),
        message(Command::Version, 0, b"\x01\0\0\0"),
        message(Command::Version, 0, b"\0\0\0\0{\0"),
        agreed(&[0xff; 16]),
        agreed(&message(Command::DmaRead, TYPE_REPLY, &[0; 16])),
        agreed(&message(Command::RegionWrite, 0, &[0; 16])[..20]),
    ];
    let rig = Rig::new(hostile.len() + 1);
    for bytes in &hostile {
        let mut socket = rig.socket();
        socket.write_all(bytes).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        while answer(&mut socket).is_some() {}
    }
    let mut client = rig.client();
    assert_eq!(long(&mut client, REGION_CONFIG, 0), 0x1042_1af4);
    drop(client);
    let outcomes = rig.end();
    assert!(outcomes[0].is_ok() && outcomes[hostile.len()].is_ok());
    for (bytes, outcome) in hostile.iter().zip(&outcomes).skip(1) {
        assert!(outcome.is_err(), "{bytes:?}");
    }
}

#[test]
fn descriptors_that_a_command_does_not_take_are_refused_and_closed() {
    let rig = Rig::new(1);
    let mut client = rig.client();
    let (read_end, write_end) = rustix::pipe::pipe().unwrap();
    let outcome = client.call(Command::DeviceReset, &[], &[write_end.as_fd()]);
    assert_eq!(refused(outcome), Errno::INVAL);
    drop(write_end);
    // The server has no writer open any more, so the pipe ends.
    assert_eq!(rustix::io::read(&read_end, &mut [0; 1]), Ok(0));
    drop(client);
    rig.end().remove(0).unwrap();
}

/// Each piece of a message may have descriptors.
#[test]
fn more_descriptors_than_a_message_takes_end_the_session() {
    let rig = Rig::new(1);
    let socket = rig.socket();
    let (pipe, _other) = rustix::pipe::pipe().unwrap();
    for byte in message(Command::DeviceReset, 0, &[0; 8]).iter().take(17) {
        let fds = [pipe.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        let iov = [IoSlice::new(std::slice::from_ref(byte))];
        // It fails when the server has seen enough.
        let _ = sendmsg(&socket, &iov, &mut control, SendFlags::NOSIGNAL);
    }
    drop(socket);
    match rig.end().remove(0) {
        Err(SessionError::Io(e)) => assert_eq!(e.kind(), std::io::ErrorKind::InvalidData),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_transfer_that_is_refused_makes_the_device_demand_a_reset() {
    let rig = Rig::new(1);
    let mut client = rig.client();
    let events = lend_unshared(&mut client);
    client.memory.truncate(QUEUE[0] as usize);
    start(&mut client);
    client.write(REGION_BAR0, 0x10, &[0, 0]).unwrap();
    let mut status = [0];
    while status[0] & 0x40 == 0 {
        client.read(REGION_BAR0, 0x14, &mut status).unwrap();
    }
    assert!(!is_signalled(&events[2]));
    drop(client);
    let counters = rig.end().remove(0).unwrap();
    assert_eq!((counters.requests, counters.resets_demanded), (0, 1));
}

#[test]
fn a_transfer_with_other_data_than_asked_for_ends_the_session() {
    let rig = Rig::new(1);
    let mut client = rig.client();
    lend_unshared(&mut client);
    start(&mut client);
    let mut socket = client.into_socket();
    let mut header = [0; HEADER_SIZE];
    socket.read_exact(&mut header).unwrap();
    let header = Header::read_from_bytes(&header).unwrap();
    assert_eq!(header.command, Command::DmaRead as u16);
    // What is available comes before the descriptors, which the driver fills first.
    let mut access = [0; size_of::<DmaAccess>()];
    socket.read_exact(&mut access).unwrap();
    let access = DmaAccess::read_from_bytes(&access).unwrap();
    assert_eq!(access.address, QUEUE[1]);
    let short = Header {
        size: HEADER_SIZE as u32,
        flags: TYPE_REPLY,
        ..header
    };
    socket.write_all(short.as_bytes()).unwrap();
    match rig.end().remove(0) {
        Err(SessionError::BadAnswer(BadAnswer::Length)) => {}
        other => panic!("{other:?}"),
    }
}

/// A command of random content whose header is right, so that the server looks at it.
fn any_command() -> impl Strategy<Value = Vec<u8>> {
    let command = prop::sample::select(vec![2u16, 3, 4, 5, 6, 7, 8, 9, 10, 13, 15, 16, 17, 99]);
    let small = prop_oneof![Just(0u32), 1u32..64, any::<u32>()];
    let payload = prop::collection::vec(small, 0..12);
    (command, any::<bool>(), payload).prop_map(|(number, quiet, numbers)| {
        let payload: Vec<u8> = numbers.iter().flat_map(|n| n.to_ne_bytes()).collect();
        let header = Header {
            id: 1,
            command: number,
            size: (HEADER_SIZE + payload.len()) as u32,
            flags: if quiet { NO_REPLY } else { TYPE_COMMAND },
            error: 0,
        };
        [header.as_bytes(), &payload].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever commands come, each is answered, and the next client finds the device as at first.
    #[test]
    fn any_commands_are_answered(commands in prop::collection::vec(any_command(), 1..60)) {
        let rig = Rig::new(2);
        let mut socket = rig.socket();
        socket.write_all(&message(Command::Version, 0, VERSION)).unwrap();
        prop_assert!(answer(&mut socket).is_some());
        for bytes in &commands {
            socket.write_all(bytes).unwrap();
            if bytes[8..12] == TYPE_COMMAND.to_ne_bytes() {
                prop_assert!(answer(&mut socket).is_some());
            }
        }
        drop(socket);
        let mut client = rig.client();
        prop_assert_eq!(long(&mut client, REGION_CONFIG, 4), 0x0010_0000);
        let mut vector = [0; 2];
        client.read(REGION_BAR0, 0x10, &mut vector).unwrap();
        prop_assert_eq!(vector, [0xff; 2]);
        drop(client);
        for outcome in rig.end() {
            prop_assert!(outcome.is_ok());
        }
    }
}
