// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What `tools/tcg_counts` has counted.

use std::collections::HashMap;
use std::ops::Range;

use anyhow::{bail, Context, Result};

/// Numbers by address.
type ByAddress = HashMap<u64, u64>;

/// One count, from its begin to its end.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Count {
    instructions: ByAddress,
    accesses: ByAddress,
}

impl Count {
    /// All counts of a plugin's file.
    ///
    /// # Errors
    ///
    /// It has other lines.
    pub(super) fn all(text: &str) -> Result<Vec<Self>> {
        let (mut counts, mut count) = (Vec::new(), Self::default());
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let (kind, address, times) = match words[..] {
                ["end"] => {
                    counts.push(std::mem::take(&mut count));
                    continue;
                }
                [kind, address, times] => (kind, address, times),
                _ => bail!("counts: {line:?}"),
            };
            let address = u64::from_str_radix(address, 16).context(line.to_owned())?;
            let times = times.parse().context(line.to_owned())?;
            match kind {
                "instructions" => count.instructions.insert(address, times),
                "accesses" => count.accesses.insert(address, times),
                _ => bail!("counts: {line:?}"),
            };
        }
        Ok(counts)
    }

    /// Instructions of everybody.
    pub(super) fn all_instructions(&self) -> u64 {
        self.instructions.values().sum()
    }

    /// Instructions in these places.
    pub(super) fn instructions_in(&self, places: &[Range<u64>]) -> u64 {
        let is_there = |address: &u64| places.iter().any(|place| place.contains(address));
        let there = self.instructions.iter().filter(|(a, _)| is_there(a));
        there.map(|(_, times)| times).sum()
    }

    /// How often functions with these addresses were called.
    pub(super) fn calls(&self, functions: &[u64]) -> u64 {
        let times = functions.iter().filter_map(|f| self.instructions.get(f));
        times.sum()
    }

    /// Accesses to devices by those that were asked for.
    pub(super) fn accesses(&self) -> u64 {
        self.accesses.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "instructions 10 3\ninstructions 18 2\naccesses 18 2\nend\nend\n";

    #[test]
    fn counts_are_told_apart() {
        let counts = Count::all(TEXT).unwrap();
        assert_eq!(counts.len(), 2);
        assert_eq!(counts[1], Count::default());
        let count = &counts[0];
        assert_eq!((count.all_instructions(), count.accesses()), (5, 2));
        assert_eq!(count.calls(&[0x10, 0x14]), 3);
        assert_eq!(count.instructions_in(&[0x11..0x19, 0x20..0x30]), 2);
    }

    #[test]
    fn other_lines_are_errors() {
        for text in ["instructions 10\n", "steps 10 3\n", "accesses x 3\n"] {
            assert!(Count::all(text).is_err());
        }
    }
}
