// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! One L2 guest: its VMM, its disk image, and the process that serves the disk.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::chown;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use l1::scenario::{Driver, Scenario, Task, COUNTERS_MARK};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use wait_timeout::ChildExt;

use crate::{tap, tracer};

/// What the lab put into the initramfs.
const KERNEL: &str = "/images/vmlinux";
const ROOT_IMAGE: &str = "/images/root.ext4";

/// The kernel command line of every guest; the VMM adds what its devices need.
/// Level 5 prints warnings, which `quiet` would hide from the log scan.
const CMDLINE: &str = "console=ttyS0 loglevel=5 panic=-1 root=/dev/vda rw init=/init";

/// For a guest whose disk virtio_fe drives: the initial RAM disk that loads it, and what keeps the
/// kernel's own driver off.
const VIRTIO_FE: &str = "/images/virtio_fe.cpio";
const NET: &str = "/images/net.cpio";
const BYTES: &str = "/images/bytes.cpio";
const NO_OTHER_DRIVER: &str = "initcall_blacklist=virtio_mmio_init,virtio_pci_driver_init";

/// `nobody`: the device process needs no more than its image.
pub(crate) const DEVICE_UID: u32 = 65534;

/// How long a device process may live on after its VMM.
const DEVICE_END: Duration = Duration::from_secs(10);

/// A place for one guest's files, with a fresh copy of the root image.
pub(crate) struct Place {
    directory: PathBuf,
}

impl Place {
    pub(crate) fn create(scenario: &Scenario) -> Result<Self> {
        let directory = Path::new("/tmp").join(scenario.name);
        fs::create_dir(&directory).with_context(|| format!("mkdir {}", directory.display()))?;
        let place = Self { directory };
        if scenario.task == Task::Bytes {
            mkfifo(&place.fifo(), Mode::S_IRWXU).context("mkfifo")?;
            chown(place.fifo(), Some(DEVICE_UID), Some(DEVICE_UID)).context("chown of the FIFO")?;
        }
        if matches!(scenario.task, Task::Files | Task::Load) {
            fs::copy(ROOT_IMAGE, place.image()).with_context(|| format!("copying {ROOT_IMAGE}"))?;
            chown(place.image(), Some(DEVICE_UID), Some(DEVICE_UID))
                .context("chown of the image")?;
        }
        Ok(place)
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.directory.join("root.ext4")
    }

    pub(crate) fn report(&self) -> PathBuf {
        self.directory.join("report.json")
    }

    pub(crate) fn device_log(&self) -> PathBuf {
        self.directory.join("device.log")
    }

    pub(crate) fn dump(&self) -> PathBuf {
        self.directory.join("dump")
    }

    /// What is written to it can be read from it: a console's other end.
    fn fifo(&self) -> PathBuf {
        self.directory.join("fifo")
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("device.sock")
    }

    pub(crate) fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.directory)
            .with_context(|| format!("removing {}", self.directory.display()))
    }
}

/// The VMM's command for a guest whose init is to do `task`.
pub(crate) fn vmm(scenario: &Scenario, place: &Place, task: &str) -> Command {
    let served = match (scenario.is_remote(), scenario.task) {
        (true, _) => place.socket(),
        (false, Task::Packets | Task::Reflection) => tap::NAME.into(),
        (false, Task::Bytes) => place.fifo(),
        (false, _) => place.image(),
    };
    let mut command = Command::new("/bin/shunt-vmm");
    let mut cmdline = format!("{CMDLINE} shunt.guest={task}");
    if scenario.driver == Driver::VirtioFe {
        cmdline = format!("{cmdline} {NO_OTHER_DRIVER}");
    }
    match (scenario.task, scenario.driver) {
        (Task::Packets | Task::Reflection, driver) => {
            command.args(["--initrd", NET]);
            cmdline = format!("{cmdline} shunt.driver={}", driver.module());
        }
        (Task::Bytes, driver) => {
            command.args(["--initrd", BYTES]);
            cmdline = format!("{cmdline} shunt.driver={}", driver.module());
        }
        (_, Driver::VirtioFe) => drop(command.args(["--initrd", VIRTIO_FE])),
        _ => {}
    }
    command
        .args(["--kernel", KERNEL, "--memory", "128", "--cpus"])
        .arg(scenario.cpus.to_string())
        .args(["--cmdline", &cmdline])
        .arg("--disk")
        .arg(scenario.disk_option(&served.to_string_lossy()))
        .arg("--report")
        .arg(place.report())
        .args(["--mark", COUNTERS_MARK]);
    command
}

