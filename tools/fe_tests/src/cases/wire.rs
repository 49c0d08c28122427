// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Packets over a wire, from one device to another.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use fe_tests::plan::Machine;
use fe_tests::wire::{mac, Carrier, Wire};
use module_tests::verdict::Skip;

use super::{multicast, stuck};
use crate::driver::{self, Observation};
use fe_tests::network::{exchange, stream, Device, End};

/// Bytes of a stream, and of one that is under way for a while.
const STREAM: usize = 1 << 19;
const LONG: usize = 2 << 20;

/// A wire, and its number.
pub(super) type Numbered<'a> = (usize, &'a Wire);

/// A test of one wire.
pub(super) type OfWire = fn(Numbered<'_>) -> Result<()>;

/// In this order.
pub(super) const OF_EACH_WIRE: &[(&str, OfWire)] = &[
    ("what", what),
    ("ping", ping),
    ("stream", streams),
    ("datagrams", datagrams),
    ("mtu", mtu),
    ("address", address),
    ("multicast", multicast::run),
    ("up-and-down", up_and_down),
    ("counters", counters),
    ("reset", reset),
    ("stuck", stuck::run),
];

/// Both ends, ready for packets.
pub(super) fn ends((number, _): Numbered<'_>) -> Result<[End; 2]> {
    let end = |end: usize| {
        let address = Ipv4Addr::new(10, number as u8, 0, end as u8 + 1);
        End::new(&mac(number, end), address).with_context(|| format!("end {end}"))
    };
    Ok([end(0)?, end(1)?])
}

/// Its driver, and what the kernel knows of it.
fn what((number, wire): Numbered<'_>) -> Result<()> {
    for end in 0..2 {
        let device = Device::find(&mac(number, end))?;
        ensure!(
            device.driver()? == "virtio_fe",
            "its driver is {}",
            device.driver()?
        );
        ensure!(
            device.number("mtu")? == 1500,
            "its MTU is {}",
            device.number("mtu")?
        );
        let found = driver::interrupts(&device.parent()?)?;
        ensure!(
            found.len() == wire.interrupts,
            "want {}, got {found:?}",
            wire.interrupts
        );
    }
    Ok(())
}

/// Answers have the pattern of the question; `ping` says so if not.
fn ping(wire: Numbered<'_>) -> Result<()> {
    let [left, right] = ends(wire)?;
    for (from, to) in [(&left, &right), (&right, &left)] {
        for size in [0, 18, 56, 1000, 1472] {
            let words = format!("-c 4 -i 0.05 -W 20 -p a5 -s {size} {}", to.address);
            from.run("ping", words)?;
        }
    }
    Ok(())
}

/// Whether the wire may be given more than it can carry at the moment.
pub(super) fn may_be_busy((_, wire): Numbered<'_>) -> Result<()> {
    let reason = "QEMU's device forgets packets of this kind of ring when its hub was busy";
    match wire.forgets_packets() {
        true => Err(Skip(reason.to_owned()).into()),
        false => Ok(()),
    }
}

/// Streams one after the other, and both ways at once.
fn streams(wire: Numbered<'_>) -> Result<()> {
    may_be_busy(wire)?;
    let [left, right] = ends(wire)?;
    stream(&left, &right, STREAM)?;
    stream(&right, &left, STREAM)?;
    std::thread::scope(|scope| {
        let other = scope.spawn(|| stream(&right, &left, STREAM + 1));
        let one = stream(&left, &right, STREAM - 1);
        one.and(
            other
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        )
    })
}

/// Datagrams of one packet, and of many.
fn datagrams(wire: Numbered<'_>) -> Result<()> {
    let [left, right] = ends(wire)?;
    exchange(&left, &right, 500, 1472)?;
    exchange(&right, &left, 100, 9000)
}

/// The largest packets of each MTU that a user may want.
fn mtu(wire: Numbered<'_>) -> Result<()> {
    let [left, right] = ends(wire)?;
    let most = wire.1.max_mtu;
    let largest = most.min(wire.1.carrier.max_mtu());
    for mtu in [68, 576, 1500, 4000, 9000, largest] {
        if mtu > largest {
            continue;
        }
        for end in [&left, &right] {
            end.ip_with("link set", &format!("mtu {mtu}"))?;
        }
        exchange(&left, &right, 20, mtu as usize - 28)?;
        let words = format!("-c 2 -i 0.05 -W 20 -s {} {}", mtu - 28, right.address);
        left.run("ping", words)?;
    }
    let too_much = left.ip_with("link set", &format!("mtu {}", most + 1));
    ensure!(too_much.is_err(), "it has taken an MTU of {}", most + 1);
    Ok(())
}

/// With another address, packets find the device as before.
fn address(wire: Numbered<'_>) -> Result<()> {
    let [left, right] = ends(wire)?;
    let own = mac(wire.0, 0);
    for address in ["02:00:00:00:00:07", &own] {
        left.ip_with("link set", &format!("address {address}"))?;
        // Only who asks for the other one's address tells its own.
        exchange(&left, &right, 20, 1000)?;
        exchange(&right, &left, 20, 1000)?;
    }
    Ok(())
}

/// A device that is down drops packets, and takes them up again.
fn up_and_down(wire: Numbered<'_>) -> Result<()> {
    let [left, right] = ends(wire)?;
    for _ in 0..10 {
        left.ip_with("link set", "down")?;
        left.ip_with("link set", "up")?;
        exchange(&left, &right, 10, 1472)?;
    }
    Ok(())
}

/// What one end sends the other one receives, and nothing else. A bridge has packets of its own.
fn counters(wire: Numbered<'_>) -> Result<()> {
    let [left, right] = ends(wire)?;
    left.knows(&right, &mac(wire.0, 1))?;
    right.knows(&left, &mac(wire.0, 0))?;
    let before = [left.counters()?, right.counters()?];
    exchange(&left, &right, 200, 1472)?;
    let [one, other] = [left.counters()? - before[0], right.counters()? - before[1]];
    let is_right = match wire.1.carrier {
        Carrier::Hub => one.sent == other.received && other.sent == one.received,
        Carrier::Bridge(_) => one.sent[1] <= other.received[1],
    };
    let is_enough = one.sent[0] == 200 && one.received[0] >= 200;
    ensure!(
        is_right && is_enough && one.wrong + other.wrong == 0,
        "{one:?}, {other:?}"
    );
    Ok(())
}

/// Both devices are reset in turn while a stream is under way, which gets through nevertheless.
fn reset(wire: Numbered<'_>) -> Result<()> {
    may_be_busy(wire)?;
    let observe = |end| Observation::of(&Device::find(&mac(wire.0, end))?.parent()?);
    let observations = [observe(0)?, observe(1)?];
    let [left, right] = ends(wire)?;
    std::thread::scope(|scope| {
        let under_way = scope.spawn(|| stream(&left, &right, LONG));
        for observation in observations.iter().cycle().take(6) {
            let before = observation.resets()?;
            observation.reset()?;
            while observation.resets()? == before {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        under_way
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    exchange(&left, &right, 20, 1472)?;
    exchange(&right, &left, 20, 1472)
}

/// All wires carry packets.
pub(super) fn still_work(machine: &Machine) -> Result<()> {
    for wire in machine.wires.iter().enumerate() {
        let [left, right] = ends(wire)?;
        exchange(&left, &right, 10, 1472).with_context(|| wire.1.name)?;
    }
    Ok(())
}
