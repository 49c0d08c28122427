// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What the machine must have before anything of ours is built or booted.
//!
//! A need is probed by looking for the thing itself (a program, a header, a library),
//! never for the package, so that a machine that has it from elsewhere is left alone and
//! other distributions are told what they lack by name. On Debian, what is missing is
//! installed.

mod install;
mod need;
mod release;

pub(crate) use install::install_by_name;
pub(crate) use need::{clang, libclang_directory, needs, Need};
pub(crate) use release::release;

use crate::cache::Cache;
use crate::{bindgen, rust_components};
use anyhow::{bail, Result};

/// Brings the machine to where the kernel, the modules and the lab can be built; with
/// `debug` also the kernel's debug variant.
///
/// # Errors
///
/// Something is missing that cannot be installed here: the error names each thing with
/// its remedy.
pub(crate) fn prepare(cache: &Cache, debug: bool) -> Result<()> {
    let missing = missing(debug);
    if !missing.is_empty() {
        if !release()?.is_debian() {
            bail!("{}", lament(&missing));
        }
        let _lock = cache.lock()?;
        install::packages(cache, &missing)?;
    }
    rust_components::prepare(cache)?;
    bindgen::prepare(cache)?;
    Ok(())
}

fn missing(debug: bool) -> Vec<&'static Need> {
    needs(debug).filter(|need| !need.is_met()).collect()
}

/// Lists what is missing, with the remedy for each.
fn lament(missing: &[&Need]) -> String {
    let mut text = String::from("this machine lacks:\n");
    for need in missing {
        text.push_str(&format!("  {}: {}\n", need.name, need.remedy()));
    }
    text.push_str("Packages are installed automatically on Debian 12 and 13 only.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lament_names_each_missing_thing_and_its_remedy() {
        let all: Vec<&Need> = needs(true).collect();
        let text = lament(&all);
        for need in needs(true) {
            assert!(text.contains(need.name), "{}", need.name);
            assert!(text.contains(need.package), "{}", need.package);
        }
    }
}
