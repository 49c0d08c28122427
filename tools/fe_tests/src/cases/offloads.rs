// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the device does for the kernel is switched off, and on again.

use anyhow::{ensure, Context, Result};

use super::wire::{ends, may_be_busy, Numbered};
use fe_tests::network::{exchange, stream, End};

const ETHTOOL: &str = "/bin/ethtool";
const STREAM: usize = 1 << 19;

/// What there may be, as ethtool is told it and as it shows it.
const OFFLOADS: &[(&str, &str)] = &[
    ("tso", "tcp-segmentation-offload"),
    ("gso", "generic-segmentation-offload"),
    ("gro", "generic-receive-offload"),
    ("sg", "scatter-gather"),
    ("tx", "tx-checksumming"),
    ("rx", "rx-checksumming"),
];

/// Each that there is, is off while bytes are sent, and on again with those that need it.
pub(super) fn run(wire: Numbered<'_>) -> Result<()> {
    may_be_busy(wire)?;
    let ends = ends(wire)?;
    let before = states(&ends[0])?;
    // What the device cannot do, or cannot be without, has more words behind that.
    let there: Vec<_> = OFFLOADS
        .iter()
        .filter(|(_, name)| before.contains(&format!("{name}: on")))
        .collect();
    for (word, name) in &there {
        both(&ends, word, "off")?;
        expect(&ends[0], name, "off")?;
        there_and_back(&ends).with_context(|| format!("without {name}"))?;
    }
    for (word, name) in there.iter().rev() {
        both(&ends, word, "on")?;
        expect(&ends[0], name, "on")?;
    }
    there_and_back(&ends).context("with all")
}

fn expect(end: &End, name: &str, state: &str) -> Result<()> {
    let now = states(end)?;
    let is_as_told = now.contains(&format!("{name}: {state}"));
    ensure!(is_as_told, "{name} is not {state}: {now:?}");
    Ok(())
}

fn both(ends: &[End; 2], word: &str, state: &str) -> Result<()> {
    for end in ends {
        end.program(ETHTOOL, &format!("-K {} {word} {state}", end.name()))?;
    }
    Ok(())
}

/// A line for each, without blanks around it.
fn states(end: &End) -> Result<Vec<String>> {
    let text = end.program(ETHTOOL, &format!("-k {}", end.name()))?;
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}

fn there_and_back([left, right]: &[End; 2]) -> Result<()> {
    stream(left, right, STREAM)?;
    stream(right, left, STREAM)?;
    exchange(left, right, 20, 9000)
}
