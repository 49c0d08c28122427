// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The VMM's part: what it does with the exits that reach it.

use anyhow::{bail, Context, Result};
use rawguest::{Access, Vcpu, Width};
use shunt::channel::Endpoint;
use shunt::{Command, Operation};

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
    /// Completes one access.
    pub(crate) fn complete(&mut self, access: &Access, vcpu: &mut Vcpu) -> Result<()> {
        let value = match self {
            Self::Nobody => bail!("an access came back to the VMM: {access:?}"),
            Self::Alone { handled } => {
                *handled += 1;
                u64::from(*handled)
            }
            Self::Forwarding { channel, posted } => {
                let command = command(access, *posted)?;
                channel.exchange(&command).context("device process")?.data
            }
        };
        if matches!(access, Access::MmioRead { .. } | Access::PortIn { .. }) {
            vcpu.supply(&value.to_le_bytes());
        }
        Ok(())
    }
}

/// The command that an ioregion would send.
fn command(access: &Access, posted: bool) -> Result<Command> {
    let (offset, bytes, operation) = match access {
        Access::MmioRead { address, len } => (*address, *len, Operation::Read),
        Access::MmioWrite { address, data } => (*address, data.len(), write(data)),
        Access::PortIn { port, size, .. } => (u64::from(*port), *size, Operation::Read),
        Access::PortOut { port, size, data } => (u64::from(*port), *size, write(data)),
    };
    let width = Width::from_bytes(bytes).with_context(|| format!("an access of {bytes} bytes"))?;
    Ok(Command {
        operation,
        width,
        expects_reply: operation == Operation::Read || !posted,
        user_data: 0,
        offset,
    })
}

fn write(data: &[u8]) -> Operation {
    let mut value = [0; 8];
    for (to, from) in value.iter_mut().zip(data) {
        *to = *from;
    }
    Operation::Write(u64::from_le_bytes(value))
}
