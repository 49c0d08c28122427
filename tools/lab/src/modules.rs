// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Which kernel modules L1 gets, and in which order they load.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};
use walkdir::WalkDir;

use crate::out::Places;

/// The kernel's own modules that L1 needs; what they depend on comes along.
const WANTED: &[&str] = &[
    "e1000e",
    "kvm_amd",
    "tun",
    "vfio_iommu_type1",
    "vfio_pci",
    "virtio_net",
];

/// Modules that L1 has but does not load: a test or the bench does.
const ON_DEMAND: &[&str] = &[
    "fuzz_vectors",
    "virtio_fe",
    "e1000e",
    "virtio_net",
    "failover",
    "net_failover",
    "tun",
    "edu",
    "exitless",
    "hpet_msi",
    "iommu_amdv1",
    "iommufd",
    "vfio",
    "vfio_iommu_type1",
    "vfio_pci_core",
    "vfio_pci",
];

/// How the names of those begin that the bench compares ours with, all of which it loads itself.
const CONTROL: &str = "c_";

/// Modules by name, as `depends` spells names: with underscores.
type ByName = BTreeMap<String, PathBuf>;

/// Files of the modules in an order in which each finds what it depends on.
///
/// # Errors
///
/// A module is missing or cannot be read.
pub(crate) fn in_load_order(places: &Places) -> Result<Vec<PathBuf>> {
    let wanted = WANTED.iter().map(|&name| name.to_owned());
    let ours = places.modules()?.into_iter().chain(places.control()?);
    let wanted: Vec<String> = wanted.chain(ours.map(|path| name_of(&path))).collect();
    with_dependencies(places, &wanted)
}

/// Files of these modules and of those that they need, in such an order.
///
/// # Errors
///
/// As of [`in_load_order`].
pub(crate) fn with_dependencies(places: &Places, wanted: &[String]) -> Result<Vec<PathBuf>> {
    let mut known = installed(&places.kernel("modules")?)?;
    let ours = places.modules()?.into_iter().chain(places.control()?);
    known.extend(ours.map(|path| (name_of(&path), path)));
    let order = order(wanted, |name| {
        let path = known
            .get(name)
            .with_context(|| format!("the kernel was built without the module {name}"))?;
        depends(path)
    })?;
    Ok(order
        .iter()
        .filter_map(|name| known.get(name).cloned())
        .collect())
}

/// The file of a module of ours.
///
/// # Errors
///
/// It is not built.
pub(crate) fn ours(places: &Places, name: &str) -> Result<PathBuf> {
    let mut all = places.modules()?.into_iter();
    all.find(|path| name_of(path) == name)
        .with_context(|| format!("no module {name}: `make modules` builds it"))
}

/// Depth first: what a module depends on precedes it, and nothing comes twice.
fn order(
    wanted: &[String],
    mut depends: impl FnMut(&str) -> Result<Vec<String>>,
) -> Result<Vec<String>> {
    fn visit(
        name: &str,
        depends: &mut impl FnMut(&str) -> Result<Vec<String>>,
        done: &mut Vec<String>,
    ) -> Result<()> {
        if done.iter().any(|other| other == name) {
            return Ok(());
        }
        for needed in depends(name)? {
            visit(&needed, depends, done)?;
        }
        done.push(name.to_owned());
        Ok(())
    }
    let mut done = Vec::new();
    for name in wanted {
        visit(name, &mut depends, &mut done)?;
    }
    Ok(done)
}

/// Every module of the kernel, as `make modules_install` laid them out.
fn installed(directory: &Path) -> Result<ByName> {
    let mut found = ByName::new();
    for entry in WalkDir::new(directory.canonicalize()?) {
        let entry = entry.context("looking for modules")?;
        if entry.path().extension() == Some("ko".as_ref()) {
            found.insert(name_of(entry.path()), entry.into_path());
        }
    }
    Ok(found)
}

/// Whether L1 loads a module when it boots.
pub(crate) fn loads_at_boot(module: &Path) -> bool {
    let name = name_of(module);
    !ON_DEMAND.contains(&name.as_str()) && !name.starts_with(CONTROL)
}

fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().replace('-', "_")
}

fn depends(module: &Path) -> Result<Vec<String>> {
    let output = Command::new("modinfo")
        .args(["-F", "depends"])
        .arg(module)
        .output()
        .context("starting modinfo: install kmod")?;
    ensure!(
        output.status.success(),
        "modinfo {}: {}",
        module.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout)
        .trim()
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order_of(wanted: &[&str]) -> Result<Vec<String>> {
        let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
        order(&wanted, |name| {
            let needed: &[&str] = match name {
                "net" => &["failover", "ring"],
                "failover" => &["core"],
                "blk" => &["ring"],
                "core" | "ring" => &[],
                _ => anyhow::bail!("no module {name}"),
            };
            Ok(needed.iter().map(|&name| name.to_owned()).collect())
        })
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let order = order_of(&["net", "blk"]).unwrap();
        assert_eq!(order, ["core", "failover", "ring", "net", "blk"]);
    }

    #[test]
    fn a_missing_module_is_named() {
        let error = order_of(&["blk", "tape"]).unwrap_err();
        assert!(error.to_string().contains("tape"));
    }
}
