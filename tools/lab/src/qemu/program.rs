// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Which QEMU: the machine's own, or a newer one that was unpacked for us.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{ensure, Context, Result};

use crate::out::Places;

const QEMU: &str = "qemu-system-x86_64";

/// The first version whose TCG has what L1 needs, x2APIC.
const OLDEST: u32 = 10;

/// Why a test is skipped for want of [`Program::recent`].
pub(crate) const NO_RECENT: &str =
    "no QEMU 10.1 or newer: `setup recent-qemu` gets one where Debian has it";

/// Where the libraries of an unpacked QEMU are, below its root.
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// A QEMU.
pub(crate) enum Program {
    /// The machine's own.
    System,
    /// One that `setup recent-qemu` unpacked here, with its libraries.
    Unpacked(PathBuf),
    /// One that `setup mended-qemu` built, with the machine's own firmware.
    Mended(PathBuf),
}

impl Program {
    /// A QEMU from 10.1 on, which is known by its device `vfio-user-pci`: the machine's own if it
    /// will do, else an unpacked one. `None`: there is neither.
    pub(crate) fn recent(places: &Places) -> Option<Self> {
        let unpacked = places.source("out/recent-qemu").canonicalize().ok();
        [Some(Self::System), unpacked.map(Self::Unpacked)]
            .into_iter()
            .flatten()
            .find(Self::is_recent)
    }

    /// A QEMU with which guests of KVM's run under `-icount`.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn mended(places: &Places) -> Result<Self> {
        let program = places.source("out/mended-qemu").join(QEMU);
        let program = program.canonicalize();
        Ok(Self::Mended(program.context(
            "there is no mended QEMU: `setup mended-qemu` builds it",
        )?))
    }

    fn is_recent(&self) -> bool {
        let mut command = self.command();
        let output = command.args(["-device", "vfio-user-pci,help"]).output();
        // It ends well, too, when it does not know the device.
        output.is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).contains("vfio-user-pci options")
        })
    }

    /// The start of its command line. Whatever ends the lab must not leave a QEMU behind.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        match self {
            Self::System => command.arg(QEMU),
            Self::Mended(program) => {
                command
                    .arg(program)
                    .args(["-L", "/usr/share/qemu", "-L", "/usr/share/seabios"])
            }
            Self::Unpacked(root) => command
                .env("QEMU_MODULE_DIR", root.join(LIBRARIES).join("qemu"))
                .arg(root.join(LIBRARIES).join("ld-linux-x86-64.so.2"))
                .arg("--library-path")
                .arg(root.join(LIBRARIES))
                .arg(root.join("usr/bin").join(QEMU))
                .arg("-L")
                .arg(root.join("usr/share/qemu"))
                .arg("-L")
                .arg(root.join("usr/share/seabios")),
        };
        command
    }
}

/// Makes sure that QEMU is there and new enough.
///
/// # Errors
///
/// It is not.
pub(crate) fn check_version() -> Result<()> {
    let output = Command::new(QEMU)
        .arg("--version")
        .output()
        .with_context(|| format!("starting {QEMU}: `make host` installs it"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = major(&text).with_context(|| format!("{QEMU} --version says {text:?}"))?;
    ensure!(
        version >= OLDEST,
        "{QEMU} is version {version}, we need {OLDEST} or newer: `make host` installs it"
    );
    Ok(())
}

fn major(version: &str) -> Option<u32> {
    let number = version.strip_prefix("QEMU emulator version ")?;
    number.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let debian = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright (c)\n";
        assert_eq!(major(debian), Some(10));
        assert_eq!(major("QEMU emulator version 7.2.19\n"), Some(7));
        assert_eq!(major("qemu: not found"), None);
    }
}
