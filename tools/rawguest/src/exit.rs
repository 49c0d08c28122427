// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What `KVM_RUN` came back with, as plain values.

use ioregion_wire::uapi::{
    KvmIoregionfdFailure, KVM_EXIT_IOREGIONFD_FAILURE, KVM_IOREGION_PIO, KVM_RUN_UNION_OFFSET,
};
use kvm_bindings::{
    KVM_EXIT_HLT, KVM_EXIT_INTR, KVM_EXIT_IO, KVM_EXIT_IO_OUT, KVM_EXIT_MMIO, KVM_EXIT_SHUTDOWN,
};
use zerocopy::FromBytes;

/// A guest access that the VMM has to complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load; answer with [`crate::Vcpu::supply`].
    MmioRead {
        /// Guest physical address.
        address: u64,
        /// Bytes, at most 8.
        len: usize,
    },
    /// A store.
    MmioWrite {
        /// Guest physical address.
        address: u64,
        /// The bytes stored, at most 8.
        data: Vec<u8>,
    },
    /// `in` or `ins`; answer with [`crate::Vcpu::supply`], all elements.
    PortIn {
        /// First port.
        port: u16,
        /// Bytes of an element.
        size: usize,
        /// Elements.
        count: usize,
    },
    /// `out` or `outs`.
    PortOut {
        /// First port.
        port: u16,
        /// Bytes of an element.
        size: usize,
        /// All elements, one after the other.
        data: Vec<u8>,
    },
}

/// `KVM_EXIT_IOREGIONFD_FAILURE`: a device did not complete an access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The whole access, as an ordinary exit would describe it.
    pub access: Access,
    /// Region, failed piece, cause.
    pub details: KvmIoregionfdFailure,
}

/// Why a vCPU stopped running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The guest executed `hlt`.
    Halt,
    /// `KVM_EXIT_MMIO` or `KVM_EXIT_IO`.
    Access(Access),
    /// `KVM_EXIT_IOREGIONFD_FAILURE`.
    Failure(Box<Failure>),
    /// `KVM_RUN` returned EINTR, for a signal or for immediate_exit.
    Interrupted,
    /// The guest faulted.
    Shutdown,
    /// Any other exit reason.
    Other(u32),
}

/// Byte offset of `kvm_run.immediate_exit`.
const IMMEDIATE_EXIT: usize = 1;
/// Byte offset of `kvm_run.exit_reason`.
const EXIT_REASON: usize = 8;
/// Bytes of the union in `struct kvm_run`.
const UNION_SIZE: usize = 256;
/// `kvm_run.mmio`: phys_addr, data, len, is_write.
const MMIO_DATA: usize = KVM_RUN_UNION_OFFSET + 8;
const MMIO_LEN: usize = MMIO_DATA + 8;
const MMIO_IS_WRITE: usize = MMIO_LEN + 4;
/// `kvm_run.io`: direction, size, port, count, data_offset.
const IO_DIRECTION: usize = KVM_RUN_UNION_OFFSET;
const IO_SIZE: usize = IO_DIRECTION + 1;
const IO_PORT: usize = IO_DIRECTION + 2;
const IO_COUNT: usize = IO_DIRECTION + 4;
const IO_DATA_OFFSET: usize = IO_DIRECTION + 8;

/// The mapping of a vCPU's file descriptor: `struct kvm_run`, and the page of PIO data.
///
/// Fields are read by offset because the exit that ioregion adds is not in KVM's own header.
/// Every offset and length in it comes from the kernel and stays within the mapping.
pub(crate) struct RunPage<'a>(pub(crate) &'a mut [u8]);

impl RunPage<'_> {
    /// Whether EINTR is what KVM promises: for a signal, or because immediate_exit is set.
    pub(crate) fn interruption_is_accounted_for(&self) -> bool {
        self.reason() == KVM_EXIT_INTR || self.0[IMMEDIATE_EXIT] != 0
    }

    fn reason(&self) -> u32 {
        self.u32(EXIT_REASON)
    }

    pub(crate) fn exit(&self) -> Exit {
        match self.reason() {
            KVM_EXIT_HLT => Exit::Halt,
            KVM_EXIT_SHUTDOWN => Exit::Shutdown,
            KVM_EXIT_MMIO => Exit::Access(self.mmio()),
            KVM_EXIT_IO => Exit::Access(self.port()),
            KVM_EXIT_IOREGIONFD_FAILURE => self.failure(),
            other => Exit::Other(other),
        }
    }

    /// Where the data of the current read belongs.
    pub(crate) fn read_data(&mut self) -> Option<&mut [u8]> {
        let (start, len) = match self.exit() {
            Exit::Access(access) => self.read_place(&access)?,
            Exit::Failure(failure) => self.read_place(&failure.access)?,
            _ => return None,
        };
        self.0.get_mut(start..start + len)
    }

    pub(crate) fn scribble(&mut self, byte: u8) {
        self.0[EXIT_REASON..EXIT_REASON + 4].fill(byte);
        self.0[KVM_RUN_UNION_OFFSET..KVM_RUN_UNION_OFFSET + UNION_SIZE].fill(byte);
    }

    fn read_place(&self, access: &Access) -> Option<(usize, usize)> {
        match *access {
            Access::MmioRead { len, .. } => Some((MMIO_DATA, len)),
            Access::PortIn { size, count, .. } => {
                Some((self.u64(IO_DATA_OFFSET) as usize, size * count))
            }
            Access::MmioWrite { .. } | Access::PortOut { .. } => None,
        }
    }

    fn mmio(&self) -> Access {
        let address = self.u64(KVM_RUN_UNION_OFFSET);
        let len = self.u32(MMIO_LEN) as usize;
        if self.0[MMIO_IS_WRITE] == 0 {
            Access::MmioRead { address, len }
        } else {
            Access::MmioWrite {
                address,
                data: self.0[MMIO_DATA..MMIO_DATA + len].to_vec(),
            }
        }
    }

    fn port(&self) -> Access {
        let size = usize::from(self.0[IO_SIZE]);
        let port = u16::from_ne_bytes([self.0[IO_PORT], self.0[IO_PORT + 1]]);
        let count = self.u32(IO_COUNT) as usize;
        if u32::from(self.0[IO_DIRECTION]) == KVM_EXIT_IO_OUT {
            let start = self.u64(IO_DATA_OFFSET) as usize;
            Access::PortOut {
                port,
                size,
                data: self.0[start..start + size * count].to_vec(),
            }
        } else {
            Access::PortIn { port, size, count }
        }
    }

    fn failure(&self) -> Exit {
        let Ok((details, _)) =
            KvmIoregionfdFailure::read_from_prefix(&self.0[KVM_RUN_UNION_OFFSET..])
        else {
            return Exit::Other(KVM_EXIT_IOREGIONFD_FAILURE);
        };
        let pio = details.flags & KVM_IOREGION_PIO != 0;
        let access = if pio { self.port() } else { self.mmio() };
        Exit::Failure(Box::new(Failure { access, details }))
    }

    fn u32(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[at..at + 4]);
        u32::from_ne_bytes(bytes)
    }

    fn u64(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[at..at + 8]);
        u64::from_ne_bytes(bytes)
    }
}
