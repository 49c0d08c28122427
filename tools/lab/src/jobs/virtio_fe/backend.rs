// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A disk whose back end is another process: QEMU's storage daemon, over vhost-user.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use fe_tests::plan::{Bus, Disk, Machine};

use crate::images::installed;
use crate::qemu::{escaped, MEMORY};

const DAEMON: &str = "qemu-storage-daemon";

/// Queues that it serves.
const QUEUES: u32 = 2;

/// A daemon. Dropping it kills it.
pub(super) struct Backend(Child);

impl Backend {
    /// Starts one for each disk of a machine that wants them.
    pub(super) fn start_all(machine: &Machine, directory: &Path) -> Result<Vec<Self>> {
        match machine.bus {
            Bus::VhostUser => {
                let disks = machine.disks.iter();
                disks.map(|disk| Self::start(disk, directory)).collect()
            }
            _ => Ok(vec![]),
        }
    }

    /// It is handed a socket that listens already, as its standard input.
    fn start(disk: &Disk, directory: &Path) -> Result<Self> {
        let path = socket(disk, directory);
        if path.exists() {
            fs::remove_file(&path).context("an old socket")?;
        }
        let listener = UnixListener::bind(&path).with_context(|| path.display().to_string())?;
        let image = escaped(&super::image(directory, disk));
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", DAEMON])
            .arg("--blockdev")
            .arg(format!(
                "driver=file,node-name=image,discard=unmap,filename={image}"
            ))
            .arg("--export")
            .arg(format!(
                "vhost-user-blk,id=disk,node-name=image,writable=on,num-queues={QUEUES},\
                 addr.type=fd,addr.str=0"
            ))
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
            .spawn()
            .context(DAEMON)?;
        Ok(Self(child))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // Neither can fail for a child that is ours, be it dead or alive.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Why there can be none here, if so.
pub(super) fn missing() -> Option<String> {
    let is_missing = installed(DAEMON).is_err();
    is_missing.then(|| format!("no {DAEMON}: Debian has it in qemu-utils"))
}

fn socket(disk: &Disk, directory: &Path) -> PathBuf {
    directory.join(format!("{}.socket", disk.name))
}

/// QEMU's arguments for a disk that a daemon serves, with memory that both have.
pub(super) fn arguments(disk: &Disk, directory: &Path) -> Vec<String> {
    let (name, properties) = (disk.name, disk.properties);
    let path = escaped(&socket(disk, directory));
    [
        "-object",
        &format!("memory-backend-memfd,id=memory,size={MEMORY},share=on"),
        "-machine",
        "memory-backend=memory",
        "-chardev",
        &format!("socket,id={name},path={path}"),
        "-device",
        &format!("vhost-user-blk-pci,chardev={name},num-queues={QUEUES},{properties}"),
    ]
    .map(str::to_owned)
    .to_vec()
}
