// SPDX-License-Identifier: GPL-2.0-only

//! What is counted of a pair of queues.

use netdev::{
    Counter,
    Stats, //
};

/// Declares the counters, and their names.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What is counted of a pair of queues.
        #[derive(Default)]
        pub(super) struct Counters {
            $($(#[$doc])* pub(super) $name: Counter,)*
        }

        /// Their names, for ethtool.
        pub(super) const NAMES: &[[u8; 32]] = &[$(padded(stringify!($name))),*];

        impl Counters {
            /// Their values, in the order of the names.
            pub(super) fn values(&self) -> [u64; NAMES.len()] {
                [$(self.$name.get()),*]
            }
        }
    };
}

counters! {
    /// Packets that were handed up.
    rx_packets,
    /// Their bytes.
    rx_bytes,
    /// Packets for which there was no memory.
    rx_dropped,
    /// Packets that could not be right.
    rx_errors,
    /// How often there was no memory for the ring.
    rx_no_memory,
    /// Notifications of the device that there is memory.
    rx_notifications,
    /// Packets that the device was given.
    tx_packets,
    /// Their bytes.
    tx_bytes,
    /// Packets that it could not be given.
    tx_dropped,
    /// Packets that were lost when it, or the queue, was reset.
    tx_lost,
    /// How often the queue was reset alone.
    tx_resets,
    /// Notifications of the device that there are packets.
    tx_notifications,
    /// How often the ring was full.
    tx_stops,
}

const fn padded(name: &str) -> [u8; 32] {
    let (name, mut bytes) = (name.as_bytes(), [0; 32]);
    let mut index = 0;
    while index < name.len() {
        bytes[index] = name[index];
        index += 1;
    }
    bytes
}

impl Counters {
    /// Packets that the device has handled, when it has none.
    pub(super) fn received_and_sent(&self) -> u64 {
        let sent = self.tx_packets.get().wrapping_sub(self.tx_lost.get());
        self.rx_packets.get().wrapping_add(sent)
    }
}

/// The sum over all pairs.
pub(super) fn sum(pairs: &[Counters]) -> Stats {
    pairs.iter().fold(Stats::default(), |sum, pair| Stats {
        rx_packets: sum.rx_packets + pair.rx_packets.get(),
        rx_bytes: sum.rx_bytes + pair.rx_bytes.get(),
        rx_dropped: sum.rx_dropped + pair.rx_dropped.get(),
        rx_errors: sum.rx_errors + pair.rx_errors.get(),
        tx_packets: sum.tx_packets + pair.tx_packets.get(),
        tx_bytes: sum.tx_bytes + pair.tx_bytes.get(),
        tx_dropped: sum.tx_dropped + pair.tx_dropped.get() + pair.tx_lost.get(),
    })
}
