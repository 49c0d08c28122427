// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! virtio-blk (virtio 1.3, section 5.2) on an image file.
//!
//! Reads and writes go between the image and guest memory directly. Writes are complete when
//! they are in the host's page cache; `VIRTIO_BLK_F_FLUSH` lets the driver ask for more.

mod request;

use std::fs::File;
use std::io;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use shunt::chain::{BadChain, Chain};
use shunt::counters::Counters;
use shunt::virtio_device::{VirtioDevice, OPTIONAL_FEATURES};
use virtio_spec::blk::{feature, DEVICE_ID, ID_BYTES};
use virtio_spec::features::Features;

/// Bytes of a sector, the protocol's unit.
pub const SECTOR_SIZE: u64 = 512;

const QUEUE_SIZE: u16 = 256;

/// Data descriptors of a request: the queue's, less one for the header and one for the status.
const SEG_MAX: u32 = QUEUE_SIZE as u32 - 2;

/// A disk: an image file behind virtio-blk.
#[derive(Debug)]
pub struct Blk {
    image: File,
    sectors: u64,
    read_only: bool,
    id: [u8; ID_BYTES],
    optional_features: Features,
    resets: Option<Resets>,
}

/// When a disk demands a reset.
#[derive(Debug)]
struct Resets {
    every: u32,
    /// Requests since the last one.
    requests: u32,
}

impl Blk {
    /// Opens the image. Its size, cut to whole sectors, is the capacity; its file name, cut to 20
    /// bytes, the serial number.
    ///
    /// # Errors
    ///
    /// Those of `open(2)` and `lseek(2)`.
    pub fn open(path: &Path, read_only: bool) -> io::Result<Self> {
        use std::io::{Seek, SeekFrom};
        let mut image = File::options().read(true).write(!read_only).open(path)?;
        // Unlike the file's metadata, this also works for a block device.
        let size = image.seek(SeekFrom::End(0))?;
        let name = path.file_name().map_or(&b""[..], |name| name.as_bytes());
        let mut id = [0; ID_BYTES];
        let length = name.len().min(ID_BYTES);
        id[..length].copy_from_slice(&name[..length]);
        Ok(Self {
            image,
            sectors: size / SECTOR_SIZE,
            read_only,
            id,
            optional_features: Features::default(),
            resets: None,
        })
    }

    /// It, with these of [`OPTIONAL_FEATURES`] for the driver to choose.
    #[must_use]
    pub fn offering(self, features: Features) -> Self {
        Self {
            optional_features: features.and(OPTIONAL_FEATURES),
            ..self
        }
    }

    /// It, demanding a reset instead of carrying out every `every`th request: what a driver makes
    /// of that can be tested with it.
    #[must_use]
    pub fn demanding_resets(self, every: NonZeroU32) -> Self {
        let resets = Some(Resets {
            every: every.get(),
            requests: 0,
        });
        Self { resets, ..self }
    }

    /// Capacity in sectors.
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// `struct virtio_blk_config` up to `blk_size`, the last field of the features offered.
    fn config(&self) -> [u8; 24] {
        let mut config = [0; 24];
        config[0..8].copy_from_slice(&self.sectors.to_le_bytes());
        config[12..16].copy_from_slice(&SEG_MAX.to_le_bytes());
        config[20..24].copy_from_slice(&(SECTOR_SIZE as u32).to_le_bytes());
        config
    }
}

impl VirtioDevice for Blk {
    fn device_id(&self) -> u32 {
        DEVICE_ID.into()
    }

    fn features(&self) -> u64 {
        let read_only = match self.read_only {
            true => feature::RO,
            false => Features::default(),
        };
        self.optional_features
            .with(read_only)
            .with(feature::SEG_MAX)
            .with(feature::BLK_SIZE)
            .with(feature::FLUSH)
            .bits()
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let config = self.config();
        for (position, byte) in (offset..).zip(data) {
            if let Some(value) = usize::try_from(position).ok().and_then(|i| config.get(i)) {
                *byte = *value;
            }
        }
    }

    fn must_reset(&mut self) -> bool {
        let Some(Resets { every, requests }) = &mut self.resets else {
            return false;
        };
        *requests = (*requests + 1) % *every;
        *requests == 0
    }

    fn handle(
        &mut self,
        _queue: usize,
        chain: &Chain<'_>,
        counters: &Counters,
    ) -> Result<u32, BadChain> {
        self.handle_request(chain, counters)
    }
}
