// SPDX-License-Identifier: GPL-2.0-only

//! A guest access that the extension is asked to handle.

use crate::ffi;

/// A guest access that nothing in the kernel handles, while KVM waits for it to be handled.
///
/// # Invariants
///
/// `vcpu` is loaded by this thread, `raw` describes its access, and `raw.data` points to
/// `raw.count` elements of `raw.size` bytes.
pub struct Io<'a> {
    vcpu: *mut ffi::KvmVcpu,
    vcpu_index: u32,
    raw: &'a ffi::KvmExtIo,
    may_wait: bool,
}

impl<'a> Io<'a> {
    /// # Safety
    ///
    /// The arguments must be those of one call of `kvm_ext_ops.vcpu_io`, and the vCPU's index.
    pub(crate) unsafe fn new(
        vcpu: *mut ffi::KvmVcpu,
        vcpu_index: u32,
        raw: &'a ffi::KvmExtIo,
        may_wait: bool,
    ) -> Self {
        // INVARIANT: That is what KVM passes, by the safety requirement.
        Self {
            vcpu,
            vcpu_index,
            raw,
            may_wait,
        }
    }

    /// Which of its VM's vCPUs makes the access.
    #[inline]
    pub fn vcpu_index(&self) -> usize {
        self.vcpu_index as usize
    }

    /// Guest physical address, or port.
    #[inline]
    pub fn addr(&self) -> u64 {
        self.raw.addr
    }

    /// Bytes of an element: 1 to 8 for MMIO; 1, 2 or 4 for port I/O.
    #[inline]
    pub fn element_size(&self) -> usize {
        self.raw.size as usize
    }

    /// Bytes of all elements. There is more than one element only in string port I/O.
    #[inline]
    pub fn total_size(&self) -> usize {
        self.element_size() * self.raw.count as usize
    }

    /// Port I/O, else MMIO.
    #[inline]
    pub fn is_pio(&self) -> bool {
        self.raw.is_pio
    }

    /// A write, else a read.
    #[inline]
    pub fn is_write(&self) -> bool {
        self.raw.is_write
    }

    /// Whether the handler was called for this very access before, and was interrupted.
    #[inline]
    pub fn is_resumed(&self) -> bool {
        self.raw.resumed
    }

    /// Whether the handler may sleep. It must not when `KVM_RUN` is called with
    /// `immediate_exit`.
    #[inline]
    pub fn may_wait(&self) -> bool {
        self.may_wait
    }

    /// `width` bytes (1, 2, 4 or 8) of a write, `at` bytes into the access, zero-extended. 0 if
    /// they are not all inside.
    #[inline]
    pub fn load(&self, at: usize, width: usize) -> u64 {
        let Some(from) = self.bytes(at, width) else {
            return 0;
        };
        // SAFETY: `bytes` says that so many are there. A pointer into the data is not aligned.
        unsafe {
            match width {
                1 => from.read().into(),
                2 => from.cast::<u16>().read_unaligned().into(),
                4 => from.cast::<u32>().read_unaligned().into(),
                8 => from.cast::<u64>().read_unaligned(),
                _ => 0,
            }
        }
    }

    /// Stores `width` bytes (1, 2, 4 or 8) of what a read yields, `at` bytes into the access.
    /// Does nothing if they are not all inside.
    #[inline]
    pub fn store(&mut self, at: usize, width: usize, value: u64) {
        let Some(to) = self.bytes(at, width) else {
            return;
        };
        // SAFETY: As in `load`.
        unsafe {
            match width {
                1 => to.write(value as u8),
                2 => to.cast::<u16>().write_unaligned(value as u16),
                4 => to.cast::<u32>().write_unaligned(value as u32),
                8 => to.cast::<u64>().write_unaligned(value),
                _ => {}
            }
        }
    }

    /// Makes the coming exit to userspace one of `reason`. `struct kvm_run` goes on describing
    /// the access in the first 32 bytes of its union; `tail` follows there.
    pub fn describe_exit(&mut self, reason: u32, tail: &[u8]) {
        // SAFETY: The vCPU is loaded by this thread, by the type invariant. C keeps the copy
        // inside of the union.
        unsafe {
            ffi::shunt_describe_exit(self.vcpu, reason, tail.as_ptr().cast(), tail.len());
        }
    }

    /// Where `width` bytes of the data are. Userspace may map them, as it may those of any I/O
    /// exit: what it stores there meanwhile is what its guest reads or its device gets, and
    /// nothing else, so they are copied and not referred to.
    #[inline]
    fn bytes(&self, at: usize, width: usize) -> Option<*mut u8> {
        let is_inside = at.checked_add(width)? <= self.total_size();
        is_inside.then(|| self.raw.data.wrapping_add(at))
    }
}
