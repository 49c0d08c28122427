// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Both ends of a ring, honest, against a model: a queue with a bound.

mod area;

use std::collections::VecDeque;

use area::{access, Words};
use ioregion_ring::completion;
use ioregion_ring::consumer::{self, Consumer};
use ioregion_ring::layout::Layout;
use ioregion_ring::producer::{Producer, Refused};
use ioregion_ring::slot::Access;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Post(Access),
    Next,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![access().prop_map(Step::Post), Just(Step::Next)]
}

proptest! {
    #[test]
    fn accesses_come_out_as_they_went_in(
        layout in area::layout(),
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let (kernel, device) = (Words::of_kernel(&layout), Words::of_device(&layout));
        let mut producer = Producer::new(layout, &kernel.own());
        let mut consumer = Consumer::new(layout, &device.own());
        let mut model = VecDeque::new();
        for step in steps {
            prop_assert_eq!(consumer.is_ready(&kernel.others()), !model.is_empty());
            match step {
                Step::Post(access) => {
                    let is_full = model.len() == layout.slots();
                    let want = if is_full { Err(Refused::Full) } else { Ok(()) };
                    prop_assert_eq!(
                        producer.post(&kernel.own(), &device.others(), &access),
                        want
                    );
                    if !is_full {
                        model.push_back(access);
                    }
                }
                Step::Next => prop_assert_eq!(
                    consumer.next(&device.own(), &kernel.others()),
                    model.pop_front().map(Ok)
                ),
            }
        }
    }

    #[test]
    fn the_device_learns_the_layout(layout in area::layout()) {
        let kernel = Words::of_kernel(&layout);
        Producer::new(layout, &kernel.own());
        prop_assert_eq!(consumer::layout(&kernel.others()), Ok(layout));
    }

    #[test]
    fn an_answer_is_there_when_its_own_request_is_completed(
        layout in area::layout(),
        vcpu: prop::sample::Index,
        asked in 1u64..,
        completed: u64,
        data: u64,
    ) {
        let (kernel, device) = (Words::of_kernel(&layout), Words::of_device(&layout));
        let vcpu = vcpu.index(layout.vcpus());
        for request in [completed, asked.wrapping_sub(1), asked, asked.wrapping_add(1)] {
            completion::complete(&device.own(), &kernel.others(), vcpu, request, data);
            let want = (request == asked).then_some(data);
            prop_assert_eq!(completion::answer(&device.others(), vcpu, asked), want);
            for other in (0..layout.vcpus()).filter(|&other| other != vcpu) {
                prop_assert_eq!(completion::answer(&device.others(), other, asked), None);
            }
        }
    }
}

#[test]
fn only_a_sleeper_is_woken() {
    let layout = Layout::new(2, 2).unwrap();
    let (kernel, device) = (Words::of_kernel(&layout), Words::of_device(&layout));
    let complete = |vcpu| completion::complete(&device.own(), &kernel.others(), vcpu, 1, 0);
    assert!(!complete(0));
    completion::fall_asleep(&kernel.own(), 0);
    assert!(complete(0));
    assert!(!complete(1));
    completion::wake_up(&kernel.own(), 0);
    assert!(!complete(0));
}

#[test]
fn only_a_device_that_asked_for_it_is_woken() {
    let layout = Layout::new(2, 1).unwrap();
    let (kernel, device) = (Words::of_kernel(&layout), Words::of_device(&layout));
    let mut consumer = Consumer::new(layout, &device.own());
    let must_wake = || Producer::must_wake(&kernel.own(), &device.others());
    assert!(!must_wake());
    assert!(consumer.arm(&device.own(), &kernel.others()));
    assert!(must_wake());
    Consumer::disarm(&device.own());
    assert!(!must_wake());
}

#[test]
fn room_is_told_of_only_while_it_is_wanted() {
    let layout = Layout::new(1, 1).unwrap();
    let (kernel, device) = (Words::of_kernel(&layout), Words::of_device(&layout));
    let is_wanted = || Consumer::is_room_wanted(&device.own(), &kernel.others());
    assert!(!is_wanted());
    assert!(!Producer::stop_wanting_room(&kernel.own()));
    Producer::want_room(&kernel.own());
    assert!(is_wanted());
    assert!(Producer::stop_wanting_room(&kernel.own()));
    assert!(!is_wanted());
}

proptest! {
    #[test]
    fn a_device_does_not_sleep_on_an_access(layout in area::layout(), access in access()) {
        let (kernel, device) = (Words::of_kernel(&layout), Words::of_device(&layout));
        let mut producer = Producer::new(layout, &kernel.own());
        let mut consumer = Consumer::new(layout, &device.own());
        producer.post(&kernel.own(), &device.others(), &access).unwrap();
        prop_assert!(!consumer.arm(&device.own(), &kernel.others()));
        prop_assert!(!Producer::must_wake(&kernel.own(), &device.others()));
        consumer.next(&device.own(), &kernel.others());
        prop_assert!(consumer.arm(&device.own(), &kernel.others()));
    }
}
