// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `KVM_SET_IOREGION`: regions beside, over and instead of each other.

use anyhow::{Context as _, Result};
use ioregion_wire::uapi::{KvmIoregion, KVM_IOREGION_MAX, KVM_IOREGION_PIO};
use libc::{EEXIST, ENOENT, ENOSPC};

use super::api::fixture;
use crate::check::expect_errno;
use crate::region::{deassign, mmio, pio, posted, set, MMIO, PORT};
use crate::suite::{tests, Context};

tests!(
    "room",
    Ioregion,
    [
        overlap_is_eexist,
        doorbell_overlap_is_eexist,
        buses_are_apart,
        deassign_wants_an_exact_match,
        deassigned_room_is_free_again,
        at_most_max_regions_on_a_bus,
        vms_are_apart,
    ]
);

fn overlap_is_eexist(_: &Context) -> Result<()> {
    let (vm, end) = fixture()?;
    set(&vm, &mmio(MMIO, 0x10, &end)).context("first region")?;
    for (start, size) in [
        (0, 0x10),
        (0, 1),
        (0xf, 1),
        (0xf, 0x10),
        (-1, 2),
        (-0x10, 0x11),
        (-0x10, 0x30),
        (4, 4),
    ] {
        let region = mmio(MMIO.wrapping_add_signed(start), size, &end);
        expect_errno(
            set(&vm, &region),
            EEXIST,
            &format!("{size:#x} bytes at {start:#x}"),
        )?;
    }
    for (start, size) in [(-0x10, 0x10), (0x10, 1), (0x11, 0x10)] {
        let region = mmio(MMIO.wrapping_add_signed(start), size, &end);
        set(&vm, &region).with_context(|| format!("{size:#x} bytes at {start:#x}"))?;
    }
    Ok(())
}

fn doorbell_overlap_is_eexist(_: &Context) -> Result<()> {
    let (vm, end) = fixture()?;
    let doorbell = |address| posted(mmio(address, 0, &end));
    set(&vm, &mmio(MMIO, 0x10, &end)).context("region")?;
    for offset in [0, 7, 0xf] {
        let what = format!("doorbell at offset {offset:#x} of a region");
        expect_errno(set(&vm, &doorbell(MMIO + offset)), EEXIST, &what)?;
    }
    set(&vm, &doorbell(MMIO + 0x10)).context("doorbell behind the region")?;
    set(&vm, &doorbell(MMIO - 1)).context("doorbell before the region")?;
    expect_errno(
        set(&vm, &doorbell(MMIO + 0x10)),
        EEXIST,
        "the same doorbell again",
    )?;
    expect_errno(
        set(&vm, &mmio(MMIO + 0x10, 1, &end)),
        EEXIST,
        "region at a doorbell",
    )?;
    expect_errno(
        set(&vm, &mmio(MMIO - 4, 4, &end)),
        EEXIST,
        "region ending with a doorbell",
    )?;
    set(&vm, &mmio(MMIO + 0x11, 4, &end)).context("region behind a doorbell")?;
    set(&vm, &mmio(MMIO - 5, 4, &end)).context("region before a doorbell")
}

fn buses_are_apart(_: &Context) -> Result<()> {
    let (vm, end) = fixture()?;
    set(&vm, &mmio(PORT.into(), 0x10, &end)).context("MMIO")?;
    set(&vm, &pio(PORT, 0x10, &end)).context("the same numbers as ports")
}

fn deassign_wants_an_exact_match(_: &Context) -> Result<()> {
    let (vm, end) = fixture()?;
    let region = mmio(MMIO, 0x10, &end);
    expect_errno(deassign(&vm, &region), ENOENT, "no region at all")?;
    set(&vm, &region).context("region")?;
    let no_match = [
        KvmIoregion {
            guest_paddr: MMIO + 1,
            ..region
        },
        KvmIoregion {
            guest_paddr: MMIO + 0x10,
            ..region
        },
        KvmIoregion {
            memory_size: 0xf,
            ..region
        },
        KvmIoregion {
            memory_size: 0x11,
            ..region
        },
        KvmIoregion {
            memory_size: 0,
            ..region
        },
    ];
    for other in &no_match {
        expect_errno(deassign(&vm, other), ENOENT, &format!("{other:x?}"))?;
    }
    let port = KvmIoregion {
        guest_paddr: PORT.into(),
        ..region
    };
    set(&vm, &port).context("MMIO region at a port's number")?;
    let other_bus = KvmIoregion {
        flags: KVM_IOREGION_PIO,
        ..port
    };
    expect_errno(deassign(&vm, &other_bus), ENOENT, "the other bus")?;
    deassign(&vm, &region).context("exact match")?;
    expect_errno(deassign(&vm, &region), ENOENT, "once more")
}

fn deassigned_room_is_free_again(_: &Context) -> Result<()> {
    let (vm, end) = fixture()?;
    let regions = [
        mmio(MMIO, 0x10, &end),
        pio(PORT, 0x10, &end),
        posted(mmio(MMIO + 0x20, 0, &end)),
    ];
    for round in 0..3 {
        for region in &regions {
            set(&vm, region).with_context(|| format!("set, round {round}"))?;
            deassign(&vm, region).with_context(|| format!("deassign, round {round}"))?;
        }
    }
    Ok(())
}

fn at_most_max_regions_on_a_bus(_: &Context) -> Result<()> {
    let (vm, end) = fixture()?;
    let nth = |n: usize| mmio(MMIO + 8 * n as u64, 8, &end);
    for n in 0..KVM_IOREGION_MAX {
        set(&vm, &nth(n)).with_context(|| format!("region {n}"))?;
    }
    expect_errno(set(&vm, &nth(KVM_IOREGION_MAX)), ENOSPC, "one more")?;
    set(&vm, &pio(PORT, 8, &end)).context("the first one on the other bus")?;
    deassign(&vm, &nth(500)).context("one less")?;
    set(&vm, &nth(KVM_IOREGION_MAX)).context("one more, after one less")
}

fn vms_are_apart(_: &Context) -> Result<()> {
    let (first, end) = fixture()?;
    let (second, _) = fixture()?;
    set(&first, &mmio(MMIO, 0x10, &end)).context("first VM")?;
    set(&second, &mmio(MMIO, 0x10, &end)).context("second VM, same address, same channel")
}
