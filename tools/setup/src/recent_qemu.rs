// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A QEMU from 10.1 on, for the lab's tests that need one: it is a vfio-user client.
//!
//! Where the machine's own is older, Debian's is unpacked into the cache with its libraries and
//! linked into the checkout as `out/recent-qemu`; the machine's own stays as it is.

use crate::apt::{find_standalone, upstream};
use crate::cache::{point_link, remove, Cache};
use crate::checkout::Checkout;
use crate::command::output;
use anyhow::{Context, Result};
use std::fs;
use std::process::Command;

const PACKAGE: &str = "qemu-system-x86";

/// The first version with `vfio-user-pci`.
const OLDEST: (u64, u64) = (10, 1);

/// Brings one unless the machine has its own.
///
/// # Errors
///
/// Debian's archive cannot be asked, has none that is new enough, or the download fails.
pub(crate) fn prepare(checkout: &Checkout, cache: &Cache) -> Result<()> {
    // It ends well, too, when it does not know the device.
    let mut own = Command::new("qemu-system-x86_64");
    let help = output(own.args(["-device", "vfio-user-pci,help"])).unwrap_or_default();
    if help.contains("vfio-user-pci options") {
        return Ok(());
    }
    let link = checkout.path("out/recent-qemu");
    if link.join("usr/bin/qemu-system-x86_64").is_file() {
        return Ok(());
    }
    let _lock = cache.lock()?;
    let (view, offer) = find_standalone(cache, PACKAGE, |offer| is_new_enough(&offer.version))?
        .with_context(|| {
            format!("no suite of this machine's mirror has {PACKAGE} 10.1 or newer")
        })?;
    let home = cache.path("qemu").join(upstream(&offer.version));
    if !home.is_dir() {
        fs::create_dir_all(cache.path("qemu"))?;
        let partial = cache.path("qemu/partial");
        view.unpack_standalone(PACKAGE, &offer, &partial)?;
        remove(&home)?;
        fs::rename(&partial, &home)?;
    }
    point_link(&link, &home)
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = upstream(version).split('.').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= OLDEST,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_version_with_the_client_will_do() {
        for (version, fine) in [
            ("1:11.1.3+ds-1~bpo13+1", true),
            ("1:10.1.0+ds-5", true),
            ("1:10.0.13+ds-0+deb13u1", false),
            ("1:7.2+dfsg-7+deb12u18", false),
            ("1:x", false),
        ] {
            assert_eq!(is_new_enough(version), fine, "{version}");
        }
    }
}
