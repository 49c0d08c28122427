// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A vfio-user server whose device KVM reaches past the client: `shunt-blk` in a process of its
//! own, the client in this one, and a guest that plays the driver.
//!
//! The rings and buffers lie in a memfd that the client lends; the guest only needs to know
//! where.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{ensure, Context as _, Result};
use ioregion_wire::uapi::KvmIoregion;
use kvm_ioctls::VmFd;
use module_tests::verdict::Skip;
use rawguest::{Asm, Exit, Machine, Mem, Reg, Width};
use rustix::event::{eventfd, poll, EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use vfio_user::client::Client;
use vfio_user::wire::{self, SubRegion};

use crate::check::check_eq;
use crate::guest::expect_halt;
use crate::region::{set, MMIO};
use crate::suite::{tests, Context};

tests!(
    "vfio_user",
    Ioregion,
    [
        registers_and_doorbell_go_past_the_client,
        a_dead_server_fails_the_access
    ]
);

const PROGRAM: &str = "/bin/shunt-blk";

/// Of the common configuration: virtio 1.3, section 4.1.4.3.
const FEATURE_SELECT: u64 = 0x08;
const FEATURE: u64 = 0x0c;
const NUM_QUEUES: u64 = 0x12;
const STATUS: u64 = 0x14;
const QUEUE_VECTOR: u64 = 0x1a;
const QUEUE_AREAS: u64 = 0x20;
const QUEUE_ENABLE: u64 = 0x1c;

const SECTOR: usize = 512;
/// The sector that the guest reads.
const WANTED: u64 = 3;

/// Where things are in the memory that is lent.
const AREAS: [u64; 3] = [0x1000, 0x2000, 0x3000];
const HEADER: u64 = 0x4000;
const DATA: u64 = 0x5000;
const REQUEST_STATUS: u64 = 0x6000;
const MEMORY_SIZE: u64 = 0x8000;

/// A server and its client.
struct Rig {
    server: Child,
    client: Client,
    directory: PathBuf,
}

impl Rig {
    fn new(name: &str) -> Result<Self> {
        if !Path::new(PROGRAM).exists() {
            return Err(Skip(format!("there is no {PROGRAM}")).into());
        }
        let directory = std::env::temp_dir().join(format!("vfio-user-{name}"));
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("image"), image()).context("the image")?;
        let socket = directory.join("socket");
        let mut server = Command::new(PROGRAM)
            .arg("--vfio-user")
            .arg(&socket)
            .arg("--image")
            .arg(directory.join("image"))
            .stdout(Stdio::piped())
            .spawn()
            .context("start the server")?;
        let stdout = server.stdout.take().context("standard output is a pipe")?;
        BufReader::new(stdout).read_line(&mut String::new())?;
        let client = Client::connect(&socket)?;
        Ok(Self {
            server,
            client,
            directory,
        })
    }

    /// Gives KVM what the server offers for its registers and doorbells.
    fn set_up(&mut self, vm: &VmFd) -> Result<()> {
        let (parts, fds) = self.client.io_fds(wire::REGION_BAR0)?;
        for part in &parts {
            let fd = fds
                .get(part.fd_index as usize)
                .context("no such descriptor")?;
            match part.kind {
                wire::IO_FD_IOREGIONFD => set_region(vm, part, fd)?,
                wire::IO_FD_IOEVENTFD => set_doorbell(vm, part, fd)?,
                other => anyhow::bail!("a sub-region of kind {other}"),
            }
        }
        check_eq!(parts.len(), 2, "sub-regions of a device with one queue");
        Ok(())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // Neither can fail for a child that is ours; what is left of the directory harms nobody.
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn set_region(vm: &VmFd, part: &SubRegion, fd: &OwnedFd) -> Result<()> {
    let region = KvmIoregion {
        guest_paddr: MMIO + part.offset,
        memory_size: part.size,
        user_data: part.data,
        read_fd: fd.as_raw_fd(),
        write_fd: fd.as_raw_fd(),
        flags: part.flags,
        ..Default::default()
    };
    set(vm, &region).context("KVM_SET_IOREGION")
}

fn set_doorbell(vm: &VmFd, part: &SubRegion, fd: &OwnedFd) -> Result<()> {
    let argument = kvm_bindings::kvm_ioeventfd {
        addr: MMIO + part.offset,
        len: part.size as u32,
        fd: fd.as_raw_fd(),
        flags: part.flags,
        datamatch: part.data,
        ..Default::default()
    };
    // SAFETY: KVM reads one `kvm_ioeventfd` and writes nothing to this process's memory.
    let result = unsafe { libc::ioctl(vm.as_raw_fd(), KVM_IOEVENTFD, &argument) };
    ensure!(
        result == 0,
        "KVM_IOEVENTFD: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}

/// `_IOW(KVMIO, 0x79, struct kvm_ioeventfd)`.
const KVM_IOEVENTFD: libc::Ioctl = 0x4040_ae79_u32 as libc::Ioctl;

/// Each sector is filled with its number.
fn image() -> Vec<u8> {
    (0..8u8).flat_map(|sector| [sector; SECTOR]).collect()
}

/// Memory with a request for [`WANTED`] that is not available yet.
fn memory() -> Result<OwnedFd> {
    let fd = memfd_create("dma", MemfdFlags::CLOEXEC)?;
    ftruncate(&fd, MEMORY_SIZE)?;
    let put = |at: u64, value: u64| rustix::io::pwrite(&fd, &value.to_le_bytes(), at);
    let (next, writable) = (1 << 32, 2 << 32);
    let descriptors = [
        (HEADER, 16 | next | 1 << 48),
        (DATA, SECTOR as u64 | next | writable | 2 << 48),
        (REQUEST_STATUS, 1 | writable),
    ];
    for (at, (address, rest)) in (AREAS[0]..).step_by(16).zip(descriptors) {
        put(at, address)?;
        put(at + 8, rest)?;
    }
    put(HEADER + 8, WANTED)?;
    put(REQUEST_STATUS, 0xff)?;
    Ok(fd)
}

/// Makes it available.
fn submit(memory: &OwnedFd) -> Result<()> {
    rustix::io::pwrite(memory, &(1u64 << 16).to_le_bytes(), AREAS[1])?;
    Ok(())
}

/// What a driver does: set the queue up, start the device; the number of queues in Si and the
/// status in Ax. It halts, and then notifies.
///
/// A device that is started looks at its queues without a notification. It has done so when it
/// answers the reads.
fn driver() -> Asm {
    let mut program = Asm::long();
    let writes = [
        (Width::Byte, STATUS, 3),
        (Width::Long, FEATURE_SELECT, 1),
        (Width::Long, FEATURE, 1),
        (Width::Byte, STATUS, 11),
        (Width::Word, QUEUE_VECTOR, 1),
        (Width::Long, QUEUE_AREAS, AREAS[0]),
        (Width::Long, QUEUE_AREAS + 8, AREAS[1]),
        (Width::Long, QUEUE_AREAS + 16, AREAS[2]),
        (Width::Word, QUEUE_ENABLE, 1),
        (Width::Byte, STATUS, 15),
    ];
    for (width, register, value) in writes {
        program
            .mov(Reg::Bx, MMIO + register)
            .mov(Reg::Ax, value)
            .store(width, Mem::At(Reg::Bx), Reg::Ax);
    }
    program
        .zero(Reg::Ax)
        .mov(Reg::Bx, MMIO + NUM_QUEUES)
        .load(Width::Word, Reg::Ax, Mem::At(Reg::Bx))
        .add(Reg::Si, Reg::Ax)
        .zero(Reg::Ax)
        .mov(Reg::Bx, MMIO + STATUS)
        .load(Width::Byte, Reg::Ax, Mem::At(Reg::Bx))
        .halt()
        .zero(Reg::Ax)
        .mov(Reg::Bx, MMIO + NOTIFY)
        .store(Width::Word, Mem::At(Reg::Bx), Reg::Ax)
        .halt();
    program
}

/// Where the queue's notifications go in the BAR.
const NOTIFY: u64 = 0x3000;

/// The guest's only exits are its halts, the client sends nothing, and the request is done.
fn registers_and_doorbell_go_past_the_client(_: &Context) -> Result<()> {
    let mut rig = Rig::new("bypass")?;
    let memory = memory()?;
    let event = eventfd(0, EventfdFlags::CLOEXEC)?;
    rig.client.map(0, MEMORY_SIZE, memory.as_fd(), 0)?;
    rig.client
        .set_msix_events(&[event.as_fd(), event.as_fd()])?;
    // Memory accesses and bus mastering, as a VMM's firmware allows them.
    rig.client.write(wire::REGION_CONFIG, 4, &[6, 0])?;
    let machine = Machine::new()?;
    rig.set_up(machine.fd())?;
    let commands = rig.client.commands;

    let mut vcpu = machine.add_vcpu(&driver())?;
    expect_halt(&vcpu.run()?)?;
    check_eq!(vcpu.reg(Reg::Si)?, 1, "number of queues");
    check_eq!(vcpu.reg(Reg::Ax)?, 15, "device status");
    submit(&memory)?;
    expect_halt(&vcpu.run()?)?;
    wait_for(&event)?;
    check_eq!(rig.client.commands, commands, "commands of the client");
    let mut data = [0; SECTOR];
    rustix::io::pread(&memory, &mut data, DATA)?;
    check_eq!(data, [WANTED as u8; SECTOR], "the sector");
    let mut status = [0xff];
    rustix::io::pread(&memory, &mut status, REQUEST_STATUS)?;
    check_eq!(status, [0], "status of the request");
    Ok(())
}

/// Without the server there is nobody at the channel's other end.
fn a_dead_server_fails_the_access(_: &Context) -> Result<()> {
    let mut rig = Rig::new("death")?;
    let machine = Machine::new()?;
    rig.set_up(machine.fd())?;
    rig.server.kill()?;
    rig.server.wait()?;
    let mut vcpu = machine.add_vcpu(&driver())?;
    match vcpu.run()? {
        Exit::Failure(failure) => {
            check_eq!(failure.details.error, libc::EPIPE, "error of the access");
            check_eq!(failure.details.offset, STATUS, "its offset");
        }
        other => anyhow::bail!("{other:?} instead of a failure"),
    }
    Ok(())
}

fn wait_for(event: &OwnedFd) -> Result<()> {
    let limit = Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(event, PollFlags::IN)];
    let ready = poll(&mut fds, Some(&limit))?;
    ensure!(ready == 1, "the device does not interrupt");
    Ok(())
}
