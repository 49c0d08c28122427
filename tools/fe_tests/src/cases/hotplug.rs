// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! QEMU takes a device from its slot in the middle of its work, and puts it back.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::thread;

use anyhow::{ensure, Result};
use fe_tests::content::{FIRST, READ_ONLY};
use fe_tests::errand::Errand;
use fe_tests::network::{exchange, join, pour};
use fe_tests::plan;
use fe_tests::wire::{id, mac};

use super::gone::Device;
use super::open;
use super::wire::{ends, Numbered};
use fe_tests::network::Device as Interface;

const TIMES: usize = 2;

/// Reads fail when the disk goes, and not before. When it is there again, it holds what it held.
pub(super) fn disk(plan: &plan::Disk) -> Result<()> {
    for _ in 0..TIMES {
        let device = Device::of(&open(plan)?)?;
        device.lose_under_readers(plan, |_| {
            take(plan.name, &device);
            Ok(())
        })?;
        println!("{}", Errand::Give(plan.name));
        while open(plan).is_err() {
            thread::yield_now();
        }
        open(plan)?.verify(READ_ONLY.start, 64, FIRST)?;
    }
    Ok(())
}

/// Packets cannot be sent any more when an end goes, while it sends and is sent to. When it is there
/// again, packets get through.
pub(super) fn wire(wire: Numbered<'_>) -> Result<()> {
    let (name, mac) = (id(wire.0, 0), mac(wire.0, 0));
    for _ in 0..TIMES {
        let device = Device::named(Interface::find(&mac)?.parent()?);
        let [left, right] = ends(wire)?;
        exchange(&left, &right, 20, 1472)?;
        let sender = pour(&left, &right, Arc::default())?;
        let is_over = Arc::default();
        let other = pour(&right, &left, Arc::clone(&is_over))?;
        take(&name, &device);
        let sent = join(sender);
        is_over.store(true, Ordering::Release);
        join(other)?;
        ensure!(sent.is_err(), "it sends without a device");
        // The other device is back before this one, which could otherwise take its name.
        drop((left, right));
        println!("{}", Errand::Give(&name));
        while Interface::find(&mac).is_err() {
            thread::yield_now();
        }
    }
    let [left, right] = ends(wire)?;
    exchange(&left, &right, 20, 1472)
}

/// The lab has QEMU ask for the device, and the kernel gives it.
fn take(name: &str, device: &Device) {
    println!("{}", Errand::Take(name));
    while device.is_there() {
        thread::yield_now();
    }
}
