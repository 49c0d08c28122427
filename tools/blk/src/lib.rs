// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! virtio-blk (virtio 1.3, section 5.2) on an image file.

use std::fs::File;
use std::io;
use std::path::Path;

use shunt::chain::{BadChain, Chain};
use shunt::counters::Counters;
use shunt::virtio_device::VirtioDevice;

/// A disk: an image file behind virtio-blk.
#[derive(Debug)]
pub struct Blk {
    image: File,
    read_only: bool,
}

impl Blk {
    /// Opens the image. Its size, cut to whole sectors of 512 bytes, is the capacity.
    ///
    /// # Errors
    ///
    /// Those of `open(2)`.
    pub fn open(image: &Path, read_only: bool) -> io::Result<Self> {
        let image = File::options().read(true).write(!read_only).open(image)?;
        Ok(Self { image, read_only })
    }
}

impl VirtioDevice for Blk {
    fn device_id(&self) -> u32 {
        2
    }

    fn features(&self) -> u64 {
        todo!()
    }

    fn queue_sizes(&self) -> &[u16] {
        &[256]
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        todo!()
    }

    fn handle(
        &mut self,
        _: usize,
        chain: &Chain<'_>,
        counters: &Counters,
    ) -> Result<u32, BadChain> {
        todo!()
    }
}
