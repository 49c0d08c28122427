// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What KVM can do of virtio-pci by itself: with MSI-X, a driver that runs does nothing but notify.

use ioregion_wire::frame::Width;
use vmm_sys_util::eventfd::EventFd;

use super::layout::{NOTIFY, NOTIFY_MULTIPLIER};
use crate::ioregion::{Action, Doorbell, Rule};
use crate::state::MAX_QUEUES;

/// Rules for a region that is the BAR with the registers: a notification of queue number *n*
/// signals `events[n]`, whatever its data say. Without events it is a posted write.
pub fn rules(events: &[EventFd]) -> Vec<Rule<'_>> {
    let to = |queue: usize| match events {
        [] => Some(Doorbell::Device),
        _ => events.get(queue).map(Doorbell::Event),
    };
    let queues = (0..MAX_QUEUES).filter_map(|queue| Some((queue, to(queue)?)));
    // A driver writes 2 bytes, or 4 with VIRTIO_F_NOTIFICATION_DATA.
    let of_both = queues.flat_map(|(queue, to)| {
        [Width::Word, Width::Long].map(|width| Rule {
            offset: NOTIFY as u32 + queue as u32 * NOTIFY_MULTIPLIER,
            width,
            action: Action::Doorbell {
                datamatch: None,
                to,
            },
        })
    });
    of_both.collect()
}
