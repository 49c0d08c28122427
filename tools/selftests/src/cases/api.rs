// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `KVM_SET_IOREGION`: every error, and what is no error.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr;

use anyhow::{Context as _, Result};
use ioregion_wire::uapi::{
    KvmIoregion, API_VERSION, KVM_CAP_IOREGIONFD, KVM_IOREGION_DEASSIGN, KVM_IOREGION_MAX,
    KVM_IOREGION_PIO,
};
use kvm_ioctls::{Kvm, VmFd};
use libc::{EBADF, EEXIST, EFAULT, EINVAL, ENOENT, ENOSPC};

use vmm_sys_util::eventfd::EventFd;

use crate::channel::{self, KvmEnd, Transport};
use crate::check::{check_eq, expect_errno};
use crate::region::{deassign, mmio, pio, posted, set, set_at, MMIO, PORT};
use crate::suite::{tests, Context};

tests!(
    "api",
    Ioregion,
    [
        capability_is_the_version,
        bad_address_is_efault,
        unknown_flag_is_einval,
        padding_must_be_zero,
        address_must_not_wrap,
        ports_end_at_64k,
        doorbell_must_be_posted,
        bad_descriptor_is_ebadf,
        descriptor_must_have_the_right_direction,
        doorbell_needs_no_read_fd,
        other_files_are_einval,
        nonblocking_descriptor_is_einval,
        overlap_is_eexist,
        doorbell_overlap_is_eexist,
        buses_are_apart,
        deassign_wants_an_exact_match,
        deassigned_room_is_free_again,
        at_most_max_regions_on_a_bus,
        vms_are_apart,
    ]
);

/// A VM without anything, and a channel.
fn fixture() -> Result<(VmFd, KvmEnd)> {
    let vm = Kvm::new()
        .and_then(|kvm| kvm.create_vm())
        .context("KVM_CREATE_VM")?;
    Ok((vm, channel::open(Transport::Seqpacket)?.0))
}

fn capability_is_the_version(_: &Context) -> Result<()> {
    let (vm, _) = fixture()?;
    let answer = vm.check_extension_raw(KVM_CAP_IOREGIONFD.into());
    check_eq!(answer, API_VERSION as i32, "KVM_CHECK_EXTENSION");
    Ok(())
}

fn bad_address_is_efault(_: &Context) -> Result<()> {
    let (vm, _) = fixture()?;
    expect_errno(set_at(&vm, ptr::null()), EFAULT, "argument at address 0")
}

fn unknown_flag_is_einval(_: &Context) -> Result<()> {
    let (vm, end) = fixture()?;
    let region = mmio(MMIO, 0x1000, &end);
    for bit in 3..32 {
        let flagged = KvmIoregion {
            flags: 1 << bit,
            ..region
        };
        expect_errno(set(&vm, &flagged), EINVAL, &format!("flag bit {bit}"))?;
    }
    set(&vm, &region).context("no flag")?;
    let deassign = KvmIoregion {
        flags: KVM_IOREGION_DEASSIGN | 1 << 3,
        ..region
    };
    expect_errno(set(&vm, &deassign), EINVAL, "flag bit 3 with DEASSIGN")
}

fn padding_must_be_zero(_: &Context) -> Result<()> {
    let (vm, end) = fixture()?;
    let region = mmio(MMIO, 0x1000, &end);
    for at in 0..region.pad.len() {
        let mut padded = region;
        padded.pad[at] = 1;
        expect_errno(set(&vm, &padded), EINVAL, &format!("pad[{at}]"))?;
    }
    set(&vm, &region).context("zero padding")
}

fn address_must_not_wrap(_: &Context) -> Result<()> {
    let (vm, end) = fixture()?;
    for (address, size) in [
        (u64::MAX, 2),
        (u64::MAX - 0xf, 0x11),
        (MMIO, u64::MAX),
        (1, u64::MAX),
    ] {
        let what = format!("{size:#x} bytes at {address:#x}");
        expect_errno(set(&vm, &mmio(address, size, &end)), EINVAL, &what)?;
    }
    set(&vm, &mmio(u64::MAX - 0x1f, 0x10, &end)).context("16 bytes near the top")
}

