// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What a disk does while it is counted.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{ensure, Context, Result};
use fe_bench::plan::{Driver, Work};
use fe_tests::buffer::Buffer;
use fe_tests::content::SECTOR;
use io_uring::{opcode, types::Fd, IoUring};
use rustix::fs::OFlags;

/// Sectors and bytes of a request.
const SECTORS: usize = 8;
const BYTES: usize = SECTORS * SECTOR;

/// Requests at a time.
const DEPTH: usize = 32;

/// Places on the disk that are read by turns.
const PLACES: u64 = 4096;

/// A disk, past the page cache.
pub(crate) struct Disk {
    file: File,
    buffers: Vec<Buffer>,
    queue: IoUring,
}

impl Disk {
    /// The only disk of this driver's.
    pub(crate) fn open(driver: Driver) -> Result<Self> {
        let name = match driver {
            Driver::C => "vda",
            Driver::Rust => "vfe0",
        };
        let scheduler = format!("/sys/block/{name}/queue/scheduler");
        fs::write(&scheduler, "none").context(scheduler)?;
        let node = Path::new("/dev").join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlags::DIRECT.bits() as i32)
            .open(&node)
            .with_context(|| node.display().to_string())?;
        Ok(Self {
            file,
            buffers: (0..DEPTH).map(|_| Buffer::new(SECTORS)).collect(),
            queue: IoUring::new(DEPTH as u32).context("io_uring")?,
        })
    }

    /// Does it so often, or as often as whole batches are.
    pub(crate) fn work(&mut self, work: Work, operations: u64) -> Result<()> {
        match work {
            Work::ReadMany => (0..operations)
                .step_by(DEPTH)
                .try_for_each(|first| self.read_many(first)),
            Work::WriteFlush => (0..operations).try_for_each(|number| self.write(number)),
            _ => (0..operations).try_for_each(|number| self.read(number)),
        }
    }

    fn read(&mut self, number: u64) -> Result<()> {
        let bytes = self.buffers[0].bytes_mut();
        self.file
            .read_exact_at(bytes, place(number))
            .context("reading")
    }

    fn write(&self, number: u64) -> Result<()> {
        let bytes = self.buffers[0].bytes();
        self.file
            .write_all_at(bytes, place(number))
            .context("writing")?;
        self.file.sync_data().context("flushing")
    }

    fn read_many(&mut self, first: u64) -> Result<()> {
        let file = Fd(self.file.as_raw_fd());
        for (number, buffer) in (first..).zip(&mut self.buffers) {
            let bytes = buffer.bytes_mut();
            let read = opcode::Read::new(file, bytes.as_mut_ptr(), BYTES as u32);
            let entry = read.offset(place(number)).build();
            // SAFETY: The buffer and the file are there until all of these reads have completed,
            // which is before this function returns, unless the queue itself has failed.
            unsafe { self.queue.submission().push(&entry) }.context("a full queue")?;
        }
        self.queue.submit_and_wait(DEPTH).context("reading")?;
        let mut results = self.queue.completion().map(|entry| entry.result());
        ensure!(results.len() == DEPTH, "a read is missing");
        ensure!(results.all(|bytes| bytes == BYTES as i32), "a short read");
        Ok(())
    }
}

/// Where the request of this number goes.
fn place(number: u64) -> u64 {
    number * 7 % PLACES * BYTES as u64
}
