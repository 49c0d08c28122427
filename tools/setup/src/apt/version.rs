// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Debian version strings: `[epoch:]upstream[-revision]`.

use super::Offer;
use anyhow::{Context, Result};
use std::process::Command;

/// The upstream part of a Debian version, without epoch and revision.
pub(crate) fn upstream(version: &str) -> &str {
    let bare = version.split_once(':').map_or(version, |(_, rest)| rest);
    bare.rsplit_once('-').map_or(bare, |(upstream, _)| upstream)
}

/// The offer with the highest version among those that `accept` likes.
///
/// # Errors
///
/// `dpkg`, which alone knows the order of Debian versions, cannot be started.
pub(crate) fn newest(offers: Vec<Offer>, accept: impl Fn(&Offer) -> bool) -> Result<Option<Offer>> {
    let mut best: Option<Offer> = None;
    for offer in offers.into_iter().filter(accept) {
        let better = match &best {
            Some(best) => is_newer(&offer.version, &best.version)?,
            None => true,
        };
        if better {
            best = Some(offer);
        }
    }
    Ok(best)
}

fn is_newer(left: &str, right: &str) -> Result<bool> {
    let status = Command::new("dpkg")
        .args(["--compare-versions", left, "gt", right])
        .status()
        .context("cannot start dpkg to compare versions")?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_drops_epoch_and_revision() {
        assert_eq!(upstream("1:10.0.2+ds-2+deb13u1~bpo12+1"), "10.0.2+ds");
        assert_eq!(upstream("7.3.4-1~bpo13+1"), "7.3.4");
        assert_eq!(upstream("1.95.0+dfsg1-1-3"), "1.95.0+dfsg1-1");
        assert_eq!(upstream("2.40"), "2.40");
    }
}
