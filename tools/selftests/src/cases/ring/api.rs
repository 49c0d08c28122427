// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! `KVM_CREATE_IOREGION_CHANNEL`, and `KVM_SET_IOREGION` with `KVM_IOREGION_CHANNEL`: every error.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::ptr;

use anyhow::{Context as _, Result};
use ioregion_wire::uapi::{KvmIoregion, KvmIoregionChannel};
use libc::{EBADF, EEXIST, EFAULT, EINVAL, EMFILE, ENOTTY};
use rawguest::Machine;

use crate::channel::{self, open_ring, Transport};
use crate::check::expect_errno;
use crate::region::{mmio, pio, posted, set, MMIO, PORT};
use crate::ring::{self, create, RingDevice, USUAL};
use crate::suite::{tests, Context};

tests!(
    "ring_api",
    Ioregion,
    [
        impossible_channels_are_einval,
        extreme_channels,
        bad_address_is_efault,
        without_descriptors_is_emfile,
        other_files_are_ebadf,
        channel_of_another_vm_is_ebadf,
        channel_without_the_flag_is_einval,
        read_fd_is_not_looked_at,
        overlap_is_eexist,
        unknown_ioctl_is_enotty,
    ]
);

fn impossible_channels_are_einval(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let dimensions = |slots, vcpus| KvmIoregionChannel {
        slots,
        vcpus,
        ..USUAL
    };
    let bad = [
        dimensions(0, 1),
        dimensions(3, 1),
        dimensions(4095, 1),
        dimensions(8192, 1),
        dimensions(u32::MAX, 1),
        dimensions(64, 0),
        dimensions(64, 1025),
        dimensions(64, u32::MAX),
        KvmIoregionChannel { flags: 1, ..USUAL },
        KvmIoregionChannel {
            flags: 1 << 31,
            ..USUAL
        },
        KvmIoregionChannel { pad: 1, ..USUAL },
    ];
    for channel in bad {
        let result = create(machine.fd(), &channel);
        expect_errno(result, EINVAL, &format!("{channel:?}"))?;
    }
    Ok(())
}

fn extreme_channels(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    for (slots, vcpus) in [(1, 1), (1, 1024), (4096, 1), (4096, 1024)] {
        let channel = KvmIoregionChannel {
            slots,
            vcpus,
            ..USUAL
        };
        let (end, _device) =
            open_ring(machine.fd(), &channel).with_context(|| format!("{channel:?}"))?;
        set(
            machine.fd(),
            &mmio(MMIO + u64::from(slots + vcpus), 1, &end),
        )?;
    }
    Ok(())
}

fn bad_address_is_efault(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let result = create(machine.fd(), ptr::null());
    expect_errno(result, EFAULT, "argument at address 0")
}

fn without_descriptors_is_emfile(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let taken = File::open("/dev/null")?.as_raw_fd();
    limit_descriptors(taken)?;
    for _ in 0..3 {
        let result = create(machine.fd(), &USUAL);
        expect_errno(result, EMFILE, "no descriptor left")?;
    }
    limit_descriptors(1024)?;
    create(machine.fd(), &USUAL).context("descriptors again")?;
    Ok(())
}

fn limit_descriptors(rlim_cur: RawFd) -> Result<()> {
    let limit = libc::rlimit {
        rlim_cur: rlim_cur as libc::rlim_t,
        rlim_max: 1024,
    };
    // SAFETY: the kernel only reads the limit.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).context("setrlimit"),
    }
}

fn other_files_are_ebadf(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let (end, device) = open_ring(machine.fd(), &USUAL)?;
    let (socket, _peer) = channel::open(Transport::Seqpacket)?;
    let null = File::open("/dev/null")?;
    let region = mmio(MMIO, 0x1000, &end);
    for write_fd in [
        -1,
        i32::MAX,
        socket.write_fd(),
        null.as_raw_fd(),
        machine.fd().as_raw_fd(),
    ] {
        let other = KvmIoregion { write_fd, ..region };
        expect_errno(set(machine.fd(), &other), EBADF, &format!("fd {write_fd}"))?;
    }
    set(machine.fd(), &region).context("the channel")?;
    drop(device);
    let gone = mmio(MMIO + 0x1000, 0x1000, &end);
    expect_errno(set(machine.fd(), &gone), EBADF, "a channel that is gone")
}

fn channel_of_another_vm_is_ebadf(_: &Context) -> Result<()> {
    let (machine, other) = (Machine::new()?, Machine::new()?);
    let (end, _device) = open_ring(other.fd(), &USUAL)?;
    let region = mmio(MMIO, 0x1000, &end);
    expect_errno(set(machine.fd(), &region), EBADF, "another VM's channel")?;
    set(other.fd(), &region).context("its own VM")?;
    drop(other);
    expect_errno(set(machine.fd(), &region), EBADF, "when its VM is gone")
}

fn channel_without_the_flag_is_einval(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let (end, _device) = open_ring(machine.fd(), &USUAL)?;
    let region = KvmIoregion {
        read_fd: end.write_fd(),
        flags: 0,
        ..mmio(MMIO, 0x1000, &end)
    };
    expect_errno(set(machine.fd(), &region), EINVAL, "a channel as a file")
}

fn read_fd_is_not_looked_at(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let (end, _device) = open_ring(machine.fd(), &USUAL)?;
    for (n, read_fd) in [-1, i32::MAX, end.write_fd(), 0].into_iter().enumerate() {
        let region = KvmIoregion {
            read_fd,
            ..mmio(MMIO + 0x1000 * n as u64, 0x1000, &end)
        };
        set(machine.fd(), &region).with_context(|| format!("read_fd {read_fd}"))?;
    }
    set(machine.fd(), &pio(PORT, 8, &end)).context("ports")?;
    set(machine.fd(), &posted(mmio(0xe000_0000, 0, &end))).context("doorbell")
}

fn overlap_is_eexist(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let (end, _device) = open_ring(machine.fd(), &USUAL)?;
    let (socket, _peer) = channel::open(Transport::Seqpacket)?;
    set(machine.fd(), &mmio(MMIO, 0x1000, &end))?;
    let same = mmio(MMIO + 0xfff, 0x1000, &end);
    expect_errno(set(machine.fd(), &same), EEXIST, "the same channel")?;
    let other = mmio(MMIO + 0xfff, 0x1000, &socket);
    expect_errno(set(machine.fd(), &other), EEXIST, "a socket")
}

fn unknown_ioctl_is_enotty(_: &Context) -> Result<()> {
    let machine = Machine::new()?;
    let device = RingDevice::new(create(machine.fd(), &USUAL)?)?;
    for number in [0xaef9, 0xaefc, 0x5401] {
        let result = ring::ioctl(device.fd().as_fd(), number, 0);
        expect_errno(result, ENOTTY, &format!("ioctl {number:#x}"))?;
    }
    Ok(())
}
