// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! What `struct kvm_run` says of an access: `kvm_run.mmio`, `kvm_run.io`, and
//! [`KvmIoregionfdFailure`], which begins with one of them.
//!
//! Nothing here is checked against the size of the mapping: that is for whoever reads the data.

use zerocopy_derive::FromBytes;

use crate::uapi::{
    KvmIoregionfdFailure,
    KVM_IOREGION_PIO,
    KVM_RUN_UNION_OFFSET, //
};

/// Where `kvm_run.mmio.data` is in the vCPU's mapping.
const MMIO_DATA_OFFSET: u64 = KVM_RUN_UNION_OFFSET as u64 + 8;

/// `KVM_EXIT_IO_OUT`.
const PIO_OUT: u8 = 1;

/// `kvm_run.mmio`.
#[derive(FromBytes)]
#[repr(C)]
struct Mmio {
    phys_addr: u64,
    data: [u8; 8],
    len: u32,
    is_write: u8,
    _padding: [u8; 11],
}

/// `kvm_run.io`.
#[derive(FromBytes)]
#[repr(C)]
struct Pio {
    direction: u8,
    size: u8,
    port: u16,
    count: u32,
    data_offset: u64,
    _padding: [u8; 16],
}

/// An access that `KVM_RUN` returned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunAccess {
    /// It is one of ports.
    pub is_pio: bool,
    /// It writes.
    pub is_write: bool,
    /// Guest physical address, or port.
    pub address: u64,
    /// Bytes of an element.
    pub size: u32,
    /// Elements: 1, but for a string access, whose elements all go to the same port.
    pub count: u32,
    /// Where its data is in the vCPU's mapping.
    pub data_offset: u64,
}

impl RunAccess {
    /// The access in `kvm_run.mmio`, of which these are the first bytes.
    pub fn mmio(fields: &[u8; 32]) -> Self {
        let mmio: Mmio = zerocopy::transmute!(*fields);
        Self {
            is_pio: false,
            is_write: mmio.is_write != 0,
            address: mmio.phys_addr,
            size: mmio.len,
            count: 1,
            data_offset: MMIO_DATA_OFFSET,
        }
    }

    /// The access in `kvm_run.io`, of which these are the first bytes.
    pub fn pio(fields: &[u8; 32]) -> Self {
        let pio: Pio = zerocopy::transmute!(*fields);
        Self {
            is_pio: true,
            is_write: pio.direction == PIO_OUT,
            address: pio.port.into(),
            size: pio.size.into(),
            count: pio.count,
            data_offset: pio.data_offset,
        }
    }

    /// Bytes of all elements.
    pub fn bytes(&self) -> u64 {
        u64::from(self.size) * u64::from(self.count)
    }
}

impl From<&KvmIoregionfdFailure> for RunAccess {
    /// The whole access, of which [`KvmIoregionfdFailure::done`] bytes are complete.
    fn from(failure: &KvmIoregionfdFailure) -> Self {
        match failure.flags & KVM_IOREGION_PIO {
            0 => Self::mmio(&failure.access),
            _ => Self::pio(&failure.access),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(parts: &[&[u8]]) -> [u8; 32] {
        let mut fields = [0xa5; 32];
        let bytes = parts.concat();
        fields[..bytes.len()].copy_from_slice(&bytes);
        fields
    }

    #[test]
    fn mmio_has_one_element_behind_its_address() {
        let address = 0x1234_5678_9abc_def0u64;
        for is_write in [false, true] {
            let fields = fields(&[
                &address.to_ne_bytes(),
                &[0; 8],
                &7u32.to_ne_bytes(),
                &[is_write.into()],
            ]);
            let want = RunAccess {
                is_pio: false,
                is_write,
                address,
                size: 7,
                count: 1,
                data_offset: 40,
            };
            assert_eq!(RunAccess::mmio(&fields), want);
        }
    }

    #[test]
    fn pio_says_where_its_data_is() {
        for (direction, is_write) in [(0, false), (1, true)] {
            let fields = fields(&[
                &[direction, 2],
                &0xfffeu16.to_ne_bytes(),
                &9u32.to_ne_bytes(),
                &4096u64.to_ne_bytes(),
            ]);
            let want = RunAccess {
                is_pio: true,
                is_write,
                address: 0xfffe,
                size: 2,
                count: 9,
                data_offset: 4096,
            };
            assert_eq!(RunAccess::pio(&fields), want);
        }
    }

    #[test]
    fn bus_of_a_failure_is_in_its_flags() {
        let access = [0xff; 32];
        for (flags, is_pio) in [(0, false), (KVM_IOREGION_PIO, true)] {
            let failure = KvmIoregionfdFailure {
                access,
                flags,
                ..Default::default()
            };
            assert_eq!(RunAccess::from(&failure).is_pio, is_pio);
        }
    }

    #[test]
    fn no_number_of_bytes_overflows() {
        let bytes = 0xff * u64::from(u32::MAX);
        assert_eq!(RunAccess::pio(&[0xff; 32]).bytes(), bytes);
    }
}
