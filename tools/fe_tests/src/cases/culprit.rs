// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Network devices that do one certain thing wrong: the driver refuses them, drops what they send, or
//! resets them.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use fe_tests::network::ip;
use fe_tests::plan::rogues::{slot, Lie, MANY_PAIRS, SILENT_CONTROL, SMALL_MTU, SPLIT_HEADER};
use rustix::io::Errno;

use super::rogue::{driver, DEVICES};
use crate::driver::{tell, Observation};

/// Packets that are worth the name.
const PACKETS: u64 = 200;

/// Until a counter is looked at again.
const PAUSE: Duration = Duration::from_millis(5);

/// A test of the device at an address.
type OfDevice = fn(&str) -> Result<()>;

/// The test of a device that lies so, if it lies always.
pub(super) fn test(lie: Lie) -> Option<OfDevice> {
    match lie {
        SPLIT_HEADER => Some(dropped),
        MANY_PAIRS | SMALL_MTU => Some(refused),
        SILENT_CONTROL => Some(reset),
        Lie::Disk | Lie::Noise | Lie::Only(_) => None,
    }
}

/// Where the machine's device of this number is.
pub(super) fn address(number: usize) -> String {
    format!("0000:00:{:02x}.0", slot(number))
}

/// The driver says what is wrong, and does not take it.
fn refused(device: &str) -> Result<()> {
    let error = tell(driver("bind"), device).err().context("it was taken")?;
    let errno = error
        .downcast_ref::<io::Error>()
        .and_then(Errno::from_io_error);
    ensure!(errno == Some(Errno::INVAL), "{error:#}");
    Ok(())
}

/// What it sends is counted as wrong.
fn dropped(device: &str) -> Result<()> {
    let observation = Observation::of(device)?;
    let interface = interface(device)?;
    ip(&format!("link set {interface} up"))?;
    wait_for(&observation, "rx_errors", PACKETS)?;
    ip(&format!("link set {interface} down"))
}

/// A command that is not answered has it reset, and then it carries out commands.
fn reset(device: &str) -> Result<()> {
    let observation = Observation::of(device)?;
    let interface = interface(device)?;
    ip(&format!("link set {interface} up"))?;
    wait_for(&observation, "resets", 1)?;
    ip(&format!("link set {interface} address 02:00:00:00:00:08"))?;
    ip(&format!("link set {interface} down"))?;
    let resets = observation.resets()?;
    ensure!(resets == 1, "it was reset {resets} times");
    Ok(())
}

/// The name of its interface.
fn interface(device: &str) -> Result<String> {
    let directory = Path::new(DEVICES).join(device).join("net");
    let mut entries = fs::read_dir(&directory).with_context(|| directory.display().to_string())?;
    let entry = entries.next().context("it has no interface")??;
    Ok(entry.file_name().to_string_lossy().into_owned())
}

/// Returns when the driver has counted so much; the machine's time is limited.
fn wait_for(observation: &Observation, counter: &str, count: u64) -> Result<()> {
    while observation.sum(counter)? < count {
        std::thread::sleep(PAUSE);
    }
    Ok(())
}
