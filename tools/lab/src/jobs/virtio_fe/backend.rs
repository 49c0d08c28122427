// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A disk whose back end is another process: QEMU's storage daemon, over vhost-user.

use std::fs::{self, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{ensure, Context, Result};
use fe_tests::content::{self, RESTARTS, SECTOR};
use fe_tests::plan::{Bus, Disk, Machine};

use crate::images::installed;
use crate::qemu::{escaped, MEMORY};

const DAEMON: &str = "qemu-storage-daemon";

/// Milliseconds between QEMU's attempts to reach a daemon.
const RECONNECT: u32 = 50;

/// Queues that it serves.
const QUEUES: u32 = 2;

/// The back end of a disk.
pub(super) struct Backend {
    disk: &'static str,
    image: PathBuf,
    /// Where QEMU waits while there is no daemon.
    listener: UnixListener,
    daemon: Daemon,
    restarts: u64,
}

impl Backend {
    /// Starts one for each disk of a machine that wants them.
    pub(super) fn start_all(machine: &Machine, directory: &Path) -> Result<Vec<Self>> {
        match machine.bus {
            Bus::VhostUser => {
                let disks = machine.disks.iter();
                disks.map(|disk| Self::new(disk, directory)).collect()
            }
            _ => Ok(vec![]),
        }
    }

    fn new(disk: &Disk, directory: &Path) -> Result<Self> {
        let path = socket(disk, directory);
        if path.exists() {
            fs::remove_file(&path).context("an old socket")?;
        }
        let listener = UnixListener::bind(&path).with_context(|| path.display().to_string())?;
        let image = super::image(directory, disk);
        Ok(Self {
            disk: disk.name,
            daemon: Daemon::start(&listener, &image)?,
            image,
            listener,
            restarts: 0,
        })
    }

    /// Kills the daemon, notes on the image how often that was done, and starts another one.
    fn restart(&mut self) -> Result<()> {
        self.daemon.kill()?;
        self.restarts += 1;
        let mut sector = [0; SECTOR];
        content::fill(self.disk, RESTARTS, self.restarts, &mut sector);
        let image = OpenOptions::new().write(true).open(&self.image);
        image
            .and_then(|image| image.write_all_at(&sector, RESTARTS * SECTOR as u64))
            .with_context(|| self.image.display().to_string())?;
        self.daemon = Daemon::start(&self.listener, &self.image)?;
        Ok(())
    }
}

/// Has a disk lose its daemon and get another one.
///
/// # Errors
///
/// There is no such disk, its daemon had died, or no other one can be started.
pub(super) fn restart(backends: &mut [Backend], disk: &str) -> Result<()> {
    let mut backends = backends.iter_mut();
    let backend = backends.find(|backend| backend.disk == disk);
    let backend = backend.with_context(|| format!("no back end of {disk}"))?;
    backend.restart()
}

/// A daemon. Dropping it kills it.
struct Daemon(Child);

impl Daemon {
    /// It is handed the socket that listens already, as its standard input.
    fn start(listener: &UnixListener, image: &Path) -> Result<Self> {
        let image = escaped(image);
        let listener = listener.try_clone().context("a socket")?;
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
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .spawn()
            .context(DAEMON)?;
        Ok(Self(child))
    }

    fn kill(&mut self) -> Result<()> {
        let ended = self.0.try_wait().context(DAEMON)?;
        ensure!(ended.is_none(), "{DAEMON} has died: {ended:?}");
        self.0.kill().context(DAEMON)?;
        self.0.wait().context(DAEMON)?;
        Ok(())
    }
}

impl Drop for Daemon {
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
        &format!("socket,id={name},path={path},reconnect-ms={RECONNECT}"),
        "-device",
        &format!("vhost-user-blk-pci,chardev={name},num-queues={QUEUES},{properties}"),
    ]
    .map(str::to_owned)
    .to_vec()
}
