// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! A vCPU and the loop around it.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use kvm_bindings::kvm_fpu;
use kvm_ioctls::{VcpuFd, VmFd};

use crate::exit::RunPage;
use crate::machine::Shown;
use crate::{registers, signals, Error, Exit, Reg, Result};

/// A vCPU with its program. Dropping it closes its file descriptor; the VM lives as long as one
/// of its vCPUs.
#[derive(Debug)]
pub struct Vcpu {
    fd: VcpuFd,
    /// Keeps the VM's descriptor open: KVM names a VM's debugfs directory after it, so a new VM
    /// must not get the number while this one lives.
    _vm: Arc<VmFd>,
    /// Keeps what memory slots show mapped for as long as the guest can run.
    _shown: Shown,
    run_size: usize,
}

impl Vcpu {
    pub(crate) fn new(fd: VcpuFd, vm: Arc<VmFd>, shown: Shown) -> Self {
        let run_size = vm.run_size();
        Self {
            fd,
            _vm: vm,
            _shown: shown,
            run_size,
        }
    }

    /// One `KVM_RUN`.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] with any errno but EINTR, and with EINTR when neither a signal
    /// (`KVM_EXIT_INTR`) nor [`Vcpu::set_immediate_exit`] accounts for it.
    pub fn run(&mut self) -> Result<Exit> {
        let result = self.fd.run().map(|_| ());
        let page = self.run_page();
        match result {
            Ok(()) => Ok(page.exit()),
            Err(error) if error.errno() == libc::EINTR && page.interruption_is_accounted_for() => {
                signals::consume();
                Ok(Exit::Interrupted)
            }
            Err(error) => Err(Error::kvm("KVM_RUN")(error)),
        }
    }

    /// Runs until something other than a signal stops the vCPU.
    ///
    /// # Errors
    ///
    /// As [`Vcpu::run`].
    pub fn run_through_signals(&mut self) -> Result<Exit> {
        loop {
            match self.run()? {
                Exit::Interrupted => {}
                exit => return Ok(exit),
            }
        }
    }

    /// KVM's own file descriptor, for a caller that counts instructions: its exits borrow from
    /// `kvm_run` where [`Exit`] copies. [`Vcpu::run`] also deals with signals.
    pub fn fd_mut(&mut self) -> &mut VcpuFd {
        &mut self.fd
    }

    /// Answers the read that the vCPU stopped at, from the first byte of the access; shorter
    /// data leaves the rest as it is. Does nothing when the last exit was not a read.
    pub fn supply(&mut self, data: &[u8]) {
        if let Some(place) = self.run_page().read_data() {
            for (to, from) in place.iter_mut().zip(data) {
                *to = *from;
            }
        }
    }

    /// Answers the tail of a read of which the first `done` bytes are complete.
    pub fn supply_from(&mut self, done: usize, data: &[u8]) {
        if let Some(place) = self.run_page().read_data() {
            for (to, from) in place.iter_mut().skip(done).zip(data) {
                *to = *from;
            }
        }
    }

    /// Overwrites `kvm_run.exit_reason` and everything that describes the exit, as a VMM gone
    /// mad could. The page of PIO data stays as it is.
    pub fn scribble(&mut self, byte: u8) {
        self.run_page().scribble(byte);
    }

    /// `kvm_run.immediate_exit`: the next `KVM_RUN` completes what is pending and returns.
    pub fn set_immediate_exit(&mut self, on: bool) {
        self.fd.set_kvm_immediate_exit(u8::from(on));
    }

    /// The value of a register.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] when KVM refuses.
    pub fn reg(&self, reg: Reg) -> Result<u64> {
        let mut regs = self.fd.get_regs().map_err(Error::kvm("KVM_GET_REGS"))?;
        Ok(*registers::field(&mut regs, reg))
    }

    /// Sets a register.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] when KVM refuses.
    pub fn set_reg(&mut self, reg: Reg, value: u64) -> Result<()> {
        let mut regs = self.fd.get_regs().map_err(Error::kvm("KVM_GET_REGS"))?;
        *registers::field(&mut regs, reg) = value;
        self.fd.set_regs(&regs).map_err(Error::kvm("KVM_SET_REGS"))
    }

    /// The 16 bytes of xmm0.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] when KVM refuses.
    pub fn xmm0(&self) -> Result<[u8; 16]> {
        Ok(self.fd.get_fpu().map_err(Error::kvm("KVM_GET_FPU"))?.xmm[0])
    }

    /// Sets xmm0.
    ///
    /// # Errors
    ///
    /// [`Error::Call`] when KVM refuses.
    pub fn set_xmm0(&mut self, value: [u8; 16]) -> Result<()> {
        let mut fpu: kvm_fpu = self.fd.get_fpu().map_err(Error::kvm("KVM_GET_FPU"))?;
        fpu.xmm[0] = value;
        self.fd.set_fpu(&fpu).map_err(Error::kvm("KVM_SET_FPU"))
    }

    fn run_page(&mut self) -> RunPage<'_> {
        let start: *mut u8 = std::ptr::from_mut(self.fd.get_kvm_run()).cast();
        // SAFETY: kvm-ioctls has mapped `run_size` bytes (KVM_GET_VCPU_MMAP_SIZE) at the start
        // of kvm_run; the mapping lives as long as `self.fd`, which is borrowed mutably, and
        // the kernel writes to it only during KVM_RUN.
        RunPage(unsafe { std::slice::from_raw_parts_mut(start, self.run_size) })
    }
}

impl AsRawFd for Vcpu {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
