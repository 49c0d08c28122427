// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The VMs of this machine that have regions, from KVM's directory in debugfs.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use anyhow::{anyhow, Context, Result};

use crate::line::Region;

/// Where KVM has a directory for each VM, called after the thread that made it and a descriptor.
pub(crate) const DIRECTORY: &str = "/sys/kernel/debug/kvm";

/// The file of `ioregion.ko` there.
const FILE: &str = "ioregion";

/// A VM.
#[derive(Clone, Debug)]
pub(crate) struct Vm {
    /// Name of its directory.
    pub(crate) name: String,
    /// Name of the thread that made it; empty if that is gone.
    pub(crate) command: String,
    pub(crate) regions: Vec<Region>,
}

/// Reads them all, in the order of their names. One that comes or goes meanwhile is there or not.
///
/// # Errors
///
/// The directory cannot be read, or a file has other contents than it should.
pub(crate) fn read(directory: &Path) -> Result<Vec<Vm>> {
    let explain = |error| explain(directory, &error);
    let mut vms = Vec::new();
    for entry in fs::read_dir(directory).map_err(explain)? {
        let entry = entry.map_err(explain)?;
        let path = entry.path().join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        let regions: Result<Vec<Region>> = text.lines().map(str::parse).collect();
        let name = entry.file_name().to_string_lossy().into_owned();
        vms.push(Vm {
            command: command(&name),
            regions: regions.with_context(|| path.display().to_string())?,
            name,
        });
    }
    vms.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(vms)
}

/// A plain file beside the directories, a VM without regions, or one that has just gone.
fn is_gone(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(EIO)
}

fn command(name: &str) -> String {
    let thread = name.split('-').next().unwrap_or_default();
    let text = fs::read_to_string(format!("/proc/{thread}/comm"));
    text.unwrap_or_default().trim_end().to_owned()
}

fn explain(directory: &Path, error: &io::Error) -> anyhow::Error {
    let place = directory.display();
    match error.kind() {
        ErrorKind::NotFound => anyhow!(
            "there is no {place}: is KVM loaded, and debugfs mounted (mount -t debugfs debugfs /sys/kernel/debug)?"
        ),
        ErrorKind::PermissionDenied => {
            anyhow!("{place} may not be read: debugfs is for root, as a rule")
        }
        _ => anyhow!("{place}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "bus=pio start=0x600 size=0x8 channel=frames user_data=0x0 reads=1 writes=0 \
         posted=0 ruled=0 spun=0 slept=1 failed=0 timed_out=0 waits=14:1";

    #[test]
    fn only_vms_with_a_file_count() {
        let directory = tempfile::tempdir().unwrap();
        for (name, lines) in [("9-4", 2), ("10-3", 0)] {
            fs::create_dir(directory.path().join(name)).unwrap();
            let text = format!("{LINE}\n").repeat(lines);
            fs::write(directory.path().join(name).join(FILE), text).unwrap();
        }
        fs::create_dir(directory.path().join("11-3")).unwrap();
        fs::write(directory.path().join("halt_exits"), "0\n").unwrap();
        let vms = read(directory.path()).unwrap();
        let seen: Vec<_> = vms
            .iter()
            .map(|vm| (vm.name.as_str(), vm.regions.len()))
            .collect();
        assert_eq!(seen, [("10-3", 0), ("9-4", 2)]);
    }

    #[test]
    fn errors_say_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let error = read(&directory.path().join("kvm")).unwrap_err();
        assert!(error.to_string().contains("mount -t debugfs"), "{error}");
        let denied = explain(directory.path(), &ErrorKind::PermissionDenied.into());
        assert!(denied.to_string().contains("root"), "{denied}");
        fs::create_dir(directory.path().join("1-1")).unwrap();
        fs::write(directory.path().join("1-1").join(FILE), "nonsense\n").unwrap();
        let error = read(directory.path()).unwrap_err();
        assert!(format!("{error:#}").contains("1-1"), "{error:#}");
    }

    #[test]
    fn a_vm_that_went_between_is_gone() {
        assert!(is_gone(&io::Error::from_raw_os_error(5)));
        assert!(is_gone(&ErrorKind::NotFound.into()));
        assert!(!is_gone(&ErrorKind::PermissionDenied.into()));
    }
}
