// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The guest's part of the traffic: reflects, and counts when it is asked to.

use std::fs;
use std::io::stdin;

use anyhow::{bail, Context, Result};
use clap::Parser;
use shunt_traffic::link::number;
use shunt_traffic::reflector::Reflector;

/// What the guest's kernel counts of an interface.
const COUNTERS: [&str; 6] = [
    "rx_packets",
    "rx_dropped",
    "rx_errors",
    "tx_packets",
    "tx_dropped",
    "tx_errors",
];

/// Reflects frames until standard input says `end`. Each `count LABEL` there is answered with
/// `PREFIX LABEL {counters}`.
#[derive(Parser)]
struct Options {
    /// The interface, which must be up.
    interface: String,
    /// What the answers begin with.
    #[arg(long)]
    prefix: String,
    /// Say this when frames are reflected.
    #[arg(long)]
    ready: String,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let index = number(&options.interface, "ifindex").context("the interface")?;
    let _reflector = Reflector::attach(index).context("an XDP program")?;
    println!("{}", options.ready);
    for line in stdin().lines() {
        let line = line.context("standard input")?;
        match line.split_once(' ').unwrap_or((line.as_str(), "")) {
            ("count", label) => println!("{} {label} {}", options.prefix, counters(&options)?),
            ("end", _) => return Ok(()),
            _ => bail!("what is {line:?}?"),
        }
    }
    bail!("nobody said that this is the end")
}

fn counters(options: &Options) -> Result<serde_json::Value> {
    let mut all = serde_json::Map::new();
    for name in COUNTERS {
        let count: u64 = number(&options.interface, &format!("statistics/{name}"))?;
        all.insert(name.to_owned(), count.into());
    }
    let table = fs::read_to_string("/proc/interrupts").context("/proc/interrupts")?;
    all.insert("interrupts".to_owned(), interrupts(&table).into());
    Ok(all.into())
}

/// Interrupts of virtio devices and of network interfaces, on all CPUs.
fn interrupts(table: &str) -> u64 {
    let lines = table.lines().filter(|line| {
        let name = line.split_whitespace().last().unwrap_or("");
        name.starts_with("virtio") || name.starts_with("eth")
    });
    let counts = lines.flat_map(|line| {
        let words = line.split_whitespace().skip(1);
        words.map_while(|word| word.parse::<u64>().ok())
    });
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_of_all_cpus_are_added() {
        let table = "           CPU0       CPU1\n  4:         10          0   IO-APIC   4-edge      ttyS0\n\
                     5:          7          2   IO-APIC   5-edge      virtio0\nNMI: 1 0 Non-maskable\n";
        assert_eq!(interrupts(table), 9);
    }
}
