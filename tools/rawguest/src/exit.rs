// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What `KVM_RUN` came back with, as plain values.

use ioregion_wire::run::RunAccess;
use ioregion_wire::uapi::{
    KvmIoregionfdFailure, KVM_EXIT_IOREGIONFD_FAILURE, KVM_RUN_UNION_OFFSET,
};
use kvm_bindings::{KVM_EXIT_HLT, KVM_EXIT_INTR, KVM_EXIT_IO, KVM_EXIT_MMIO, KVM_EXIT_SHUTDOWN};
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
            KVM_EXIT_MMIO => Exit::Access(self.access(RunAccess::mmio(&self.fields()))),
            KVM_EXIT_IO => Exit::Access(self.access(RunAccess::pio(&self.fields()))),
            KVM_EXIT_IOREGIONFD_FAILURE => self.failure(),
            other => Exit::Other(other),
        }
    }

    /// Where the data of the current read belongs.
    pub(crate) fn read_data(&mut self) -> Option<&mut [u8]> {
        let access = match self.reason() {
            KVM_EXIT_MMIO => RunAccess::mmio(&self.fields()),
            KVM_EXIT_IO => RunAccess::pio(&self.fields()),
            KVM_EXIT_IOREGIONFD_FAILURE => RunAccess::from(&self.details()?),
            _ => return None,
        };
        let start = access.data_offset as usize;
        let data = self.0.get_mut(start..)?.get_mut(..access.bytes() as usize);
        data.filter(|_| !access.is_write)
    }

    pub(crate) fn scribble(&mut self, byte: u8) {
        self.0[EXIT_REASON..EXIT_REASON + 4].fill(byte);
        self.0[KVM_RUN_UNION_OFFSET..KVM_RUN_UNION_OFFSET + UNION_SIZE].fill(byte);
    }

    /// The first bytes of what describes the exit.
    fn fields(&self) -> [u8; 32] {
        let mut fields = [0; 32];
        fields.copy_from_slice(&self.0[KVM_RUN_UNION_OFFSET..KVM_RUN_UNION_OFFSET + 32]);
        fields
    }

    fn details(&self) -> Option<KvmIoregionfdFailure> {
        let union = &self.0[KVM_RUN_UNION_OFFSET..];
        let (details, _) = KvmIoregionfdFailure::read_from_prefix(union).ok()?;
        Some(details)
    }

    fn access(&self, access: RunAccess) -> Access {
        let start = access.data_offset as usize;
        let data = || self.0[start..start + access.bytes() as usize].to_vec();
        let (address, port) = (access.address, access.address as u16);
        let (size, count) = (access.size as usize, access.count as usize);
        match (access.is_pio, access.is_write) {
            (false, false) => Access::MmioRead { address, len: size },
            (false, true) => Access::MmioWrite {
                address,
                data: data(),
            },
            (true, false) => Access::PortIn { port, size, count },
            (true, true) => Access::PortOut {
                port,
                size,
                data: data(),
            },
        }
    }

    fn failure(&self) -> Exit {
        let Some(details) = self.details() else {
            return Exit::Other(KVM_EXIT_IOREGIONFD_FAILURE);
        };
        let access = self.access(RunAccess::from(&details));
        Exit::Failure(Box::new(Failure { access, details }))
    }

    fn u32(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[at..at + 4]);
        u32::from_ne_bytes(bytes)
    }
}