/// Whether this line of the VMM says that it waits for a device process.
pub(crate) fn is_listening(line: &str) -> bool {
    line.contains("listening for a device process")
}

/// Whether this line of the VMM says that a device process serves it.
pub(crate) fn is_connected(line: &str) -> bool {
    line.contains("a device process has connected")
}

/// The processes that serve one guest's device, one at a time.
pub(crate) struct Devices {
    program: &'static str,
    /// What each is to serve.
    backend: Vec<OsString>,
    socket: PathBuf,
    log: File,
    /// More words for each.
    options: &'static [&'static str],
    current: Option<Child>,
    /// How many were started.
    pub(crate) started: u32,
}

impl Devices {
    pub(crate) fn new(scenario: &Scenario, place: &Place) -> Result<Self> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(place.device_log())
            .context("device log")?;
        let (program, backend) = match (scenario.task, scenario.driver) {
            (Task::Packets | Task::Reflection, _) => {
                ("/bin/shunt-net", vec!["--tap".into(), tap::NAME.into()])
            }
            (Task::Files | Task::Load, _) => {
                let image = place.image().into();
                ("/bin/shunt-blk", vec!["--image".into(), image])
            }
            (Task::Bytes, Driver::Console) => {
                let fifo = place.fifo().into();
                ("/bin/shunt-console", vec!["--file".into(), fifo])
            }
            (Task::Bytes, _) => ("/bin/shunt-rng", vec![]),
        };
        Ok(Self {
            program,
            backend,
            socket: place.socket(),
            log,
            options: scenario.device,
            current: None,
            started: 0,
        })
    }

    /// Starts one, without privileges; the user that it really runs as.
    pub(crate) fn start(&mut self) -> Result<u32> {
        let child = Command::new(self.program)
            .arg("--connect")
            .arg(&self.socket)
            .args(&self.backend)
            .args(self.options)
            .stdin(Stdio::null())
            .stdout(self.log.try_clone()?)
            .stderr(self.log.try_clone()?)
            .uid(DEVICE_UID)
            .gid(DEVICE_UID)
            .spawn()
            .context(self.program)?;
        let uid = effective_uid(child.id());
        self.current = Some(child);
        self.started += 1;
        uid
    }

    /// The one that runs.
    pub(crate) fn process(&self) -> Option<u32> {
        self.current.as_ref().map(Child::id)
    }

    /// Kills the one that runs, a number of crossings from now; a fresh one takes over.
    /// Answers what the dead one was doing.
    pub(crate) fn replace(&mut self, crossing: u32) -> Result<String> {
        let mut child = self.current.take().context("no device process to kill")?;
        let doing = tracer::run_to(child.id(), crossing)?;
        child.kill().context("kill -9 of the device process")?;
        let status = child.wait()?;
        ensure!(
            status.signal() == Some(Signal::SIGKILL as i32),
            "the device process ended with {status} before it could be killed"
        );
        self.start()?;
        Ok(doing)
    }

    /// The last one must end by itself once the VMM is gone.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let Some(mut child) = self.current.take() else {
            return Ok(());
        };
        let Some(status) = child.wait_timeout(DEVICE_END)? else {
            child.kill()?;
            child.wait()?;
            bail!("the device process outlived its VMM by {DEVICE_END:?}");
        };
        ensure!(status.success(), "the device process ended with {status}");
        Ok(())
    }
}

/// The effective user of a process. `spawn` returns after the change of user.
fn effective_uid(pid: u32) -> Result<u32> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1))
        .with_context(|| format!("{path} names no user"))?
        .parse()
        .with_context(|| path.clone())
}