fn ports_end_at_64k(_: &Context) -> Result<()> {
    let (vm, end) = fixture()?;
    let at = |guest_paddr, memory_size| KvmIoregion {
        guest_paddr,
        memory_size,
        ..pio(0, 1, &end)
    };
    for (port, size) in [
        (0xffff, 2),
        (0xfff0, 0x11),
        (0x1_0000, 1),
        (0, 0x1_0001),
        (1 << 32, 1),
    ] {
        let what = format!("{size:#x} ports at {port:#x}");
        expect_errno(set(&vm, &at(port, size)), EINVAL, &what)?;
    }
    expect_errno(
        set(&vm, &posted(at(0x1_0000, 0))),
        EINVAL,
        "doorbell at port 0x10000",
    )?;
    set(&vm, &at(0xfff0, 0x10)).context("the last 16 ports")
}

fn doorbell_must_be_posted(_: &Context) -> Result<()> {
    let (vm, end) = fixture()?;
    expect_errno(
        set(&vm, &mmio(MMIO, 0, &end)),
        EINVAL,
        "MMIO doorbell without POSTED",
    )?;
    expect_errno(
        set(&vm, &pio(PORT, 0, &end)),
        EINVAL,
        "PIO doorbell without POSTED",
    )?;
    set(&vm, &posted(mmio(MMIO, 0, &end))).context("MMIO doorbell")?;
    set(&vm, &posted(pio(PORT, 0, &end))).context("PIO doorbell")
}

fn bad_descriptor_is_ebadf(_: &Context) -> Result<()> {
    let (vm, end) = fixture()?;
    let region = mmio(MMIO, 0x1000, &end);
    let closed = {
        let file = File::open("/dev/null")?;
        file.as_raw_fd()
    };
    for fd in [-1, closed, i32::MAX, i32::MIN] {
        let read = KvmIoregion {
            read_fd: fd,
            ..region
        };
        expect_errno(set(&vm, &read), EBADF, &format!("read_fd {fd}"))?;
        let write = KvmIoregion {
            write_fd: fd,
            ..region
        };
        expect_errno(set(&vm, &write), EBADF, &format!("write_fd {fd}"))?;
    }
    let write = KvmIoregion {
        write_fd: -1,
        memory_size: 0,
        ..posted(region)
    };
    expect_errno(set(&vm, &write), EBADF, "write_fd -1 of a doorbell")?;
    set(&vm, &region).context("the region after the refusals")
}

fn descriptor_must_have_the_right_direction(_: &Context) -> Result<()> {
    let (vm, end) = fixture()?;
    let (reader, writer) = channel::pipe()?;
    let region = mmio(MMIO, 0x1000, &end);
    let read = KvmIoregion {
        read_fd: writer.as_raw_fd(),
        ..region
    };
    expect_errno(set(&vm, &read), EBADF, "write end of a pipe as read_fd")?;
    let write = KvmIoregion {
        write_fd: reader.as_raw_fd(),
        ..region
    };
    expect_errno(set(&vm, &write), EBADF, "read end of a pipe as write_fd")
}

fn doorbell_needs_no_read_fd(_: &Context) -> Result<()> {
    let (vm, end) = fixture()?;
    let doorbell = KvmIoregion {
        read_fd: -1,
        ..posted(mmio(MMIO, 0, &end))
    };
    set(&vm, &doorbell).context("doorbell with read_fd -1")
}

/// Files that cannot be waited for like a pipe or a socket.
fn other_files_are_einval(_: &Context) -> Result<()> {
    let (vm, end) = fixture()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let event = EventFd::new(0)?;
    let region = mmio(MMIO, 0x1000, &end);
    for fd in [null.as_raw_fd(), event.as_raw_fd(), vm.as_raw_fd()] {
        let read = KvmIoregion {
            read_fd: fd,
            ..region
        };
        expect_errno(set(&vm, &read), EINVAL, "read_fd")?;
        let write = KvmIoregion {
            write_fd: fd,
            ..region
        };
        expect_errno(set(&vm, &write), EINVAL, "write_fd")?;
    }
    Ok(())
}

fn nonblocking_descriptor_is_einval(_: &Context) -> Result<()> {
    let (vm, _) = fixture()?;
    let (end, _device) = channel::open(Transport::Pipes)?;
    let region = mmio(MMIO, 0x1000, &end);
    for fd in [region.read_fd, region.write_fd] {
        channel::set_nonblocking(fd, true)?;
        expect_errno(set(&vm, &region), EINVAL, "O_NONBLOCK")?;
        channel::set_nonblocking(fd, false)?;
    }
    set(&vm, &region).context("blocking again")
}

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
