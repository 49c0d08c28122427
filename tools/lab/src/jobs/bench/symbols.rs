// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Functions of L1's kernel, from its `System.map`.

use std::fs;
use std::ops::Range;

use anyhow::{Context, Result};

use super::Lab;

/// Its functions, by address.
pub(super) struct Symbols(Vec<(u64, String)>);

impl Symbols {
    /// # Errors
    ///
    /// There is no `System.map`.
    pub(super) fn of_kernel(lab: &Lab) -> Result<Self> {
        let path = lab.places.kernel("build/System.map")?;
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(Self::parse(&text))
    }

    /// Those of this text.
    pub(super) fn parse(text: &str) -> Self {
        let mut functions: Vec<(u64, String)> = text.lines().filter_map(function).collect();
        functions.sort_unstable();
        Self(functions)
    }

    /// The addresses of those whose name is one of these, or begins with one that ends in `*`.
    pub(super) fn addresses(&self, names: &[&str]) -> Vec<u64> {
        let found = self.0.iter().filter(|(_, name)| is_one(name, names));
        found.map(|(address, _)| *address).collect()
    }

    /// Where their code is.
    pub(super) fn places(&self, names: &[&str]) -> Vec<Range<u64>> {
        let pairs = self.0.windows(2);
        let found = pairs.filter(|pair| is_one(&pair[0].1, names));
        found.map(|pair| pair[0].0..pair[1].0).collect()
    }
}

fn is_one(name: &str, names: &[&str]) -> bool {
    names.iter().any(|wanted| match wanted.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *wanted,
    })
}

/// Address and name of a function, in a line of `System.map`.
fn function(line: &str) -> Option<(u64, String)> {
    let mut words = line.split_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let is_function = matches!(words.next()?, "t" | "T" | "w" | "W");
    is_function.then(|| Some((address, words.next()?.to_owned())))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "30 t kfree_link\n10 T kfree\n18 D data\n20 T ioread8\n28 W ioread16\n";

    #[test]
    fn functions_are_found() {
        let symbols = Symbols::parse(MAP);
        assert_eq!(symbols.addresses(&["kfree", "data"]), [0x10]);
        assert_eq!(symbols.addresses(&["kfree*"]), [0x10, 0x30]);
        assert_eq!(symbols.places(&["ioread*"]), [0x20..0x28, 0x28..0x30]);
    }
}
