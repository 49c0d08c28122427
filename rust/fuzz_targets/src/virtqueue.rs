// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `virtio_ring`: each side, while the other one writes whatever it likes.

pub mod lying_device;
pub mod lying_driver;

mod areas;
mod plain_walk;

use crate::input::Input;
use areas::MAX_SIZE;
use virtio_ring::driver::Settings;
use virtio_spec::features::Features;

/// A small queue, so that it runs full, with any features that change the ring.
fn settings(input: &mut Input<'_>) -> Settings {
    let (chosen, size) = (input.u8(), 1 + input.below(MAX_SIZE) as u16);
    let all = [
        Features::RING_PACKED,
        Features::EVENT_IDX,
        Features::IN_ORDER,
        Features::INDIRECT_DESC,
    ];
    let is_chosen = |(bit, _): &(usize, Features)| chosen >> bit & 1 != 0;
    let features = (0..).zip(all).filter(is_chosen);
    let features = features.fold(Features::VERSION_1, |sum, (_, feature)| sum.with(feature));
    let size = match features.has(Features::RING_PACKED) {
        true => size,
        false => 1 << size.ilog2(),
    };
    Settings {
        queue: 0,
        size,
        features,
    }
}
