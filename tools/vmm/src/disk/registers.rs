// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! From accesses on the bus to commands for a device.
//!
//! The bus carries accesses of up to 8 bytes, also of 3, 5, 6 and 7: one side of an access that
//! crosses a page. They become the same commands that KVM makes of them for an ioregion.

use std::ops::Range;

use ioregion_dispatch::pieces;
use shunt::{Command, Operation, Reply, Width};

use crate::bus::{AccessError, BusDevice};

/// Something that carries out commands.
pub(crate) trait Registers: Send + Sync {
    /// Carries out one command, in full.
    ///
    /// # Errors
    ///
    /// Those of [`BusDevice`].
    fn access(&self, command: &Command) -> Result<Reply, AccessError>;
}

impl<R: Registers> BusDevice for R {
    fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
        for (width, range) in split(offset, data.len()) {
            let at = offset + range.start as u64;
            let reply = self.access(&command(Operation::Read, width, at))?;
            let value = reply.data.to_le_bytes();
            data[range].copy_from_slice(&value[..width.bytes()]);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), AccessError> {
        for (width, range) in split(offset, data.len()) {
            let at = offset + range.start as u64;
            let mut value = [0; 8];
            value[..width.bytes()].copy_from_slice(&data[range]);
            let operation = Operation::Write(u64::from_le_bytes(value));
            self.access(&command(operation, width, at))?;
        }
        Ok(())
    }
}

fn command(operation: Operation, width: Width, offset: u64) -> Command {
    Command {
        operation,
        width,
        expects_reply: true,
        user_data: 0,
        offset,
    }
}

/// The pieces of an access, and which of its bytes each has.
fn split(offset: u64, len: usize) -> impl Iterator<Item = (Width, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let width = pieces::first(offset + done as u64, len - done)?;
        let range = done..done + width.bytes();
        done = range.end;
        Some((width, range))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// 16 bytes of memory, and the accesses it saw.
    struct Memory {
        bytes: Mutex<[u8; 16]>,
        seen: Mutex<Vec<(u64, usize)>>,
    }

    impl Registers for Memory {
        fn access(&self, command: &Command) -> Result<Reply, AccessError> {
            let (at, len) = (command.offset as usize, command.width.bytes());
            self.seen.lock().unwrap().push((command.offset, len));
            let bytes = &mut self.bytes.lock().unwrap()[at..at + len];
            let mut value = [0; 8];
            value[..len].copy_from_slice(bytes);
            if let Operation::Write(data) = command.operation {
                bytes.copy_from_slice(&data.to_le_bytes()[..len]);
            }
            Ok(Reply {
                data: u64::from_le_bytes(value),
            })
        }
    }

    #[test]
    fn an_access_of_any_length_reads_what_it_wrote() {
        for (offset, len) in (0..8).flat_map(|offset| (1..=8).map(move |len| (offset, len))) {
            let memory = Memory {
                bytes: Mutex::new([0xee; 16]),
                seen: Mutex::default(),
            };
            let wrote: Vec<u8> = (1..=len as u8).collect();
            memory.write(offset, &wrote).unwrap();
            let mut read = vec![0; len];
            memory.read(offset, &mut read).unwrap();
            assert_eq!(read, wrote, "{len} bytes at {offset}");
            let rest: usize = memory
                .bytes
                .lock()
                .unwrap()
                .iter()
                .filter(|b| **b == 0xee)
                .count();
            assert_eq!(rest, 16 - len, "{len} bytes at {offset}");
        }
    }

    #[test]
    fn seven_bytes_become_pieces_that_the_protocol_has() {
        let memory = Memory {
            bytes: Mutex::new([0; 16]),
            seen: Mutex::default(),
        };
        memory.write(1, &[0; 7]).unwrap();
        assert_eq!(*memory.seen.lock().unwrap(), [(1, 1), (2, 2), (4, 4)]);
    }
}
