// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A disk, past the page cache.

use std::fs::{self, File, OpenOptions};
use std::io::{IoSlice, IoSliceMut};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

use anyhow::{bail, ensure, Context, Result};
use fe_tests::content::{self, SECTOR};
use fe_tests::serial;
use rustix::fs::OFlags;
use rustix::io::{preadv, pwritev};

use fe_tests::buffer::Buffer;

/// A disk of virtio_fe.ko's.
pub(crate) struct Disk {
    /// Its name in the plan.
    pub(crate) name: &'static str,
    /// Its directory in sysfs.
    pub(crate) sysfs: PathBuf,
    file: File,
}

impl Disk {
    /// The disk with this serial number.
    ///
    /// # Errors
    ///
    /// There is none, or it cannot be opened.
    pub(crate) fn open(name: &'static str, read_only: bool) -> Result<Self> {
        let sysfs = serial::sysfs(name)?;
        let node = serial::node(name)?;
        let file = OpenOptions::new()
            .read(true)
            .write(!read_only)
            .custom_flags(OFlags::DIRECT.bits() as i32)
            .open(&node)
            .with_context(|| node.display().to_string())?;
        Ok(Self { name, sysfs, file })
    }

    /// The file of the disk.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The name of its device.
    pub(crate) fn device(&self) -> Result<String> {
        let path = self
            .sysfs
            .join("device")
            .canonicalize()
            .context("its device")?;
        let name = path.file_name().context("a device without a name")?;
        Ok(name.to_string_lossy().into_owned())
    }

    /// A file of its directory in sysfs, without the end of the line.
    pub(crate) fn attribute(&self, name: &str) -> Result<String> {
        let path = self.sysfs.join(name);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(text.trim().to_owned())
    }

    /// A number there.
    pub(crate) fn number(&self, name: &str) -> Result<u64> {
        self.attribute(name)?
            .parse()
            .with_context(|| name.to_owned())
    }

    /// Reads sectors, and fails unless they are of this generation.
    pub(crate) fn verify(&self, first: u64, sectors: usize, generation: u64) -> Result<()> {
        let mut buffer = Buffer::new(sectors);
        self.file
            .read_exact_at(buffer.bytes_mut(), first * SECTOR as u64)
            .with_context(|| format!("reading {sectors} sectors from {first} on"))?;
        self.check(first, generation, buffer.bytes())
    }

    /// Writes sectors of this generation.
    pub(crate) fn write(&self, first: u64, sectors: usize, generation: u64) -> Result<()> {
        let mut buffer = Buffer::new(sectors);
        content::fill(self.name, first, generation, buffer.bytes_mut());
        self.file
            .write_all_at(buffer.bytes(), first * SECTOR as u64)
            .with_context(|| format!("writing {sectors} sectors from {first} on"))
    }

    /// Makes durable what was written.
    pub(crate) fn flush(&self) -> Result<()> {
        self.file.sync_all().context("flush")
    }

    /// Writes sectors from pieces of `piece` sectors in memory that do not follow each other, and
    /// reads them into such pieces.
    pub(crate) fn scatter(&self, first: u64, pieces: usize, piece: usize, gen: u64) -> Result<()> {
        let at = first * SECTOR as u64;
        let mut buffers: Vec<Buffer> = (0..pieces).map(|_| Buffer::new(piece + 8)).collect();
        let bytes = piece * SECTOR;
        for (number, buffer) in (0..).zip(&mut buffers) {
            let from = first + number * piece as u64;
            content::fill(self.name, from, gen, &mut buffer.bytes_mut()[..bytes]);
        }
        let slices: Vec<IoSlice<'_>> = buffers
            .iter()
            .map(|buffer| IoSlice::new(&buffer.bytes()[..bytes]))
            .collect();
        let written = pwritev(&self.file, &slices, at).context("pwritev")?;
        ensure!(written == pieces * bytes, "pwritev wrote {written} bytes");
        for buffer in &mut buffers {
            buffer.bytes_mut().fill(0);
        }
        let mut slices: Vec<IoSliceMut<'_>> = buffers
            .iter_mut()
            .map(|buffer| IoSliceMut::new(&mut buffer.bytes_mut()[..bytes]))
            .collect();
        let read = preadv(&self.file, &mut slices, at).context("preadv")?;
        ensure!(read == pieces * bytes, "preadv read {read} bytes");
        for (number, buffer) in (0..).zip(&buffers) {
            let from = first + number * piece as u64;
            self.check(from, gen, &buffer.bytes()[..bytes])?;
            ensure!(
                buffer.bytes()[bytes..].iter().all(|&byte| byte == 0),
                "the device wrote past the piece from sector {from} on"
            );
        }
        Ok(())
    }

    fn check(&self, first: u64, generation: u64, bytes: &[u8]) -> Result<()> {
        match content::first_wrong(self.name, first, generation, bytes) {
            None => Ok(()),
            Some((sector, true)) => bail!("sector {sector} is zero, want generation {generation}"),
            Some((sector, false)) => bail!("sector {sector} is not of generation {generation}"),
        }
    }
}
