// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Which distribution this machine runs. Format: os-release(5).

use anyhow::{Context, Result};
use std::fs;

/// The distribution and its release.
#[derive(Debug, PartialEq)]
pub(crate) struct Release {
    /// The distribution, such as `debian`.
    pub(crate) id: String,
    /// The release, such as `bookworm`; empty when the distribution has no such names.
    pub(crate) codename: String,
}

impl Release {
    /// Whether our package lists are made for it. Derivatives name packages differently
    /// and carry other suites, so they do not count.
    pub(crate) fn is_debian(&self) -> bool {
        self.id == "debian" && ["bookworm", "trixie"].contains(&self.codename.as_str())
    }
}

/// Reads the release of this machine.
///
/// # Errors
///
/// `/etc/os-release` cannot be read.
pub(crate) fn release() -> Result<Release> {
    let text = fs::read_to_string("/etc/os-release").context("/etc/os-release cannot be read")?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Release {
    let value = |wanted: &str| {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value.trim_matches(['"', '\'']).to_string())
            .unwrap_or_default()
    };
    Release {
        id: value("ID"),
        codename: value("VERSION_CODENAME"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_is_told_from_others() {
        let debian = parse("PRETTY_NAME=\"Debian\"\nVERSION_CODENAME=trixie\nID=debian\n");
        assert_eq!(debian.codename, "trixie");
        assert!(debian.is_debian());
        assert!(!parse("ID=\"fedora\"\nVERSION_ID=44\n").is_debian());
        assert!(!parse("ID=debian\nVERSION_CODENAME=bullseye\n").is_debian());
    }
}
