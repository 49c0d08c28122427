// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The driver's side against the device's, with a plain model of what each must say.

mod area;
mod pair;

use pair::Pair;
use proptest::prelude::*;
use virtio_spec::features::Features;

/// Bits of each set are negotiated.
fn features() -> impl Strategy<Value = Features> {
    prop::sample::subsequence(
        vec![
            Features::RING_PACKED,
            Features::EVENT_IDX,
            Features::IN_ORDER,
        ],
        0..=3,
    )
    .prop_map(|chosen| {
        let all = Features::VERSION_1.with(Features::INDIRECT_DESC);
        chosen.into_iter().fold(all, Features::with)
    })
}

#[derive(Clone, Debug)]
enum Step {
    Add(Vec<u32>, Vec<u32>, bool),
    Publish,
    DevicePop,
    Complete(usize, bool),
    DevicePublish,
    Pop,
    WantInterrupts(Option<u16>),
    WantNotifications(bool),
    Reset,
}

fn step() -> impl Strategy<Value = Step> {
    let lengths = || prop::collection::vec(0u32..100, 0..4);
    prop_oneof![
        4 => (lengths(), lengths(), any::<bool>()).prop_map(|(r, w, i)| Step::Add(r, w, i)),
        2 => Just(Step::Publish),
        4 => Just(Step::DevicePop),
        4 => (0usize..4, any::<bool>()).prop_map(|(which, full)| Step::Complete(which, full)),
        2 => Just(Step::DevicePublish),
        4 => Just(Step::Pop),
        1 => prop::option::of(0u16..4).prop_map(Step::WantInterrupts),
        1 => any::<bool>().prop_map(Step::WantNotifications),
        1 => prop::bool::weighted(0.2).prop_map(|now| if now { Step::Reset } else { Step::Pop }),
    ]
}

fn carry_out(pair: &mut Pair, step: &Step) {
    match step {
        Step::Add(readable, writable, is_indirect) => pair.add(readable, writable, *is_indirect),
        Step::Publish => pair.publish(),
        Step::DevicePop => pair.device_pop(),
        Step::Complete(which, is_full) => pair.complete(*which, *is_full),
        Step::DevicePublish => pair.device_publish(),
        Step::Pop => pair.pop(),
        Step::WantInterrupts(wanted) => pair.want_interrupts(*wanted),
        Step::WantNotifications(wanted) => pair.want_notifications(*wanted),
        Step::Reset => pair.reset(),
    }
}

proptest! {
    #[test]
    fn both_sides_do_as_the_model(
        features in features(),
        size in 1u16..9,
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let is_packed = features.has(Features::RING_PACKED);
        let size = if is_packed { size } else { size.next_power_of_two() };
        let mut pair = Pair::new(size, features);
        for step in &steps {
            carry_out(&mut pair, step);
        }
        pair.reset();
    }
}

/// All sets of features that change the ring.
fn all_features() -> impl Iterator<Item = Features> {
    (0..8u32).map(|bits| {
        let chosen = [
            Features::RING_PACKED,
            Features::EVENT_IDX,
            Features::IN_ORDER,
        ];
        let is_chosen = |index: &usize| bits >> index & 1 != 0;
        let chosen = (0..3).filter(is_chosen).map(|index| chosen[index]);
        chosen.fold(Features::VERSION_1, Features::with)
    })
}

/// One buffer after the other, with events on both sides.
fn round(pair: &mut Pair, writable: &[u32], is_full: bool) {
    pair.want_notifications(true);
    pair.want_interrupts(Some(0));
    pair.add(&[16], writable, false);
    pair.publish();
    pair.device_pop();
    pair.complete(0, is_full);
    pair.device_publish();
    pair.pop();
}

#[test]
fn indexes_of_16_bits_wrap() {
    let rounds = if cfg!(miri) { 100 } else { 70_000 };
    for features in all_features() {
        let mut pair = Pair::new(4, features);
        for number in 0..rounds {
            round(&mut pair, &[512, 1][..number % 3 % 2 + 1], number % 5 != 0);
        }
    }
}

/// A full ring is published, used and popped in one go, three times.
fn fill(size: u16, features: Features) {
    let mut pair = Pair::new(size, features);
    for _ in 0..3 {
        pair.want_notifications(true);
        pair.want_interrupts(Some(0));
        for _ in 0..size {
            pair.add(&[1], &[], false);
        }
        pair.add(&[1], &[], false);
        pair.publish();
        for _ in 0..size {
            pair.device_pop();
        }
        for number in 0..usize::from(size) {
            pair.complete(number % 2, true);
        }
        pair.device_publish();
        for _ in 0..size {
            pair.pop();
        }
    }
}

#[test]
fn rings_of_all_sizes_can_be_full() {
    let most = if cfg!(miri) { 16 } else { 1 << 15 };
    for features in all_features() {
        let is_packed = features.has(Features::RING_PACKED);
        let any = [3, 5, 100, 1000].into_iter().filter(|_| is_packed);
        let powers = (0..16).map(|exponent| 1 << exponent);
        for size in powers.chain(any).filter(|&size| size <= most) {
            fill(size, features);
        }
    }
}
