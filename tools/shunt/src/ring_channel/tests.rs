// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The device's end of a channel in shared memory, KVM played by the test.

use std::thread;

use ioregion_ring::layout::{BadLayout, MAGIC, MAGIC_AT, SLOTS_AT, VCPUS_AT};
use ioregion_ring::memory::Memory;
use ioregion_wire::frame::{Operation, Width};

use super::fake_kvm::{broken, FakeKvm};
use super::*;

fn read(offset: u64) -> Command {
    Command {
        operation: Operation::Read,
        width: Width::Long,
        expects_reply: true,
        user_data: 1,
        offset,
    }
}

fn posted_write(value: u64) -> Command {
    Command {
        operation: Operation::Write(value),
        expects_reply: false,
        ..read(0)
    }
}

#[test]
fn a_ring_alone_is_served_until_kvm_hangs_up() {
    let (mut kvm, ring) = FakeKvm::new(2, 3);
    let device = thread::spawn(move || {
        let mut commands = Vec::new();
        let result = ring.serve(|command| {
            commands.push(*command);
            Reply {
                data: command.offset + 1,
            }
        });
        (result, commands)
    });
    let mut wanted = Vec::new();
    for round in 0..100 {
        for command in [posted_write(round), posted_write(round + 1)] {
            kvm.post(&command);
            wanted.push(command);
        }
        let vcpu = round as u32 % 3;
        assert_eq!(kvm.exchange(&read(round), vcpu), round + 1);
        wanted.push(read(round));
    }
    kvm.hang_up();
    let (result, commands) = device.join().unwrap();
    result.unwrap();
    assert_eq!(commands, wanted);
}

#[test]
fn a_sleeper_is_woken_by_the_next_access_or_the_next_sleep() {
    let (mut kvm, ring) = FakeKvm::new(4, 2);
    for vcpu in [0, 1] {
        kvm.ask(&read(0), vcpu, 1);
        kvm.fall_asleep(vcpu as usize);
    }
    // Patience is at its end at first, so the device wakes the one before it takes the other's
    // access, and the other by going to sleep.
    let device = thread::spawn(move || ring.serve(|_| Reply::default()));
    for vcpu in [0, 1] {
        kvm.expect_wake(|woken| woken == Some(vcpu));
    }
    kvm.hang_up();
    device.join().unwrap().unwrap();
}

#[test]
fn a_vcpu_is_woken_only_if_it_sleeps_for_an_answer() {
    let (mut kvm, mut ring) = FakeKvm::new(4, 2);
    let mut take = || ring.take(|_| Reply::default()).unwrap();
    assert_eq!(take(), None);
    kvm.ask(&read(0), 1, 1);
    assert_eq!(take(), Some(Done { sleeper: None }));
    kvm.ask(&read(0), 1, 2);
    kvm.fall_asleep(1);
    assert_eq!(take(), Some(Done { sleeper: Some(1) }));
    kvm.post(&posted_write(0));
    assert_eq!(take(), Some(Done { sleeper: None }));
}

#[test]
fn an_armed_ring_is_readable_when_an_access_comes() {
    let (mut kvm, mut ring) = FakeKvm::new(4, 1);
    assert!(ring.arm());
    kvm.post(&posted_write(0));
    assert!(ring.is_ready());
    ring.end.wait(None).unwrap();
    assert!(!ring.arm());
}

#[test]
fn what_is_no_channel_is_refused_with_its_numbers() {
    let error = broken(|_| {}).unwrap_err();
    assert!(matches!(error, RingError::NoChannel(BadChannel::Magic(0))));
    let error = broken(|area| {
        area.store(MAGIC_AT, MAGIC);
        area.store(SLOTS_AT, 3);
        area.store(VCPUS_AT, 9);
    });
    let wanted = BadLayout { slots: 3, vcpus: 9 };
    let error = error.unwrap_err();
    assert!(matches!(error, RingError::NoChannel(BadChannel::Layout(bad)) if bad == wanted));
}

#[test]
fn a_file_without_kvm_behind_it_is_an_error_at_the_first_sleep() {
    let ring = broken(|area| {
        area.store(MAGIC_AT, MAGIC);
        area.store(SLOTS_AT, 1);
        area.store(VCPUS_AT, 1);
    });
    let error = ring.unwrap().serve(|_| Reply::default()).unwrap_err();
    assert!(matches!(error, RingError::Io(e) if e.raw_os_error() == Some(libc::ENOTTY)));
}
