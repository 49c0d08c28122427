// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The wires of a machine: two network devices each, one at either end.

/// What carries the packets of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A hub of QEMU's, which knows of no offloads and no pairs of queues.
    Hub,
    /// The host's own bridge, with this number of pairs of queues at either end.
    Bridge(u32),
}

impl Carrier {
    /// The largest MTU of what it carries.
    pub fn max_mtu(self) -> u32 {
        match self {
            Self::Hub => 65535,
            // A tap has room for an Ethernet header below that.
            Self::Bridge(_) => 65521,
        }
    }
}

/// A wire.
#[derive(Debug)]
pub struct Wire {
    /// Its name.
    pub name: &'static str,
    /// Properties of QEMU's devices.
    pub properties: &'static str,
    /// What carries its packets.
    pub carrier: Carrier,
    /// Interrupts that either device has in `/proc/interrupts`.
    pub interrupts: usize,
    /// The largest MTU of our driver.
    pub max_mtu: u32,
}

/// The MAC address of an end, 0 or 1, of the wire of this number.
pub fn mac(wire: usize, end: usize) -> String {
    format!("52:54:00:00:{wire:02x}:{end:02x}")
}

/// The name of QEMU's device at this end.
pub fn id(wire: usize, end: usize) -> String {
    format!("w{wire}e{end}")
}

impl Wire {
    /// Whether QEMU's device loses sight of its transmit queue when the carrier was busy. With a
    /// packed ring and event indexes, `virtio_net_tx_complete` (10.0.2 to 10.0.13) asks for a
    /// notification and then takes more packets without asking again, so that the next one is not
    /// notified of. A hub is busy when its other end has no room; a bridge never is.
    pub fn forgets_packets(&self) -> bool {
        let is_packed = self.properties.contains("packed=on");
        let has_event_idx = !self.properties.contains("event_idx=off");
        self.carrier == Carrier::Hub && is_packed && has_event_idx
    }
}
