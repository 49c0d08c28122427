// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! One call after the other.

use std::fs::File;
use std::io::Read;
use std::os::fd::{IntoRawFd, RawFd};
use std::sync::{MutexGuard, PoisonError};

use anyhow::{ensure, Context, Result};
use fastrand::Rng;
use ioregion_wire::uapi::{
    IOREGION_CHANNEL_DEVICE_AREA, IOREGION_CHANNEL_WAIT, IOREGION_CHANNEL_WAKE, KVM_CAP_IOREGIONFD,
    KVM_CREATE_IOREGION_CHANNEL, KVM_SET_IOREGION, KVM_SET_IOREGION_RULES,
};
use libc::{MAP_SHARED, PROT_READ, PROT_WRITE};
use shunt::channel::{pair, Endpoint, Transport};

use super::{arguments, Target, KVM_RUN};
use crate::sys::{self, Mapping};

/// `_IO(KVMIO, 0x03)`.
const KVM_CHECK_EXTENSION: u32 = 0xae03;
/// `_IO(KVMIO, 0x41)`.
const KVM_CREATE_VCPU: u32 = 0xae41;
/// `_IOW(KVMIO, 0x46, struct kvm_userspace_memory_region)`.
const KVM_SET_USER_MEMORY_REGION: u32 = 0x4020_ae46;
/// `_IOW(KVMIO, 0x79, struct kvm_ioeventfd)`.
const KVM_IOEVENTFD: u32 = 0x4040_ae79;
/// `_IO(KVMIO, 0x9a)`.
const KVM_NMI: u32 = 0xae9a;
/// Most files that lie about.
const FILES: usize = 40;
/// Byte offset of `kvm_run.immediate_exit`.
const IMMEDIATE_EXIT: usize = 1;
/// Bytes of `struct kvm_run` up to the end of the union that describes an exit.
const DESCRIPTION: usize = 32 + 256;

/// A thread's calls.
pub(super) struct Calls<'a> {
    target: &'a Target,
    rng: Rng,
    mappings: Vec<Mapping>,
    /// The next vCPU to be made; those that run have the first numbers.
    next_vcpu: u64,
}

impl<'a> Calls<'a> {
    pub(super) fn new(target: &'a Target, rng: Rng) -> Self {
        Self {
            target,
            rng,
            mappings: Vec::new(),
            next_vcpu: super::VCPUS as u64,
        }
    }

    /// One call. What the kernel refuses is as good as what it does.
    pub(super) fn act(&mut self) -> Result<()> {
        match self.rng.u32(0..100) {
            0..24 => self.set_region(false),
            24..38 => self.set_region(true),
            38..46 => self.create_channel(),
            46..56 => self.set_rules(),
            56..62 => self.set_slot(),
            62..68 => self.set_ioeventfd(),
            68..74 => self.use_channel(),
            74..79 => self.map_channel(),
            79..85 => self.open_files().context("open files")?,
            85..90 => self.close_file(),
            90..91 => self.fork().context("fork")?,
            91..93 => self.read_counters(),
            93..95 => self.scribble(),
            95..97 => self.add_vcpu(),
            _ => self.use_vcpu(),
        }
        Ok(())
    }

    fn files(&self) -> MutexGuard<'_, Vec<RawFd>> {
        let files = self.target.files.lock();
        files.unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy, since nobody may hold the lock in a system call.
    fn some_files(&self) -> Vec<RawFd> {
        self.files().clone()
    }

    fn keep(&self, fd: RawFd) {
        let mut files = self.files();
        files.push(fd);
        if files.len() > FILES {
            sys::close(files.swap_remove(0));
        }
    }

    fn set_region(&mut self, removes: bool) {
        let files = self.some_files();
        let region = arguments::region(&mut self.rng, &files, removes);
        let _ = sys::ioctl_read(self.target.vm, KVM_SET_IOREGION, &region);
    }

    fn create_channel(&mut self) {
        let channel = arguments::channel(&mut self.rng);
        if let Ok(fd) = sys::ioctl_read(self.target.vm, KVM_CREATE_IOREGION_CHANNEL, &channel) {
            self.keep(fd);
        }
    }

    fn set_rules(&mut self) {
        let files = self.some_files();
        let rules = arguments::rules(&mut self.rng, &files);
        let registers = self.target.memory.address();
        let table = arguments::rule_table(&mut self.rng, &rules, registers);
        let _ = sys::ioctl_read(self.target.vm, KVM_SET_IOREGION_RULES, &table);
    }

    fn set_slot(&mut self) {
        let slot = arguments::slot(&mut self.rng, self.target.memory.address());
        let _ = sys::ioctl_read(self.target.vm, KVM_SET_USER_MEMORY_REGION, &slot);
    }

    fn set_ioeventfd(&mut self) {
        let files = self.some_files();
        let ioeventfd = arguments::ioeventfd(&mut self.rng, &files);
        let _ = sys::ioctl_read(self.target.vm, KVM_IOEVENTFD, &ioeventfd);
    }

