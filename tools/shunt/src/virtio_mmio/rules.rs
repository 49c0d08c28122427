// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What KVM can do of virtio-mmio by itself.

use ioregion_wire::frame::Width;
use virtio_spec::mmio;
use vmm_sys_util::eventfd::EventFd;

use crate::ioregion::{Action, Doorbell, Rule};

/// Rules for a region that is a whole register file, with the device's
/// [shadow registers](crate::state::StatePage::shadow): the driver's acknowledgement of an
/// interrupt is complete without the device, and its notification of queue number *n* signals
/// `events[n]`. Without events every notification is a posted write, whatever its data say besides
/// the queue; with them, one that carries more (`VIRTIO_F_NOTIFICATION_DATA`) has no rule.
///
/// With the shadow registers in a read-only memory slot, that is all that a driver does once the
/// device runs.
pub fn rules(events: &[EventFd]) -> Vec<Rule<'_>> {
    let acknowledge = Rule {
        offset: mmio::INTERRUPT_ACK as u32,
        width: Width::Long,
        action: Action::WriteOneToClear {
            target: mmio::INTERRUPT_STATUS as u32,
        },
    };
    let mut rules = vec![acknowledge];
    match events {
        [] => rules.push(notify(None, Doorbell::Device)),
        _ => rules.extend((0..).zip(events).map(signal)),
    }
    rules
}

fn signal((queue, event): (u64, &EventFd)) -> Rule<'_> {
    notify(Some(queue), Doorbell::Event(event))
}

fn notify(datamatch: Option<u64>, to: Doorbell<'_>) -> Rule<'_> {
    Rule {
        offset: mmio::QUEUE_NOTIFY as u32,
        width: Width::Long,
        action: Action::Doorbell { datamatch, to },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn doorbells(rules: &[Rule<'_>]) -> Vec<(Option<u64>, i32)> {
        assert!(rules.iter().all(|rule| rule.width == Width::Long));
        let doorbell = |rule: &Rule<'_>| match rule.action {
            Action::Doorbell { datamatch, to } => Some((datamatch, to.to_kvm())),
            _ => None,
        };
        rules.iter().filter_map(doorbell).collect()
    }

    #[test]
    fn every_queue_has_a_doorbell_of_its_own() {
        let events = [EventFd::new(0).unwrap(), EventFd::new(0).unwrap()];
        let rules = rules(&events);
        let [first, second] = events.each_ref().map(AsRawFd::as_raw_fd);
        assert_eq!(doorbells(&rules), [(Some(0), first), (Some(1), second)]);
        assert_eq!(rules.len(), 3);
    }

    #[test]
    fn without_events_all_notifications_are_posted() {
        let rules = rules(&[]);
        assert_eq!(doorbells(&rules), [(None, -1)]);
        assert_eq!(rules.len(), 2);
    }
}
