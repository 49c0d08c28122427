// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The wires of a machine, for QEMU: hubs of its own, or taps on a bridge in a network namespace of
//! the machine's, which needs no privileges but a kernel that has them.

use std::process::{Command, Stdio};

use fe_tests::plan::{Bus, Machine};
use fe_tests::wire::{id, mac, Carrier};

/// What runs a command as the root of its own users and network.
const APART: &[&str] = &["unshare", "--map-root-user", "--net", "--", "sh", "-ec"];

/// A host that has IPv6 asks for its neighbours on each of its interfaces, and L1, which has none,
/// would count what it does not understand.
const QUIET: &str =
    "six=/proc/sys/net/ipv6/conf/default/disable_ipv6; [ ! -e $six ] || echo 1 >$six";

/// QEMU's arguments for the wires.
pub(super) fn arguments(machine: &Machine) -> Vec<String> {
    let mut arguments = Vec::new();
    for (number, wire) in machine.wires.iter().enumerate() {
        for end in 0..2 {
            let id = id(number, end);
            let backend = match wire.carrier {
                Carrier::Hub => format!("hubport,id={id},hubid={number}"),
                Carrier::Bridge(pairs) => {
                    format!("tap,id={id},ifname={id},script=no,downscript=no,queues={pairs}")
                }
            };
            arguments.extend(["-netdev".to_owned(), backend]);
            if !(machine.has_slots && end == 0) {
                arguments.extend(["-device".to_owned(), device(machine, number, end)]);
            }
        }
    }
    arguments
}

/// What QEMU's `-device` says of an end of a wire.
pub(super) fn device(machine: &Machine, wire: usize, end: usize) -> String {
    let driver = match machine.bus {
        Bus::Mmio => "virtio-net-device",
        _ => "virtio-net-pci,romfile=",
    };
    let (id, mac) = (id(wire, end), mac(wire, end));
    let properties = machine.wires[wire].properties;
    format!("{driver},netdev={id},mac={mac},{properties}")
}

/// Words that go before QEMU's command line, if the wires need a bridge.
pub(super) fn before(machine: &Machine) -> Vec<String> {
    let mut script = vec![QUIET.to_owned()];
    for (number, wire) in machine.wires.iter().enumerate() {
        if let Carrier::Bridge(pairs) = wire.carrier {
            script.push(bridge(number, pairs));
        }
    }
    if script.len() == 1 {
        return vec![];
    }
    script.push("exec \"$0\" \"$@\"".to_owned());
    let words = APART.iter().map(|&word| word.to_owned());
    words.chain([script.join("; ")]).collect()
}

/// With room for all packets of a test, so that none is lost here.
fn bridge(number: usize, pairs: u32) -> String {
    let queues = if pairs > 1 { "multi_queue" } else { "" };
    let taps = [id(number, 0), id(number, 1)].map(|tap| {
        format!(
            "ip tuntap add {tap} mode tap vnet_hdr {queues}; \
             ip link set {tap} mtu 65521 txqueuelen 10000 master b{number} up"
        )
    });
    format!(
        "ip link add b{number} type bridge mcast_snooping 0; {}; ip link set b{number} mtu 65521 up",
        taps.join("; ")
    )
}

/// Why there can be no bridge here, if so.
pub(super) fn missing() -> Option<String> {
    let script =
        "ip link add b0 type bridge; ip tuntap add t0 mode tap vnet_hdr; ip link set t0 master b0";
    let output = Command::new(APART[0])
        .args(&APART[1..])
        .arg(script)
        .stdin(Stdio::null())
        .output();
    match output {
        Err(error) => Some(format!("{}: {error}", APART[0])),
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
