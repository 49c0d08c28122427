// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Each kind of request.

use std::io;
use std::os::unix::fs::FileExt;

use anyhow::{bail, ensure, Result};
use fe_tests::content::{FIRST, READ_ONLY, SCRATCH};
use fe_tests::plan::{Disk, Kind};
use rustix::fs::{fallocate, FallocateFlags};
use rustix::io::Errno;

use super::open;
use fe_tests::buffer::Buffer;

/// Sectors at a time, of most tests: the smallest that each disk takes, and more than a request
/// can have.
const SIZES: &[usize] = &[8, 64, 1024, 4096];

/// All that was there before is found, in small pieces and in large ones.
pub(super) fn read(plan: &Disk) -> Result<()> {
    let disk = open(plan)?;
    for &size in SIZES {
        let pieces = READ_ONLY.step_by(size).take(64);
        for first in pieces {
            disk.verify(first, size, FIRST)?;
        }
    }
    Ok(())
}

/// What is written is found; a disk that is read-only refuses it.
pub(super) fn write(plan: &Disk) -> Result<()> {
    if plan.kind == Kind::ReadOnly {
        return refuse(plan);
    }
    let disk = open(plan)?;
    for (&size, generation) in SIZES.iter().zip(2..) {
        let first = SCRATCH.start + size as u64;
        disk.write(first, size, generation)?;
        disk.flush()?;
        disk.verify(first, size, generation)?;
    }
    Ok(())
}

/// What it has stays as it was.
fn refuse(plan: &Disk) -> Result<()> {
    let disk = super::Disk::open(plan.name, false)?;
    let Err(error) = disk.write(READ_ONLY.start, 8, 2) else {
        bail!("it can be written");
    };
    let errno = error.downcast_ref().and_then(io::Error::raw_os_error);
    ensure!(errno == Some(Errno::PERM.raw_os_error()), "{error:#}");
    disk.verify(READ_ONLY.start, 8, FIRST)
}

/// Requests with few and with many segments, of one page and of parts of pages.
pub(super) fn scatter(plan: &Disk) -> Result<()> {
    if plan.kind == Kind::ReadOnly {
        return Ok(());
    }
    let disk = open(plan)?;
    let least = (disk.number("queue/logical_block_size")? / 512) as usize;
    for (pieces, piece) in [
        (1, 8),
        (2, 8),
        (3, least),
        (62, 8),
        (64, 8),
        (200, least),
        (256, 8),
    ] {
        let generation = 100 + pieces as u64;
        disk.scatter(SCRATCH.start, pieces, piece, generation)?;
    }
    Ok(())
}

/// What is zeroed or discarded is zero, or in the latter case maybe as it was; its neighbours are
/// as they were.
pub(super) fn zeroes(plan: &Disk) -> Result<()> {
    if plan.kind == Kind::ReadOnly {
        return Ok(());
    }
    let disk = open(plan)?;
    let ways = [
        FallocateFlags::ZERO_RANGE,
        FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
    ];
    for (way, generation) in ways.into_iter().zip(7..) {
        let first = SCRATCH.start;
        disk.write(first, 64, generation)?;
        fallocate(disk.file(), way, (first + 16) * 512, 32 * 512)?;
        disk.verify(first, 16, generation)?;
        disk.verify(first + 48, 16, generation)?;
        let mut buffer = Buffer::new(32);
        disk.file()
            .read_exact_at(buffer.bytes_mut(), (first + 16) * 512)?;
        ensure!(
            buffer.bytes().iter().all(|&byte| byte == 0),
            "{way:?} left something"
        );
    }
    Ok(())
}
