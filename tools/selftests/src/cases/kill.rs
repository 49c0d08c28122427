// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `kill -9` of a device process, in every state of the protocol.

use anyhow::{Context as _, Result};
use ioregion_wire::uapi::KvmIoregion;
use libc::EPIPE;
use rawguest::{Access, Machine, Reg, Vcpu, Width};

use crate::channel::{self, Transport, TRANSPORTS};
use crate::check::check_eq;
use crate::expect::Expected;
use crate::guest::{read_command, sum_of_reads};
use crate::process::{Death, Device};
use crate::region::{deassign, mmio, set, MMIO};
use crate::stage::{play_to_the_end, while_running, Running, Signals};
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

/// Kills the device once the vCPU waits for it, and checks the failure. The VMM then supplies 7
/// for the read, and a fresh device answers the next one with 1.
fn check(
    transport: Transport,
    victim: Victim,
    want: &Expected,
    before: impl FnOnce(&Running, &mut Device) -> Result<()>,
    sum: u64,
) -> Result<()> {
    let Victim {
        machine,
        region,
        mut vcpu,
        mut device,
    } = victim;
    let (exit, ()) = while_running(&mut vcpu, |running| {
        before(running, &mut device)?;
        device.kill()
    })?;
    want.check(&region, &exit)
        .with_context(|| format!("{transport:?}"))?;
    vcpu.supply(&7u32.to_le_bytes());
    deassign(machine.fd(), &region)?;
    let (end, mut fresh) = channel::open_on(machine.fd(), transport)?;
    set(machine.fd(), &mmio(MMIO, 0x1000, &end)).context("set the region anew")?;
    let log = play_to_the_end(&mut vcpu, &mut fresh, Signals::None, |_| Ok(1))?;
    check_eq!(
        log,
        [read_command(Width::Long, OFFSET)],
        "commands to the fresh device"
    );
    check_eq!(vcpu.reg(Reg::Si)?, sum, "sum, {transport:?}");
    Ok(())
}

/// A socket closed with a message unread gives its peer ECONNRESET; that is a closed peer, too.
fn before_it_reads_the_command(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let victim = victim(transport, Death::BeforeCommand, 2)?;
        let asleep = |running: &Running, device: &mut Device| {
            device.wait_until_ready()?;
            running.wait_until_asleep()
        };
        check(transport, victim, &READ, asleep, 8)?;
    }
    Ok(())
}

fn after_it_has_read(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let victim = victim(transport, Death::AfterCommand, 2)?;
        check(
            transport,
            victim,
            &READ,
            |_, device| device.wait_until_ready(),
            8,
        )?;
    }
    Ok(())
}

fn after_half_a_reply(_: &Context) -> Result<()> {
    for transport in [Transport::Stream, Transport::Pipes] {
        let victim = victim(transport, Death::HalfReply, 2)?;
        check(
            transport,
            victim,
            &READ,
            |_, device| device.wait_until_ready(),
            8,
        )?;
    }
    Ok(())
}

/// The first read is answered. The second one finds a device that does not read it.
fn after_its_reply(_: &Context) -> Result<()> {
    for transport in TRANSPORTS {
        let victim = victim(transport, Death::AfterReply, 3)?;
        let asleep = |running: &Running, device: &mut Device| {
            device.wait_until_ready()?;
            running.wait_until_asleep()
        };
        check(transport, victim, &READ, asleep, OFFSET + 1 + 8)?;
    }
    Ok(())
}
