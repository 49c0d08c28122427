// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Where frames were lost. A frame passes counters one after the other; what one has more than the next
//! was lost between them.
//!
//! ```text
//! sender ─► tap queue ─► device ─► receive ring ─► guest ─► transmit ring ─► device ─► tap ─► sender
//! sent     tx_packets             delivered        rx, dropped              taken      rx     received
//! ```
//!
//! All counters are read when nothing moves any more, so what is still in a ring then has been forgotten
//! there.

use l1::series::Measured;
use serde::{Deserialize, Serialize};

/// Frames lost, by place and so by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Loss {
    /// The tap's queue was full. The device runs before the guest and reads it as long as it has buffers:
    /// the guest gave none, its receive ring was used up.
    pub(super) ring_full: i64,
    /// Left in the tap's queue: the device did not see that there was something to read.
    pub(super) not_read: i64,
    /// Left in the device.
    pub(super) in_device: i64,
    /// Left in the receive ring: the guest was not told, or did not notice.
    pub(super) interrupt_lost: i64,
    /// Dropped by the guest, as it counts itself: it had no room to send, or could not receive.
    pub(super) guest_drop: i64,
    /// Left in the transmit ring: the device was not told, or did not notice.
    pub(super) notification_lost: i64,
    /// Not taken by the tap from the device, or without room at the sender.
    pub(super) host_drop: i64,
}

impl Loss {
    /// Of one load, in which the device handled so many requests and failed so many.
    pub(super) fn of(measured: &Measured, requests: i64, failed: i64) -> Self {
        let (outcome, host, guest) = (&measured.outcome, measured.host, measured.guest);
        let n = |count: u64| count as i64;
        let back = n(outcome.back.received + outcome.back.duplicates + outcome.back.damaged);
        // Whatever the device failed to do, it failed to send: it gives all that it has read.
        let taken = n(host.rx_packets) + failed;
        let delivered = requests - taken;
        let dropped = guest.rx_dropped + guest.rx_errors + guest.tx_dropped + guest.tx_errors;
        let offered = n(outcome.sent - outcome.refused);
        Self {
            ring_full: n(host.tx_dropped + outcome.refused),
            not_read: offered - n(host.tx_dropped) - n(host.tx_packets),
            in_device: n(host.tx_packets) - delivered,
            interrupt_lost: delivered - n(guest.rx_packets),
            guest_drop: n(dropped),
            // It counts what it sends when the device has taken it, so that says nothing here.
            notification_lost: n(guest.rx_packets) - n(dropped) - taken,
            host_drop: taken - back,
        }
    }

    /// All of it.
    pub(super) fn sum(self) -> i64 {
        self.parts().iter().map(|(_, frames)| frames).sum()
    }

    /// Where a queue stands still, if one does: the last one on the way. What waits before it waits for it.
    pub(super) fn stall(self) -> Option<&'static str> {
        let queues = [
            ("notification lost", self.notification_lost),
            ("interrupt lost", self.interrupt_lost),
            ("in the device", self.in_device),
            ("not read", self.not_read),
        ];
        let mut stuck = queues.into_iter().filter(|(_, frames)| *frames > 0);
        stuck.next().map(|(name, _)| name)
    }

    /// Each part with its name.
    pub(super) fn parts(self) -> [(&'static str, i64); 7] {
        [
            ("ring full", self.ring_full),
            ("not read", self.not_read),
            ("in the device", self.in_device),
            ("interrupt lost", self.interrupt_lost),
            ("guest drop", self.guest_drop),
            ("notification lost", self.notification_lost),
            ("host drop", self.host_drop),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use l1::series::{GuestCounts, HostCounts};
    use shunt_traffic::load::Outcome;
    use shunt_traffic::tally::Tallied;

    fn measured(sent: u64, received: u64, host: [u64; 3], guest: [u64; 2]) -> Measured {
        Measured {
            load: 1,
            size: 60,
            rate: Some(50),
            interval: Some(1000),
            outcome: Outcome {
                sent,
                refused: 0,
                overruns: 0,
                nanoseconds: 1,
                back: Tallied {
                    received,
                    duplicates: 0,
                    overtaken: 0,
                    damaged: 0,
                    quantiles: Vec::new(),
                    longest: 0,
                },
            },
            host: HostCounts {
                tx_packets: host[0],
                tx_dropped: host[1],
                rx_packets: host[2],
                rx_dropped: 0,
            },
            guest: GuestCounts {
                rx_packets: guest[0],
                rx_dropped: 0,
                rx_errors: 0,
                tx_packets: 0,
                tx_dropped: guest[1],
                tx_errors: 0,
                interrupts: 0,
            },
        }
    }

    #[test]
    fn nothing_is_lost_when_all_counters_agree() {
        let load = measured(100, 100, [100, 0, 100], [100, 0]);
        assert_eq!(Loss::of(&load, 200, 0), Loss::default());
    }

    #[test]
    fn each_place_has_its_name_and_all_loss_has_a_place() {
        let cases = [
            (
                "ring full",
                measured(100, 90, [90, 10, 90], [90, 0]),
                180,
                0,
            ),
            ("not read", measured(100, 90, [90, 0, 90], [90, 0]), 180, 0),
            (
                "in the device",
                measured(100, 90, [100, 0, 90], [90, 0]),
                180,
                0,
            ),
            (
                "interrupt lost",
                measured(100, 90, [100, 0, 90], [90, 0]),
                190,
                0,
            ),
            (
                "guest drop",
                measured(100, 90, [100, 0, 90], [100, 10]),
                190,
                0,
            ),
            (
                "notification lost",
                measured(100, 90, [100, 0, 90], [100, 0]),
                190,
                0,
            ),
            (
                "host drop",
                measured(100, 90, [100, 0, 90], [100, 0]),
                200,
                10,
            ),
            (
                "host drop",
                measured(100, 90, [100, 0, 100], [100, 0]),
                200,
                0,
            ),
        ];
        for (name, load, requests, failed) in cases {
            let loss = Loss::of(&load, requests, failed);
            assert_eq!(loss.sum(), 10, "{name}: {loss:?}");
            assert!(loss.parts().contains(&(name, 10)), "{name}: {loss:?}");
        }
    }
}
