// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Channels in shared memory beside others.

use super::*;
use crate::ring_channel::fake_kvm::FakeKvm;
use crate::serve::served_rings::TURN;

#[test]
fn a_ring_carries_accesses_beside_other_channels() {
    let (mut kvm, ring) = FakeKvm::new(4, 2);
    let served = Served::with_rings(&[Transport::Seqpacket], vec![ring]);
    for round in 0..20 {
        kvm.post(&write_command(round, false));
        assert_eq!(kvm.exchange(&write_command(round + 100, true), 1), 0);
        assert_eq!(kvm.exchange(&read_command(), 0), 2 * round + 1);
        let reply = served.ends[0].exchange(&read_command()).unwrap();
        assert_eq!(reply.data, 2 * round + 2);
    }
    let reads = served.state.counters().values().register_reads;
    assert_eq!((reads.kvm, reads.vmm), (40, 0));
    let values: Vec<u64> = served.end().writes.iter().map(|write| write.2).collect();
    let wanted: Vec<u64> = (0..20).flat_map(|round| [round, round + 100]).collect();
    assert_eq!(values, wanted);
}

#[test]
fn a_full_ring_makes_the_vcpu_wait_and_loses_nothing() {
    let (mut kvm, ring) = FakeKvm::new(2, 1);
    let served = Served::with_rings(&[], vec![ring]);
    for value in 0..1000 {
        kvm.post(&write_command(value, false));
    }
    kvm.exchange(&read_command(), 0);
    let log = served.end();
    assert!(log.writes.iter().map(|write| write.2).eq(0..1000));
}

#[test]
fn a_burst_that_was_there_before_is_served_in_order() {
    let (mut kvm, ring) = FakeKvm::new(1024, 1);
    for value in 0..1000 {
        kvm.post(&write_command(value, false));
    }
    let served = Served::with_rings(&[], vec![ring]);
    assert_eq!(kvm.exchange(&read_command(), 0), 1);
    let log = served.end();
    assert!(log.writes.iter().map(|write| write.2).eq(0..1000));
}

#[test]
fn a_ring_that_hangs_up_leaves_the_others() {
    let (mut gone, gone_ring) = FakeKvm::new(2, 1);
    let (mut kvm, ring) = FakeKvm::new(2, 1);
    let served = Served::with_rings(&[Transport::Seqpacket], vec![gone_ring, ring]);
    gone.post(&write_command(5, false));
    gone.hang_up();
    for count in 0..5 {
        assert_eq!(kvm.exchange(&read_command(), 0), 2 * count + 1);
        let reply = served.ends[0].exchange(&read_command()).unwrap();
        assert_eq!(reply.data, 2 * count + 2);
    }
    assert_eq!(served.end().writes.len(), 1);
}

#[test]
fn events_reach_the_device_while_its_rings_sleep() {
    let (mut kvm, ring) = FakeKvm::new(2, 1);
    let served = Served::with_rings(&[], vec![ring]);
    kvm.exchange(&read_command(), 0);
    served.events[1].write(1).unwrap();
    // Some turns of the loop: the event may come at the start of one.
    while kvm.exchange(&read_command(), 0) < 10 * TURN as u64 {}
    let log = served.end();
    assert_eq!((log.events, log.work_left), (vec![1], 0));
}

#[test]
fn an_access_of_an_unknown_vcpu_ends_the_session() {
    let (mut kvm, ring) = FakeKvm::new(2, 1);
    let served = Served::with_rings(&[], vec![ring]);
    kvm.ask(&read_command(), 7, 1);
    let error = served.error().to_string();
    assert_eq!(
        error,
        "on the channel from Kvm: an access of vCPU 7 in a ring for 1 vCPUs"
    );
}
