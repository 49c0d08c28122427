// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A transmit queue stands still.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::thread;

use anyhow::{ensure, Result};
use fe_tests::network::{exchange, join, pour, Device};
use fe_tests::wire::{mac, Carrier};
use module_tests::verdict::Skip;

use super::wire::{ends, may_be_busy, Numbered};
use crate::driver::Observation;

/// What names of PCI devices begin with. QEMU's virtio-mmio cannot reset a queue, but offers it.
const PCI: &str = "0000:";

/// An end that is down leaves packets where they are, so that QEMU's hub has room for no more, and the
/// other end's queue stands still: that is reset alone where the bus can do so, else with its device.
/// When both are up, packets get through.
pub(super) fn run(wire: Numbered<'_>) -> Result<()> {
    may_be_busy(wire)?;
    if let Carrier::Bridge(_) = wire.1.carrier {
        return Err(Skip("a bridge takes what nobody wants".to_owned()).into());
    }
    let device = Device::find(&mac(wire.0, 1))?.parent()?;
    let observation = Observation::of(&device)?;
    let [left, right] = ends(wire)?;
    right.knows(&left, &mac(wire.0, 0))?;
    let before = Resets::of(&observation)?;
    left.ip_with("link set", "down")?;
    let is_over = Arc::default();
    let sender = pour(&right, &left, Arc::clone(&is_over))?;
    while Resets::of(&observation)? == before {
        thread::yield_now();
    }
    is_over.store(true, Ordering::Release);
    left.ip_with("link set", "up")?;
    join(sender)?;
    exchange(&left, &right, 20, 1472)?;
    exchange(&right, &left, 20, 1472)?;
    let after = Resets::of(&observation)?;
    let is_alone = after.device == before.device;
    ensure!(is_alone == device.starts_with(PCI), "{before:?}, {after:?}");
    Ok(())
}

/// How often a device, and its transmit queues alone, were reset.
#[derive(Debug, PartialEq, Eq)]
struct Resets {
    device: u64,
    queues: u64,
}

impl Resets {
    fn of(observation: &Observation) -> Result<Self> {
        Ok(Self {
            device: observation.resets()?,
            queues: observation.sum("tx_resets")?,
        })
    }
}
