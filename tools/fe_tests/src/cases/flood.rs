// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Pings, each as soon as the one before it is answered.

use anyhow::{ensure, Result};

use super::wire::{ends, Numbered};

const PINGS: u32 = 1000;

/// Bytes after the ICMP header: none, odd ones, and the most that one packet has.
const SIZES: &[u32] = &[0, 18, 57, 1000, 1472];

/// Each is answered, with the pattern that it was sent with.
pub(super) fn run(wire: Numbered<'_>) -> Result<()> {
    let [left, right] = ends(wire)?;
    for size in SIZES {
        for (from, to) in [(&left, &right), (&right, &left)] {
            let count = PINGS / SIZES.len() as u32;
            let words = format!("-f -q -c {count} -p a5c30f -s {size} {}", to.address);
            let text = from.program("/bin/ping", &words)?;
            let all = format!("{count} packets transmitted, {count} received, 0% packet loss");
            ensure!(
                text.contains(&all) && !text.contains("wrong data byte"),
                "{size} bytes: {text}"
            );
        }
    }
    Ok(())
}