    fn use_channel(&mut self) {
        let files = self.some_files();
        let fd = arguments::file(&mut self.rng, &files);
        let number = [IOREGION_CHANNEL_WAIT, IOREGION_CHANNEL_WAKE][self.rng.usize(0..2)];
        // Other files refuse these numbers.
        let _ = sys::ioctl_number(fd, number, self.rng.u64(0..4));
        sys::poll(fd, libc::POLLIN);
    }

    /// Maps an area, writes into it, and gives up another one.
    fn map_channel(&mut self) {
        let files = self.some_files();
        let fd = arguments::file(&mut self.rng, &files);
        let (at, protection) = match self.rng.bool() {
            true => (0, PROT_READ),
            false => (IOREGION_CHANNEL_DEVICE_AREA, PROT_READ | PROT_WRITE),
        };
        let Ok(mapping) = Mapping::new(fd, at, 8192, protection, MAP_SHARED) else {
            return;
        };
        // What was mapped may be another file's, and not be there.
        let word = self.rng.u64(0..9).to_ne_bytes();
        let _ = mapping.try_store(8 * self.rng.usize(0..1024), &word);
        self.mappings.push(mapping);
        if self.mappings.len() > 8 {
            self.mappings.swap_remove(self.rng.usize(0..8));
        }
    }

    /// Both ends of a channel for frames, or an eventfd.
    fn open_files(&mut self) -> Result<()> {
        const TRANSPORTS: [Transport; 3] =
            [Transport::Seqpacket, Transport::Stream, Transport::Pipe];
        let Some(transport) = TRANSPORTS.get(self.rng.usize(0..4)) else {
            let event = sys::eventfd()?;
            self.keep(event);
            return Ok(());
        };
        let (one, other) = pair(*transport)?;
        for end in [one, other] {
            self.keep_both(&end)?;
        }
        Ok(())
    }

    fn keep_both(&self, end: &Endpoint) -> Result<()> {
        self.keep(end.read_fd().try_clone_to_owned()?.into_raw_fd());
        if !end.is_single() {
            self.keep(end.write_fd().try_clone_to_owned()?.into_raw_fd());
        }
        Ok(())
    }

    fn close_file(&mut self) {
        let file = {
            let index = self.rng.usize(..);
            let mut files = self.files();
            match files.len() {
                0 => return,
                len => files.swap_remove(index % len),
            }
        };
        sys::close(file);
    }

    /// Another process has the VM open, but not its memory.
    fn fork(&mut self) -> Result<()> {
        let region = arguments::region(&mut self.rng, &[], false);
        let vm = self.target.vm;
        let child = sys::fork(|| {
            let refused = sys::ioctl_read(vm, KVM_SET_IOREGION, &region)
                .is_err_and(|error| error.raw_os_error() == Some(libc::EIO));
            i32::from(!refused)
        })?;
        let status = sys::wait(child)?;
        ensure!(status == 0, "another process may use the VM: {status}");
        Ok(())
    }

    /// Reads the regions' counters while regions come and go; may keep the file for longer than
    /// the VM lives.
    fn read_counters(&mut self) {
        let Ok(mut file) = File::open(&self.target.counters) else {
            return;
        };
        let mut text = String::new();
        let _ = file.read_to_string(&mut text);
        if self.rng.bool() {
            self.keep(file.into_raw_fd());
        }
    }

    /// Writes into what the kernel has just read, or is about to.
    fn scribble(&mut self) {
        let run = &self.target.runs[self.rng.usize(0..self.target.runs.len())];
        let bytes: [u8; 8] = self.rng.u64(..).to_ne_bytes();
        match self.rng.u32(0..3) {
            0 => run.store(IMMEDIATE_EXIT, &[u8::from(self.rng.bool())]),
            1 => run.store(self.rng.usize(8..DESCRIPTION), &bytes),
            _ => run.store(4096 + self.rng.usize(0..4096), &bytes),
        }
    }

    /// A vCPU that is never run, and gone again.
    fn add_vcpu(&mut self) {
        self.next_vcpu += 1;
        let id = self.next_vcpu % 64;
        if let Ok(vcpu) = sys::ioctl_number(self.target.vm, KVM_CREATE_VCPU, id) {
            self.keep(vcpu);
        }
    }

    fn use_vcpu(&mut self) {
        let vcpu = self.target.vcpus[self.rng.usize(0..self.target.vcpus.len())];
        let (fd, number, argument) = match self.rng.u32(0..4) {
            0 => (
                self.target.vm,
                KVM_CHECK_EXTENSION,
                KVM_CAP_IOREGIONFD.into(),
            ),
            1 => (vcpu, KVM_NMI, 0),
            _ => (vcpu, KVM_RUN, 0),
        };
        let _ = sys::ioctl_number(fd, number, argument);
    }
}
