// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Options of a device process: what its driver may choose.

use clap::Args;
use virtio_spec::features::Features;

/// What a driver may choose: virtio 1.3, section 6.
#[derive(Args, Clone, Copy, Debug)]
pub struct Offer {
    /// Offer packed virtqueues (VIRTIO_F_RING_PACKED).
    #[arg(long)]
    packed: bool,
    /// Offer to use buffers in order, as our devices do anyway (VIRTIO_F_IN_ORDER).
    #[arg(long)]
    in_order: bool,
    /// Offer to take the ring's state with notifications (VIRTIO_F_NOTIFICATION_DATA).
    #[arg(long)]
    notification_data: bool,
}

impl Offer {
    /// The features.
    pub fn features(&self) -> Features {
        [
            (self.packed, Features::RING_PACKED),
            (self.in_order, Features::IN_ORDER),
            (self.notification_data, Features::NOTIFICATION_DATA),
        ]
        .into_iter()
        .filter(|(is_offered, _)| *is_offered)
        .fold(Features::default(), |all, (_, feature)| all.with(feature))
    }
}
