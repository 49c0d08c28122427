// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The saved inputs of the fuzz targets, run inside of the kernel by fuzz_vectors.ko.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{anyhow, bail, Context as _, Result};
use fuzz_targets::{corpus::replay, Target, TARGETS};
use libc::O_NONBLOCK;
use module_tests::verdict::Skip;

use crate::check::check_eq;
use crate::suite::{tests, Context};

tests!("vectors", Kvm, [kernel_sees_what_userspace_sees]);

const NAME: &CStr = c"fuzz_vectors";
/// Most bytes of a record in the kernel's log, `CONSOLE_EXT_LOG_MAX`.
const RECORD: usize = 8192;

/// The kernel's log from here on.
struct Log(File);

impl Log {
    fn open() -> Result<Self> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .custom_flags(O_NONBLOCK)
            .open("/dev/kmsg");
        let mut file = file.map_err(|error| Skip(format!("/dev/kmsg: {error}")))?;
        file.seek(SeekFrom::End(0)).context("end of the log")?;
        Ok(Self(file))
    }

    /// What the module has said: `<priority>,<number>,<time>,-;<name>: <words>`.
    fn words(&mut self) -> Result<Vec<String>> {
        let mut words = Vec::new();
        let mut record = [0; RECORD];
        loop {
            let length = match self.0.read(&mut record) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(words),
                Err(error) => return Err(error).context("the kernel's log"),
            };
            let text = String::from_utf8_lossy(&record[..length]);
            let said = text.split_once(";fuzz_vectors: ");
            words.extend(said.and_then(|(_, said)| said.lines().next().map(str::to_owned)));
        }
    }
}

/// The module's file: it lies beside ioregion.ko.
fn module(context: &Context) -> Result<File> {
    let Some(path) = &context.module else {
        return Err(Skip("no --module".into()).into());
    };
    let path = path.with_file_name("fuzz_vectors.ko");
    let opened = File::open(&path);
    opened.map_err(|error| Skip(format!("{}: {error}", path.display())).into())
}

fn load(file: &File) -> io::Result<()> {
    // SAFETY: the kernel reads the file and the string, which is empty and ends.
    let result =
        unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), c"".as_ptr(), 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn unload() -> io::Result<()> {
    // SAFETY: the kernel reads the name, which ends.
    let result = unsafe { libc::syscall(libc::SYS_delete_module, NAME.as_ptr(), O_NONBLOCK) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn kernel_sees_what_userspace_sees(context: &Context) -> Result<()> {
    let file = module(context)?;
    let mut log = Log::open()?;
    let loaded = load(&file);
    let said = log.words()?;
    if let Err(error) = loaded {
        bail!("loading {NAME:?}: {error}; it said {said:?}");
    }
    unload().context("unload")?;
    check_eq!(said, by_userspace()?, "digests in the kernel's log");
    Ok(())
}

/// What the module must say.
fn by_userspace() -> Result<Vec<String>> {
    let line = |target: &Target| {
        let summary = replay(target).map_err(|failure| anyhow!("{}: {failure:?}", target.name))?;
        let (inputs, digest) = (summary.inputs, summary.digest.value());
        Ok(format!(
            "{}: {inputs} inputs, digest {digest:016x}",
            target.name
        ))
    };
    TARGETS.iter().map(line).collect()
}
