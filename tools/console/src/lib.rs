// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! virtio-console (virtio 1.3, section 5.3) with one port, on a file that gives and takes bytes: a
//! terminal, a FIFO.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use rustix::fs::OFlags;
use rustix::io::{retry_on_intr, Errno};
use shunt::chain::{BadChain, Chain};
use shunt::counters::Counters;
use shunt::virtio_device::{VirtioDevice, OPTIONAL_FEATURES};
use virtio_spec::features::Features;

/// Its device type.
pub const DEVICE_ID: u16 = 3;

/// Queues of the port: section 5.3.2.
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

const QUEUE_SIZE: u16 = 64;

/// Most bytes that go one way at once.
const MOST: usize = 4096;

/// A console.
#[derive(Debug)]
pub struct Console {
    file: File,
    offered: Features,
    /// What waits for the driver's buffers.
    received: Vec<u8>,
}

impl Console {
    /// One whose other end is this file's.
    ///
    /// # Errors
    ///
    /// Those of `open(2)`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let mut options = File::options();
        options.read(true).write(true);
        Ok(Self {
            file: options.custom_flags(flags.bits() as i32).open(path)?,
            offered: Features::default(),
            received: Vec::new(),
        })
    }

    /// It, with these of [`OPTIONAL_FEATURES`] for the driver to choose.
    #[must_use]
    pub fn offering(self, features: Features) -> Self {
        let offered = features.and(OPTIONAL_FEATURES);
        Self { offered, ..self }
    }

    /// Reads more, unless there is something that waits. Whether there is.
    fn receive(&mut self) -> bool {
        if self.received.is_empty() {
            let mut bytes = [0; MOST];
            match retry_on_intr(|| rustix::io::read(&self.file, &mut bytes[..])) {
                Ok(length) => self.received.extend(&bytes[..length]),
                Err(Errno::AGAIN) => {}
                Err(e) => log::warn!("cannot receive: {e}"),
            }
        }
        !self.received.is_empty()
    }

    fn deliver(&mut self, chain: &Chain<'_>, counters: &Counters) -> Result<u32, BadChain> {
        let room = chain.writable().len().min(self.received.len() as u64) as usize;
        chain.writable().copy_from(0, &self.received[..room])?;
        self.received.drain(..room);
        counters
            .bytes_read
            .fetch_add(room as u64, Ordering::Relaxed);
        Ok(room as u32)
    }

    /// What the file does not take at once is lost, as on a serial line without flow control.
    fn transmit(&mut self, chain: &Chain<'_>, counters: &Counters) -> Result<u32, BadChain> {
        let length = chain.readable().len();
        let mut position = 0;
        while position < length {
            let mut bytes = [0; MOST];
            let part = &mut bytes[..(length - position).min(MOST as u64) as usize];
            chain.readable().copy_to(position, part)?;
            match retry_on_intr(|| rustix::io::write(&self.file, part)) {
                Ok(taken) => position += taken as u64,
                Err(e) => {
                    log::warn!("{} bytes are lost: {e}", length - position);
                    counters.failed_requests.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
        }
        counters
            .bytes_written
            .fetch_add(position, Ordering::Relaxed);
        Ok(0)
    }
}

impl VirtioDevice for Console {
    fn device_id(&self) -> u32 {
        DEVICE_ID.into()
    }

    fn features(&self) -> u64 {
        self.offered.bits()
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE; TRANSMIT + 1]
    }

    fn read_config(&self, _offset: u64, _data: &mut [u8]) {}

    fn input(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn ready_queues(&mut self) -> Vec<usize> {
        vec![RECEIVE]
    }

    fn room_needed(&mut self, queue: usize) -> Option<u32> {
        (queue != RECEIVE || self.receive()).then_some(0)
    }

    fn handle(
        &mut self,
        queue: usize,
        chain: &Chain<'_>,
        counters: &Counters,
    ) -> Result<u32, BadChain> {
        match queue {
            RECEIVE => self.deliver(chain, counters),
            _ => self.transmit(chain, counters),
        }
    }
}
