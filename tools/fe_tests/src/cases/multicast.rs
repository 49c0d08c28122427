// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Packets to groups, which the device lets through because it was told of them, or of too many.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use fe_tests::network::{Device, End};
use fe_tests::wire::mac;

use super::wire::{ends, Numbered};
use crate::driver::Observation;

/// Groups of which the device is told each, and more than the driver tells of.
const FEW: u8 = 3;
const MANY: u8 = 100;

/// Most groups that a socket may join (`net.ipv4.igmp_max_memberships`).
const PER_SOCKET: usize = 20;

/// After it, a packet does not come any more.
const LIMIT: Duration = Duration::from_secs(30);

/// Also when the device has been reset.
pub(super) fn run(wire: Numbered<'_>) -> Result<()> {
    let observation = Observation::of(&Device::find(&mac(wire.0, 1))?.parent()?)?;
    let [left, right] = ends(wire)?;
    let route = format!("route add 239.0.0.0/8 dev {}", left.name());
    left.namespace.ip(&route)?;
    for count in [FEW, MANY] {
        let groups: Vec<Ipv4Addr> = (1..=count).map(|n| Ipv4Addr::new(239, 1, 0, n)).collect();
        let _members = join(&right, &groups)?;
        hears(&left, &right, &groups).with_context(|| format!("{count} groups"))?;
        let before = observation.resets()?;
        observation.reset()?;
        while observation.resets()? == before {
            std::thread::yield_now();
        }
        let after = "groups after a reset";
        hears(&left, &right, &groups).with_context(|| format!("{count} {after}"))?;
    }
    Ok(())
}

/// Sockets that are members of these groups, as long as they are there.
fn join(end: &End, groups: &[Ipv4Addr]) -> Result<Vec<UdpSocket>> {
    let (groups, own) = (groups.to_vec(), end.address);
    let member = move |groups: &[Ipv4Addr]| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        for group in groups {
            socket.join_multicast_v4(group, &own).context("joining")?;
        }
        Ok(socket)
    };
    let task = move || groups.chunks(PER_SOCKET).map(member).collect();
    end.namespace.run(task)
}

/// What is sent to each group arrives.
fn hears(from: &End, to: &End, groups: &[Ipv4Addr]) -> Result<()> {
    // The kernel tells the device some time later, or before it carries this out; which also waits
    // until a reset is over.
    to.ip_with("link set", "up")?;
    let bind = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).context("binding");
    let receiver = to.namespace.run(bind)?;
    let sender = from.namespace.run(bind)?;
    receiver.set_read_timeout(Some(LIMIT))?;
    let port = receiver.local_addr()?.port();
    for group in groups {
        sender.send_to(&group.octets(), (*group, port))?;
        let mut bytes = [0; 8];
        let count = receiver
            .recv(&mut bytes)
            .with_context(|| group.to_string())?;
        ensure!(
            bytes[..count] == group.octets(),
            "{group} got something else"
        );
    }
    Ok(())
}
