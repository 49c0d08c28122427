// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! Posted writes that find no room in time.

use anyhow::{Context as _, Result};
use ioregion_wire::uapi::KvmIoregionChannel;
use rawguest::{Access, Machine, Width};

use super::{expect_given_up, given_up_read, limited, TIMEOUT};
use crate::channel::{self, FILES};
use crate::check::check_eq;
use crate::expect::Expected;
use crate::guest::{counting_writes, expect_halt, posted_command};
use crate::region::{mmio, posted, set, MMIO};
use crate::ring::USUAL;
use crate::rules::{self, doorbell, NO_FD};
use crate::suite::{tests, Context};

tests!(
    "timeout_room",
    Ioregion,
    [full_ring, full_file, ring_of_a_doorbell_rule,]
);

/// A write of 4 bytes that found no room.
pub(super) fn no_room(value: u32, offset: u64) -> Expected {
    Expected {
        access: Access::MmioWrite {
            address: MMIO + offset,
            data: value.to_le_bytes().to_vec(),
        },
        offset,
        data: value.into(),
        sent: false,
        ..given_up_read()
    }
}

/// A posted write fails when there is no room for it in time, and the next one gets some.
fn full_ring(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let four = KvmIoregionChannel { slots: 4, ..USUAL };
    let (end, mut device) = channel::open_ring(machine.fd(), &four)?;
    let region = limited(posted(mmio(MMIO, 0x1000, &end)), TIMEOUT);
    set(machine.fd(), &region)?;
    let mut vcpu = machine.add_vcpu(&counting_writes(Width::Long, MMIO, 6))?;
    expect_given_up(&mut vcpu, &region, &no_room(5, 0))?;
    for n in 1..=4 {
        let access = device.take()?.context("a write is missing")?;
        let want = posted_command(Width::Long, 0, n);
        check_eq!(access.command, want, "write {n}");
    }
    expect_halt(&vcpu.run()?)?;
    let access = device.take()?.context("the last write is missing")?;
    let want = posted_command(Width::Long, 0, 6);
    check_eq!(access.command, want, "write after the failure");
    check_eq!(device.take()?, None, "what follows the last write");
    Ok(())
}

fn full_file(_: &Context) -> Result<()> {
    for transport in FILES {
        let machine = Machine::new()?;
        let (end, mut device) = channel::open(transport)?;
        let region = limited(posted(mmio(MMIO, 0x1000, &end)), TIMEOUT);
        set(machine.fd(), &region)?;
        let junk = channel::fill(&end)?;
        let mut vcpu = machine.add_vcpu(&counting_writes(Width::Long, MMIO, 2))?;
        expect_given_up(&mut vcpu, &region, &no_room(1, 0))
            .with_context(|| format!("{transport:?}"))?;
        for _ in 0..junk {
            device.frame()?;
        }
        expect_halt(&vcpu.run()?)?;
        let want = posted_command(Width::Long, 0, 2);
        check_eq!(device.command()?, want, "write after the failure");
        check_eq!(device.has_command()?, false, "a command");
    }
    Ok(())
}

/// A doorbell that is posted into a full ring fails as any posted write does.
fn ring_of_a_doorbell_rule(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let one = KvmIoregionChannel { slots: 1, ..USUAL };
    let (end, mut device) = channel::open_ring(machine.fd(), &one)?;
    let region = limited(mmio(MMIO, 0x1000, &end), TIMEOUT);
    set(machine.fd(), &region)?;
    let rules = [doorbell(Width::Long, 0x50, NO_FD)];
    rules::set(machine.fd(), &region, None, &rules)?;
    let mut vcpu = machine.add_vcpu(&counting_writes(Width::Long, MMIO + 0x50, 2))?;
    expect_given_up(&mut vcpu, &region, &no_room(2, 0x50))?;
    let access = device.take()?.context("the first ring is missing")?;
    let want = posted_command(Width::Long, 0x50, 1);
    check_eq!(access.command, want, "first ring");
    expect_halt(&vcpu.run()?)
}
