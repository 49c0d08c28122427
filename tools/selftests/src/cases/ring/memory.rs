// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The two areas: who may map what, and how.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::Result;
use ioregion_ring::consumer;
use ioregion_ring::layout::{Layout, CONSUMED_AT, WAKE_ME_AT};
use ioregion_ring::memory::Memory;
use ioregion_wire::uapi::IOREGION_CHANNEL_DEVICE_AREA as DEVICE_AREA;
use libc::{c_int, EACCES, EINVAL, EPERM, PROT_READ, PROT_WRITE};
use rawguest::Machine;

use crate::check::{check_eq, expect_errno};
use crate::ring::{create, Area, USUAL};
use crate::suite::{tests, Context};

tests!(
    "ring_memory",
    Ioregion,
    [
        kernel_area_says_what_it_is,
        kernel_area_is_not_writable,
        device_area_is_shared,
        nothing_else_can_be_mapped,
        mapping_outlives_descriptor_and_vm,
    ]
);

const BOTH: c_int = PROT_READ | PROT_WRITE;

fn channel() -> Result<(Machine, OwnedFd, Layout)> {
    let machine = Machine::new()?;
    let channel = create(machine.fd(), &USUAL)?;
    let layout = Layout::new(USUAL.slots.into(), USUAL.vcpus.into())
        .map_err(|bad| anyhow::anyhow!("{bad:?}"))?;
    Ok((machine, channel, layout))
}

fn kernel_area_says_what_it_is(_: &Context) -> Result<()> {
    let (_machine, channel, layout) = channel()?;
    let area = Area::map(channel.as_fd(), 0, layout.kernel_area(), PROT_READ)?;
    check_eq!(consumer::layout(&area), Ok(layout), "dimensions");
    for at in (24..area.size()).step_by(8) {
        check_eq!(area.load(at), 0, "word at {at:#x} of a new channel");
    }
    Ok(())
}

fn kernel_area_is_not_writable(_: &Context) -> Result<()> {
    let (_machine, channel, layout) = channel()?;
    let map = |protection| Area::map(channel.as_fd(), 0, layout.kernel_area(), protection);
    expect_errno(map(BOTH), EPERM, "mmap read-write")?;
    expect_errno(map(PROT_WRITE), EPERM, "mmap write-only")?;
    expect_errno(map(PROT_READ)?.make_writable(), EACCES, "mprotect")
}

fn device_area_is_shared(_: &Context) -> Result<()> {
    let (_machine, channel, layout) = channel()?;
    let map = || Area::map(channel.as_fd(), DEVICE_AREA, layout.device_area(), BOTH);
    let (one, other) = (map()?, map()?);
    for at in [
        CONSUMED_AT,
        WAKE_ME_AT,
        Layout::completion(USUAL.vcpus as usize - 1),
    ] {
        check_eq!(one.load(at), 0, "word at {at:#x} of a new channel");
        one.store(at, 7);
        check_eq!(other.load(at), 7, "the same word, mapped again");
    }
    Ok(())
}

fn nothing_else_can_be_mapped(_: &Context) -> Result<()> {
    let (_machine, channel, layout) = channel()?;
    let (kernel, device) = (layout.kernel_area(), layout.device_area());
    for (at, size) in [
        (0, kernel + 4096),
        (0, DEVICE_AREA as usize + device),
        (4096, 4096),
        (kernel as u64, 4096),
        (DEVICE_AREA - 4096, 4096),
        (DEVICE_AREA - 4096, 8192),
        (DEVICE_AREA, device + 4096),
        (DEVICE_AREA + 4096, 4096),
        (2 * DEVICE_AREA, 4096),
        (1 << 50, 4096),
    ] {
        let result = Area::map(channel.as_fd(), at, size, PROT_READ);
        expect_errno(result, EINVAL, &format!("{size:#x} bytes at {at:#x}"))?;
    }
    Ok(())
}

/// Pages that a process has mapped stay, whatever goes.
fn mapping_outlives_descriptor_and_vm(_: &Context) -> Result<()> {
    let (machine, channel, layout) = channel()?;
    let kernel = Area::map(channel.as_fd(), 0, layout.kernel_area(), PROT_READ)?;
    let own = Area::map(channel.as_fd(), DEVICE_AREA, layout.device_area(), BOTH)?;
    drop(machine);
    drop(channel);
    own.store(CONSUMED_AT, 5);
    check_eq!(own.load(CONSUMED_AT), 5, "device's area");
    check_eq!(consumer::layout(&kernel), Ok(layout), "kernel's area");
    Ok(())
}
