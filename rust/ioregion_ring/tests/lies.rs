// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! One end of a ring, while the other writes whatever it likes. The areas check every offset.
//! Longer stories are in `fuzz_targets`.

mod area;

use area::{access, Words};
use ioregion_ring::completion;
use ioregion_ring::consumer::{self, Consumer};
use ioregion_ring::layout::{
    Layout, CONSUMED_AT, MAGIC, MAGIC_AT, MAX_SLOTS, MAX_VCPUS, SLOTS_AT, VCPUS_AT,
};
use ioregion_ring::memory::Memory;
use ioregion_ring::producer::Producer;
use proptest::prelude::*;

/// Stores a word somewhere in an area of `size` bytes.
fn scribble(area: &Words, size: usize, at: usize, value: u64) {
    area.own().store(at % (size / 8) * 8, value);
}

proptest! {
    #[test]
    fn a_refused_post_leaves_the_ring_as_it_was(claimed: u64, first in access(), second in access()) {
        let layout = Layout::new(1, 1).unwrap();
        let (kernel, device) = (Words::of_kernel(&layout), Words::of_device(&layout));
        let mut producer = Producer::new(layout, &kernel.own());
        producer.post(&kernel.own(), &device.others(), &first).unwrap();
        device.own().store(CONSUMED_AT, claimed);
        let refused = producer.post(&kernel.own(), &device.others(), &second);
        prop_assert_eq!(refused.is_ok(), claimed == 1);
        device.own().store(CONSUMED_AT, 0);
        let mut consumer = Consumer::new(layout, &device.own());
        let seen = consumer.next(&device.own(), &kernel.others());
        prop_assert_eq!(seen, (claimed != 1).then_some(Ok(first)));
    }

    #[test]
    fn an_answer_needs_the_right_number(
        layout in area::layout(),
        scribbles in prop::collection::vec(any::<(usize, u64)>(), 0..100),
        request in 1u64..,
    ) {
        let device = Words::of_device(&layout);
        for (at, value) in scribbles {
            scribble(&device, layout.device_area(), at, value);
            for vcpu in 0..layout.vcpus() {
                let line = device.others().load(Layout::completion(vcpu));
                let answer = completion::answer(&device.others(), vcpu, request);
                prop_assert_eq!(answer.is_some(), line == request);
            }
        }
    }

    #[test]
    fn a_device_survives_any_words(
        layout in area::layout(),
        scribbles in prop::collection::vec((any::<usize>(), prop_oneof![0u64..20, any::<u64>()]), 0..100),
    ) {
        let (kernel, device) = (Words::of_kernel(&layout), Words::of_device(&layout));
        let mut consumer = Consumer::new(layout, &device.own());
        let mut position = 0;
        for (at, value) in scribbles {
            scribble(&kernel, layout.kernel_area(), at, value);
            // Most words are not those of the next slot: let it have a stamp and a kind.
            kernel.own().store(layout.slot(position), value);
            kernel.own().store(layout.slot(position) + 8, value >> 3);
            let taken = consumer.next(&device.own(), &kernel.others());
            prop_assert_eq!(taken.is_some(), value == position + 1);
            position += u64::from(taken.is_some());
            consumer.arm(&device.own(), &kernel.others());
            Consumer::is_room_wanted(&device.own(), &kernel.others());
        }
    }

    #[test]
    fn what_is_no_channel_is_not_taken_for_one(
        words in prop::collection::vec(prop_oneof![0u64..5000, any::<u64>()], 3),
        has_magic: bool,
    ) {
        let kernel = Words::of_kernel(&Layout::new(1, 1).unwrap());
        for (at, word) in [MAGIC_AT, SLOTS_AT, VCPUS_AT].into_iter().zip(&words) {
            kernel.own().store(at, *word);
        }
        if has_magic {
            kernel.own().store(MAGIC_AT, MAGIC);
        }
        let fits = has_magic
            && words[1].is_power_of_two()
            && words[1] <= MAX_SLOTS as u64
            && (1..=MAX_VCPUS as u64).contains(&words[2]);
        prop_assert_eq!(consumer::layout(&kernel.others()).is_ok(), fits);
    }
}
