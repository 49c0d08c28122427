// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `KVM_SET_IOREGION`: every error, and what is no error.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::ptr;

use anyhow::{Context as _, Result};
use ioregion_wire::uapi::{KvmIoregion, API_VERSION, KVM_CAP_IOREGIONFD, KVM_IOREGION_DEASSIGN};
use kvm_ioctls::{Kvm, VmFd};
use libc::{EBADF, EFAULT, EINVAL};

use vmm_sys_util::eventfd::EventFd;

use crate::channel::{self, KvmEnd, Transport};
use crate::check::{check_eq, expect_errno};
use crate::region::{mmio, pio, posted, set, set_at, MMIO, PORT};
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
    ]
);

/// A VM without anything, and a channel.
pub(super) fn fixture() -> Result<(VmFd, KvmEnd)> {
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
    for bit in 4..32 {
        let flagged = KvmIoregion {
            flags: 1 << bit,
            ..region
        };
        expect_errno(set(&vm, &flagged), EINVAL, &format!("flag bit {bit}"))?;
    }
    set(&vm, &region).context("no flag")?;
    let deassign = KvmIoregion {
        flags: KVM_IOREGION_DEASSIGN | 1 << 4,
        ..region
    };
    expect_errno(set(&vm, &deassign), EINVAL, "flag bit 4 with DEASSIGN")
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
