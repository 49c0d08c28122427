// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Requests to drain.

use rustix::net::{recv, RecvFlags, SendFlags};

use super::*;
use crate::ring_channel::fake_kvm::FakeKvm;

const ACCESSES: u64 = 500;

/// Asks over the session socket, and waits for the answer.
fn drain(served: &Served, request: u64) {
    let bytes = request.to_ne_bytes();
    rustix::net::send(&served.socket, &bytes, SendFlags::empty()).unwrap();
    let mut answer = [0; 9];
    let (length, _) = recv(&served.socket, &mut answer[..], RecvFlags::empty()).unwrap();
    assert_eq!(answer[..length], bytes);
}

#[test]
fn what_was_in_the_channels_is_done_when_the_answer_comes() {
    for round in 0..20 {
        let (mut kvm, ring) = FakeKvm::new(1024, 1);
        let served = Served::with_rings(&[Transport::Stream], vec![ring]);
        for value in 0..ACCESSES {
            kvm.post(&write_command(value, false));
        }
        for value in 0..50 {
            send(&served.ends[0], &write_command(value, false));
        }
        served.events[1].write(1).unwrap();
        drain(&served, round);
        let writes = served.state.counters().values().register_writes;
        assert_eq!((writes.kvm, writes.vmm), (ACCESSES + 50, 0));
        let log = served.end();
        assert_eq!((log.events, log.work_left), (vec![1], 0));
    }
}

#[test]
fn a_device_with_nothing_to_do_answers_every_request() {
    let served = Served::over(&TRANSPORTS);
    for request in 0..3 {
        drain(&served, request);
        served.ends[0].exchange(&read_command()).unwrap();
    }
    served.end();
}

#[test]
fn a_vmm_that_hangs_up_meanwhile_ends_the_session() {
    let served = Served::over(&[Transport::Seqpacket]);
    rustix::net::send(&served.socket, &[0; 8], SendFlags::empty()).unwrap();
    served.end();
}
