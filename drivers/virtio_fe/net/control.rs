// SPDX-License-Identifier: GPL-2.0-only

//! The control queue: section 5.1.6.5.
//!
//! One command at a time, in memory that the device has had since the queue was made:
//!
//! ```text
//! offset 0  class, command   the device reads it
//!        4  ack              the device writes it
//!        8  data             the device reads it
//! ```

use crate::virtqueue::Virtqueue;
use kernel::{
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};
use netdev::RxMode;
use virtio_ring::{
    memory::Memory,
    segment::Segment, //
};
use virtio_spec::net::{
    control,
    Control as Command,
    ACK_OK, //
};
use virtio_transport::DmaMemory;

const ACK: usize = 4;
const DATA: usize = 8;
/// Bytes of data that a command can have.
const MAX_DATA: usize = 1024;
/// Bytes that belong to the queue.
pub(super) const BYTES: usize = DATA + MAX_DATA;

/// No answer: the device has to write one.
const PENDING: u16 = 0xff;

/// Looks at the queue, a tenth of a millisecond apart, after which the device has failed.
const LOOKS: u32 = 50_000;

/// The control queue.
pub(super) struct Control {
    queue: Virtqueue<()>,
    memory: DmaMemory,
    /// The device has not answered, and may still do so: until it is reset there are no more commands.
    is_stuck: bool,
}

impl Control {
    pub(super) fn new(mut queue: Virtqueue<()>, memory: DmaMemory) -> Self {
        queue.ring.disable_interrupts();
        Self {
            queue,
            memory,
            is_stuck: false,
        }
    }

    pub(super) fn queue(&self) -> &Virtqueue<()> {
        &self.queue
    }

    /// Empties the queue of a device that has been reset.
    pub(super) fn clear(&mut self) {
        self.queue.ring.reset(drop);
        self.queue.ring.disable_interrupts();
        self.is_stuck = false;
    }

    /// Has the device carry out a command, and waits for that.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: the device does not want to.
    /// - `EIO`, `ETIMEDOUT`: it has to be reset.
    fn command(&mut self, command: Command, data: &[&[u8]]) -> Result {
        if self.is_stuck {
            return Err(EIO);
        }
        let bytes = self.write(command, data)?;
        self.is_stuck = true;
        self.exchange(bytes)?;
        self.is_stuck = false;
        match self.memory.load16(ACK).to_le_bytes() {
            [ACK_OK, _] => Ok(()),
            _ => Err(EINVAL),
        }
    }

    /// Gives the device the command with so many bytes of data, and waits until it has answered.
    fn exchange(&mut self, bytes: usize) -> Result {
        let address = self.memory.address();
        let readable = [
            Segment {
                address,
                length: size_of::<Command>() as u32,
            },
            Segment {
                address: address + DATA as u64,
                length: bytes as u32,
            },
        ];
        let ack = Segment {
            address: address + ACK as u64,
            length: 1,
        };
        self.queue
            .ring
            .add(&readable, &[ack], ())
            .map_err(|_| EIO)?;
        self.queue.publish();
        self.wait()
    }

    /// Writes a command, and says how many bytes of data it has.
    fn write(&self, command: Command, data: &[&[u8]]) -> Result<usize> {
        self.memory
            .store16(0, u16::from_le_bytes([command.class, command.command]));
        self.memory.store16(ACK, PENDING);
        let mut bytes = data.iter().copied().flatten().copied();
        let mut written = 0;
        while let Some(low) = bytes.next() {
            if written >= MAX_DATA {
                return Err(EINVAL);
            }
            let high = bytes.next();
            let word = u16::from_le_bytes([low, high.unwrap_or_default()]);
            self.memory.store16(DATA + written, word);
            written += 1 + usize::from(high.is_some());
        }
        Ok(written)
    }

    fn wait(&mut self) -> Result {
        for _ in 0..LOOKS {
            match self.queue.ring.pop() {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => fsleep(Delta::from_micros(100)),
                Err(_) => return Err(EIO),
            }
        }
        Err(ETIMEDOUT)
    }

    /// Uses this number of pairs of queues.
    pub(super) fn set_pairs(&mut self, pairs: u16) -> Result {
        self.command(control::MQ_VQ_PAIRS_SET, &[&pairs.to_le_bytes()])
    }

    /// Has another address.
    pub(super) fn set_mac(&mut self, mac: [u8; 6]) -> Result {
        self.command(control::MAC_ADDR_SET, &[&mac])
    }

    /// Filters packets.
    pub(super) fn set_rx_mode(&mut self, mode: &RxMode<'_>) -> Result {
        self.command(control::RX_PROMISC, &[&[mode.promiscuous.into()]])?;
        self.command(control::RX_ALLMULTI, &[&[mode.all_multicast.into()]])?;
        let data = [
            &(mode.unicast.len() as u32).to_le_bytes()[..],
            mode.unicast.as_flattened(),
            &(mode.multicast.len() as u32).to_le_bytes(),
            mode.multicast.as_flattened(),
        ];
        self.command(control::MAC_TABLE_SET, &data)
    }
}
