// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! One request: a 16-byte header, data one way or the other, a status byte.
//!
//! ```text
//! readable   0      4          8        16
//!            | type | reserved | sector | data of a write ...
//! writable   0
//!            | data of a read ... | status |
//! ```

use std::io;
use std::sync::atomic::Ordering;

use shunt::chain::{read_file, write_file, BadChain, Chain};
use shunt::counters::Counters;
use virtio_spec::blk::{request, status};

use crate::{Blk, SECTOR_SIZE};

const HEADER_SIZE: u64 = 16;

/// Why a request fails.
#[derive(Debug)]
enum Failure {
    /// The device does not know its type.
    Unsupported,
    /// It has no header, or not the data that its type needs.
    Malformed,
    /// It reaches beyond the disk.
    OutOfRange,
    /// The disk is read-only.
    ReadOnly,
    /// The image failed.
    Image(io::Error),
}

impl Failure {
    fn status(&self) -> u8 {
        match self {
            Self::Unsupported => status::UNSUPP,
            _ => status::IOERR,
        }
    }

    /// What a guest can provoke at will must not fill the log.
    fn level(&self) -> log::Level {
        match self {
            Self::Image(_) => log::Level::Warn,
            _ => log::Level::Debug,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsupported => write!(f, "unknown type"),
            Self::Malformed => write!(f, "no header, or not whole sectors"),
            Self::OutOfRange => write!(f, "beyond the end of the disk"),
            Self::ReadOnly => write!(f, "write to a read-only disk"),
            Self::Image(e) => write!(f, "the image: {e}"),
        }
    }
}

impl From<BadChain> for Failure {
    fn from(_: BadChain) -> Self {
        Self::Malformed
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        Self::Image(e)
    }
}

impl Blk {
    /// Carries a request out and stores its status. Answers how many bytes of the writable part
    /// are written, from its beginning without a gap.
    pub(crate) fn handle_request(
        &mut self,
        chain: &Chain<'_>,
        counters: &Counters,
    ) -> Result<u32, BadChain> {
        let room = chain
            .writable()
            .len()
            .checked_sub(1)
            .ok_or(BadChain::Short {
                length: 0,
                needed: 1,
            })?;
        let (status, data) = match self.carry_out(chain, room, counters) {
            Ok(data) => (status::OK, data),
            Err(failure) => {
                log::log!(failure.level(), "request failed: {failure}");
                counters.failed_requests.fetch_add(1, Ordering::Relaxed);
                (failure.status(), 0)
            }
        };
        chain.writable().copy_from(room, &[status])?;
        let written = if data == room { room + 1 } else { data };
        Ok(written as u32) // a chain has less than 4 GiB
    }

    /// Answers how many bytes of data it wrote to the chain, which has `room` for it.
    fn carry_out(&self, chain: &Chain<'_>, room: u64, counters: &Counters) -> Result<u64, Failure> {
        let mut header = [0; HEADER_SIZE as usize];
        chain.readable().copy_to(0, &mut header)?;
        let [t0, t1, t2, t3, _, _, _, _, sector @ ..] = header;
        let sector = u64::from_le_bytes(sector);
        match u32::from_le_bytes([t0, t1, t2, t3]) {
            request::IN => self.read(chain, sector, room, counters),
            request::OUT => self.write(chain, sector, counters),
            request::FLUSH => self.flush(counters),
            request::GET_ID => self.get_id(chain, room),
            _ => Err(Failure::Unsupported),
        }
    }

    fn read(
        &self,
        chain: &Chain<'_>,
        sector: u64,
        length: u64,
        counters: &Counters,
    ) -> Result<u64, Failure> {
        let offset = self.offset(sector, length)?;
        read_file(&self.image, offset, &chain.writable().range(0, length)?)?;
        counters.bytes_read.fetch_add(length, Ordering::Relaxed);
        Ok(length)
    }

    fn write(&self, chain: &Chain<'_>, sector: u64, counters: &Counters) -> Result<u64, Failure> {
        if self.read_only {
            return Err(Failure::ReadOnly);
        }
        let length = chain.readable().len() - HEADER_SIZE;
        let offset = self.offset(sector, length)?;
        write_file(
            &self.image,
            offset,
            &chain.readable().range(HEADER_SIZE, length)?,
        )?;
        counters.bytes_written.fetch_add(length, Ordering::Relaxed);
        Ok(0)
    }

    fn flush(&self, counters: &Counters) -> Result<u64, Failure> {
        self.image.sync_data()?;
        counters.flushes.fetch_add(1, Ordering::Relaxed);
        Ok(0)
    }

    fn get_id(&self, chain: &Chain<'_>, room: u64) -> Result<u64, Failure> {
        let length = room.min(self.id.len() as u64);
        chain.writable().copy_from(0, &self.id[..length as usize])?;
        Ok(length)
    }

    /// Where whole sectors from `sector` on are in the image, if they are.
    fn offset(&self, sector: u64, length: u64) -> Result<u64, Failure> {
        if length % SECTOR_SIZE != 0 {
            return Err(Failure::Malformed);
        }
        match sector.checked_add(length / SECTOR_SIZE) {
            Some(end) if end <= self.sectors => Ok(sector * SECTOR_SIZE),
            _ => Err(Failure::OutOfRange),
        }
    }
}
