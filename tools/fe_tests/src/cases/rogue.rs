// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Devices that lie. What they do with data is theirs; but the driver resets them, or gives them
//! up, and never hangs nor lets them write where they must not.

use std::fs::{self, OpenOptions};
use std::net::UdpSocket;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use fe_tests::buffer::Buffer;
use fe_tests::content::SECTOR;
use fe_tests::network::{ip, Device};
use rustix::fs::OFlags;

use crate::console::quietly;
use crate::driver::{tell, Observation, DRIVER};

/// All devices.
pub(super) const DEVICES: &str = "/sys/bus/pci/devices";
const DRIVERS: &str = "/sys/bus/pci/drivers";

/// Who makes virtio devices, for PCI.
const VENDOR: &str = "0x1af4";

/// Threads that use disks.
const THREADS: u64 = 4;

/// Requests between two looks at which disks there are.
const REQUESTS: usize = 16;

/// Most sectors of a request, and where it begins at most.
const MOST: usize = 64;
const END: u64 = 1 << 14;

/// How long the driver has a device before it has to let go of it.
const TERM: Duration = Duration::from_millis(1500);

/// Until users look again for what is not there.
const PAUSE: Duration = Duration::from_millis(20);

/// A splat ends the machine, and that is seen.
const PANIC: &str = "/proc/sys/kernel/panic_on_warn";

/// There in a kernel that checks its locks.
const LOCKS: &str = "/proc/lockdep_stats";

/// Uses the devices for so long, and has the driver let go of them and take them again.
pub(super) fn run(time: Duration) -> Result<()> {
    tell(PANIC, "1")?;
    let result = quietly(|| attack(time));
    tell(PANIC, "0")?;
    let (resets, terms) = result?;
    println!("# {resets} resets in {terms} terms");
    ensure!(resets > 0 && terms > 0, "the devices were never reset");
    ensure!(disks()?.is_empty(), "there are still {:?}", disks()?);
    if let Ok(locks) = fs::read_to_string(LOCKS) {
        let is_well = |line: &str| line.split_whitespace().eq(["debug_locks:", "1"]);
        ensure!(
            locks.lines().any(is_well),
            "the kernel has found a wrong lock"
        );
    }
    Ok(())
}

/// How many resets there were, and how often a device was taken.
fn attack(time: Duration) -> Result<(u64, u64)> {
    let devices = devices()?;
    ensure!(!devices.is_empty(), "there are no virtio devices");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..THREADS {
            let is_over = &is_over;
            scope.spawn(move || use_disks(number, is_over));
        }
        scope.spawn(|| use_interfaces(&is_over));
        let end = Instant::now() + time;
        let (mut resets, mut terms) = (0, 0);
        while Instant::now() < end {
            thread::sleep(TERM);
            for device in &devices {
                resets += let_go(device);
                // One whose configuration makes no sense is not taken.
                terms += u64::from(tell(driver("bind"), device).is_ok());
            }
        }
        for device in &devices {
            resets += let_go(device);
        }
        is_over.store(true, Ordering::Release);
        Ok((resets, terms))
    })
}

/// A file of the driver for PCI.
pub(super) fn driver(file: &str) -> PathBuf {
    Path::new(DRIVERS).join(DRIVER).join(file)
}

/// Names of all virtio devices.
fn devices() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(DEVICES)? {
        let entry = entry?;
        if fs::read_to_string(entry.path().join("vendor"))?.trim() == VENDOR {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// Takes a device from the driver if it has it; how often it was reset.
fn let_go(device: &str) -> u64 {
    let resets = Observation::of(device).and_then(|observation| observation.resets());
    let _ = tell(driver("unbind"), device);
    resets.unwrap_or(0)
}

/// Names of all disks.
fn disks() -> Result<Vec<String>> {
    let entries = fs::read_dir("/sys/block").context("/sys/block")?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let is_ours = |name: &Result<String>| name.as_ref().is_ok_and(|name| name.starts_with("vfe"));
    names.filter(is_ours).collect()
}

/// Reads and writes what there is, whatever becomes of it.
fn use_disks(seed: u64, is_over: &AtomicBool) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut buffer = Buffer::new(MOST);
    while !is_over.load(Ordering::Acquire) {
        for name in disks().unwrap_or_default() {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(OFlags::DIRECT.bits() as i32)
                .open(Path::new("/dev").join(name));
            let Ok(file) = file else { continue };
            for _ in 0..REQUESTS {
                let bytes = random.usize(1..=MOST) * SECTOR;
                let at = random.u64(0..END) * SECTOR as u64;
                let _ = match random.bool() {
                    true => file.read_at(&mut buffer.bytes_mut()[..bytes], at),
                    false => file.write_at(&buffer.bytes()[..bytes], at),
                };
            }
        }
        thread::sleep(PAUSE);
    }
}

/// Sends packets to all, over what there is.
fn use_interfaces(is_over: &AtomicBool) {
    while !is_over.load(Ordering::Acquire) {
        let device = Device::of_driver(DRIVER);
        if device.and_then(|device| send(&device)).is_err() {
            thread::sleep(PAUSE);
        }
    }
}

fn send(device: &Device) -> Result<()> {
    ip(&format!("link set {} up", device.name))?;
    // It may have it already.
    let _ = ip(&format!("addr add 10.77.0.1/24 dev {}", device.name));
    let socket = UdpSocket::bind("10.77.0.1:0")?;
    socket.set_broadcast(true)?;
    for size in [1, 100, 1400, 4000] {
        socket.send_to(&vec![0; size], "10.77.0.255:9")?;
    }
    Ok(())
}
