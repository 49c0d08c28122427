// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The VMM's part: what it does with the exits that reach it.

use anyhow::{bail, Context, Result};
use kvm_ioctls::VcpuExit;
use shunt::channel::Endpoint;
use shunt::{Command, Operation, Width};

/// Who completes the accesses that `KVM_RUN` returns for.
pub(crate) enum Vmm {
    /// None should come.
    Nobody,
    /// The thread itself.
    Alone {
        /// Accesses so far, which is what reads yield.
        handled: u32,
    },
    /// A device process at the other end of a channel.
    Forwarding {
        /// To the device process.
        channel: Endpoint,
        /// Writes are sent without waiting for a reply.
        posted: bool,
    },
}

impl Vmm {
    /// Completes the access that is the reason for an exit.
    pub(crate) fn complete(&mut self, exit: VcpuExit) -> Result<()> {
        match exit {
            VcpuExit::MmioRead(address, data) => self.read(address, data),
            VcpuExit::IoIn(port, data) => self.read(port.into(), data),
            VcpuExit::MmioWrite(address, data) => self.write(address, data),
            VcpuExit::IoOut(port, data) => self.write(port.into(), data),
            other => bail!("the guest stopped: {other:?}"),
        }
    }

    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<()> {
        let value = self.perform(offset, data.len(), Operation::Read)?;
        for (to, from) in data.iter_mut().zip(value.to_le_bytes()) {
            *to = from;
        }
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        let mut value = [0; 8];
        for (to, from) in value.iter_mut().zip(data) {
            *to = *from;
        }
        let operation = Operation::Write(u64::from_le_bytes(value));
        self.perform(offset, data.len(), operation)?;
        Ok(())
    }

    /// The value of a read; anything for a write.
    fn perform(&mut self, offset: u64, bytes: usize, operation: Operation) -> Result<u64> {
        match self {
            Self::Nobody => bail!("an access came back to the VMM: {operation:?} at {offset:#x}"),
            Self::Alone { handled } => {
                *handled += 1;
                Ok(u64::from(*handled))
            }
            Self::Forwarding { channel, posted } => {
                let command = Command {
                    operation,
                    width: Width::from_bytes(bytes).context("an access of no width")?,
                    expects_reply: operation == Operation::Read || !*posted,
                    user_data: 0,
                    offset,
                };
                Ok(channel.exchange(&command).context("device process")?.data)
            }
        }
    }
}
