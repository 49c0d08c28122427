// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The tests of drivers that the kernel's source and its block layer's people have, as far as L1 has what
//! they want.

use std::process::Command;

use anyhow::{ensure, Context, Result};
use fe_tests::network::{ip, Device};
use fe_tests::plan::work::NETDEVICE;
use fe_tests::plan::Machine;
use fe_tests::program;
use fe_tests::wire::{mac, Carrier};
use module_tests::verdict::Skip;

use crate::driver::Module;

/// What passes with any device.
const ALWAYS: &[&str] = &[
    "set interface up",
    "set MAC address",
    "ethtool stats",
    "stop interface",
];

/// What the script tries in vain where the device cannot compute checksums, with the kernel's own driver, too.
/// It leaves alone what `ethtool -k` calls fixed, but that does not say so of the first three, each of which
/// stands for several features, nor of the last one, which the kernel can do, but for scattered packets only.
const WANT_CHECKSUMS: &[&str] = &[
    "tx-checksumming",
    "scatter-gather",
    "tcp-segmentation-offload",
    "generic-segmentation-offload",
];

/// Interfaces go up and down, have another address, and each feature that can be is switched off, on
/// and back, while no packets are sent.
pub(super) fn netdevice(machine: &Machine, _: &Module) -> Result<()> {
    let mut ends = Vec::new();
    for (number, wire) in machine.wires.iter().enumerate() {
        for address in [mac(number, 0), mac(number, 1)] {
            ends.push((Device::find(&address)?.name, address, wire.carrier));
        }
    }
    let mut shell = Command::new("/bin/sh");
    shell.arg(format!("/{NETDEVICE}")).env("PATH", "/bin");
    let output = program::run(&mut shell);
    // All of them have the same one now.
    for (name, address, _) in &ends {
        ip(&format!("link set {name} address {address}"))?;
    }
    let output = output?;
    println!("# {} checks passed", output.matches("PASS: ").count());
    for (name, _, carrier) in &ends {
        judge(&output, name, *carrier).with_context(|| name.clone())?;
    }
    Ok(())
}

/// The script always succeeds, and says what did not.
fn judge(output: &str, interface: &str, carrier: Carrier) -> Result<()> {
    let of = |verdict: &str| -> Vec<&str> {
        let start = format!("{verdict}: {interface}: ");
        let lines = output.lines();
        lines.filter_map(|line| line.strip_prefix(&start)).collect()
    };
    let impossible = match carrier {
        Carrier::Hub => WANT_CHECKSUMS,
        Carrier::Bridge(_) => &[],
    };
    let expected = impossible.iter();
    let expected: Vec<_> = expected
        .map(|feature| format!("Failed to turn on feature: {feature}"))
        .collect();
    let failed = of("FAIL");
    ensure!(failed == expected, "failed: {failed:?}");
    let passed = of("PASS");
    let missing = ALWAYS.iter().find(|check| !passed.contains(check));
    ensure!(missing.is_none(), "no {missing:?} in {passed:?}");
    Ok(())
}

/// `tools/testing/selftests/drivers/net`.
pub(super) fn drivers_net(_: &Machine, _: &Module) -> Result<()> {
    skip("its tests are Python with PyYAML and the kernel's YNL, and want iproute2 with JSON, none of which L1 \
          has; the one of virtio_net sets features in debugfs of the kernel's own virtio bus")
}

/// The group `block` of blktests.
pub(super) fn blktests(_: &Machine, _: &Module) -> Result<()> {
    skip(
        "Debian has no package of blktests, and L1 has neither bash nor util-linux, which it wants",
    )
}

fn skip(reason: &str) -> Result<()> {
    Err(Skip(reason.to_owned()).into())
}
