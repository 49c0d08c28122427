// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `/dev/exitless`: `include/uapi/linux/exitless.h`.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::thread;

use anyhow::{Context, Result};
use exitless_vectors::refusal::Refusal;
use exitless_vectors::uapi::{ExitlessArm, EXITLESS_ARM, EXITLESS_ATTACH, EXITLESS_DISARM};
use libc::{c_ulong, c_void};

/// An open file.
pub struct Exitless(File);

/// Why an interrupt was not armed.
#[derive(Debug)]
pub struct Refused {
    /// `enum exitless_refusal`, or 0.
    pub refusal: u32,
    /// `EOPNOTSUPP` if there is a refusal.
    pub error: io::Error,
}

impl Refused {
    /// The refusal, if it is one that we know.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        Refusal::from_number(self.refusal)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.refusal() {
            Some(refusal) => write!(f, "{}: {}", refusal.words(), self.error),
            None => write!(f, "refusal {}: {}", self.refusal, self.error),
        }
    }
}

impl std::error::Error for Refused {}

impl Exitless {
    /// The file of a VM.
    ///
    /// # Errors
    ///
    /// exitless.ko is not loaded, or as of `EXITLESS_ATTACH`.
    pub fn attach(vm: RawFd) -> Result<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .open("/dev/exitless")
            .context("/dev/exitless")?;
        let exitless = Self(file);
        let mut vm = vm;
        exitless.call(EXITLESS_ATTACH, (&raw mut vm).cast())?;
        Ok(exitless)
    }

    /// Arms an interrupt; yields its GSI.
    ///
    /// # Errors
    ///
    /// As of `EXITLESS_ARM`.
    pub fn arm(&self, eventfd: RawFd, flags: u32) -> Result<u32, Refused> {
        let mut arm = ExitlessArm {
            eventfd,
            flags,
            ..ExitlessArm::default()
        };
        let result = self.call(EXITLESS_ARM, (&raw mut arm).cast());
        result.map(|()| arm.gsi).map_err(|error| Refused {
            refusal: arm.refusal,
            error,
        })
    }

    /// Disarms it.
    ///
    /// # Errors
    ///
    /// It is not armed.
    pub fn disarm(&self, gsi: u32) -> io::Result<()> {
        let mut gsi = gsi;
        self.call(EXITLESS_DISARM, (&raw mut gsi).cast())
    }

    /// What the module says of the file: a line for each interrupt and each vCPU.
    ///
    /// # Errors
    ///
    /// `/proc` is not mounted.
    pub fn report(&self) -> Result<String> {
        let path = format!("/proc/self/fdinfo/{}", self.0.as_raw_fd());
        let text = fs::read_to_string(&path).context(path)?;
        let is_ours = |line: &&str| line.starts_with("gsi ") || line.starts_with("vcpu ");
        let lines: Vec<&str> = text.lines().filter(is_ours).collect();
        Ok(lines.join("\n"))
    }

    /// Waits until a line of the report is as `wanted`.
    ///
    /// # Errors
    ///
    /// As of [`Exitless::report`].
    pub fn await_line(&self, wanted: impl Fn(&str) -> bool) -> Result<()> {
        while !self.report()?.lines().any(&wanted) {
            thread::yield_now();
        }
        Ok(())
    }

    /// How many NMIs have ended direct runs of the first vCPU.
    ///
    /// # Errors
    ///
    /// As of [`Exitless::number`].
    pub fn nmis(&self) -> Result<u64> {
        self.number("nmi")
    }

    /// The number behind the first such word of the report.
    ///
    /// # Errors
    ///
    /// As of [`Exitless::report`], or there is no such word yet.
    pub fn number(&self, word: &str) -> Result<u64> {
        let report = self.report()?;
        let mut words = report.split_whitespace();
        words.find(|&found| found == word).context("no vCPU")?;
        Ok(words.next().context("no number")?.parse()?)
    }

    fn call(&self, request: u32, argument: *mut c_void) -> io::Result<()> {
        // SAFETY: Each caller in this file passes the argument of the request, which lives during
        // the call.
        match unsafe { libc::ioctl(self.0.as_raw_fd(), c_ulong::from(request), argument) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}
