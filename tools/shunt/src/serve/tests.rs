// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The serve loop, its other ends played by the test.

mod drain;
mod rig;
mod rings;

use std::io::Write;

use ioregion_wire::frame::{Command, Width, FRAME_SIZE};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::fs::Timespec;

use super::*;
use crate::channel::Transport;

use rig::*;

#[test]
fn every_transport_carries_accesses() {
    let served = Served::over(&TRANSPORTS);
    for (count, end) in (1..).zip(&served.ends) {
        send(end, &write_command(count, false));
        assert_eq!(
            end.exchange(&write_command(count + 10, true)).unwrap().data,
            0
        );
        assert_eq!(end.exchange(&read_command()).unwrap().data, count);
    }
    let counted = served.state.counters().values();
    assert_eq!(
        (counted.register_reads.kvm, counted.register_reads.vmm),
        (2, 1)
    );
    assert_eq!(
        (counted.register_writes.kvm, counted.register_writes.vmm),
        (4, 2)
    );
    let values: Vec<u64> = served.end().writes.iter().map(|write| write.2).collect();
    assert_eq!(values, [1, 11, 2, 12, 3, 13]);
}

#[test]
fn queued_commands_are_answered_in_order() {
    for transport in TRANSPORTS {
        let served = Served::over(&[transport]);
        for value in 0..100 {
            send(&served.ends[0], &write_command(value, false));
            send(&served.ends[0], &read_command());
        }
        for count in 1..=100 {
            assert_eq!(receive(&served.ends[0]), count, "{transport:?}");
        }
        assert_eq!(served.end().writes.len(), 100);
    }
}

#[test]
fn the_offset_counts_from_the_regions_place_in_the_device() {
    let served = Served::over(&[Transport::Seqpacket]);
    let command = Command {
        user_data: 0x50,
        ..write_command(7, true)
    };
    served.ends[0].exchange(&command).unwrap();
    assert_eq!(served.end().writes, [(0x58, Width::Long, 7)]);
}

#[test]
fn a_stream_may_cut_a_command_anywhere() {
    for transport in [Transport::Stream, Transport::Pipe] {
        let served = Served::over(&[transport, Transport::Seqpacket]);
        for byte in read_command().encode() {
            served.ends[0].writer().write_all(&[byte]).unwrap();
            // The other channel's reply shows that the device has seen the byte and goes on.
            served.ends[1].exchange(&write_command(0, true)).unwrap();
        }
        assert_eq!(receive(&served.ends[0]), 1);
        served.end();
    }
}

#[test]
fn replies_that_nobody_takes_hold_up_only_their_channel() {
    for transport in TRANSPORTS {
        let served = Served::over(&[transport, Transport::Seqpacket]);
        let stuck = &served.ends[0];
        rustix::io::ioctl_fionbio(stuck.write_fd(), true).unwrap();
        // More commands than fit: the device takes no more of them when its replies are stuck.
        let mut sent = 0;
        loop {
            match stuck.writer().write(&read_command().encode()) {
                Ok(FRAME_SIZE) => sent += 1,
                Ok(count) => panic!("{count} bytes of a frame"),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let before = served.state.counters().values().register_reads.kvm;
                    served.ends[1].exchange(&write_command(0, true)).unwrap();
                    served.ends[1].exchange(&write_command(0, true)).unwrap();
                    if served.state.counters().values().register_reads.kvm == before {
                        break;
                    }
                }
                Err(e) => panic!("{e}"),
            }
        }
        rustix::io::ioctl_fionbio(stuck.write_fd(), false).unwrap();
        for count in 1..=sent {
            assert_eq!(receive(stuck), count, "{transport:?}");
        }
        assert_eq!(stuck.exchange(&read_command()).unwrap().data, sent + 1);
        served.end();
    }
}

#[test]
fn a_channel_that_hangs_up_leaves_the_others() {
    for transport in TRANSPORTS {
        let mut served = Served::over(&[transport, Transport::Stream]);
        let gone = served.ends.remove(0);
        send(&gone, &write_command(5, false));
        if transport != Transport::Seqpacket {
            gone.writer().write_all(&[0; 7]).unwrap();
        }
        drop(gone);
        assert_eq!(served.ends[0].exchange(&read_command()).unwrap().data, 1);
        assert_eq!(served.ends[0].exchange(&read_command()).unwrap().data, 2);
        assert_eq!(served.end().writes.len(), 1, "{transport:?}");
    }
}

#[test]
fn a_reply_that_nobody_awaits_any_more_ends_the_channel() {
    for transport in TRANSPORTS {
        let mut served = Served::over(&[transport, Transport::Stream]);
        let gone = served.ends.remove(0);
        send(&gone, &read_command());
        drop(gone);
        served.ends[0].exchange(&read_command()).unwrap();
        served.end();
    }
}

#[test]
fn a_channel_that_hung_up_is_let_go() {
    for transport in [Transport::Seqpacket, Transport::Stream] {
        let served = Served::over(&[transport]);
        let end = &served.ends[0];
        rustix::net::shutdown(end.write_fd(), rustix::net::Shutdown::Write).unwrap();
        let mut fds = [PollFd::new(end.reader(), PollFlags::RDHUP)];
        let deadline = Timespec {
            tv_sec: 20,
            tv_nsec: 0,
        };
        assert_eq!(poll(&mut fds, Some(&deadline)).unwrap(), 1, "{transport:?}");
        served.end();
    }
}

#[test]
fn events_reach_the_device_and_its_work_is_done() {
    let served = Served::over(&[Transport::Seqpacket]);
    served.events[1].write(1).unwrap();
    while served.ends[0].exchange(&read_command()).unwrap().data < 10 {}
    let log = served.end();
    assert_eq!((log.events, log.work_left), (vec![1], 0));
}

#[test]
fn what_is_no_command_ends_the_session_with_its_numbers() {
    let mut frame = read_command().encode();
    frame[0] = 9;
    for transport in TRANSPORTS {
        let served = Served::over(&[transport]);
        served.ends[0].writer().write_all(&frame).unwrap();
        let error = served.error().to_string();
        assert_eq!(error, "bad command on the channel from Kvm: Operation(9)");
    }
    for length in [1, 31, 33] {
        let served = Served::over(&[Transport::Seqpacket]);
        served.ends[0].writer().write_all(&vec![0; length]).unwrap();
        let error = served.error().to_string();
        assert_eq!(
            error,
            format!("a message of {length} bytes on the channel from Kvm")
        );
    }
}

#[test]
fn a_second_message_ends_the_session() {
    let served = Served::over(&[]);
    rustix::net::send(&served.socket, b"attach", rustix::net::SendFlags::empty()).unwrap();
    assert!(matches!(served.error(), ServeError::UnexpectedMessage));
}
