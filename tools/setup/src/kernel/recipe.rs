// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Everything a kernel is made from, and the keys that identify it.

use super::patches::{self, Patch};
use super::source::Source;
use crate::checkout::Checkout;
use crate::toolchain::Toolchain;
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs;

/// Raise this when the way a kernel is built from its recipe changes.
const METHOD: &str = "1";

/// A fragment of kernel configuration.
pub(crate) struct Fragment {
    /// Its file name.
    pub(crate) name: String,
    /// Its lines.
    pub(crate) text: String,
}

/// What goes into a kernel.
pub(crate) struct Recipe {
    source: String,
    tools: String,
    /// The configuration, in the order in which it is merged.
    pub(crate) fragments: Vec<Fragment>,
    /// The series, in the order in which it is applied.
    pub(crate) patches: Vec<Patch>,
}

impl Recipe {
    /// Collects the recipe of this checkout.
    ///
    /// # Errors
    ///
    /// A fragment or a patch cannot be read, or a tool cannot be run.
    pub(crate) fn read(
        checkout: &Checkout,
        source: &Source,
        tools: &Toolchain,
        debug: bool,
    ) -> Result<Self> {
        let mut names = vec!["lab.config"];
        if debug {
            names.push("debug.config");
        }
        let fragments = names.into_iter().map(|name| {
            let path = checkout.path("tools/kernel").join(name);
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            Ok(Fragment {
                name: name.to_string(),
                text,
            })
        });
        Ok(Self {
            source: source.id.clone(),
            tools: tools.identity()?,
            fragments: fragments.collect::<Result<_>>()?,
            patches: patches::series(checkout)?,
        })
    }

    /// Identifies everything but the patches. Kernels that agree in it can be built from
    /// one another by compiling what the patches change.
    pub(crate) fn base(&self) -> String {
        digest(&self.base_parts())
    }

    /// Identifies the kernel.
    pub(crate) fn key(&self) -> String {
        let mut parts = self.base_parts();
        for patch in &self.patches {
            parts.push(patch.name.as_bytes());
            parts.push(patch.text.as_bytes());
        }
        digest(&parts)
    }

    fn base_parts(&self) -> Vec<&[u8]> {
        let mut parts = vec![
            METHOD.as_bytes(),
            self.source.as_bytes(),
            self.tools.as_bytes(),
        ];
        for fragment in &self.fragments {
            parts.push(fragment.name.as_bytes());
            parts.push(fragment.text.as_bytes());
        }
        parts
    }
}

/// The first 64 bits of a SHA-256 over parts, each preceded by its length so that text
/// cannot move from one part to the next unnoticed.
fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            source: "linux-source-7.3_7.3.4-1".into(),
            tools: "gcc 12\nrustc 1.95\n".into(),
            fragments: vec![Fragment {
                name: "lab.config".into(),
                text: "CONFIG_SMP=y\n".into(),
            }],
            patches: vec![Patch {
                name: "0001-a.patch".into(),
                text: "+a\n".into(),
            }],
        }
    }

    #[test]
    fn the_same_recipe_has_the_same_key() {
        assert_eq!(recipe().key(), recipe().key());
        assert_eq!(recipe().key().len(), 16);
    }

    #[test]
    fn every_ingredient_changes_the_key() {
        let changes: [fn(&mut Recipe); 6] = [
            |it| it.source.push('2'),
            |it| it.tools.push('2'),
            |it| it.fragments[0].text.push('\n'),
            |it| it.fragments[0].name.push('2'),
            |it| it.patches[0].text.push('\n'),
            |it| it.patches.clear(),
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut other = recipe();
            change(&mut other);
            assert_ne!(other.key(), recipe().key(), "change {index}");
        }
    }

    #[test]
    fn patches_do_not_change_the_base() {
        let mut other = recipe();
        other.patches.clear();
        assert_eq!(other.base(), recipe().base());
        other.fragments.clear();
        assert_ne!(other.base(), recipe().base());
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
    }
}
