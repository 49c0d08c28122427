// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What KVM can do of virtio-mmio by itself.

use virtio_bindings::virtio_mmio::{
    VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INTERRUPT_STATUS, VIRTIO_MMIO_QUEUE_NOTIFY,
};

use ioregion_wire::frame::Width;
use vmm_sys_util::eventfd::EventFd;

use crate::ioregion::{Action, Doorbell, Rule};

/// Rules for a region that is a whole register file, with the device's
/// [shadow registers](crate::state::StatePage::shadow): the driver's acknowledgement of an
/// interrupt is complete without the device, and its notification of queue number *n* signals
/// `events[n]`. A queue without an event is notified by a posted write; there are `queues` queues.
///
/// With the shadow registers in a read-only memory slot, that is all that a driver does once the
/// device runs.
pub fn rules(queues: u32, events: &[EventFd]) -> Vec<Rule<'_>> {
    let acknowledge = Rule {
        offset: VIRTIO_MMIO_INTERRUPT_ACK,
        width: Width::Long,
        action: Action::WriteOneToClear {
            target: VIRTIO_MMIO_INTERRUPT_STATUS,
        },
    };
    let notify = |queue: u32| Rule {
        offset: VIRTIO_MMIO_QUEUE_NOTIFY,
        width: Width::Long,
        action: Action::Doorbell {
            datamatch: Some(queue.into()),
            to: events
                .get(queue as usize)
                .map_or(Doorbell::Device, Doorbell::Event),
        },
    };
    std::iter::once(acknowledge)
        .chain((0..queues).map(notify))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn every_queue_has_a_doorbell_of_its_own() {
        let event = EventFd::new(0).unwrap();
        let rules = rules(2, std::slice::from_ref(&event));
        let doorbell = |rule: &Rule<'_>| match rule.action {
            Action::Doorbell { datamatch, to } => Some((datamatch, to.to_kvm())),
            _ => None,
        };
        let doorbells: Vec<_> = rules.iter().filter_map(doorbell).collect();
        assert_eq!(doorbells, [(Some(0), event.as_raw_fd()), (Some(1), -1)]);
        assert!(rules.iter().all(|rule| rule.width == Width::Long));
        assert_eq!(rules.len(), 3);
    }
}
