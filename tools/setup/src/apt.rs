// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Packages from the machine's own Debian mirror.
//!
//! What the machine's apt knows is taken from there. A suite it does not know (backports,
//! or the next release) is looked up on the very mirror the machine is configured for,
//! through a private set of lists in our cache, so that the machine's own configuration
//! stays as it is.

mod sources;
mod standalone;
mod version;
mod view;

pub(crate) use standalone::find_standalone;
pub(crate) use version::{newest, upstream};
pub(crate) use view::{Offer, View};

use crate::cache::Cache;
use crate::host::release;
use anyhow::{Context, Result};
use std::path::Path;

/// Suites that are read when a package is only to be unpacked, never installed, in the
/// order of preference. Each group is one look-up.
const UNPACK_SUITES: [&[&str]; 2] = [&["trixie-backports"], &["testing", "unstable"]];

/// Where the archive is that the machine's own release comes from.
///
/// # Errors
///
/// The machine's sources name none.
pub(crate) fn archive() -> Result<String> {
    let codename = release()?.codename;
    let known = sources::read_all(Path::new("/etc/apt"))?;
    let entry = sources::archive(&known, &codename).and_then(|entry| entry.uris.first());
    let uri = entry.with_context(|| format!("no archive with main of {codename} in /etc/apt"))?;
    Ok(uri.trim_end_matches('/').to_owned())
}

/// Finds the newest version of `package` that `accept` likes, for unpacking.
///
/// Looks into the machine's apt first, then into backports, then into the suites of the
/// next release. `None` means that none of them has it.
///
/// # Errors
///
/// The machine's sources name no Debian archive, or apt fails.
pub(crate) fn find_for_unpacking(
    cache: &Cache,
    package: &str,
    accept: impl Fn(&Offer) -> bool,
) -> Result<Option<(View, Offer)>> {
    let known = View::system();
    if let Some(offer) = newest(known.offers(package)?, &accept)? {
        return Ok(Some((known, offer)));
    }
    for suites in UNPACK_SUITES {
        let view = View::private(cache, suites)?;
        if let Some(offer) = newest(view.offers(package)?, &accept)? {
            return Ok(Some((view, offer)));
        }
    }
    Ok(None)
}
