// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What is left behind in the kernel when every VM and every channel is gone.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread;

use anyhow::{ensure, Context, Result};

const NAME: &CStr = c"ioregion";
const REFERENCES: &str = "/sys/module/ioregion/refcnt";

/// Returns when nothing pins the module: VMs are destroyed by whoever drops the last reference,
/// who may still be at it.
pub(crate) fn wait_until_unused() -> Result<()> {
    loop {
        let count = fs::read_to_string(REFERENCES).context(REFERENCES)?;
        if count.trim() == "0" {
            return Ok(());
        }
        thread::yield_now();
    }
}

/// Areas of channels that are still allocated.
pub(crate) fn expect_no_areas() -> Result<()> {
    let path = "/proc/vmallocinfo";
    let text = fs::read_to_string(path).context(path)?;
    let areas: Vec<&str> = text.lines().filter(|line| is_area(line)).collect();
    ensure!(areas.is_empty(), "areas are left: {}", areas.join("; "));
    Ok(())
}

fn is_area(line: &str) -> bool {
    line.contains(" shunt_ring_alloc+")
}

/// Takes the module out and puts it in again.
pub(crate) fn reload(module: &Path) -> Result<()> {
    let file = File::open(module).with_context(|| module.display().to_string())?;
    // SAFETY: the kernel reads the name, which ends.
    let result = unsafe { libc::syscall(libc::SYS_delete_module, NAME.as_ptr(), libc::O_NONBLOCK) };
    ensure!(result == 0, "unload: {}", io::Error::last_os_error());
    let (fd, options) = (file.as_raw_fd(), c"".as_ptr());
    // SAFETY: the kernel reads the file and the string, which ends.
    let result = unsafe { libc::syscall(libc::SYS_finit_module, fd, options, 0) };
    ensure!(result == 0, "load: {}", io::Error::last_os_error());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_known_by_who_made_them() {
        assert!(is_area(
            "0xffffc90000111000-0xffffc90000114000   12288 shunt_ring_alloc+0xd1/0x1b0 [ioregion] pages=2 vmalloc user N0=2"
        ));
        assert!(!is_area(
            "0xffffffffc0200000-0xffffffffc0212000   73728 move_module+0x1a/0x80 pages=17 vmalloc N0=17"
        ));
    }
}
