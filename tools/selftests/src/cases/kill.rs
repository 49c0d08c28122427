// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `kill -9` of a device process, in every state of the protocol.

use anyhow::{Context as _, Result};
use ioregion_wire::uapi::KvmIoregion;
use libc::EPIPE;
use rawguest::{Access, Machine, Vcpu, Width};

use crate::channel::{self, Transport, TRANSPORTS};
use crate::expect::Expected;
use crate::guest::sum_of_reads;
use crate::process::{Death, Device};
use crate::region::{deassign, mmio, set, MMIO};
use crate::scene::Scene;
use crate::stage::while_running;
use crate::suite::{tests, Context};

tests!(
    "kill",
    Ioregion,
    [
        before_it_reads_the_command,
        after_it_has_read,
        after_half_a_reply,
        after_its_reply
    ]
);

const OFFSET: u64 = 0x40;

/// The 4-byte read that fails.
const READ: Expected = Expected {
    access: Access::MmioRead {
        address: MMIO + OFFSET,
        len: 4,
    },
    offset: OFFSET,
    size: 4,
    data: 0,
    done: 0,
    error: EPIPE,
    sent: true,
};

struct Victim {
    machine: Machine,
    region: KvmIoregion,
    vcpu: Vcpu,
    device: Device,
}

/// A guest that reads `count` times from a device process that will be killed.
fn victim(transport: Transport, death: Death, count: u32) -> Result<Victim> {
    let machine = Machine::new()?;
    let (end, device) = channel::open_on(machine.fd(), transport)?;
    let region = mmio(MMIO, 0x1000, &end);
    set(machine.fd(), &region)?;
    let vcpu = machine.add_vcpu(&sum_of_reads(Width::Long, MMIO + OFFSET, count))?;
    Ok(Victim {
        machine,
        region,
        vcpu,
        device: Device::start(device, death)?,
    })
}

/// Kills a device that has come to `death`, and checks the failure. The VMM then supplies 7 for
/// the read; with what the device answered before, that makes `sum`. A fresh device answers the
/// read that is left.
fn killed_at(transports: &[Transport], death: Death, reads: u32, sum: u64) -> Result<()> {
    for &transport in transports {
        let Victim {
            machine,
            region,
            mut vcpu,
            mut device,
        } = victim(transport, death, reads)?;
        let (exit, ()) = while_running(&mut vcpu, |_| {
            device.wait_until_ready()?;
            device.kill()
        })?;
        READ.check(&region, &exit)
            .with_context(|| format!("{transport:?}"))?;
        vcpu.supply(&7u32.to_le_bytes());
        deassign(machine.fd(), &region)?;
        Scene::anew(machine, &region, vcpu, transport)?
            .expect_healed(sum)
            .with_context(|| format!("{transport:?}"))?;
    }
    Ok(())
}

/// A socket closed with a message unread gives its peer ECONNRESET; that is a closed peer, too.
fn before_it_reads_the_command(_: &Context) -> Result<()> {
    killed_at(&TRANSPORTS, Death::BeforeCommand, 2, 7)
}

fn after_it_has_read(_: &Context) -> Result<()> {
    killed_at(&TRANSPORTS, Death::AfterCommand, 2, 7)
}

fn after_half_a_reply(_: &Context) -> Result<()> {
    let streams = [Transport::Stream, Transport::Pipes];
    killed_at(&streams, Death::HalfReply, 2, 7)
}

/// The first read is answered. The second one finds a device that does not read it.
fn after_its_reply(_: &Context) -> Result<()> {
    killed_at(&TRANSPORTS, Death::AfterReply, 3, OFFSET + 1 + 7)
}
